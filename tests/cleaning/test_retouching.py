"""Retouching: the place is filled, and everything else about the file stays."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hostile import corners, damaged, encoded, turned
from hostile import picture as quarters
from PIL import Image, ImageCms, PngImagePlugin
from versions import SIZE, TAG, picture

from shortcut_finder.cleaning.frames import EDGE, frame_width
from shortcut_finder.cleaning.retouching import filled, retouched
from shortcut_finder.cleaning.reweighting import independent_weights
from shortcut_finder.data.reading import decode
from shortcut_finder.errors import UnreadableImage

BOX = (TAG[0] - 2, TAG[1] - 2, TAG[2] + 3, TAG[3] + 3)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("quality", [35, 75, 96])
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_keeps_its_quality_and_all_it_says(
    quality: int, subsampling: int, progressive: bool
) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x9003] = "a camera", "2024:01:02 03:04:05"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    before = encoded(
        picture(1, tag=True), "JPEG", quality=quality, subsampling=subsampling, exif=exif,
        progressive=progressive, icc_profile=profile, dpi=(300, 300), comment=b"a note",
    )  # fmt: skip
    old, new = opened(before), opened(retouched(before, [BOX]))
    assert new.quantization == old.quantization
    assert new.layer == old.layer
    assert ("progressive" in new.info) == progressive
    for name in ("exif", "icc_profile", "dpi", "comment"):
        assert new.info[name] == old.info[name]
    far = np.abs(np.asarray(new, dtype=float) - np.asarray(old, dtype=float))[32:, 48:]
    assert far.mean() < 2


def lossless() -> dict[str, tuple[Image.Image, str, dict[str, object]]]:
    plain = picture(1, tag=True)
    alpha = plain.copy()
    alpha.putalpha(200)
    deep = Image.fromarray(np.asarray(plain.convert("L")).astype(np.uint16) * 257)
    return {
        "RGB": (plain, "PNG", {}),
        "RGBA": (alpha, "PNG", {}),
        "L": (plain.convert("L"), "PNG", {}),
        "I;16": (deep, "PNG", {}),
        "P": (plain.quantize(64), "PNG", {}),
        "1": (plain.convert("1"), "PNG", {}),
        "TIFF": (plain, "TIFF", {"compression": "tiff_lzw"}),
        "BMP": (plain, "BMP", {}),
        "PPM": (plain, "PPM", {}),
        "GIF": (plain.quantize(64), "GIF", {}),
        "WEBP": (plain, "WEBP", {"lossless": True, "exact": True}),
    }


@pytest.mark.parametrize("name", lossless())
def test_other_formats_keep_every_pixel_outside_the_place(name: str) -> None:
    image, kind, options = lossless()[name]
    before = encoded(image, kind, **options)
    after = retouched(before, [BOX])
    old, new = opened(before), opened(after)
    assert (new.format, new.mode, new.size) == (old.format, old.mode, old.size)
    colours = [np.asarray(each.convert("RGB"), dtype=float) for each in (old, new)]
    changed = (colours[0] != colours[1]).any(axis=2)
    x0, y0, x1, y1 = BOX
    assert changed[y0:y1, x0:x1].mean() > 0.1
    changed[y0:y1, x0:x1] = False
    assert not changed.any()
    assert new.info.get("compression") == old.info.get("compression")


def test_a_png_keeps_its_profile_and_exif() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    notes = PngImagePlugin.PngInfo()
    before = encoded(picture(1), "PNG", exif=exif, icc_profile=b"profile", pnginfo=notes)
    new = opened(retouched(before, [BOX]))
    assert new.getexif()[0x010F] == "a camera"
    assert new.info["icc_profile"] == b"profile"


@pytest.mark.parametrize("turn", range(1, 9))
def test_boxes_are_those_of_the_upright_picture(turn: int) -> None:
    before = turned(turn)
    after = retouched(before, [(0, 0, 24, 16)])
    assert opened(after).getexif()[0x0112] == turn
    assert opened(after).size == opened(before).size
    # The red quarter is gone, the others are where they were.
    upright = decode(after)[0]
    assert upright.size == quarters().size
    assert corners(decode(before)[0]) == "RGBW"
    kept = np.asarray(decode(before)[0], dtype=float)
    changed = np.abs(np.asarray(upright, dtype=float) - kept) > 60
    assert changed[2:14, 2:22].any(axis=2).mean() > 0.9
    assert not changed[20:].any()
    assert not changed[:, 28:].any()


def test_a_filled_place_continues_its_surroundings() -> None:
    ramp = np.tile(np.linspace(0, 200, 80), (60, 1))[..., None].repeat(3, 2)
    holed = ramp.copy()
    holed[20:40, 30:50] = 255
    result = filled(holed.astype(np.uint8), [(30, 20, 50, 40)])
    assert np.abs(result - ramp).max() < 6


def test_what_is_to_go_is_not_copied_elsewhere() -> None:
    pixels = np.full((60, 90, 3), 90, dtype=np.uint8)
    pixels[10:20, 10:20] = pixels[40:50, 60:70] = 255
    result = filled(pixels, [(10, 10, 20, 20), (60, 40, 70, 50)])
    assert result.max() == 90


def test_a_frame_is_filled_with_the_mirrored_inside() -> None:
    pixels = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60)
    framed = pixels.copy()
    framed[:2] = framed[-2:] = 0
    framed[:, :3] = framed[:, -3:] = 0
    result = filled(framed, [], frame=0.05)
    assert np.array_equal(result[2:-2, 3:-3], pixels[2:-2, 3:-3])
    assert np.array_equal(result[:2, 3:-3], pixels[2:4, 3:-3][::-1])


@pytest.mark.parametrize("box", [(0, 0, 96, 64), (-50, -50, 500, 500), (90, 60, 200, 200)])
def test_places_at_and_beyond_the_border_are_filled_too(box: tuple[int, int, int, int]) -> None:
    new = opened(retouched(encoded(picture(1, tag=True), "PNG"), [box]))
    assert new.size == SIZE


def test_an_empty_place_changes_nothing() -> None:
    pixels = np.asarray(picture(1))
    assert np.array_equal(filled(pixels, [(5, 5, 5, 9), (200, 5, 300, 9)]), pixels)


@pytest.mark.parametrize("name", damaged())
def test_damaged_files_are_refused_in_plain_words(name: str) -> None:
    content, message = damaged()[name]
    if content:
        with pytest.raises(UnreadableImage, match=message):
            retouched(content, [BOX])


# --- how wide a frame is --------------------------------------------------------------------------


@pytest.mark.parametrize("wide", [3, 6, 10])
def test_the_width_of_a_frame_is_measured(wide: int) -> None:
    framed = []
    for seed in range(12):
        pixels = np.full((SIZE[1], SIZE[0], 3), (46, 30, 22), dtype=np.uint8)
        inner = np.asarray(picture(seed))
        pixels[wide:-wide, wide:-wide] = inner[wide:-wide, wide:-wide]
        framed.append(Image.fromarray(pixels))
    plain = [picture(100 + seed) for seed in range(12)]
    width = frame_width(framed, plain)
    # As a part of each side; the sides differ.
    assert wide / SIZE[0] + EDGE / 128 <= width <= wide / SIZE[1] + (2.5 + EDGE) / 128
    assert frame_width(plain[:6], plain[6:]) == 0


# --- weights --------------------------------------------------------------------------------------


def test_weights_of_two_artifacts_at_once() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    one, two = (
        rng.random(200) < np.where(labels == 1, 0.7, 0.2),
        rng.random(200) < 0.1 + 0.2 * (labels == 2),
    )
    weights = independent_weights(labels, np.stack([one, two], axis=1))
    for carries in (one, two):
        shares = [np.average(carries[labels == c], weights=weights[labels == c]) for c in range(4)]
        assert np.ptp(shares) < 1e-6
    assert np.allclose([weights[labels == c].sum() for c in range(4)], 50)
    assert weights.min() > 0


def test_what_only_one_class_has_weighs_nothing() -> None:
    labels, carries = np.repeat([0, 1], 10), np.arange(20)[:, None] < 4
    weights = independent_weights(labels, carries)
    assert weights.tolist() == [0] * 4 + [10 / 6] * 6 + [1] * 10


def test_what_a_whole_class_carries_is_left() -> None:
    labels, carries = np.repeat([0, 1], 10), np.arange(20)[:, None] < 12
    assert independent_weights(labels, carries).tolist() == [1] * 20
