"""`hf:PATH` and `hf:NAME`: parquet files, image folders, and data sets of the Hugging Face hub.

They are read by the library `datasets` (the extra `data`), and decoded by the same rules as a
folder's images. Nothing is downloaded: a name of the hub is looked up among what was downloaded
before. The name of a parquet file may say its part (`train-00000-of-00004.parquet`).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stability.data.decode import SUFFIXES, ImageSource
from stability.data.faults import DataError, Findings
from stability.data.folder import PART_OF, check_exists
from stability.data.images import ImageData
from stability.data.listing import Listing
from stability.data.names import DataName, absolute, required_path, short_name, size_of

LABELS = ("label", "labels", "fine_label", "class")
"""Names of the column of labels where its type does not tell, in order."""
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def parse_hf(kind: str, text: str) -> DataName:
    """A path where there is one or where it can only be one; otherwise a name of the hub."""
    place, size = size_of(text)
    required_path(kind, place)
    local = Path(absolute(place))
    is_path = local.exists() or place.startswith(("/", ".", "~")) or place.endswith(".parquet")
    if is_path or not HUB_NAME.fullmatch(place):
        return DataName(
            kind=kind, argument=str(local), size=size, short=short_name(kind, local.stem, size)
        )
    return DataName(
        kind=kind, argument=place, size=size, short=short_name(kind, place.rpartition("/")[2], size)
    )


def load_hf(name: DataName) -> ImageData:
    """The data set `name.argument`. Raises DataError with every fault."""
    if find_spec("datasets") is None:
        raise DataError(["hf needs the library datasets: pip install 'stability[data]'"])
    with TemporaryDirectory() as scratch, offline():
        local = Path(name.argument).is_absolute()
        parts = local_parts(name.path, scratch) if local else hub_parts(name.argument)
        listing = list_parts(name.argument, parts)
        return listing.data(name, f"hf:{name.argument}@64 crops and resizes to 64")


@contextmanager
def offline() -> Iterator[None]:
    """Keep the libraries from the network, whatever the environment says, and quiet."""
    import datasets
    import huggingface_hub.constants as hub

    places = [(datasets.config, "HF_HUB_OFFLINE"), (datasets.config, "HF_DATASETS_OFFLINE")]
    places.append((hub, "HF_HUB_OFFLINE"))
    before = [(module, flag, getattr(module, flag)) for module, flag in places]
    bars, verbosity = datasets.is_progress_bar_enabled(), datasets.logging.get_verbosity()
    try:
        for module, flag in places:
            setattr(module, flag, True)
        datasets.disable_progress_bars()
        datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what is wrong is raised too
        yield
    finally:
        for module, flag, value in before:
            setattr(module, flag, value)
        datasets.logging.set_verbosity(verbosity)
        if bars:
            datasets.enable_progress_bars()


def local_parts(path: Path, scratch: str) -> dict[str, Any]:
    """Parts of parquet files, of a folder of images, or of what `save_to_disk` wrote.

    The reader is chosen here by what the files are: left to itself, the library would also read
    formats that can run code. Its copies go to `scratch`.
    """
    import datasets

    check_exists(path)
    try:
        if path.suffix == ".parquet" and path.is_file():
            return dict(datasets.load_dataset("parquet", data_files=str(path), cache_dir=scratch))
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            saved = datasets.load_from_disk(str(path))
            return dict(saved) if isinstance(saved, datasets.DatasetDict) else {"train": saved}
        suffixes = {p.suffix.lower() for p in path.rglob("*")} if path.is_dir() else set()
        for reader, found in (("parquet", {".parquet"}), ("imagefolder", set(SUFFIXES))):
            if suffixes & found:
                return dict(datasets.load_dataset(reader, data_dir=str(path), cache_dir=scratch))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError([f"{path} cannot be read by datasets: {first_line(error)}"]) from None
    raise DataError([f"{path} holds neither parquet files nor images"])


def hub_parts(name: str) -> dict[str, Any]:
    """Parts of a data set that was downloaded before."""
    import datasets

    try:
        return dict(datasets.load_dataset(name))
    except (OSError, ValueError, datasets.exceptions.DatasetsError):
        code = f"from datasets import load_dataset; load_dataset('{name}')"
        raise DataError(
            [f'{name} is no path here and was not downloaded; get it with: python -c "{code}"']
        ) from None


def list_parts(name: str, parts: dict[str, Any]) -> Listing:
    """Images and labels of the parts; one part alone is split."""
    findings = Findings()
    roles = {"all": next(iter(parts.values()))} if len(parts) == 1 else {}
    for part, rows in parts.items() if len(parts) > 1 else ():
        role = PART_OF.get(part)
        if role is None or role in roles:
            findings.add("parts of unknown use", f"{part} (known: {', '.join(PART_OF)})")
        else:
            roles[role] = rows
    if not roles:
        raise DataError([f"{name}: {fault}" for fault in findings.sentences()])
    first = next(iter(roles.values()))
    image, label = columns_of(name, first.features)
    classes = classes_of(first.features[label], roles, label)
    number = {text: i for i, text in enumerate(classes)}
    listed = {
        part: list(rows_of(part, rows, (image, label), number, findings))
        for part, rows in roles.items()
    }
    return Listing(classes, listed, findings)


def columns_of(name: str, features: Any) -> tuple[str, str]:
    """The column of images and the column of labels. Raises DataError where that is not clear."""
    import datasets

    images = [c for c, kind in features.items() if isinstance(kind, datasets.Image)]
    images = images or [c for c, kind in features.items() if holds_files(kind)]
    labels = [c for c, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    if len(labels) != 1:
        labels = [c for c in LABELS if c in features][:1]
    faults = []
    if len(images) != 1:
        faults.append(f"{len(images)} columns of images ({', '.join(images) or 'none'}), not one")
    if len(labels) != 1:
        faults.append(f"no column of labels, which is a ClassLabel or called {', '.join(LABELS)}")
    if faults:
        columns = f"columns are {', '.join(features)}"
        raise DataError([f"{name}: {fault}; {columns}" for fault in faults])
    return images[0], labels[0]


def holds_files(kind: Any) -> bool:
    """Whether a column of plain parquet holds encoded images: bytes, or bytes and a path."""
    if isinstance(kind, dict):
        return "bytes" in kind
    return getattr(kind, "dtype", "") in ("binary", "large_binary")


def classes_of(feature: Any, roles: dict[str, Any], label: str) -> tuple[str, ...]:
    """Names of the classes: those of the type, or every value of the training part, sorted."""
    if names := getattr(feature, "names", None):
        return tuple(names)
    learned = roles.get("all", roles.get("train", next(iter(roles.values()))))
    return tuple(map(str, sorted({v for v in learned[label] if v is not None})))


def rows_of(
    part: str, rows: Any, columns: tuple[str, str], number: dict[str, int], findings: Findings
) -> Iterator[tuple[int, ImageSource]]:
    """Class and image of each row that has both."""
    import datasets

    image, label = columns
    if isinstance(rows.features[image], datasets.Image):
        rows = rows.cast_column(image, datasets.Image(decode=False))
    names = getattr(rows.features[label], "names", None)
    for i, row in enumerate(rows.select_columns([image, label])):
        where, value, content = f"{part} row {i}", row[label], row[image]
        known = 0 <= value < len(names) if names and value is not None else str(value) in number
        if value is None or not known:
            findings.add(f"labels that are no class ({value!r})", where)
            continue
        if isinstance(content, dict):
            content = content.get("bytes") or content.get("path")
        if content is None:
            findings.add("rows without an image", where)
            continue
        opener = partial(BytesIO if isinstance(content, bytes) else Path, content)
        yield (value if names else number[str(value)]), ImageSource(where, opener)


def first_line(error: Exception) -> str:
    """What an error says, in a line."""
    cause = error.__cause__ or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
