"""The digest of a user's code: which modules it covers, and which edits change it."""

import sys
from pathlib import Path

import pandas as pd
import pytest
from toys import make_run

from analysis import MixedCodeWarning, TableError, code_notes, load, samples
from analysis.table.code_versions import PROJECT_PACKAGES
from sweeps.objective import user_code
from sweeps.objective.user_code import UserCode, module_digest, named_modules
from sweeps.store import provenance, views
from sweeps.store.accepted import Accepted, CodeDecision, write_accepted
from sweeps.store.parts import Ledger, PartWriter
from sweeps.store.run_directory import RunDirectory
from sweeps.study.space import Hyperparameter
from sweeps.study.trial import Result

IMAGES = "stability.objective:train_images"
FILES = {
    "main.py": "import os\nimport numpy as np\nfrom package import a\nimport shared.deep\n",
    "package/__init__.py": "from . import b\n",
    "package/a.py": "from .sub.deep import z\n\ndef f():\n    from ..outside import x\n",
    "package/b.py": "def g():\n    import lazy\n",
    "package/unused.py": "x = 1\n",
    "package/sub/__init__.py": "",
    "package/sub/deep.py": "from .. import a\nfrom ..c import q\nz = 1\n",
    "package/c.py": "import main\nq = 2\n",
    "shared/deep.py": "x = 3\n",  # a folder without __init__.py
    "lazy.py": "try:\n    import missing\nexcept ImportError:\n    pass\n",
}
COVERED = {
    "main",
    *("package", "package.a", "package.b", "package.c", "package.sub", "package.sub.deep"),
    *("shared.deep", "lazy"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def version(folder: Path, module: str = "main") -> str | None:
    return UserCode.search(f"{module}:f", ["f"], folder).version("f")


def test_it_covers_the_users_modules_that_are_imported_and_nothing_else(folder: Path) -> None:
    (folder / "package" / "sub" / "site-packages").mkdir()
    assert set(UserCode.search("main:f", ["f"], folder).modules["main"]) == COVERED
    before = version(folder)
    (folder / "package" / "unused.py").write_text("x = 2")
    assert version(folder) == before


@pytest.mark.parametrize("name", [name for name in FILES if "unused" not in name])
def test_an_edit_of_any_of_them_is_another_version(folder: Path, name: str) -> None:
    before = version(folder)
    (folder / name).write_text(FILES[name] + "\n# a comment\n")
    assert version(folder) == before
    (folder / name).write_text(FILES[name] + "\nedited = 1\n")
    assert version(folder) != before


CODE = "from x import y\n\n@y\nclass A:\n    def f(self, a: int = 1):\n        return a + 10\n"


@pytest.mark.parametrize(
    "edited",
    [
        CODE + "# a comment\n",
        '"""A docstring."""\n' + CODE,
        CODE.replace("class A:\n", 'class A:\n    """Docstring."""\n\n'),
        CODE.replace("        return a + 10", '        """Doc."""\n        return (a\n  + 0xA)'),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(edited: str) -> None:
    assert module_digest(edited.encode())[0] == module_digest(CODE.encode())[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *(("10", "50"), ("10", "10.0"), ("10", "True"), ("= 1", "= 2"), ("a + 10", "a - 10")),
        *(
            ("@y\n", ""),
            ("import y", "import z as y"),
            ("a: int", "a: float"),
            ("self, a", "self, *a"),
        ),
        ("return a + 10", "return 'a + 10'"),
    ],
)
def test_what_the_code_does_counts(old: str, new: str) -> None:
    assert old in CODE
    assert module_digest(CODE.replace(old, new).encode())[0] != module_digest(CODE.encode())[0]


@pytest.mark.parametrize(
    "content", [b"def f(:\n", b"x = 1\0", b"\xff\xfe", b"x = " + b"-" * 100_000 + b"1"]
)
def test_what_cannot_be_parsed_counts_byte_by_byte(content: bytes) -> None:
    assert module_digest(content)[0] != module_digest(content + b" ")[0]


def test_the_text_that_is_hashed_is_the_same_in_every_version_of_python() -> None:
    """Pinned: another digest would say of every finished run that its code was edited."""
    assert module_digest(CODE.encode())[0] == "2b64e69fca7d"


def test_compiled_modules_count_byte_by_byte(folder: Path) -> None:
    from importlib.machinery import EXTENSION_SUFFIXES

    path = folder / f"shared/deep{EXTENSION_SUFFIXES[0]}"
    (folder / "shared" / "deep.py").unlink()
    path.write_bytes(b"\x7fELF 1")
    before = version(folder)
    path.write_bytes(b"\x7fELF 2")
    assert version(folder) != before


def test_nothing_is_imported_and_what_is_not_there_has_no_version(tmp_path: Path) -> None:
    (tmp_path / "explosive.py").write_text("raise SystemExit(1)")
    assert version(tmp_path, "explosive")
    assert version(tmp_path, "nosuch.module") is None
    assert version(tmp_path, "explosive.nosuch") is None


def test_an_installed_package_counts_where_it_is_named_and_not_where_it_is_imported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = folder / "lib" / "site-packages"
    (site / "installed").mkdir(parents=True)
    (site / "installed" / "__init__.py").write_text("x = 1")
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    (folder / "main.py").write_text("import installed")
    before, named = version(folder), version(folder, "installed")
    (site / "installed" / "part.py").write_text("x = 2")
    assert version(folder) == before
    assert version(folder, "installed") not in (named, None)


def test_an_editable_install_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.util import spec_from_file_location

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object, target: object = None) -> object:
            place = str(elsewhere / "__init__.py")
            parts = [str(elsewhere)]
            if name != "editable":
                return None
            return spec_from_file_location(name, place, submodule_search_locations=parts)

    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "__init__.py").write_text("")
    (elsewhere / "part.py").write_text("x = 1")
    (folder / "main.py").write_text("from editable import part")
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    before = version(folder)
    (elsewhere / "part.py").write_text("x = 2")
    assert version(folder) != before


def test_each_model_has_the_version_of_its_own_module(folder: Path) -> None:
    models = ["main:a", "lazy:b", "vitc-nano", "timm:resnet18", "torchvision:resnet18"]
    before = UserCode.search(IMAGES, models, folder)
    (folder / "main.py").write_text("edited = 1")
    after = UserCode.search(IMAGES, models, folder)
    assert before.version("main:a") != after.version("main:a")
    assert before.version("lazy:b") == after.version("lazy:b") not in ("", None)
    assert {after.version(model) for model in models[2:]} == {""}
    assert before.differences(after) == ["main"]


def test_a_dispatch_says_which_modules_a_version_had(folder: Path) -> None:
    run = RunDirectory(folder / "run")
    run.provenance.mkdir(parents=True)
    (run.provenance / "1.toml").write_text("code = {main = {main = 1979-05-27}}\n")
    (run.provenance / "2.toml").write_text("code = 3\n")
    code = UserCode.search("main:f", ["f"], folder)
    provenance.write_provenance(run, {"code": code.modules})
    assert provenance.modules_of(run, str(code.version("f"))) == code.modules["main"]
    assert provenance.modules_of(run, "0" * 12) == {}


# Of run directories and tables.


def test_trials_without_code_of_the_user_are_not_unknown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    first, second, *_ = run.read_design()
    writer = PartWriter(run, "w")
    writer.append(Result(trial=first.id, outcome="ok", values={"error": 1.0}), code="")
    writer.append(Result(trial=second.id, outcome="ok", values={"error": 1.0}))
    views.rebuild(run)
    assert pd.read_parquet(run.results)["code"].isna().tolist() == [True, True]
    now = Accepted(codes=frozenset(), unknown=False)
    write_accepted(run, CodeDecision(accepted=now, replaces_results=True))
    ledger = Ledger(run)
    ledger.refresh()
    assert (ledger.is_trained(first.id), ledger.is_trained(second.id)) == (True, False)


def test_a_hyperparameter_called_code_keeps_its_column(tmp_path: Path) -> None:
    """Earlier versions allowed the name."""
    run = make_run(tmp_path / "run", space=(Hyperparameter(name="code", low=1.0, high=2.0),))
    trial = run.read_design()[0]
    values = {"error": 1.0, "metrics": [{"name": "other", "value": 3.0}]}
    PartWriter(run, "w").append(Result(trial=trial.id, outcome="ok", values=values), code="0" * 12)
    views.rebuild(run)
    assert pd.read_parquet(run.results)["code"].tolist() == [trial.hyperparameters["code"]]


def table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"model": "a", "error": [1.0, 2.0, 3.0], **columns})


