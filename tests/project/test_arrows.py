"""Which package may know which: the arrows of docs/architecture.md."""

import ast
import subprocess
import sys

import pytest
from toys import ROOT

FORBIDDEN = {
    "analysis": {"torch", "optuna", "submitit", "stability", "sweeps"},
    "sweeps": {"torch", "stability", "analysis"},
    "stability/models": {"sweeps", "analysis", "optuna", "submitit", "pandas", "scipy", "sklearn"},
    "stability/data": {"sweeps", "analysis", "optuna", "submitit", "pandas", "scipy", "torch"},
    "stability/training": {"sweeps", "analysis", "optuna", "submitit", "pandas", "scipy"},
    "stability/cli": {"torch"},
}


def imported(source: str) -> set[str]:
    """Top-level packages that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def violations(folder: str, source: str) -> set[str]:
    return imported(source) & FORBIDDEN[folder]


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_no_module_imports_what_its_package_must_not_know(folder: str) -> None:
    modules = list((ROOT / folder).rglob("*.py"))
    assert modules
    found = {str(path): bad for path in modules if (bad := violations(folder, path.read_text()))}
    assert found == {}


def test_the_guard_can_fail() -> None:
    hidden = "if True:\n    from torch.nn import Linear\n    import sweeps.study.trial"
    assert violations("analysis", hidden) == {"torch", "sweeps"}
    assert violations("sweeps", "import numpy\nfrom sweeps import trial") == set()


@pytest.mark.parametrize(
    ("statement", "unloaded"),
    [
        ("import stability", ["torch", "numpy", "pyarrow", "pydantic", "optuna", "submitit"]),
        ("import stability.data", ["torch", "PIL", "datasets", "matplotlib", "sklearn", "pandas"]),
        ("import analysis", ["torch", "optuna", "matplotlib", "seaborn", "scipy"]),
        (
            "import stability.cli.study.request",
            ["torch", "optuna", "pandas", "matplotlib", "sklearn"],
        ),
        ("from stability.cli import app", ["torch", "numpy", "pyarrow", "optuna", "pydantic"]),
        ("import sweeps.worker.worker", ["torch", "pandas", "scipy", "matplotlib", "stability"]),
        ("import stability.objective", ["pandas", "scipy", "sklearn", "optuna", "matplotlib"]),
    ],
)
def test_what_an_import_does_not_load(statement: str, unloaded: list[str]) -> None:
    code = f"{statement}; import sys; print(*sorted(set({unloaded}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
