"""Three parts of every data set: to train on, to choose by, to report on. The split is a constant.

| there is | training | validation | test |
|---|---|---|---|
| one part | 70% | 10% | 20% |
| training and one other | 90% of training | 10% of training | the other, whole |
| all three | as they are | as they are | as they are |

Where one other is there it becomes the test part, as the published numbers of such data are those
of that part, and choosing by it would spoil it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stability.data.faults import Findings
from stability.data.images import ImageData, Part

SPLIT_SEED = 20211206  # the split is a constant of the data, whatever a study's seed
TEST, VALIDATION = 0.2, 0.1  # shares of each class
PARTS = ("train", "validation", "test")
NEEDED_PARTS = "needed are train and val or test, or classes without parts"

Rows = NDArray[np.intp]


def stratified_order(labels: NDArray[np.int64], rng: np.random.RandomState) -> Rows:
    """A random order of the rows in which every prefix holds the classes in their proportions.

    `labels` (N,); returns a permutation of 0..N-1. The k-th of a class of n stands at
    (k + 1/2) / n of the way, so that every prefix has about its share of each. `rng` is of
    numpy's frozen kind: the streams of the newer generators may change between releases.

    >>> order = stratified_order(np.array([0] * 6 + [1] * 3), np.random.RandomState(0))
    >>> np.bincount(np.array([0] * 6 + [1] * 3)[order[:3]]).tolist()
    [2, 1]
    """
    shuffled = rng.permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.argsort(place, kind="stable")


def split(labels: NDArray[np.int64], shares: Sequence[float]) -> list[Rows]:
    """Rows of each share, and last those of the rest: stratified, mixed, the same every time.

    Each part has its share of each class rounded to whole images, and at least one. Raises
    ValueError where a class has fewer images than there are parts.

    >>> [rows.tolist() for rows in split(np.array([0, 0, 0, 0, 1, 1]), [0.5])]
    [[1, 5, 3], [2, 4, 0]]
    """
    order = stratified_order(labels, np.random.RandomState(SPLIT_SEED))
    part = np.full(len(labels), len(shares))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        if len(members) <= len(shares):
            raise ValueError(f"{len(members)} images of a class, {len(shares) + 1} parts")
        start = 0
        for i, share in enumerate(shares):
            count = max(1, round(share * len(members)))
            part[members[start : start + count]] = i
            start += count
    return [order[part[order] == i] for i in range(len(shares) + 1)]


@dataclass(frozen=True, eq=False)
class Labelled:
    """What a source knows before a pixel is decoded: classes, and a label for each image."""

    classes: tuple[str, ...]
    labels: dict[str, NDArray[np.int64]]
    """By the name of the part, in the order of the images: `train`, `validation`, `test`; `all`
    where there are no parts."""

    def faults(self) -> list[str]:
        """Classes that cannot be learned or judged, and parts that are missing."""
        found = (
            []
            if self._parts_are_known()
            else [f"{' and '.join(self.labels)} alone: {NEEDED_PARTS}"]
        )
        if len(self.classes) < 2:
            found.append(f"a single class: {', '.join(self.classes)}; a classifier needs two")
        for part, labels in self.labels.items():
            where = "" if part == "all" else f" in {part}"
            found += self._class_faults(where, labels, self._cut_into(part))
        return found

    def data(self, name: str, images: NDArray[np.uint8], notes: Sequence[str] = ()) -> ImageData:
        """The three parts. `images` (N, C, H, W): those of each part, one part after the other."""
        ends = np.cumsum([len(labels) for labels in self.labels.values()])
        start = dict(zip(self.labels, [0, *ends[:-1]], strict=True))
        everything = np.concatenate(list(self.labels.values()))

        def part(rows: Rows) -> Part:
            return Part(images[rows], everything[rows])

        def whole(part: str) -> Rows:
            return np.arange(len(self.labels[part])) + int(start[part])

        if "all" in self.labels:
            test, validation, train = split(everything, [TEST, VALIDATION])
        elif len(self.labels) == 3:
            train, validation, test = (whole(part) for part in PARTS)
        else:
            validation, train = (
                start["train"] + rows for rows in split(self.labels["train"], [VALIDATION])
            )
            test = whole(next(part for part in self.labels if part != "train"))
        parts = (part(train), part(validation), part(test))
        return ImageData(name, self.classes, *parts, notes=(*notes, *self._notes()))

    def _parts_are_known(self) -> bool:
        names = set(self.labels)
        return names == {"all"} or ("train" in names and len(names) > 1 and names <= set(PARTS))

    def _cut_into(self, part: str) -> int:
        """Into how many parts this one is split."""
        if part == "all":
            return 3
        return 2 if part == "train" and len(self.labels) == 2 else 1

    def _class_faults(self, where: str, labels: NDArray[np.int64], parts: int) -> list[str]:
        count = np.bincount(labels, minlength=len(self.classes))
        findings = Findings()
        for name, n in zip(self.classes, count, strict=True):
            if n == 0:
                findings.add(f"empty classes{where}", name)
            elif n < parts:
                findings.add(f"classes{where} of fewer than {parts} images to split", name)
        return findings.sentences()

    def _notes(self) -> list[str]:
        if "all" in self.labels:
            return ["split 70/10/20 into training, validation and test by a constant seed"]
        if len(self.labels) == 3:
            return []
        other = next(part for part in self.labels if part != "train")
        return [f"the test part is {other}; validation is a tenth of train, by a constant seed"]
