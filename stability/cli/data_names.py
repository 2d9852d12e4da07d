"""From `--data` to images, and from a study back to them."""

from stability.cli.parsing import Faults
from stability.data import DataError, ImageData, load, resolve
from sweeps.errors import SpecError
from sweeps.study import Study


def images(faults: Faults, text: str) -> tuple[dict[str, str], ImageData | None]:
    """The study's fields about its data, and the data; none where something is wrong."""
    try:
        name, data = resolve(text), load(text)
    except DataError as error:
        for fault in error.faults:
            faults.add("--data", fault)
        return {}, None
    elsewhere = {} if name.canonical == name.short else {"data_source": name.canonical}
    return {"data": name.short, "fingerprint": data.fingerprint, **elsewhere}, data


def source(study: Study) -> str:
    """By which the study's data are loaded."""
    return study.data_source or study.data


def check_unchanged(study: Study) -> None:
    """Raise SpecError where the data are not there any more, or are not those of the study."""
    try:
        data = load(source(study))
    except DataError as error:
        raise SpecError([f"the study's data: {fault}" for fault in error.faults]) from None
    if data.fingerprint != study.fingerprint:
        raise SpecError(
            [
                f"{source(study)} has changed since the study was made: its fingerprint is "
                f"{data.fingerprint}, the study has {study.fingerprint}"
            ]
        )
