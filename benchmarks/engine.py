"""What a step of one trial costs by each engine, and by processes packed onto one device.

    python -m benchmarks.engine [--device cuda|cpu] [--quick] [--json]

Each row is a model, a batch and an engine: milliseconds per step and trial, images a second of all
trials together, MFU (share of a large bfloat16 matrix product's rate, measured in the same run),
peak memory. bfloat16 on a GPU, float32 on a CPU, random images, SGD. Packed processes are the real
rival: eager trainings in processes of their own, which share the device in time. All in one run,
so that ratios mean something. On a CPU only small sizes are measured, the rest is "not measured".
Exits 0 where every aim is met, 1 otherwise, so on a CPU always 1.

micro is `vitp-micro+d12`: width 192, 12 blocks (MLP of 3 x 192), 64 tokens and the class token.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.gpu import NOT_MEASURED, machine, noise, peak_flops, train_flops, verdict
from stability.models import config_of
from stability.models.build import build
from stability.models.variants import counted_on
from stability.training.choice import seconds_of
from stability.training.engine_names import fault, parse
from stability.training.loop import Job, train
from stability.training.recipe import Recipe
from stability.training.tensors import TensorData

ENGINES = ("eager", "captured", "captured+compile", "streams:2", "streams:4", "stacked:1",
           "stacked:4", "stacked:8", "stacked:16", "stacked:64")  # fmt: skip
PACKED = (8, 16)
PACKED_SECONDS = 6.0
CASES = {  # model, batch: engines beside these that are left out, as the run must end in time
    "cuda": {
        ("vitp-micro+d12", 128): (),
        ("vitp-micro+d12", 64): ("captured+compile", "streams:2", "stacked:1", "stacked:8"),
        ("vitp-micro+d12", 512): ("captured+compile", "streams:2", "stacked:1", "stacked:64"),
        ("vitp-nano", 64): ("captured+compile", "streams:2"),
        ("regnety-micro", 128): ("captured+compile", "stacked:1", "stacked:8", "stacked:64"),
    },
    "cpu": {
        ("vitp-nano", 16): ("stacked:8", "stacked:64"),
        ("vitp-nano", 64): ("stacked:8", "stacked:64"),
    },
}
PACKED_FOR = (("vitp-micro+d12", 128), ("vitp-nano", 64))
AIMS = (  # model, batch, engines, over, aim; of the issue that asks for an H200
    ("micro, batch 128: best over eager", ("vitp-micro+d12", 128), "eager", 6.0),
    ("micro, batch 128: best over packed processes", ("vitp-micro+d12", 128), "packed", 1.3),
    ("nano: best over eager", ("vitp-nano", 64), "eager", 30.0),
)
MOONSHOTS = "moonshots: micro 8x (135,000 images/s, the memory roofline), nano 45x"
EDF_MINUTES = 25.0
EDF_STEPS = 64 * 30 * (50_000 // 128)  # trials, epochs, steps of an epoch


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement; None where there is none."""

    model: str
    batch: int
    engine: str
    ms: float | None = None
    """Per step and trial."""
    images: float | None = None
    """A second, of all trials together."""
    mfu: float | None = None
    memory: float | None = None
    """GiB, reserved at most."""
    fault: str = ""


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="the first case alone")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--one-of-many", nargs=2, metavar=("MODEL", "BATCH"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    device = arguments.device
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    if arguments.one_of_many:
        return one_of_many(arguments.one_of_many[0], int(arguments.one_of_many[1]), device)
    peak, start = peak_flops(device), time.perf_counter()
    rows = list(measured(device, peak, quick=arguments.quick))
    aims = judged(rows if device == "cuda" else [])  # they are a GPU's
    if arguments.json:
        content = {"machine": machine(device), "peak_flops": peak, "argv": sys.argv[1:],
                   "seconds": time.perf_counter() - start, "rows": list(map(asdict, rows)),
                   "aims": aims}  # fmt: skip
        print(json.dumps(content, indent=2))
    else:
        show(rows, aims, device, peak)
    return 0 if all(aim["met"] for aim in aims) else 1


def measured(device: str, peak: float | None, *, quick: bool) -> Iterator[Row]:
    """Every row; those that this device has no measurement of too."""
    for number, ((model, batch), skipped) in enumerate(CASES[device].items()):
        if quick and number:
            return
        data, flops = data_of(model, device), flops_of(model)
        for engine in ENGINES:
            if engine not in skipped:
                yield row(model, batch, engine, data, flops, peak)
        for processes in PACKED if device == "cuda" and (model, batch) in PACKED_FOR else ():
            yield packed(model, batch, processes, flops, peak)


def data_of(model: str, device: str) -> TensorData:
    """Random images for a model."""
    (channels, classes), side = counted_on(model), config_of(model).image
    return noise((channels, side, side), classes, 1024, device)


def flops_of(model: str) -> int:
    """Of a training step, for one image."""
    (channels, classes), side = counted_on(model), config_of(model).image
    generator = torch.Generator().manual_seed(0)
    plain = build(model, channels=channels, classes=classes, generator=generator)
    return train_flops(plain, torch.zeros(1, channels, side, side))


def job_of(model: str, batch: int, device: str) -> Job:
    """A training with SGD, without augmentation."""
    precision = "bfloat16" if device == "cuda" else "float32"
    recipe = Recipe(lr=1e-3, weight_decay=1e-4, batch_size=batch)
    return Job(
        model=model, optimizer="sgd", recipe=recipe, epochs=1, seed=0, precision=precision
    )  # fmt: skip


