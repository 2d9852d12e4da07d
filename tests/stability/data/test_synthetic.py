"""Synthetic images: the same everywhere, as asked for, and never called real."""

import numpy as np
import pytest

from stability.data import KINDS, DataError, load_data, resolve_data
from stability.data.synthetic import SyntheticSettings, glyphs, make_images

SMALL = "synthetic:n=60,classes=3,size=16"


def test_images_never_change() -> None:
    """Integers alone decide them: the same bits on every machine and with every numpy."""
    assert load_data(SMALL).fingerprint == "db27582c2af7"
    assert load_data("synthetic:n=40,classes=2,channels=1,seed=7").fingerprint == "f1214a4df6fd"


def test_a_name_has_one_canonical_form() -> None:
    full = "synthetic:classes=10,size=32,channels=3,n=5000,seed=0"
    for text in ("synthetic", "synthetic:", "synthetic:seed=0,n=5000", full):
        assert resolve_data(text).canonical == full
        assert resolve_data(text).short == "synthetic"
    assert resolve_data("synthetic:n=600,seed=3").short == "synthetic-n600-seed3"
    assert resolve_data("synthetic:size=64,classes=5,channels=1").short == "synthetic-c5-px64-ch1"


def test_shape_classes_and_parts_are_those_asked_for() -> None:
    data = load_data("synthetic:n=200,classes=4,size=24,channels=1")
    assert data.shape == (1, 24, 24)
    assert data.classes == ("glyph 0", "glyph 1", "glyph 2", "glyph 3")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [140, 20, 40]
    for part in (data.train, data.validation, data.test):
        assert len(set(np.bincount(part.labels).tolist())) == 1  # of each class as many


def test_it_is_called_synthetic_everywhere() -> None:
    for text in (SMALL, "synthetic", "synthetic:seed=9"):
        assert resolve_data(text).short.startswith("synthetic")
    assert any("not real" in note for note in load_data(SMALL).notes)
    assert "not real" in KINDS["synthetic"].source


def test_another_seed_other_glyphs_and_images() -> None:
    first, other = (
        make_images(SyntheticSettings(n=20, classes=2, size=16, seed=seed)) for seed in (0, 1)
    )
    assert (first != other).any(axis=(1, 2, 3)).all()
    known = glyphs(40, 8, np.random.RandomState(0)).reshape(40, -1)
    assert len(np.unique(known, axis=0)) == 40
    assert ((known.mean(axis=1) > 0.35) & (known.mean(axis=1) < 0.65)).all()


def test_each_class_keeps_its_glyph_over_many_images() -> None:
    """More images than are made at a time."""
    settings = SyntheticSettings(n=1200, classes=2, size=16, channels=1)
    images = make_images(settings).astype(float)
    rng = np.random.RandomState(0)
    known = glyphs(18, 4, rng)[:2] - 0.5
    windows = np.lib.stride_tricks.sliding_window_view(images[:, 0], (4, 4), axis=(1, 2))
    matches = [(windows * glyph).sum(axis=(3, 4)).reshape(1200, -1) for glyph in known]
    score = [np.sort(match)[:, -2] for match in matches]  # the glyph is there twice
    right = (score[0] > score[1]) == (np.arange(1200) % 2 == 0)
    assert right[:600].mean() > 0.8
    assert right[600:].mean() > 0.8


def test_a_mean_over_images_does_not_tell_the_class() -> None:
    """A glyph may be anywhere: classes differ in no pixel's mean beyond what chance explains."""
    settings = SyntheticSettings(n=2000, classes=2, size=16, channels=1)
    images = make_images(settings)[:, 0].astype(float)
    first, second = images[::2], images[1::2]
    error = np.sqrt(first.var(axis=0) / 1000 + second.var(axis=0) / 1000)
    z = (first.mean(axis=0) - second.mean(axis=0)) / error
    assert np.abs(z).max() < 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clases=3", "'clases' is not one of classes, size, channels, n, seed (did you mean"),
        ("n=5", "got n=5, allowed is a whole number from 20 to 10000000"),
        ("n=many", "got n=many, allowed is a whole number"),
        ("n", "got n=, allowed is a whole number"),
        ("size=8", "got size=8, allowed is a whole number from 16 to 1024"),
        ("channels=2", "got channels=2, allowed are 1 and 3"),
        ("n=50,n=60", "n is named twice"),
        ("n=50", "got n=50, 10 classes need 100"),
    ],
)
def test_bad_settings(text: str, said: str) -> None:
    with pytest.raises(DataError) as error:
        resolve_data(f"synthetic:{text}")
    (fault,) = error.value.faults
    assert fault.startswith(f"synthetic: {said}")


def test_all_bad_settings_at_once() -> None:
    with pytest.raises(DataError) as error:
        resolve_data("synthetic:n=1,size=1,x=1")
    assert len(error.value.faults) == 3


def test_more_than_fits_into_memory_is_refused() -> None:
    with pytest.raises(DataError, match="in memory, allowed is 50%"):
        load_data("synthetic:n=10000000,size=1024")
