"""`stability data`: what a data set is, before anything is trained on it."""

import json
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from stability.cli.output.tables import WIDTH, shown
from stability.cli.study.data_names import with_next_step
from stability.data import (
    KINDS,
    DataError,
    ImageData,
    Part,
    load_data,
    resolve_data,
    suitable_size,
    without_unreadable,
)
from stability.models import FAMILIES, VARIANTS
from stability.models.names import accepts_size
from stability.models.names import resolve_model as full_name
from sweeps.errors import SpecError
from sweeps.system.trust import printable

CLASSES_SHOWN = 20


def show_data(
    text: str | None, output: Path | None, *, as_json: bool, skip_unreadable: bool = False
) -> None:
    """Print what the data set `text` is, and draw its contact sheet to `output`.

    Raises SpecError with every fault.
    """
    if text is None:
        if output is not None:
            raise SpecError(["--output: a contact sheet needs the name of a data set"])
        print(json.dumps(kinds(), indent=2) if as_json else in_lines(kinds()))
        return
    faults = output_faults(output)
    try:
        text = without_unreadable(text) if skip_unreadable else text
        name, data = resolve_data(text), load_data(text)
    except DataError as error:
        raise SpecError([*(f"NAME: {fault}" for fault in with_next_step(error)), *faults]) from None
    if faults:
        raise SpecError(faults)
    facts = describe(name.canonical, KINDS[name.kind].source, data)
    if output is not None:
        facts["picture"] = str(output)
        draw(data, output)
    print(json.dumps(facts, indent=2) if as_json else printable(in_words(facts)))
    if output is not None and not as_json:
        print(shown(output))


def output_faults(output: Path | None) -> list[str]:
    """Why no picture can be written to `output`; matplotlib is not loaded for that."""
    if output is None:
        return []
    faults = []
    if not output.parent.is_dir():
        faults.append(f"--output: {output.parent} is no folder")
    if output.suffix.lower() not in (".png", ".pdf", ".svg"):
        faults.append(f"--output: got {output.name!r}, allowed are .png, .pdf and .svg")
    return faults


def draw(data: ImageData, output: Path) -> None:
    """Write the contact sheet."""
    from stability.cli.output.pictures import import_matplotlib

    import_matplotlib()
    from analysis.figures.style import own_style, save
    from stability.data.sheet import contact_sheet
    from sweeps.system.files import atomic_write

    with own_style(), atomic_write(output) as temporary:
        save(contact_sheet(data), temporary, format=output.suffix[1:].lower())


def kinds() -> list[dict[str, str]]:
    """Every kind of name."""
    return [{"name": kind.form, "source": kind.source} for kind in KINDS.values()]


def in_lines(rows: list[dict[str, str]]) -> str:
    """The kinds for a person, 80 columns wide."""
    lines = []
    for row in rows:
        lines.append(row["name"])
        lines += wrap(row["source"], WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def describe(canonical: str, source: str, data: ImageData) -> dict[str, Any]:
    """What is known of a data set, for JSON."""
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    size = suitable_size(data)
    models = [full_name(family, size) for family in FAMILIES if has_size(family, size)]
    return {
        "name": data.name,
        "canonical": canonical,
        "source": source,
        "shape": list(data.shape),
        "images": {part: len(images) for part, images in parts.items()},
        "classes": {
            name: dict(zip(parts, counts, strict=True))
            for name, counts in zip(data.classes, class_counts(data), strict=True)
        },
        "mean": [round(float(value), 4) for value in data.mean],
        "std": [round(float(value), 4) for value in data.std],
        "chance": chance(data.test),
        "repeated": repeated(data),
        "fingerprint": data.fingerprint,
        "size": size,
        "models": [name for name in models if accepts_size(name, data.shape[1])],
        "left_out": {name: list(images) for name, images in data.left_out.items()},
        "notes": list(data.notes),
    }


def has_size(family: str, size: str) -> bool:
    """Whether a family has a model of that size."""
    try:
        return full_name(family, size) in VARIANTS
    except KeyError:
        return False


def class_counts(data: ImageData) -> list[list[int]]:
    """For each class, its images in the three parts."""
    parts = (data.train, data.validation, data.test)
    counts = [np.bincount(part.labels, minlength=len(data.classes)) for part in parts]
    return [list(map(int, row)) for row in np.stack(counts, axis=1)]


def chance(part: Part) -> float:
    """Percent: error of always answering the part's largest class."""
    return 100 * (1 - int(np.bincount(part.labels).max()) / len(part))


def repeated(data: ImageData) -> dict[str, int]:
    """How many images of a part are, pixel by pixel, in the training part too."""
    learned = {image.tobytes() for image in data.train.images}
    parts = {"validation": data.validation, "test": data.test}
    return {
        name: sum(image.tobytes() in learned for image in part.images)
        for name, part in parts.items()
    }


def in_words(facts: dict[str, Any]) -> str:
    """The facts for a person, 80 columns wide."""
    channels, height, width = facts["shape"]
    numbers = facts["images"]
    lines = [f"{facts['name']}: {sum(numbers.values()):,} images of {channels}x{height}x{width}"]
    details = {
        "source": facts["source"],
        "loaded as": facts["canonical"],
        "mean": f"{listed(facts['mean'])} of 255; std {listed(facts['std'])}",
        "chance": f"{facts['chance']:.2f}% of the test part",
        "fingerprint": facts["fingerprint"],
        "models": ", ".join(facts["models"]) or NO_MODEL.format(side=height),
    }
    for name, text in details.items():
        lines += wrap(f"{name:12}{text}", WIDTH, subsequent_indent=" " * 12)
    lines += [line for note in notes(facts) for line in wrap(f"note: {note}", WIDTH)]
    return "\n".join([*lines, "", *class_table(facts)])


NO_MODEL = "none takes images of {side}x{side}; a folder or hf can end in @SIZE, as in @32"


def notes(facts: dict[str, Any]) -> list[str]:
    """What a user should know before believing an error on these data."""
    found = list(facts["notes"])
    for part, count in facts["repeated"].items():
        if count:
            share = f"{count} of {facts['images'][part]}"
            found.append(f"{share} {part} images are training images too, pixel by pixel")
    return found


def class_table(facts: dict[str, Any]) -> list[str]:
    """Counts by class and part; the classes after the first are summed up in a line."""
    classes, numbers = facts["classes"], facts["images"]
    names = {name: printable(name)[:40] for name in list(classes)[:CLASSES_SHOWN]}
    width = max(len("class"), len("all 1,000"), *map(len, names.values()))

    def row(name: str, counts: dict[str, int]) -> str:
        return f"{name:{width}}" + "".join(f"{count:>12,}" for count in counts.values())

    heading = f"{'class':{width}}" + "".join(f"{part:>12}" for part in numbers)
    lines = [heading, *(row(safe, classes[name]) for name, safe in names.items())]
    if len(classes) > len(names):
        lines.append(f"... and {len(classes) - len(names)} more")
    return [*lines, row(f"all {len(classes):,}", numbers)]


def listed(values: list[float]) -> str:
    """Numbers with a decimal."""
    return ", ".join(f"{value:.1f}" for value in values)
