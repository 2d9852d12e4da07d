"""Stage b of `gpu_day`: the tests marked `cuda`, each reported as soon as it ends.

    python -m benchmarks.gpu_tests FILE...

is the process that runs them by pytest. After a test that ends it, that hangs, or that leaves CUDA
unusable, a new process goes on with the rest.
"""

import os
import sys
from typing import Any

import pytest

from benchmarks.children import ROOT, Child, ChildError, Parent
from benchmarks.gpu_report import OUT_OF_TIME, Report

FILES = [f"tests/gpu/{path.name}" for path in sorted((ROOT / "tests/gpu").glob("test_cuda*.py"))]
"""Every test marked `cuda` is in one of them; other files need packages that may be missing."""
OPTIONS = ("-m", "cuda", "-p", "no:cacheprovider", "-W", "default", "--tb=short", "-q",
           "--continue-on-collection-errors")  # fmt: skip
"""Warnings are no errors here: other versions of libraries warn of other things."""
SLOW = ("compiled_kernels", "the_choice_measures")
"""In names of tests that take more than ten seconds on a GPU: they run last."""
TEST_SECONDS = 60.0  # a test that takes longer hangs
START_SECONDS = 60.0
MESSAGE = 1500  # characters of a failure that are kept, its last


def stage(report: Report) -> None:
    """Run the tests; on a GPU it is an error if none passes."""
    tests: dict[str, str] = {}
    """Outcome of each collected test; empty until it has run."""
    wanted: list[str] | None = None
    while wanted is None or wanted:
        before = dict(tests)
        if (fault := run(report, wanted, tests)) is not None:
            report.fail(fault)
            break
        wanted = [name for name, outcome in tests.items() if not outcome]
        if wanted and (tests == before or report.left <= 0):
            report.fail(f"{len(wanted)} tests have not run: {OUT_OF_TIME}")
            break
    counts = {"collected": len(tests), "run": 0, "passed": 0, "failed": 0, "skipped": 0}
    for outcome in filter(None, tests.values()):
        counts[outcome] += 1
        counts["run"] += outcome != "skipped"
    report.content["counts"] = counts
    report.say(", ".join(f"{count} {name}" for name, count in counts.items()))
    if not tests:
        report.fail(f"no test was collected{'' if report.left > 0 else f': {OUT_OF_TIME}'}")
    elif counts["skipped"] and not counts["run"]:
        report.content["is_skipped"] = True
        if report.device == "cuda":
            report.fail("every test was skipped: torch sees no CUDA device")


def run(report: Report, wanted: list[str] | None, tests: dict[str, str]) -> str | None:
    """Run tests in a new process until it ends; `wanted` are their names, None for all.

    Returns a fault of the process itself, which no test is to blame for.
    """
    current = ""
    child = Child("benchmarks.gpu_tests", *FILES)
    try:
        child.tell(wanted)
        while True:
            said = child.hear(min(TEST_SECONDS if tests else START_SECONDS, report.left))
            if "collected" in said and wanted is None:
                tests |= dict.fromkeys(said["collected"], "")
            elif "begins" in said:
                current = said["begins"]
            elif "test" in said:
                keep(report, tests, said)
            elif "status" in said:
                # Of pytest: 0 all passed, 1 some failed, 5 none collected, which is told apart.
                return None if said["status"] in (0, 1, 5) else said["why"]
    except ChildError as error:
        if report.left <= 0:
            return None
        if not current or tests.get(current):
            return None if tests else f"pytest: {error}"
        keep(report, tests, {"test": current, "outcome": "failed", "message": str(error)})
    finally:
        child.close()
    return None


def keep(report: Report, tests: dict[str, str], said: dict[str, Any]) -> None:
    """Keep how a test ended; an error of its clean-up after it has passed counts too."""
    name, outcome = said["test"], said["outcome"]
    if tests.get(name) == "failed":
        return
    tests[name] = outcome
    failed = f"{name}: {said['message'].strip()[-MESSAGE:]}" if outcome == "failed" else ""
    report.add(said, failed)


class Told:
    """A plugin of pytest that tells the parent what happens, and ends when CUDA is unusable."""

    def __init__(self, parent: Parent, wanted: list[str] | None) -> None:
        self._tell, self._wanted = parent.tell, wanted
        self.has_failed = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Choose the tests, the slow ones last."""
        wanted = self._wanted
        session.items[:] = sorted(
            (item for item in session.items if wanted is None or item.nodeid in wanted),
            key=lambda item: any(part in item.name for part in SLOW),
        )
        self._tell({"collected": [item.nodeid for item in session.items]})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported is a failed test."""
        if report.failed:
            self._tell({"test": report.nodeid, "outcome": "failed", "message": report.longreprtext})

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self._tell({"begins": nodeid})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test, its set-up or its clean-up has ended."""
        self.has_failed |= report.failed
        if report.when == "call" or not report.passed:
            self._tell(
                {
                    "test": report.nodeid,
                    "outcome": report.outcome,
                    "seconds": round(report.duration, 2),
                    "message": "" if report.passed else report.longreprtext,
                }
            )

    def pytest_runtest_logfinish(self) -> None:
        """Leave the rest to a new process if the failure left CUDA unusable."""
        if self.has_failed and not is_usable():
            os._exit(3)


def is_usable() -> bool:
    """Whether this process can still train; where it has not loaded torch, it always can."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return True
    try:
        torch.cuda.synchronize()
        torch.randn(8, device="cuda").sum().item()
        return not torch.cuda.is_current_stream_capturing()
    except Exception:  # an error of the device stays for the life of the process
        return False


def main() -> int:
    """Run the tests of one request. Returns the exit status of pytest."""
    parent = Parent()
    told = Told(parent, parent.hear())
    # Plug-ins that happen to be installed change what tests do.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    status = int(pytest.main([*OPTIONS, *sys.argv[1:]], plugins=[told]))
    parent.tell({"status": status, "why": f"pytest ended with status {status}; see log.txt"})
    return status


if __name__ == "__main__":
    sys.exit(main())
