"""Which module may import which: the rules of docs/architecture.md."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from toys import ROOT

PACKAGES = ("stability", "sweeps", "analysis")
FORBIDDEN = {
    "analysis": {"torch", "submitit", "stability", "sweeps"},
    "sweeps": {"torch", "pandas", "stability", "analysis"},
    "stability/models": {"sweeps", "analysis", "optuna", "submitit", "pandas", "scipy", "sklearn"},
    "stability/data": {"sweeps", "analysis", "optuna", "submitit", "pandas", "scipy", "torch"},
    "stability/training": {"sweeps", "analysis", "optuna", "submitit", "pandas", "scipy"},
    "stability/cli": {"torch"},
}
INSIDE_FUNCTIONS = {"analysis": {"optuna", "sklearn", "sqlalchemy"}}
"""What a package may import, but not when it is imported itself."""
TABLE_PARSERS = re.compile(
    r"csv|sqlite3|sqlalchemy|pyarrow\.(csv|json|orc|feather|dataset)\b.*"
    r"|pandas\.(read_\w+|io\b.*|ExcelFile|HDFStore)"
    r"|optuna\.(storages\b.*|load_study|get_all_study_\w+)"
)
"""What reads tables of other tools. Parquet is also the format of the run directory itself."""
MOST_MODULES = 14
"""Of one folder, `__init__` not counted."""


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(
    node: ast.AST, *, in_functions: bool = True, for_types: bool = True
) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements below a node, with those inside functions and those for types or not."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif is_type_checking(child) and not for_types:
            continue
        elif in_functions or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from imports(child, in_functions=in_functions, for_types=for_types)


def names_of(statement: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """Full name of everything that a statement imports, by the name that it gets."""
    if isinstance(statement, ast.ImportFrom):
        assert statement.level == 0  # no relative imports here
        assert statement.module
        return {a.asname or a.name: f"{statement.module}.{a.name}" for a in statement.names}
    return {alias.asname or alias.name: alias.name for alias in statement.names}


def imported(source: str, *, in_functions: bool = True, for_types: bool = True) -> set[str]:
    """Top-level packages that a module imports."""
    found = imports(ast.parse(source), in_functions=in_functions, for_types=for_types)
    return {name.partition(".")[0] for statement in found for name in names_of(statement).values()}


def violations(folder: str, source: str) -> set[str]:
    at_once = imported(source, in_functions=False, for_types=False)
    return (imported(source) & FORBIDDEN[folder]) | (at_once & INSIDE_FUNCTIONS.get(folder, set()))


def table_parsers(source: str) -> set[str]:
    """Full names of what a module imports, or reaches by attributes, to read tables with."""
    tree = ast.parse(source)
    names = {k: v for statement in imports(tree) for k, v in names_of(statement).items()}
    chains = (ast.unparse(n).partition(".") for n in ast.walk(tree) if isinstance(n, ast.Attribute))
    reached = {f"{names[first]}.{rest}" for first, _, rest in chains if first in names}
    return {name for name in {*names.values(), *reached} if TABLE_PARSERS.fullmatch(name)}


def circles(sources: Mapping[str, str]) -> list[list[str]]:
    """Groups of modules that import each other, inside functions too, but not for types alone."""
    reaches = {
        module: {
            name if name in sources else name.rpartition(".")[0]
            for statement in imports(ast.parse(source), for_types=False)
            for name in names_of(statement).values()
        }
        & sources.keys()
        for module, source in sources.items()
    }
    grown = True
    while grown:
        grown = False
        for module, known in reaches.items():
            more = known.union(*(reaches[other] for other in known))
            grown = grown or more != known
            reaches[module] = more
    groups = {
        tuple(sorted(other for other in reaches[module] if module in reaches[other]))
        for module in reaches
    }
    return sorted(map(list, groups - {()}))


def modules() -> dict[str, str]:
    """Source of each module of the three packages, by its name."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): (
            path.read_text()
        )
        for path in paths
    }


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
    assert violations("sweeps", "def read():\n    import pandas as pd") == {"pandas"}
    inside = "if TYPE_CHECKING:\n    import optuna\ndef read():\n    from optuna import storages"
    assert violations("analysis", inside) == set()
    assert violations("analysis", "class A:\n    import optuna\n" + inside) == {"optuna"}


def test_only_analysis_parses_tables_of_other_tools() -> None:
    found = {name: bad for name, source in modules().items() if (bad := table_parsers(source))}
    assert [name for name in found if not name.startswith("analysis.")] == []
    assert "analysis.importers.formats.optuna_storage" in found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import csv", {"csv"}),
        ("def f():\n    import pandas as pd\n    return pd.read_csv('x')", {"pandas.read_csv"}),
        ("from pandas import read_json", {"pandas.read_json"}),
        ("import pyarrow as pa\npa.csv.read_csv('x')", {"pyarrow.csv", "pyarrow.csv.read_csv"}),
        ("from optuna.storages import RDBStorage", {"optuna.storages.RDBStorage"}),
        ("import optuna\noptuna.load_study(storage='x')", {"optuna.load_study"}),
        ("import optuna\nimport pyarrow.parquet as pq\npq.read_table('x')", set()),
        ("import pandas as pd\npd.concat([])\nmine.read_csv", set()),
    ],
)
def test_a_parser_of_tables_is_seen(source: str, found: set[str]) -> None:
    assert table_parsers(source) == found


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    assert circles(modules()) == []


def test_a_circle_is_seen() -> None:
    sources = {
        "p": "from p.a import x",
        "p.a": "import numpy\nfrom p import b",
        "p.b": "def late():\n    from p.c import z",
        "p.c": "import p.a",
        "p.d": "from p import x",
        "p.e": "if TYPE_CHECKING:\n    from p.f import T",
        "p.f": "from p.e import g",
    }
    assert circles(sources) == [["p.a", "p.b", "p.c"]]
    assert circles({**sources, "p.b": ""}) == []


def test_no_folder_has_too_many_modules() -> None:
    folders: dict[Path, int] = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            folders[path.parent] = folders.get(path.parent, 0) + (path.name != "__init__.py")
    assert {str(f): n for f, n in folders.items() if n > MOST_MODULES} == {}
    assert max(folders.values()) > 5


@pytest.mark.parametrize(
    ("statement", "unloaded"),
    [
        ("import stability", ["torch", "numpy", "pyarrow", "pydantic", "optuna", "submitit"]),
        ("import stability.data", ["torch", "PIL", "datasets", "matplotlib", "sklearn", "pandas"]),
        ("import analysis", ["torch", "optuna", "matplotlib", "seaborn", "scipy"]),
        ("import analysis.importers", ["torch", "optuna", "sqlalchemy", "matplotlib", "scipy"]),
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
