"""The process of one stage of `gpu_day`, which starts it.

python -m benchmarks.gpu_stages STAGE DEVICE SECONDS FILE
"""

import importlib
import os
import signal
import sys
import threading
from pathlib import Path

from benchmarks.children import in_words
from benchmarks.gpu_report import Report

MODULES = {
    "a": "benchmarks.gpu_numbers",
    "b": "benchmarks.gpu_tests",
    "c": "benchmarks.gpu_engines",
    "d": "benchmarks.vit_throughput",
    "e": "benchmarks.gpu_sweep",
}
"""Where the function `stage` of each is."""


def end_with_the_parent() -> None:
    """Kill this process group when `gpu_day` is gone, which holds the other end of the input."""
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    """Run the stage; an exception is one of its errors. Returns the exit status."""
    threading.Thread(target=end_with_the_parent, daemon=True).start()
    name, device, seconds, path = sys.argv[1:]
    report = Report(Path(path), device, float(seconds))
    try:
        importlib.import_module(MODULES[name]).stage(report)
    except Exception as error:
        report.fail(in_words(error))
        report.content["is_complete"] = True
        report.save()
        raise  # the traceback is for the log
    report.content["is_complete"] = True
    report.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
