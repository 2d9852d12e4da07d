"""Data sets by name: every kind of name, what it means, and the function that reads it."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from stability.data.cifar import load_cifar
from stability.data.digits import load_digits
from stability.data.faults import DataError
from stability.data.folder import load_folder
from stability.data.huggingface import load_hf, parse_hf
from stability.data.images import ImageData
from stability.data.names import SKIP, DataName, with_path, with_path_and_size, without_argument
from stability.data.synthetic import load_synthetic, parse_synthetic

LARGE_IMAGE = 128  # pixels of a side; from here on a model of ImageNet's kind suits
MANY_IMAGES = 10_000  # colour images to train on; from here on a micro model suits


@dataclass(frozen=True, kw_only=True)
class DataKind:
    """A kind of data."""

    form: str
    """How it is written."""
    parse: Callable[[str, str], DataName]
    """From the kind and what stands after the colon."""
    load: Callable[[DataName], ImageData]
    source: str
    has_images: bool = False
    """Whether it is made of single images, of which one may be unreadable."""


KINDS: dict[str, DataKind] = {
    "digits": DataKind(
        form="digits",
        parse=without_argument,
        load=lambda name: load_digits(),
        source="1,797 handwritten digits (UCI, Alpaydin and Kaynak 1998) from scikit-learn's wheel",
    ),
    "folder": DataKind(
        form="folder:PATH[@SIZE]",
        parse=with_path_and_size,
        load=load_folder,
        source="PATH/<class>/*.jpg, or PATH/train/<class>/*.jpg with val or test",
        has_images=True,
    ),
    "cifar10": DataKind(
        form="cifar10:PATH",
        parse=with_path,
        load=load_cifar,
        source="60,000 photographs of 10 kinds (Krizhevsky 2009), cifar-10-binary.tar.gz",
    ),
    "cifar100": DataKind(
        form="cifar100:PATH",
        parse=with_path,
        load=load_cifar,
        source="60,000 photographs of 100 kinds (Krizhevsky 2009), cifar-100-binary.tar.gz",
    ),
    "hf": DataKind(
        form="hf:PATH_OR_NAME[@SIZE]",
        parse=parse_hf,
        load=load_hf,
        source="parquet, image folders, data sets of the Hugging Face hub; extra data",
        has_images=True,
    ),
    "synthetic": DataKind(
        form="synthetic:[classes=10,size=32,channels=3,n=5000,seed=0]",
        parse=parse_synthetic,
        load=load_synthetic,
        source="made by a program; not real images",
    ),
}


def resolve_data(text: str) -> DataName:
    """The name `text`, taken apart; paths become absolute. Raises DataError.

    >>> resolve_data("synthetic:n=600").canonical
    'synthetic:classes=10,size=32,channels=3,n=600,seed=0'
    """
    word, _, argument = text.partition(":")
    kind = word.removesuffix(SKIP)
    if kind not in KINDS:
        forms = ", ".join(k.form.partition("[")[0].rstrip(":") for k in KINDS.values())
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise DataError([f"{text!r} is not one of {forms}{hint}"])
    try:
        name = KINDS[kind].parse(kind, argument)
        name.argument.encode()
    except OSError as error:  # a path that is too long, a folder that may not be entered
        raise DataError([f"{text}: {error}"]) from None
    except UnicodeEncodeError:
        where = "the path is not valid UTF-8, in which studies are written: rename it"
        raise DataError([f"{text}: {where}"]) from None
    if word == kind:
        return name
    if not KINDS[kind].has_images:
        raise DataError([f"{kind} has no single images that could be left out"])
    return replace(name, skip_unreadable=True)


def without_unreadable(text: str) -> str:
    """The name of the same data where unreadable images are left out.

    >>> without_unreadable("folder:flowers@64")
    'folder+skip-unreadable:flowers@64'
    """
    kind, colon, argument = text.partition(":")
    return text if kind.endswith(SKIP) else f"{kind}{SKIP}{colon}{argument}"


def load_data(text: str) -> ImageData:
    """The data set `text`, read once a process. Raises DataError with every fault."""
    return _load(resolve_data(text))


@cache
def _load(name: DataName) -> ImageData:
    try:
        data = KINDS[name.kind].load(name)
    except (OSError, ImportError) as error:
        raise DataError([f"{name.canonical}: {error}"]) from error
    if not data.std.all():
        raise DataError([f"{name.canonical}: a channel is the same in every training image"])
    return data


def suitable_size(data: ImageData) -> str:
    """The size of model that suits the data: what `vitc` alone stands for."""
    if data.shape[1] >= LARGE_IMAGE:
        return "4gf"
    colour, many = data.shape[0] == 3, len(data.train) >= MANY_IMAGES
    return "micro" if colour and many else "nano"
