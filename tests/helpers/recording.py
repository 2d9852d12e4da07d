"""A stand-in for a CUDA graph on any device: the operations of a step, done again on its tensors.

As in a graph, what Python did between the operations is not done again: numbers that it put into
them are those of the recording, and only what lies in tensors can change.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from trainings import small

from stability.training.engines.captured import CapturedStepRunner
from stability.training.loop import Job
from stability.training.tensors import TensorData

WAITS = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "item"}
"""Operations whose answer Python waits for; a graph cannot hold them."""

COPIES = {"_to_copy", "copy_"}


class Recording(TorchDispatchMode):
    """Of one call of a function."""

    def __init__(self, step: Callable[[], None]) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[Any]]] = []
        with self:
            step()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, tree_leaves(out)))
        return out

    @property
    def waits(self) -> list[str]:
        """Names of the operations that a graph cannot hold."""
        names = [func.overloadpacket.__name__ for func, *_ in self.operations]
        return [name for name in names if name in WAITS]

    @torch.no_grad()
    def replay(self) -> None:
        """Do the operations again; each result takes the place of the recorded one."""
        for func, args, kwargs, before in self.operations:
            after = tree_leaves(func(*args, **kwargs))
            for old, new in zip(before, after, strict=True):
                if isinstance(old, Tensor) and not shares(old, new):
                    old.copy_(new)


def shares(one: Tensor, other: Tensor) -> bool:
    """Whether both lie in the same memory: of a view, or of what was changed in place."""
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


class Meta(TorchDispatchMode):
    """Where Python would wait for a GPU, were torch's device `meta` one.

    Its tensors have no content: asking for it is a wait, and so is a copy to it from the CPU that
    is not `non_blocking`, and whatever takes tensors of both.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        """Names of operations."""
        self.copies = 0
        """From the CPU, without a wait."""
        self._numbers = _Numbers(self.waits)

    def __enter__(self) -> "Meta":
        self._numbers.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._numbers.__exit__(*error)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        given = tensors_of((args, kwargs))
        is_mask = name in ("index", "index_put_") and any(t.dtype == torch.bool for t in given)
        if (name in WAITS or is_mask) and any(t.is_meta for t in given):
            self.waits.append(name)
        # Of the optimizers' kernels torch has none for meta.
        out = None if name.startswith("_fused_") else func(*args, **kwargs)
        host = [t for t in given if not t.is_meta and (t.dim() or name in COPIES)]
        if host and any(t.is_meta for t in (*given, *tensors_of(out))):
            if name in COPIES and (kwargs.get("non_blocking") or args[2:] == (True,)):
                self.copies += 1
            else:
                self.waits.append(name)
        return out


class _Numbers(TorchFunctionMode):
    """Tensors made of Python's numbers: their copy to the device is seen here alone."""

    def __init__(self, waits: list[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.__name__ in ("tensor", "as_tensor", "new_tensor") and out.is_meta:
            self.waits.append(func.__name__)
        return out


def tensors_of(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def recorded_runner(kind: Job, data: TensorData | None = None) -> CapturedStepRunner:
    """With a recording in the place of the graph; its numbers are as precise as the data."""
    data = data or small()
    runner = CapturedStepRunner(kind, data, capture=False)
    for holder in (runner, runner._tables):
        for name, value in vars(holder).items():
            if isinstance(value, Tensor) and value.dtype == torch.float32:
                setattr(holder, name, value.to(data.train.mean.dtype))
    decayed = runner._optimizer.groups[0]
    if isinstance(decayed.weight_decay, Tensor):  # a number is what the tests look for
        decayed.weight_decay = runner._weight_decay
    runner._model.train()
    recording = Recording(runner._step)
    assert len(recording.operations) > 30
    assert recording.waits == []
    runner._take_step = recording.replay
    return runner
