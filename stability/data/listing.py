"""Images that are listed and not decoded yet, whatever lists them; and the way to their data."""

from dataclasses import dataclass, field

import numpy as np

from stability.data.decode import Source, decode
from stability.data.faults import DataError, Findings
from stability.data.images import ImageData
from stability.data.names import DataName
from stability.data.splits import Labelled


@dataclass
class Listing:
    """Classes, and the images of each part with their labels."""

    classes: tuple[str, ...]
    parts: dict[str, list[tuple[int, Source]]]
    """By `train`, `validation`, `test`, or `all`: class and image, in an order that is the same on
    every machine."""
    findings: Findings = field(default_factory=Findings)
    """What was wrong with the list itself."""

    def data(self, name: DataName, how_to_resize: str) -> ImageData:
        """Decode everything. Raises DataError with every fault of list, labels and images."""
        labels = {
            part: np.array([label for label, _ in images], dtype=np.int64)
            for part, images in self.parts.items()
        }
        labelled = Labelled(self.classes, labels)
        faults = [*self.findings.sentences(), *labelled.faults()]
        try:
            sources = [source for images in self.parts.values() for _, source in images]
            decoded = decode(sources, name.size, how_to_resize)
        except DataError as error:
            faults += error.faults
        if faults:
            raise DataError([f"{name.argument}: {fault}" for fault in faults])
        return labelled.data(name.short, decoded.images, decoded.notes)
