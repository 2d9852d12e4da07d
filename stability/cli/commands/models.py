"""`stability models`: what each model costs, where it is from, which stems there are."""

import json
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from stability.cli.output.tables import WIDTH
from stability.cli.study.model_names import in_words
from stability.models import FAMILIES, STEMS, VARIANTS, ModelNameError, config_of, resolve_model
from stability.models.variants import counted_on, model_source
from sweeps.errors import SpecError

LONGEST = 22  # name that fits before the other columns
LEGEND = (
    "flops: multiply-adds of one image; acts: outputs of convolutions and matrix products, of one "
    "image; a ViT takes images of its size, a CNN of any size from 32.",
    f"stems, for any ViT, as in vitp-nano+conv: {', '.join(STEMS)}.",
    "also vitp-nano+d5 (5 blocks), vitp-nano+gap (mean of all tokens). Without a size, a model has "
    "the one that suits the data.",
)


def show_models(names: list[str], *, as_json: bool) -> None:
    """Print a row for each of `names`, all models where there are none.

    Raises SpecError naming every name that is no model's.
    """
    rows = [row(name) for name in (full(names) if names else VARIANTS)]
    print(json.dumps(rows, indent=2) if as_json else in_table(rows))


def full(names: list[str]) -> list[str]:
    """The one way to write each name."""
    found: list[str] = []
    faults: list[str] = []
    for name in names:
        kind = name.split("+")[0]
        if kind in FAMILIES:
            faults.append(f"{name!r} names no size, as {kind}-nano does")
            continue
        try:
            found.append(resolve_model(name, ""))
        except ModelNameError as error:
            faults.append(in_words(error))
    if faults:
        raise SpecError(faults)
    return found


def row(name: str) -> dict[str, Any]:
    """What is known of the model: name, input, classes, counts and source."""
    from stability.models.complexity import complexity

    config, (channels, classes) = config_of(name), counted_on(name)
    return {
        "name": name,
        "channels": channels,
        "image": config.image,
        "classes": classes,
        **asdict(complexity(config, channels, classes)),
        "source": model_source(name.split("+")[0]),
    }


def in_table(rows: list[dict[str, Any]]) -> str:
    """The rows for a person, 80 columns wide; a long name has a line of its own."""
    width = min(LONGEST, max(len("model"), *(len(row["name"]) for row in rows)))
    lines = [f"{'model':{width}}  {'input':>9}  {'flops':>7}  {'params':>7}  {'acts':>7}  source"]
    for r in rows:
        name = r["name"] if len(r["name"]) <= width else f"{r['name']}\n{'':{width}}"
        size = f"{r['channels']}x{r['image']}x{r['image']}"
        counts = "  ".join(f"{short(r[key]):>7}" for key in ("flops", "params", "acts"))
        lines.append(f"{name:{width}}  {size:>9}  {counts}  {r['source']}")
    legend = [line for text in LEGEND for line in wrap(text, WIDTH, break_on_hyphens=False)]
    return "\n".join([*lines, *legend])


def short(count: int) -> str:
    """A count with a decimal and its unit.

    >>> short(3_958_940_928), short(17_754_136), short(44_826)
    ('4.0 G', '17.8 M', '44.8 k')
    """
    for unit, size in (("G", 10**9), ("M", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.1f} k"
