import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import models

from shortcut_finder.data.preprocessing import Preprocessing

SIZES = ((640, 480), (480, 641), (100, 99), (33, 400), (1025, 37), (224, 224))


def random_image(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * 10_000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def presets() -> dict[str, object]:
    """One published weights' transform for each distinct preset."""
    found = {}
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            transform = weights.transforms()
            found.setdefault(repr(transform), transform)
    return found


@pytest.mark.parametrize("transform", [pytest.param(t, id=str(i)) for i, t in
                                       enumerate(presets().values())])  # fmt: skip
def test_pixels_are_those_of_the_published_transform(transform) -> None:
    preprocessing = Preprocessing.from_transform(transform)
    mean = torch.tensor(preprocessing.mean)[:, None, None]
    std = torch.tensor(preprocessing.std)[:, None, None]
    for size in SIZES if preprocessing.height == 224 else SIZES[:2]:
        image = random_image(*size)
        expected = transform(image) * std + mean
        pixels = torch.from_numpy(preprocessing.pixels(image).copy()).permute(2, 0, 1)
        assert torch.equal((expected * 255).round().to(torch.uint8), pixels)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_large_originals_are_scaled_as_pillow_scales_them_to_one_level(
    resize: str, interpolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = random_image(1500, 1000).resize((1501, 1003), Image.Resampling.BICUBIC)
    how = Preprocessing(224, 200, resize=resize, interpolation=interpolation)
    before = image.tobytes()
    pixels = how.pixels(image)
    assert pixels.flags["C_CONTIGUOUS"]
    assert image.tobytes() == before
    monkeypatch.setattr("shortcut_finder.data.preprocessing.LARGE", 10**9)
    gap = np.abs(pixels.astype(np.int16) - how.pixels(image))
    assert gap.max() <= 1
    assert 0 < (gap > 0).mean() < 0.01


def test_squash_shows_the_whole_image_and_crop_does_not() -> None:
    assert Preprocessing(resize="squash").visible(640, 480) == 1.0
    assert Preprocessing(resize="pad").visible(640, 480) == 1.0
    cropped = Preprocessing(resize="crop").visible(640, 480)
    assert cropped == pytest.approx(224 / 256 * 224 / 341, abs=0.01)


def test_padding_has_the_mean_colour() -> None:
    preprocessing = Preprocessing(resize="pad")
    pixels = preprocessing.pixels(Image.new("RGB", (100, 50), (255, 255, 255)))
    colour = [round(255 * value) for value in preprocessing.mean]
    assert pixels[0, 0].tolist() == colour == pixels[-1, -1].tolist()
    assert (pixels[112] == 255).all()


@given(
    resize=st.sampled_from(["squash", "crop", "pad"]),
    width=st.integers(20, 2000),
    height=st.integers(20, 2000),
    x=st.floats(0.05, 0.6),
    y=st.floats(0.05, 0.6),
)
def test_a_box_comes_back_from_the_models_input(
    resize: str, width: int, height: int, x: float, y: float
) -> None:
    """Where the box lies in the input, seen through `input_box`, is where it is in the image."""
    preprocessing = Preprocessing(resize=resize)
    box = (x, y, x + 0.3, y + 0.3)
    x0, y0, x1, y1 = preprocessing.to_original(box, width, height)
    left, top, right, bottom = preprocessing.input_box(width, height)
    expected = (
        left + box[0] * (right - left), top + box[1] * (bottom - top),
        left + box[2] * (right - left), top + box[3] * (bottom - top),
    )  # fmt: skip
    limits = (width, height, width, height)
    for value, true, limit in zip((x0, y0, x1, y1), expected, limits, strict=True):
        assert abs(value - min(max(true, 0), limit)) <= 1.001
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(400, 300), (300, 400), (224, 224)])
def test_a_mark_seen_by_the_model_is_found_in_the_original(
    resize: str, size: tuple[int, int]
) -> None:
    image = Image.new("RGB", size)
    mark = (size[0] // 2 - 40, size[1] // 2 - 30, size[0] // 2 + 10, size[1] // 2 + 20)
    image.paste((255, 0, 0), mark)
    preprocessing = Preprocessing(resize=resize)
    red = preprocessing.pixels(image)[:, :, 0].astype(int) - preprocessing.pixels(image)[:, :, 1]
    rows, columns = np.where(red > 127)
    seen = (
        columns.min() / 224, rows.min() / 224, (columns.max() + 1) / 224, (rows.max() + 1) / 224
    )  # fmt: skip
    found = preprocessing.to_original(seen, *size)
    assert np.abs(np.subtract(found, mark)).max() <= 2
    assert np.abs(np.subtract(preprocessing.to_input(mark, *size), seen)).max() <= 2 / 224


def test_a_box_that_the_crop_cuts_off_is_empty() -> None:
    x0, _, x1, _ = Preprocessing(resize="crop").to_input((0, 0, 10, 100), 400, 200)
    assert x0 == x1 == 0.0


def test_saving_and_loading_is_identity() -> None:
    preprocessing = Preprocessing(
        299, 150, "crop", 342, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), "bicubic"
    )
    assert Preprocessing.from_dict(preprocessing.as_dict()) == preprocessing


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_only_what_is_squashed_gets_its_own_shape_back(resize: str) -> None:
    how = Preprocessing(64, 64, resize=resize, resize_to=72)
    assert how.undistorted(50, 50) == how
    assert (how.undistorted(200, 50) == how) == (resize != "squash")


def test_a_very_long_image_is_not_drawn_out_beyond_measure() -> None:
    how = Preprocessing(64, 64).undistorted(5000, 1)
    assert (how.width, how.height) == (128, 32)