def row(model: str, batch: int, name: str, data: TensorData, flops: int, peak: float | None) -> Row:
    """One engine; why not, where it cannot be measured."""
    engine, is_cuda = parse(name), data.device.type == "cuda"
    if fault(engine, data.device.type):
        return Row(model=model, batch=batch, engine=name, fault="needs a CUDA device")
    # Of many trials a step has many: fewer of them say as much.
    steps, repeats = (10, 1) if engine.trials >= 16 or not is_cuda else (20, 3)
    if is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        job = job_of(model, batch, data.device.type)
        seconds = seconds_of(engine, job, data, steps=steps, repeats=repeats)
    except Exception as error:  # a row that is not there is said, the others go on
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        return Row(model=model, batch=batch, engine=name, fault=why)
    memory = torch.cuda.max_memory_reserved() / 2**30 if is_cuda else None
    return told(model, batch, name, seconds, flops, peak, memory)


def told(
    model: str,
    batch: int,
    engine: str,
    seconds: float,
    flops: int,
    peak: float | None,
    memory: float | None = None,
) -> Row:
    """A row, from seconds per step and trial."""
    images = batch / seconds
    return Row(
        model=model, batch=batch, engine=engine, ms=1e3 * seconds, images=images,
        mfu=images * flops / peak if peak else None, memory=memory,
    )  # fmt: skip


def packed(model: str, batch: int, processes: int, flops: int, peak: float | None) -> Row:
    """So many eager processes at once: each says when it is ready, then all go for some seconds."""
    torch.cuda.empty_cache()
    command = [sys.executable, "-m", "benchmarks.engine", "--one-of-many", model, str(batch)]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    name = f"{processes} eager processes"
    try:
        for child in children:
            assert child.stdout is not None
            if child.stdout.readline().strip() != "ready":
                return Row(model=model, batch=batch, engine=name, fault="a process did not begin")
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        rates = [float(child.communicate(timeout=120)[0]) for child in children]
    finally:
        for child in children:
            child.kill()
    return told(model, batch, name, 1 / sum(rates), flops, peak)


def one_of_many(model: str, batch: int, device: str) -> int:
    """A packed process: prints `ready`, waits for a line, trains, prints its steps a second."""
    data, job = data_of(model, device), job_of(model, batch, device)
    train(job, data)
    print("ready", flush=True)
    sys.stdin.readline()
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < PACKED_SECONDS:
        train(job, data)  # its evaluations of 64 images are counted in
        steps += len(data.train) // batch
    print(steps / (time.perf_counter() - start))
    return 0


def judged(rows: list[Row]) -> list[dict[str, Any]]:
    """Each aim with what was reached; None where it was not measured."""
    found = []
    for name, (model, batch), rival, aim in AIMS:
        mine = [r for r in rows if (r.model, r.batch) == (model, batch) and r.ms is not None]
        rivals = [r.ms for r in mine if is_rival(r, rival) and r.ms is not None]
        best = [r.ms for r in mine if not is_rival(r, "eager") and not is_rival(r, "packed")]
        value = min(rivals) / min(filter(None, best)) if rivals and best else None
        found.append({"aim": name, "value": value, "least": aim, "met": (value or 0) >= aim})
    micro = [r.ms for r in rows if (r.model, r.batch) == ("vitp-micro+d12", 128) and r.ms]
    minutes = min(micro) / 1e3 * EDF_STEPS / 60 if micro else None
    found.append({"aim": "64 trials of micro, 30 epochs of 50,000 images: minutes of steps",
                  "value": minutes, "most": EDF_MINUTES,
                  "met": minutes is not None and minutes < EDF_MINUTES})  # fmt: skip
    return found


def is_rival(row: Row, kind: str) -> bool:
    """Whether a row is of eager training, or of packed processes."""
    return row.engine == "eager" if kind == "eager" else "processes" in row.engine


def show(rows: list[Row], aims: list[dict[str, Any]], device: str, peak: float | None) -> None:
    """The table."""
    where = machine(device)
    print(f"{where['device']}, torch {where['torch']}, CUDA {where['cuda'] or '-'}")
    rate = f"{peak / 1e12:.0f} TFLOP/s of a bfloat16 matrix product" if peak else NOT_MEASURED
    print(f"peak: {rate}")
    print("model          batch  engine              ms/step  images/s     MFU  memory")
    for r in rows:
        head = f"{r.model:14} {r.batch:5}  {r.engine:18}"
        if r.ms is None or r.images is None:
            print(f"{head} {NOT_MEASURED}: {r.fault}"[:79])
            continue
        mfu = "-" if r.mfu is None else f"{100 * r.mfu:.1f}%"
        memory = "-" if r.memory is None else f"{r.memory:.1f} G"
        print(f"{head} {r.ms:8.3f} {r.images:9,.0f} {mfu:>7} {memory:>7}")
    print("ms/step: per trial; images/s: of all trials together")
    for aim in aims:
        if "least" in aim:
            print(f"{aim['aim']}: {verdict(aim['value'], aim['least'])}")
        else:
            value = NOT_MEASURED if aim["value"] is None else f"{aim['value']:.1f}"
            print(f"{aim['aim']}: {value}, aim below {aim['most']:g}")
    print(MOONSHOTS)


if __name__ == "__main__":
    sys.exit(main())
