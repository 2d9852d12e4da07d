"""From files to pixels: every kind of file by one rule, every bad one named."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from picture_files import picture, pixels
from PIL import Image

from stability.data import decode as module
from stability.data.decode import ImageSource, decode
from stability.data.faults import DataError

HINT = "name@64 resizes"


def source(path: Path) -> ImageSource:
    return ImageSource(path.name, lambda: path)


def only(path: Path, size: int | None = None) -> np.ndarray:
    """(C, H, W)."""
    return decode([source(path)], size, HINT).images[0]


def fault_of(path: Path, size: int | None = None) -> str:
    with pytest.raises(DataError) as error:
        only(path, size)
    (fault,) = error.value.faults
    return fault


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm", ".webp", ".gif"])
def test_lossless_files_are_read_to_the_last_bit(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    image = picture(1, mode="L") if suffix == ".gif" else picture(1)
    image.save(path, **({"lossless": True} if suffix == ".webp" else {}))
    assert (only(path)[: len(pixels(image))] == pixels(image)).all()


def test_jpeg_is_what_pillow_decodes(tmp_path: Path) -> None:
    picture(2).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert (only(tmp_path / "a.jpg") == pixels(image)).all()
    assert np.abs(only(tmp_path / "a.jpg") - pixels(picture(2)).astype(int)).mean() < 6


def test_orientation_of_a_camera_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: turn by a quarter, clockwise
    picture(3).save(tmp_path / "a.png", exif=exif)
    turned = np.rot90(pixels(picture(3)), k=-1, axes=(1, 2))
    assert (only(tmp_path / "a.png") == turned).all()


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    red = np.zeros((8, 8, 4), np.uint8)
    red[..., 0] = 200
    red[:4, :, 3], red[4:, :, 3] = 0, 255
    Image.fromarray(red).save(tmp_path / "a.png")
    found = only(tmp_path / "a.png")
    assert (found[:, :4] == 255).all()
    assert found[:, 4:].reshape(3, -1).T.tolist() == [[200, 0, 0]] * 32


def test_opaque_alpha_changes_nothing(tmp_path: Path) -> None:
    picture(1).convert("RGBA").save(tmp_path / "a.png")
    assert (only(tmp_path / "a.png") == pixels(picture(1))).all()


def test_palettes_become_their_colours(tmp_path: Path) -> None:
    palette = picture(1).quantize(16)
    palette.save(tmp_path / "a.png")
    assert (only(tmp_path / "a.png") == pixels(palette.convert("RGB"))).all()
    palette.save(tmp_path / "b.png", transparency=bytes([0] * 16))
    assert (only(tmp_path / "b.png") == 255).all()


def test_cmyk_becomes_colour(tmp_path: Path) -> None:
    picture(1, mode="CMYK").save(tmp_path / "a.tif")
    assert (only(tmp_path / "a.tif") == pixels(picture(1))).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_stays_grey(mode: str, tmp_path: Path) -> None:
    image = picture(1, mode="L").convert(mode)
    image.save(tmp_path / "a.png")
    decoded = decode([source(tmp_path / "a.png")], None, HINT)
    assert decoded.images.shape == (1, 1, 32, 32)
    assert decoded.notes == ()
    assert (decoded.images[0] == pixels(image.convert("L"))).all()


def test_grey_among_colour_gets_three_equal_channels_and_that_is_said(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    picture(2, mode="L").save(tmp_path / "b.png")
    decoded = decode([source(tmp_path / name) for name in ("b.png", "a.png")], None, HINT)
    assert (decoded.images[0] == pixels(picture(2, mode="L"))).all()
    assert (decoded.images[1] == pixels(picture(1))).all()
    assert decoded.notes == ("1 of 2 images are grey and got three equal channels",)


def test_a_size_brings_the_shorter_side_to_it_and_keeps_the_middle(tmp_path: Path) -> None:
    wide = Image.new("RGB", (200, 50), "red")
    wide.paste("blue", (75, 0, 125, 50))  # the middle square
    wide.save(tmp_path / "a.png")
    found = only(tmp_path / "a.png", size=20)
    assert found.shape == (3, 20, 20)
    assert (found[:, :, 2:-2] == np.array([0, 0, 255])[:, None, None]).all()


def test_a_size_smooths_before_it_drops_pixels(tmp_path: Path) -> None:
    """Without that, a fine chequerboard becomes noise instead of grey."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "a.png")
    assert np.abs(only(tmp_path / "a.png", size=8)[:, 1:-1, 1:-1].astype(int) - 127).max() < 10


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_half_a_file_is_a_fault_never_half_an_image(suffix: str, tmp_path: Path) -> None:
    picture(1, side=64).save(tmp_path / f"a{suffix}")
    whole = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"a{suffix}").write_bytes(whole[: len(whole) // 2])
    fault = fault_of(tmp_path / f"a{suffix}")
    assert fault.startswith(("truncated: 1 of 1 images (a", "unreadable: 1 of 1 images (a"))


def test_what_is_no_image_too_deep_moving_or_gone(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.png").touch()
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    frames = [Image.new("L", (8, 8), grey) for grey in (0, 255)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    picture(1).save(tmp_path / "good.png")
    names = ("text.jpg", "empty.png", "deep.png", "moving.gif", "gone.png", "good.png")
    with pytest.raises(DataError) as error:
        decode([source(tmp_path / name) for name in names], None, HINT)
    assert error.value.faults == [
        "unreadable (no image of a known format): 2 of 6 images (text.jpg, empty.png)",
        "with more than 8 bits a channel: 1 of 6 images (deep.png)",
        "with more than one frame: 1 of 6 images (moving.gif)",
        "missing: 1 of 6 images (gone.png)",
    ]


def test_a_picture_that_is_too_large_to_decode_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(1).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # 1,024 warn, which is made a fault
    assert fault_of(tmp_path / "a.png").startswith("too large to decode: 1 of 1 images")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    assert fault_of(tmp_path / "a.png").startswith("too large to decode: 1 of 1 images")


def test_mixed_sizes_are_counted_and_the_name_of_one_size_is_said(tmp_path: Path) -> None:
    for i, side in enumerate([16, 32, 32, 24]):
        picture(i, side).save(tmp_path / f"{i}.png")
    with pytest.raises(DataError) as error:
        decode([source(tmp_path / f"{i}.png") for i in range(4)], None, HINT)
    assert error.value.faults == [
        "images of 3 sizes: 32x32 2 (1.png, ...), 16x16 1 (0.png), 24x24 1 (3.png); models take "
        f"one size, square: {HINT}"
    ]
    assert decode([source(tmp_path / f"{i}.png") for i in range(4)], 8, HINT).images.shape[2] == 8


def test_images_that_are_not_square_are_a_fault(tmp_path: Path) -> None:
    Image.new("L", (20, 10)).save(tmp_path / "a.png")
    assert fault_of(tmp_path / "a.png").startswith("images are not square: 20x10 1 (a.png);")


def test_images_that_do_not_fit_into_memory_are_said_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(1).save(tmp_path / "a.png")
    opened: list[int] = []

    def count() -> BytesIO:
        opened.append(1)
        return BytesIO((tmp_path / "a.png").read_bytes())

    monkeypatch.setattr(module, "MEMORY", 1e-9)
    with pytest.raises(DataError, match=r"1000 images like the first take 0\.0 GiB in memory"):
        decode([ImageSource(str(i), count) for i in range(1000)], None, HINT)
    assert len(opened) == 1


def test_order_is_that_of_the_sources(tmp_path: Path) -> None:
    """Threads decode; more images than a thread takes at a time stay in their places."""
    for i in range(3 * module.DECODE_CHUNK):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    found = decode(
        [source(tmp_path / f"{i}.png") for i in range(3 * module.DECODE_CHUNK)], None, HINT
    )
    assert found.images[:, 0, 0, 0].tolist() == list(range(3 * module.DECODE_CHUNK))
