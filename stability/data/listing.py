"""Images that are listed and not decoded yet, whatever lists them; and the way to their data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from stability.data.decode import ImageSource, decode
from stability.data.faults import DataError, Findings, first_of
from stability.data.images import ImageData
from stability.data.names import DataName
from stability.data.splits import Labelled


@dataclass
class Listing:
    """Classes, and the images of each part with their labels."""

    classes: tuple[str, ...]
    parts: dict[str, list[tuple[int, ImageSource]]]
    """By `train`, `validation`, `test`, or `all`: class and image, in an order that is the same on
    every machine."""
    findings: Findings = field(default_factory=Findings)
    """What was wrong with the list itself."""

    def data(self, name: DataName, how_to_resize: str) -> ImageData:
        """Decode everything. Raises DataError with every fault of list, labels and images."""
        everything = [image for images in self.parts.values() for image in images]
        decoded, unusable = None, DataError([])
        try:
            decoded = decode(
                [source for _, source in everything],
                name.size,
                how_to_resize,
                skip_unreadable=name.skip_unreadable,
            )
        except DataError as error:
            unusable = error
        left_out = {
            everything[i][1].name: everything[i][0] for i in (decoded.left_out if decoded else ())
        }
        labels = {
            part: np.array([n for n, image in images if image.name not in left_out], dtype=np.int64)
            for part, images in self.parts.items()
        }
        labelled = Labelled(self.classes, labels)
        faults = [*self.findings.sentences(), *labelled.faults(), *unusable.faults]
        if faults or decoded is None:
            named = [f"{name.argument}: {fault}" for fault in faults]
            raise DataError(named, has_unreadable=unusable.has_unreadable)
        by_class: dict[str, tuple[str, ...]] = {}
        for image, label in left_out.items():
            by_class[self.classes[label]] = (*by_class.get(self.classes[label], ()), image)
        notes = decoded.notes + ((describe_left_out(by_class),) if by_class else ())
        return replace(labelled.data(name.short, decoded.images, notes), left_out=by_class)


def describe_left_out(left_out: Mapping[str, tuple[str, ...]]) -> str:
    """How many images of which class are left out, and the first of them.

    >>> describe_left_out({"cat": ("cat/1.png", "cat/7.png"), "dog": ("dog/2.png",)})
    'left out as unreadable: 2 of cat, 1 of dog (cat/1.png, cat/7.png, dog/2.png)'
    """
    names = [name for images in left_out.values() for name in images]
    counts = ", ".join(f"{len(images)} of {name}" for name, images in left_out.items())
    return f"left out as unreadable: {counts} ({first_of(names)})"
