"""The user's own code: the modules that decide a result, with a digest of each.

These are the modules that the objective and the model of a trial name, and the user's own modules
that they import, directly or through others. Modules are searched as a worker searches them
(`sys.path`, then the folder of submission) and parsed, never imported.
"""

import ast
import hashlib
import importlib
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from sweeps.study.objectives import PROGRAM_PACKAGES
from sweeps.study.trial import digest

MODEL_PACKAGES = ("timm", "torchvision")
"""Packages of models: `timm:resnet18` names no module of the user."""
INSTALL_FOLDERS = {"site-packages", "dist-packages"}
CODE_DIGITS = 12
_IGNORED = ("ctx", "kind", "type_comment", "type_ignores")
"""Fields of a syntax tree that do not change what the code does."""
_STDLIB = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]

Modules = dict[str, str]
"""By name of a module, the digest of its code."""


@dataclass(frozen=True, kw_only=True)
class UserCode:
    """The user's code of a study, as it was when it was searched."""

    objective: str
    modules: dict[str, Modules]
    """By module that the objective or a model names: digests of it and of what it imports; empty if
    it was not found."""

    @classmethod
    def search(cls, objective: str, models: Iterable[str], folder: Path) -> "UserCode":
        """Read the files as they are now.

        Args:
            objective: `module:function`.
            models: names of models; a name with a colon names a module.
            folder: searched last, as in a worker.
        """
        names = dict.fromkeys(name for model in models for name in named_modules(objective, model))
        return cls(objective=objective, modules=dict.fromkeys(names, Modules())).search_again(
            folder
        )

    def version(self, model: str) -> str | None:
        """Return the digest of the code of a model's trials: 12 hexadecimal digits.

        Empty if no code of the user is involved, None if it cannot be found.
        """
        if not (names := named_modules(self.objective, model)):
            return ""
        modules = self._of(names)
        return digest(modules, CODE_DIGITS) if modules else None

    def checkpoint_digest(self, model: str) -> str:
        """Return the digest for checkpoints: as `version`, a constant without such code."""
        return digest(self._of(named_modules(self.objective, model)), CODE_DIGITS)

    def _of(self, names: Iterable[str]) -> Modules:
        found = (self.modules.get(name, {}) for name in names)
        return {module: code for modules in found for module, code in modules.items()}

    def differences(self, other: "UserCode") -> list[str]:
        """Return the modules of which `other` has another version, as far as both have them."""
        return list(
            dict.fromkeys(
                module
                for name, mine in self.modules.items()
                if mine and (theirs := other.modules.get(name))
                for module in changed_modules(mine, theirs)
            )
        )

    def search_again(self, folder: Path) -> "UserCode":
        """Search the same modules again, as the files are now."""
        if self.modules:
            importlib.invalidate_caches()  # a file may be new
        modules = {name: _closure(name, folder) for name in self.modules}
        return UserCode(objective=self.objective, modules=modules)

    def loaded(self) -> set[str]:
        """Return the modules that this process has imported."""
        return {m for modules in self.modules.values() for m in modules if m in sys.modules}


def named_modules(objective: str, model: str) -> tuple[str, ...]:
    """Return the modules of the user that the objective and the model of a trial name.

    >>> named_modules("svm:fit", "fit")
    ('svm',)
    >>> named_modules("stability.images:train", "mymodels:mlp")
    ('mymodels',)
    >>> named_modules("stability.images:train", "timm:resnet18")
    ()
    """
    names = (objective, model) if ":" in model else (objective,)
    modules = dict.fromkeys(name.partition(":")[0] for name in names)
    return tuple(
        m for m in modules if m.partition(".")[0] not in (*PROGRAM_PACKAGES, *MODEL_PACKAGES)
    )


def changed_modules(before: Modules, after: Modules) -> list[str]:
    """Return modules that were edited, sorted; if none was, those that only one side has."""
    edited = [module for module in before.keys() & after.keys() if before[module] != after[module]]
    return sorted(edited or before.keys() ^ after.keys())


def _closure(root: str, folder: Path) -> Modules:
    """Return digests of the module `root` and of the user's own modules that it imports."""
    search, found = _Search(folder), Modules()
    top = search.spec(root.partition(".")[0])
    if top is not None and INSTALL_FOLDERS & set(Path(_location(top) or "/").parts):
        return _digest_of_package(root, search)
    todo, seen = [root], set[str]()
    while todo:
        parts = todo.pop().split(".")
        for end in range(1, len(parts) + 1):  # importing a.b runs a as well
            name = ".".join(parts[:end])
            if name in seen:
                continue
            seen.add(name)
            spec = search.spec(name)
            if spec is None or not _is_own(name, spec):
                break
            if (content := _content(spec)) is None:
                continue  # a folder without __init__.py
            is_python = bool(spec.origin and spec.origin.endswith((".py", ".pyw")))
            found[name], tree = module_digest(content, is_python=is_python)
            if tree is not None:
                is_package = spec.submodule_search_locations is not None
                todo += _imports(tree, name if is_package else name.rpartition(".")[0])
    return found if root in found else {}


