"""What our own source must not do: open pickles, run text."""

import ast

from toys import ROOT

FORBIDDEN = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "yaml"}


def dangers(source: str) -> list[str]:
    """What opens pickles or runs text: imports, and calls without the argument that forbids it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.partition(".")[0] in FORBIDDEN]
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            found += [call] if call in ("eval", "exec", "os.system", "os.popen") else []
            if call.endswith("torch.load") and given.get("weights_only") != "True":
                found.append(call)
            if call in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
                found.append(call)
            found += ["shell=True"] if given.get("shell") == "True" else []
            found += ["read_pickle"] if call.endswith("read_pickle") else []
    return found


def test_nothing_of_ours_opens_a_pickle_or_runs_text() -> None:
    packages = ("stability", "sweeps", "analysis")
    sources = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    assert len(sources) > 100
    assert {str(path): bad for path in sources if (bad := dangers(path.read_text()))} == {}


def test_the_guard_can_fail() -> None:
    bad = (
        "import pickle", "from joblib import load", "torch.load(f)", "np.load(f)",
        "torch.load(f, weights_only=False)", "np.load(f, allow_pickle=True)", "eval(x)",
        "subprocess.run(x, shell=True)", "pd.read_pickle(f)",
    )  # fmt: skip
    assert all(len(dangers(line)) == 1 for line in bad)
    assert dangers("torch.load(f, weights_only=True); np.load(f, allow_pickle=False)") == []
