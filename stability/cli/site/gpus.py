"""Whether torch would train on a GPU here, without loading torch."""

import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def is_gpu_here(environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> bool:
    """A device of NVIDIA's driver that is not hidden, and a torch that is not for CPUs alone.

    The probe, which has torch, has the last word; where it finds otherwise, that is said.
    """
    if environment.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return False
    try:
        if version("torch").endswith("+cpu"):
            return False
    except PackageNotFoundError:
        return False
    return any(devices.glob("nvidia[0-9]*"))
