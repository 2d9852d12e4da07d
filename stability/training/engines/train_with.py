"""Train jobs by the engine of a name: each gives what `loop.train` gives, to rounding."""

import gc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from itertools import repeat
from threading import Event

import torch

from stability.training.engines.captured import CapturedStepRunner, captured_step, graph_kind
from stability.training.engines.cohort import train_cohort
from stability.training.engines.names import Engine
from stability.training.loop import Epoch, Job, train
from stability.training.outcome import Training
from stability.training.state import Checkpoint
from stability.training.tensors import TensorData

OnEpoch = Callable[[int, Epoch], None]
Trained = Iterator[tuple[int, Training]]
"""Number of the job and how it ended, as each ends."""


def train_with(
    engine: str,
    jobs: Sequence[Job],
    data: TensorData,
    on_epoch: OnEpoch,
    saved: Sequence[Checkpoint | None] = (),
) -> Trained:
    """Train `jobs`, of one kind, on `data` by the engine of this name.

    `saved` is each one's, as for `loop.train`. An exception ends what is left. Raises ValueError
    for jobs that cannot be trained so, KeyError for another name.
    """
    saved, compiled = saved or [None] * len(jobs), Engine(engine).is_compiled
    match Engine(engine).base:
        case "eager":
            callbacks = [partial(on_epoch, i) for i in range(len(jobs))]
            return enumerate(map(train, jobs, repeat(data), callbacks, saved))
        case "captured":
            return _captured(jobs, data, on_epoch, saved, compiled=compiled)
        case "streams":
            return _in_streams(jobs, data, on_epoch, saved, compiled=compiled)
        case "stacked" if data.device.type == "cuda":
            return _stacked_on_gpu(jobs, data, on_epoch, saved)
        case "stacked":
            return train_cohort(jobs, data, on_epoch, saved)
        case _:
            raise KeyError(engine)


def prepare(engine: str, jobs: Sequence[Job], data: TensorData) -> None:
    """Have the graphs ready that `train_with` keeps for jobs of this kind; a stack keeps none."""
    one = Engine(engine)
    if one.base in ("captured", "streams"):
        count = len(jobs) if one.base == "streams" else 1
        GRAPHS.of(graph_kind(jobs[0]), data, count, compiled=one.is_compiled)


def _captured(
    jobs: Sequence[Job],
    data: TensorData,
    on_epoch: OnEpoch,
    saved: Sequence[Checkpoint | None],
    *,
    compiled: bool,
) -> Trained:
    for i, job in enumerate(jobs):
        (runner,) = GRAPHS.of(graph_kind(job), data, 1, compiled=compiled)
        with runner.stream():
            training = train(job, data, partial(on_epoch, i), saved[i], runner)
        yield i, training


def _stacked_on_gpu(
    jobs: Sequence[Job], data: TensorData, on_epoch: OnEpoch, saved: Sequence[Checkpoint | None]
) -> Trained:
    """On a stream of its own, which is not the caller's when it gets a result."""
    stream = torch.cuda.Stream(data.device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(data.device))
    trainings = train_cohort(jobs, data, on_epoch, saved, prepare=captured_step)
    while True:
        with torch.cuda.stream(stream):
            item = next(trainings, None)
        if item is None:
            return
        yield item


class StoppedError(Exception):
    """The trainings beside this one are over before their end."""


def _in_streams(
    jobs: Sequence[Job],
    data: TensorData,
    on_epoch: OnEpoch,
    saved: Sequence[Checkpoint | None],
    *,
    compiled: bool,
) -> Trained:
    if len(set(map(graph_kind, jobs))) > 1:
        raise ValueError("streams: the jobs are of several kinds")
    # Captured here, one after the other: during a capture no other thread may use the device.
    runners = GRAPHS.of(graph_kind(jobs[0]), data, len(jobs), compiled=compiled)
    yield from side_by_side(jobs, data, on_epoch, runners, saved)


def side_by_side(
    jobs: Sequence[Job],
    data: TensorData,
    on_epoch: OnEpoch,
    runners: Sequence[CapturedStepRunner],
    saved: Sequence[Checkpoint | None],
) -> Trained:
    """Train each job with a runner of its own in a thread of its own.

    Where one raises, the others are trained to their end first. A caller that stops, or is
    stopped, ends them at their next epoch.
    """
    stop = Event()

    def train_one(i: int) -> Training:
        def report(epoch: Epoch) -> None:
            if stop.is_set():
                raise StoppedError
            on_epoch(i, epoch)

        with runners[i].stream():
            return train(jobs[i], data, report, saved[i], runners[i])

    errors: list[BaseException] = []
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = {pool.submit(train_one, i): i for i in range(len(jobs))}
        try:
            for future in as_completed(futures):
                if (error := future.exception()) is not None:
                    errors.append(error)
                else:
                    yield futures[future], future.result()
        finally:
            stop.set()
    if errors:
        raise errors[0]


KINDS_KEPT = 4
"""Kinds whose graphs are kept: a design goes draw by draw, with its models side by side."""


class GraphCache:
    """The graphs of this process: of a few kinds, so that they do not fill the device."""

    def __init__(self) -> None:
        self._runners: dict[tuple[Job, TensorData, bool], list[CapturedStepRunner]] = {}
        """What was used last comes last."""

    def of(
        self, kind: Job, data: TensorData, count: int, *, compiled: bool
    ) -> Sequence[CapturedStepRunner]:
        """`count` runners of this kind; missing ones are captured.

        Where the device is too full for that, those of all other kinds are freed first.
        """
        key = kind, data, compiled
        runners = self._runners[key] = self._runners.pop(key, [])
        if oldest := list(self._runners)[:-KINDS_KEPT]:
            self._drop(oldest)
        while len(runners) < count:
            try:
                runners.append(CapturedStepRunner(kind, data, compiled=compiled))
                continue
            except torch.OutOfMemoryError:
                if len(self._runners) == 1:
                    raise
            # Out of the handler, whose traceback holds what was allocated.
            self._drop([other for other in self._runners if other != key])
        return runners[:count]

    def clear(self) -> None:
        """Free all, and what stacks have left."""
        self._drop(list(self._runners))

    def _drop(self, keys: Sequence[tuple[Job, TensorData, bool]]) -> None:
        for key in keys:
            del self._runners[key]
        if any(compiled for _, _, compiled in keys):
            torch.compiler.reset()  # after eight kinds torch would compile no more, and not say so
        gc.collect()  # a graph and what it captured hold each other
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


GRAPHS = GraphCache()
