"""Whether torch would train on a GPU here, without loading torch."""

import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def is_gpu_here(environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> bool:
    """Whether there is a visible NVIDIA device and a torch built for GPUs.

    The probe checks it with torch later and reports a difference.
    """
    if environment.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return False
    try:
        if version("torch").endswith("+cpu"):
            return False
    except PackageNotFoundError:
        return False
    return any(devices.glob("nvidia[0-9]*"))
