"""The engines of `engine_names`: each gives what `loop.train` gives, to rounding."""

import gc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event

import torch

from stability.training.engines.captured import CapturedStepRunner, captured_step, kind_of
from stability.training.engines.cohort import train_cohort
from stability.training.engines.names import Engine
from stability.training.loop import Epoch, Job, train
from stability.training.outcome import Training
from stability.training.state import Saved
from stability.training.tensors import TensorData

OnEpoch = Callable[[int, Epoch], None]
Trained = Iterator[tuple[int, Training]]
"""Number of the job and how it ended, as each ends."""


def train_with(
    engine: str,
    jobs: Sequence[Job],
    data: TensorData,
    on_epoch: OnEpoch,
    saved: Sequence[Saved | None] = (),
) -> Trained:
    """Train `jobs`, of one kind, on `data` by the engine of this name.

    `saved` is each one's, as for `loop.train`. An exception ends what is left. Raises ValueError
    for jobs that cannot be trained so, KeyError for another name.
    """
    kept = saved or [None] * len(jobs)
    compiled = Engine(engine).is_compiled
    if Engine(engine).way == "captured":
        yield from _captured(jobs, data, on_epoch, kept, compiled=compiled)
    elif Engine(engine).way == "streams":
        yield from _streams(jobs, data, on_epoch, kept, compiled=compiled)
    elif engine == "stacked":
        yield from _stacked(jobs, data, on_epoch, kept)
    elif engine == "eager":
        for i, job in enumerate(jobs):
            yield i, train(job, data, _numbered(i, on_epoch), kept[i])
    else:
        raise KeyError(engine)


def prepare(engine: str, jobs: Sequence[Job], data: TensorData) -> None:
    """Have the graphs ready that `train_with` keeps for jobs of this kind; a stack keeps none."""
    one = Engine(engine)
    if one.way in ("captured", "streams"):
        count = len(jobs) if one.way == "streams" else 1
        STEP_RUNNERS.of(kind_of(jobs[0]), data, count, compiled=one.is_compiled)


def _stacked(
    jobs: Sequence[Job], data: TensorData, on_epoch: OnEpoch, saved: Sequence[Saved | None]
) -> Trained:
    if data.device.type != "cuda":
        return train_cohort(jobs, data, on_epoch, saved)
    stream = torch.cuda.Stream(data.device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(data.device))
    return _on(stream, train_cohort(jobs, data, on_epoch, saved, prepare=captured_step))


def _on(stream: torch.cuda.Stream, trainings: Trained) -> Trained:
    """Each piece of the work on `stream`, which is the caller's no more when it gets a result."""
    while True:
        with torch.cuda.stream(stream):
            item = next(trainings, None)
        if item is None:
            return
        yield item


def _captured(
    jobs: Sequence[Job],
    data: TensorData,
    on_epoch: OnEpoch,
    saved: Sequence[Saved | None],
    *,
    compiled: bool,
) -> Trained:
    for i, job in enumerate(jobs):
        (rig,) = STEP_RUNNERS.of(kind_of(job), data, 1, compiled=compiled)
        with rig.lane():
            training = train(job, data, _numbered(i, on_epoch), saved[i], rig)
        yield i, training


def _streams(
    jobs: Sequence[Job],
    data: TensorData,
    on_epoch: OnEpoch,
    saved: Sequence[Saved | None],
    *,
    compiled: bool,
) -> Trained:
    if len(set(map(kind_of, jobs))) > 1:
        raise ValueError("streams: the jobs are of several kinds")
    # Captured here, one after the other: during a capture no other thread may use the device.
    rigs = STEP_RUNNERS.of(kind_of(jobs[0]), data, len(jobs), compiled=compiled)
    yield from side_by_side(jobs, data, on_epoch, rigs, saved)


class StoppedError(Exception):
    """The trainings beside this one are over before their end."""


def side_by_side(
    jobs: Sequence[Job],
    data: TensorData,
    on_epoch: OnEpoch,
    rigs: Sequence[CapturedStepRunner],
    saved: Sequence[Saved | None],
) -> Trained:
    """Each job with a rig of its own in a thread of its own.

    Where one raises, the others are trained to their end first. A caller that stops, or is
    stopped, ends them at their next epoch.
    """
    stop = Event()

    def one(i: int) -> Training:
        def heard(epoch: Epoch) -> None:
            if stop.is_set():
                raise StoppedError
            on_epoch(i, epoch)

        with rigs[i].lane():
            return train(jobs[i], data, heard, saved[i], rigs[i])

    errors: list[BaseException] = []
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = {pool.submit(one, i): i for i in range(len(jobs))}
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


KEPT = 4
"""Kinds whose graphs are kept: a design goes draw by draw, with its models side by side."""


class Rigs:
    """The graphs of this process: of a few kinds, so that they do not fill the device."""

    def __init__(self) -> None:
        self._rigs: dict[tuple[Job, TensorData, bool], list[CapturedStepRunner]] = {}
        """What was used last comes last."""

    def of(
        self, kind: Job, data: TensorData, count: int, *, compiled: bool
    ) -> Sequence[CapturedStepRunner]:
        """So many rigs of this kind; those that are not there yet are captured.

        Where the device is too full for that, those of all other kinds are freed first.
        """
        key = kind, data, compiled
        rigs = self._rigs[key] = self._rigs.pop(key, [])
        if oldest := list(self._rigs)[:-KEPT]:
            self._drop(oldest)
        while len(rigs) < count:
            try:
                rigs.append(CapturedStepRunner(kind, data, compiled=compiled))
                continue
            except torch.OutOfMemoryError:
                if len(self._rigs) == 1:
                    raise
            # Out of the handler, whose traceback holds what was allocated.
            self._drop([other for other in self._rigs if other != key])
        return rigs[:count]

    def clear(self) -> None:
        """Free all, and what stacks have left."""
        self._drop(list(self._rigs))

    def _drop(self, keys: Sequence[tuple[Job, TensorData, bool]]) -> None:
        for key in keys:
            del self._rigs[key]
        if any(compiled for _, _, compiled in keys):
            torch.compiler.reset()  # after eight kinds torch would compile no more, and not say so
        gc.collect()  # a graph and what it captured hold each other
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


STEP_RUNNERS = Rigs()


def _numbered(i: int, on_epoch: OnEpoch) -> Callable[[Epoch], None]:
    return lambda epoch: on_epoch(i, epoch)
