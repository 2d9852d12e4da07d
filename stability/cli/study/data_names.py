"""From `--data` to images, and from a study back to them."""

from typing import Any

from stability.cli.study.parsing import Faults
from stability.data import DataError, ImageData, load_data, resolve_data, without_unreadable
from stability.data.faults import first_of
from sweeps.errors import SpecError
from sweeps.study.study import Study


def images(
    faults: Faults, text: str, *, skip_unreadable: bool = False
) -> tuple[dict[str, Any], ImageData | None]:
    """The study's fields about its data, and the data; none where something is wrong."""
    try:
        text = without_unreadable(text) if skip_unreadable else text
        name, data = resolve_data(text), load_data(text)
    except DataError as error:
        for fault in with_next_step(error):
            faults.add("--data", fault)
        return {}, None
    elsewhere: dict[str, Any] = {"left_out": dict(data.left_out)} if data.left_out else {}
    if name.canonical != name.short:
        elsewhere["data_source"] = name.canonical
    return {"data": name.short, "fingerprint": data.fingerprint, **elsewhere}, data


def with_next_step(error: DataError) -> list[str]:
    """What is wrong with data; where images cannot be read, how to go on without them."""
    *others, last = error.faults
    hint = "; to go on without the unreadable images: --skip-unreadable"
    return [*others, last + hint if error.has_unreadable else last]


def source(study: Study) -> str:
    """By which the study's data are loaded."""
    return study.data_source or study.data


def check_unchanged(study: Study) -> None:
    """Raise SpecError where the data are not there any more, or are not those of the study."""
    try:
        data = load_data(source(study))
    except DataError as error:
        raise SpecError([f"the study's data: {fault}" for fault in error.faults]) from None
    if data.fingerprint != study.fingerprint:
        raise SpecError(
            [
                f"{source(study)} has changed since the study was made: its fingerprint is "
                f"{data.fingerprint}, the study has {study.fingerprint}{readability(study, data)}"
            ]
        )


def readability(study: Study, data: ImageData) -> str:
    """Which images became readable or unreadable since then, as the end of a sentence."""
    before, now = (
        {name for names in by_class.values() for name in names}
        for by_class in (study.left_out, data.left_out)
    )
    said = "".join(
        f"; {what}: {first_of(sorted(names))}"
        for what, names in (
            ("can be read again, but was left out", before - now),
            ("cannot be read any more", now - before),
        )
        if names
    )
    return f"{said}. Restore the files, or start a new study with stability sweep" if said else ""
