"""What is wrong with data: all of it at once, with counts and the first few names."""

from dataclasses import dataclass, field

NAMES_SHOWN = 3  # names of files per fault; the count says how many there are


class DataError(ValueError):
    """Data that cannot be used, with every fault that was found."""

    def __init__(self, faults: list[str], *, has_unreadable: bool = False) -> None:
        self.faults = faults
        self.has_unreadable = has_unreadable
        """Whether it names images that could be left out because they cannot be read."""
        super().__init__("; ".join(faults))


@dataclass
class Findings:
    """Faults by kind, each with the names of the files or rows that have it."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, *names: str) -> None:
        """Remember that each of `names` has a fault of this kind."""
        self.found.setdefault(kind, []).extend(names)

    def sentences(self, of: str = "") -> list[str]:
        """A sentence for each kind; `of` follows the count.

        >>> findings = Findings()
        >>> findings.add("truncated", "a.png", "b.png", "c.png", "d.png")
        >>> findings.sentences(of=" of 9 images")
        ['truncated: 4 of 9 images (a.png, b.png, c.png, ...)']
        """
        sentences = []
        for kind, names in self.found.items():
            sentences.append(f"{kind}: {len(names)}{of} ({first_of(names)})")
        return sentences


def first_of(names: list[str]) -> str:
    """The first few names, and whether there are more."""
    return ", ".join([*names[:NAMES_SHOWN], *(["..."] if len(names) > NAMES_SHOWN else [])])
