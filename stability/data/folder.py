"""`folder:PATH`: a folder of images for each class, with or without folders for the parts.

    PATH/<class>/*.jpg                                       split into three parts
    PATH/train/<class>/*.jpg  PATH/val/...  PATH/test/...    val or test, or both

Every file in a class's folder has to be an image; hidden files are passed over. Beside the folders
there may be other files (a README), but no images.
"""

import difflib
import os
from pathlib import Path

from stability.data.decode import SUFFIXES, ImageSource
from stability.data.faults import DataError, Findings
from stability.data.images import ImageData
from stability.data.listing import Listing
from stability.data.names import DataName

PART_OF = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Name of a folder, in lower case -> part."""
SYSTEM_FILES = ("Thumbs.db", "desktop.ini")  # left by file managers, as hidden files are


def load_folder(name: DataName) -> ImageData:
    """The images of the folder `name.path`. Raises DataError with every fault."""
    check_exists(name.path)
    if not name.path.is_dir():
        raise DataError([f"{name.path} is a file, a folder is needed"])
    return list_folder(name.path).data(name, f"folder:{name.path}@64 crops and resizes to 64")


def check_exists(path: Path) -> None:
    """Raise DataError where nothing is at `path`, with the nearest name beside it."""
    if path.exists():
        return
    there = next(folder for folder in path.parents if folder.is_dir())
    part = path.relative_to(there).parts[0]
    near = difflib.get_close_matches(part, [p.name for p in there.iterdir()], n=1, cutoff=0.5)
    hint = f" (did you mean {there / near[0]}?)" if near else ""
    raise DataError([f"there is no {path}{hint}"])


def list_folder(root: Path) -> Listing:
    """What lies in the folders of `root`, by sorted names."""
    findings = Findings()
    folders = {child.name: child for child in visible(root) if child.is_dir()}
    parts = {
        name: folder
        for name, folder in folders.items()
        if name.lower() in PART_OF and any(child.is_dir() for child in visible(folder))
    }
    if not parts:
        check_level(root, folders)
        found = {"all": class_folders(root, root, findings)}
    else:
        images_outside(root, root, findings)
        found = {}
        for name, folder in parts.items():
            part = PART_OF[name.lower()]
            if part in found:
                findings.add(f"folders that are both the {part} part", name)
            found[part] = class_folders(root, folder, findings)
        strangers = sorted(set(folders) - set(parts))
        if strangers:
            findings.add(f"folders beside {' and '.join(parts)} that are no part", *strangers)
    return listing_of(root, found, findings)


def check_level(root: Path, folders: dict[str, Path]) -> None:
    """Raise DataError where the folders of `root` hold folders, and none a file."""
    inside = {name: visible(folder) for name, folder in folders.items()}
    higher = [name for name, children in inside.items() if any(c.is_dir() for c in children)]
    if higher and all(child.is_dir() for children in inside.values() for child in children):
        nearest = " or ".join(f"folder:{root / name}" for name in higher[:3])
        raise DataError(
            [
                f"{root}: its folders hold folders and no images, needed is PATH/<class>/*.jpg; "
                f"one level deeper is {nearest}"
            ]
        )


def text_of(path: Path | str) -> str:
    r"""A name as text: bytes that are not UTF-8 are written out, as a study is kept in UTF-8.

    >>> text_of(os.fsdecode(b"caf\xe9"))
    'caf\\xe9'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def listing_of(root: Path, found: dict[str, dict[str, list[Path]]], findings: Findings) -> Listing:
    """`found`: part -> class -> images. What is learned decides which classes there are."""
    classes = tuple(sorted(found.get("all", found.get("train", next(iter(found.values()))))))
    parts: dict[str, list[tuple[int, ImageSource]]] = {}
    for part, by_class in found.items():
        for text in sorted(set(by_class) - set(classes)):
            findings.add("classes without training images", f"{part}/{text}")
        parts[part] = [
            (label, ImageSource(text_of(path.relative_to(root)), lambda path=path: path))  # type: ignore[misc]
            for label, text in enumerate(classes)
            for path in by_class.get(text, [])
        ]
    if not classes:
        raise DataError([f"{root}: no folders of classes in it, as in PATH/cat/1.jpg"])
    return Listing(classes, parts, findings)


def class_folders(root: Path, folder: Path, findings: Findings) -> dict[str, list[Path]]:
    """From class to its images."""
    images_outside(root, folder, findings)
    found = {}
    for child in visible(folder):
        if child.is_dir():
            if text_of(child.name) in found:
                findings.add(
                    "two folders of one class, their names being the same when written as text",
                    child.name,
                )
            found[text_of(child.name)] = [path for path in visible(child) if not path.is_dir()]
            nested = [text_of(p.relative_to(root)) for p in visible(child) if p.is_dir()]
            if nested:
                findings.add("folders inside a class", *nested)
    return found


def images_outside(root: Path, folder: Path, findings: Findings) -> None:
    """Find images that have no label, as they lie beside the folders of the classes."""
    loose = [
        text_of(child.relative_to(root))
        for child in visible(folder)
        if child.suffix.lower() in SUFFIXES and not child.is_dir()
    ]
    if loose:
        findings.add("images outside a class's folder", *loose)


def visible(folder: Path) -> list[Path]:
    """What is not hidden, by sorted names: the order is the same on every file system."""
    return sorted(
        child
        for child in folder.iterdir()
        if not child.name.startswith(".") and child.name not in SYSTEM_FILES
    )
