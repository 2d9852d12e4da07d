"""What README and docs promise: commands that exist, files that are there, code that runs."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import PAGES, PLAIN, STABILITY, commands, request
from picture_files import write_classes
from toys import ROOT

from benchmarks.scale_page import filled, measured_on, table
from stability.cli.app import app


def sweeps() -> list[list[str]]:
    return [command for command in commands() if command[1] == "sweep"]


def test_the_examples_of_the_pages_are_the_files_beside_them() -> None:
    shown = re.findall(
        r"```(?:python|toml)\n(.*?)```", (ROOT / "docs/own.md").read_text(), re.DOTALL
    )
    files = [path.read_text() for path in sorted((ROOT / "docs" / "examples").glob("*.*"))]
    assert sorted(shown) == sorted(files)
    assert len(files) == 5


def test_there_are_commands_to_check() -> None:
    assert len(sweeps()) >= 5


@pytest.mark.parametrize("command", sweeps(), ids=" ".join)
def test_each_sweep_of_the_pages_is_without_a_fault(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for example in (ROOT / "docs" / "examples").iterdir():
        if example.is_file():
            shutil.copy(example, tmp_path)
    write_classes(tmp_path / "photos", each=50, side=40)  # where the pages have their pictures
    monkeypatch.setattr("sweeps.executors.slurm.commands.missing", list)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    profiles = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "slurm.md").read_text(), re.DOTALL)
    Path("stability.toml").write_text("\n".join(profiles))
    given: dict[str, list[str]] = {}
    for name, value in zip(command[2::2], command[3::2], strict=True):
        name = "--workers" if name == "--parallel" else name
        given.setdefault(name.removeprefix("--").replace("-", "_"), []).append(value)
    plain = {**PLAIN, "model": "vitp,vitc", "optim": "adamw"}
    changes: dict[str, object] = {
        name: values if isinstance(plain.get(name), list) else values[0]
        for name, values in given.items()
    }
    if "study" in given or "objective" in given:
        plain = {name: [] if isinstance(value, list) else None for name, value in PLAIN.items()}
    if "study" in given:
        changes["study"] = Path(given["study"][0])
    assert request(**{**plain, **changes}).study.trials > 0


def test_each_command_of_the_pages_exists_and_each_that_exists_is_in_readme() -> None:
    names = {str(c.name or getattr(c.callback, "__name__", "")) for c in app.registered_commands}
    used = {command[1] for command in commands()}
    assert used == names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_each_dependency_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    blocks = re.findall(r"(?:dependencies|dev|data) = \[\n(.*?)\n\]", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) > 15
    assert [line for line in lines if not re.search(r"#\s*\S+", line)] == []


def test_no_source_file_is_over_400_lines() -> None:
    packages = ("stability", "sweeps", "analysis", "tests", "benchmarks")
    files = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    assert len(files) > 50
    long = {path.name for path in files if len(path.read_text().splitlines()) > 400}
    assert long == set()


def test_no_function_is_over_40_lines_without_its_docstring() -> None:
    long = []
    for package in ("stability", "sweeps", "analysis", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef) and code_lines(node) > 40:
                    long.append(f"{path.name}: {node.name}")
    assert long == []


def code_lines(function: ast.FunctionDef) -> int:
    """Lines of the body; a command has a line of its signature for each option."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]


def test_every_file_that_a_page_names_exists() -> None:
    named = re.compile(r"`((?:stability|sweeps|analysis|benchmarks|tests|docs)/[\w/.-]+\.\w+)`")
    paths = {
        path
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for path in named.findall(page.read_text())
    }
    assert len(paths) > 50
    assert {path for path in paths if not (ROOT / path).exists()} == set()


def test_no_page_has_a_gap_to_fill() -> None:
    gaps = {page.name: re.findall(r"\b[A-Z]+_TEXT\b|TODO|WIDE", page.read_text()) for page in PAGES}
    assert {name: found for name, found in gaps.items() if found} == {}


def test_help_starts_at_once() -> None:
    """What makes `--help` slow is what it imports: nothing but the option parser."""
    code = "import sys; from stability.cli import app; print(len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400
    assert Path(STABILITY).exists()


def test_the_page_on_scale_shows_the_numbers_that_were_measured() -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    found = json.loads((ROOT / "benchmarks" / "scale.json").read_text())
    assert [row["trials"] for row in found["rows"]] == [1000, 3000, 10_000, 30_000, 100_000]
    assert filled(page, "machine", measured_on(found)) == page
    assert filled(page, "table", table(found)) == page
    assert filled(page, "table", "another") != page