def module_digest(content: bytes, *, is_python: bool = True) -> tuple[str, ast.Module | None]:
    """Return the digest of a module, and its syntax tree if it is Python.

    Comments, docstrings and layout do not count; code that cannot be parsed counts byte by byte.

    >>> one, same, other = (b"x = 1  # one", b"x = 1", b"x = 1.0")
    >>> module_digest(one)[0] == module_digest(same)[0] != module_digest(other)[0]
    True
    """
    tree = None
    if is_python:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the user's code: Python says it on import
                tree = ast.parse(content)
            content = _normalized(tree).encode(errors="surrogatepass")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass
    return hashlib.sha256(content).hexdigest()[:CODE_DIGITS], tree


def _normalized(node: Any) -> str:
    """Return a syntax tree as text that is the same in every version of Python."""
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{node.value!r}"
    if isinstance(node, ast.AST):
        fields = (
            f"{name}={_normalized(value)}"
            for name, value in ast.iter_fields(node)
            if name not in _IGNORED and value is not None and value != []
        )
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(_normalized(one) for one in node if not _has_no_effect(one))}]"
    return repr(node)


def _has_no_effect(node: Any) -> bool:
    """Whether it is a docstring, another string that stands alone, or `pass`."""
    is_constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Pass) or (is_constant and isinstance(node.value.value, str))


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield imported names that may be modules, also those imported inside of functions.

    Relative imports begin at `package`.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".") if package else []
            kept = above[: len(above) - node.level + 1] if node.level else []
            base = ".".join([*kept, *([node.module] if node.module else [])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


class _Search:
    """Finds modules without importing them; each name is looked up once."""

    def __init__(self, folder: Path) -> None:
        self._path = [*sys.path, str(folder)]
        self._found: dict[str, ModuleSpec | None] = {}

    def spec(self, name: str) -> ModuleSpec | None:
        """Return the spec of a module; None if there is none."""
        if name not in self._found:
            self._found[name] = self._spec(name)
        return self._found[name]

    def _spec(self, name: str) -> ModuleSpec | None:
        package, _, last = name.rpartition(".")
        if package:
            above = self.spec(package)
            places = None if above is None else above.submodule_search_locations
            if places is None:
                return None
            # By its last name: by the whole one, a namespace package asks for its imported parent.
            return PathFinder.find_spec(last, list(getattr(places, "_path", places)))
        for finder in sys.meta_path:  # editable installs have finders of their own
            if (find := getattr(finder, "find_spec", None)) is None:
                continue
            try:
                spec = find(name, self._path if finder is PathFinder else None)
            except Exception:
                continue
            if spec is not None:
                return spec  # type: ignore[no-any-return]
        return None


def _location(spec: ModuleSpec) -> str | None:
    """Return the file of a module, or the folder of a package without one; None if built in."""
    if spec.has_location:
        return spec.origin
    places = spec.submodule_search_locations
    return next(iter(getattr(places, "_path", places)), None) if places else None


def _is_own(name: str, spec: ModuleSpec) -> bool:
    """Whether it is the user's: not of this program, of Python, or installed."""
    if name.partition(".")[0] in PROGRAM_PACKAGES or (place := _location(spec)) is None:
        return False
    path = Path(place)
    return not (INSTALL_FOLDERS & set(path.parts) or any(map(path.is_relative_to, _STDLIB)))


def _content(spec: ModuleSpec) -> bytes | None:
    """Return the content of the module's file; None if it has none or it cannot be read."""
    if not spec.has_location or spec.loader is None or spec.origin is None:
        return None
    try:
        return bytes(spec.loader.get_data(spec.origin))  # type: ignore[attr-defined]
    except (OSError, AttributeError):
        return None


def _digest_of_package(root: str, search: _Search) -> Modules:
    """Return one digest of all Python files of an installed package that the user names."""
    name = root.partition(".")[0]
    top = search.spec(name)
    if top is None or search.spec(root) is None:
        return {}
    places = top.submodule_search_locations
    if places is None:
        content = _content(top)
        return {} if content is None else {name: module_digest(content)[0]}
    whole = hashlib.sha256()
    for folder in map(Path, getattr(places, "_path", places)):
        for path in sorted(folder.rglob("*.py")):
            whole.update(str(path.relative_to(folder)).encode(errors="surrogateescape"))
            whole.update(hashlib.sha256(path.read_bytes()).digest())
    return {name: whole.hexdigest()[:CODE_DIGITS]}