ONE, TWO = "1" * 12, "2" * 12


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, []),
        ({"code": None}, []),
        ({"code": ONE, "objective": "svm:fit"}, []),
        ({"code": [ONE, ONE, TWO]}, ["2 versions of your code: 2 from 1111"]),
        ({"code": [ONE, ONE, None]}, ["1 of 3 results come from an unknown version of your code"]),
        ({"objective": "svm:fit"}, ["3 of 3 results come from an unknown version of svm"]),
        ({"objective": IMAGES}, []),
        (
            {"objective": IMAGES, "model": ["vitc", "nets:a", "timm:b"]},
            ["1 of 1", "version of nets"],
        ),
        ({"code": [ONE, ONE, TWO], "model": ["x:a", "x:b", "y:c"]}, []),
        ({"code": [ONE, TWO, TWO], "model": ["x:a", "x:b", "y:c"]}, ["2 versions of x"]),
        ({"code": [ONE, TWO, TWO], "outcome": ["ok", "missing", "crashed"]}, []),
        ({"code": [1.0, 2.0, 3.0]}, []),  # somebody's own column
    ],
)
def test_what_is_said_of_a_table(columns: dict[str, object], words: list[str]) -> None:
    notes = code_notes(table(**columns))
    assert bool(notes) == bool(words)
    assert all(word in notes[0] for word in words)


def test_samples_of_several_versions_warn_and_say_so() -> None:
    with pytest.warns(MixedCodeWarning, match="2 versions"):
        (sample,) = samples(table(code=[ONE, ONE, TWO]))
    assert "2 versions" in sample.code[0]


def test_a_trial_of_two_versions_in_two_sources_is_a_fault(tmp_path: Path) -> None:
    for name, code in {"x": ONE, "y": TWO}.items():
        table(trial=["a", "b", "c"], code=code).to_csv(tmp_path / f"{name}.csv", index=False)
    with pytest.raises(TableError, match="trial 'a' and 2 more are in"):
        load([tmp_path / "x.csv", tmp_path / "y.csv"])


def test_both_packages_know_the_same_modules_as_not_the_users() -> None:
    assert (*user_code.PROGRAM_PACKAGES, *user_code.MODEL_PACKAGES) == PROJECT_PACKAGES
    assert named_modules("analysis.x:f", "torchvision:y") == ()
