"""What workers find in their environment, wherever they run."""

import os

ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",  # a `sweeps/` in the folder of submission must not be imported
    "PYTHONIOENCODING": ":backslashreplace",  # a print never fails, whatever the locale encodes
    # A process per core, one thread each: 1.6 times the throughput of one process with two
    # threads; and an OpenMP thread that waits must not burn the other worker's core.
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    # Keep freed memory instead of handing it back and faulting it in again: 450 page faults a
    # step without, 7% of its time. Read by glibc when a process starts.
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
}


def visible_gpu(slot: str) -> str:
    """What CUDA calls the GPU of a slot: a number counts within the GPUs that are visible here.

    >>> visible_gpu("cpu:1")
    ''
    """
    kind, _, number = slot.partition(":")
    if kind != "cuda":
        return ""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",")[int(number)] if visible else number
