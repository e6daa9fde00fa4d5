"""Properties: known pictures have known numbers, and each number answers to its own cause only."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from shortcut_finder.data.properties import MEANINGS, PROPERTIES, measure
from shortcut_finder.data.reading import ReadImage

SIDE = 112


def facts(
    width: int = 300, height: int = 200, size: int = 60_000, kind: str = "JPEG", mode: str = "RGB"
) -> ReadImage:
    return ReadImage(Image.new("RGB", (1, 1)), "", width, height, kind, size, mode)


def flat(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), (red, green, blue), dtype=np.uint8)


def photo(seed: int = 0) -> np.ndarray:
    """Smooth blobs of many sizes, as photographs have them."""
    rng = np.random.default_rng(seed)
    layers = np.zeros((SIDE, SIDE, 3))
    for cells in (4, 8, 16, 56):
        coarse = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        layers += np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return (layers / 4).astype(np.uint8)


def changed(pixels: np.ndarray) -> dict[str, float]:
    before, after = measure(facts(), photo()), measure(facts(), pixels)
    return {name: after[name] - before[name] for name in PROPERTIES}


def test_every_property_is_measured_explained_and_plain() -> None:
    values = measure(facts(), photo())
    assert tuple(values) == PROPERTIES == tuple(MEANINGS)
    assert all(type(value) is float and np.isfinite(value) for value in values.values())


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((0, 0, 0), {"brightness": 0, "saturation": 0, "dark_share": 1, "bright_share": 0}),
        ((255, 255, 255), {"brightness": 1, "saturation": 0, "dark_share": 0, "bright_share": 1}),
        ((255, 0, 0), {"brightness": 0.299, "saturation": 1, "red": 0.701, "green": -0.299}),
        ((0, 255, 0), {"brightness": 0.587, "green": 0.413, "blue": -0.587}),
        ((0, 0, 255), {"brightness": 0.114, "blue": 0.886, "red": -0.114}),
        ((51, 51, 51), {"brightness": 0.2, "border_brightness": 0.2, "border_uniformity": 1}),
    ],
)
def test_flat_colours_have_known_numbers(
    colour: tuple[int, int, int], expected: dict[str, float]
) -> None:
    values = measure(facts(), flat(*colour))
    flat_ones = dict.fromkeys(("contrast", "sharpness", "noise", "border_step", "vignette"), 0)
    for name, value in {**flat_ones, **expected}.items():
        assert values[name] == pytest.approx(value, abs=1e-4), name


def test_contrast_is_the_deviation_of_grey() -> None:
    halves = flat(0, 0, 0)
    halves[:, SIDE // 2 :] = 255
    assert measure(facts(), halves)["contrast"] == pytest.approx(0.5, abs=1e-4)


def test_the_facts_of_the_file() -> None:
    values = measure(facts(), photo())
    assert (values["width"], values["height"], values["aspect"]) == (300, 200, 1.5)
    assert values["bytes_per_pixel"] == 1.0
    assert measure(facts(size=0), photo())["bytes_per_pixel"] == 0


@pytest.mark.parametrize(
    ("kind", "mode", "jpeg", "grey"),
    [("JPEG", "L", 1, 1), ("MPO", "RGB", 1, 0), ("PNG", "I;16B", 0, 1), ("PNG", "P", 0, 0)],
)
def test_format_and_channels_of_the_file(kind: str, mode: str, jpeg: int, grey: int) -> None:
    values = measure(facts(kind=kind, mode=mode), photo())
    assert (values["jpeg"], values["grey"]) == (jpeg, grey)


def test_blur_lowers_sharpness_more_and_more() -> None:
    image = Image.fromarray(photo())
    blurred = [np.asarray(image.filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 1, 2)]
    sharpness = [measure(facts(), pixels)["sharpness"] for pixels in blurred]
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[0] > 1.2 * sharpness[1] > 1.2 * sharpness[2]


def test_sharpness_does_not_answer_to_contrast() -> None:
    faint = (photo() // 2 + 60).astype(np.uint8)
    assert changed(faint)["sharpness"] == pytest.approx(0, abs=0.05)
    assert changed(faint)["contrast"] < -0.03


@pytest.mark.parametrize("deviation", [5, 10, 20])
def test_noise_is_measured_in_levels(deviation: float) -> None:
    rng = np.random.default_rng(1)
    grey = 128 + rng.normal(0, deviation, (SIDE, SIDE, 1))
    pixels = np.rint(grey).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
    assert measure(facts(), pixels)["noise"] == pytest.approx(deviation / 255, rel=0.1)


def test_edges_are_not_noise() -> None:
    stripes = flat(0, 0, 0)
    stripes[:, ::8] = 255
    assert measure(facts(), stripes)["noise"] == pytest.approx(0, abs=1e-4)


def test_a_tint_moves_the_casts_and_nothing_of_place() -> None:
    tinted = photo().astype(np.int64)
    tinted[:, :, 0] = (tinted[:, :, 0] + 20).clip(0, 255)
    change = changed(tinted.astype(np.uint8))
    assert change["red"] > 0.05
    assert change["green"] < 0
    assert abs(change["vignette"]) < 0.01
    assert abs(change["border_step"]) < 0.01


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 40)])
def test_a_thin_frame_shows_in_the_border(colour: tuple[int, int, int]) -> None:
    framed = photo()
    wide = SIDE // 28
    for part in (framed[:wide], framed[-wide:], framed[:, :wide], framed[:, -wide:]):
        part[:] = colour
    values = measure(facts(), framed)
    assert values["border_uniformity"] == pytest.approx(1, abs=1e-4)
    assert values["border_step"] > 5 * measure(facts(), photo())["border_step"]
    assert values["border_brightness"] == pytest.approx(
        np.dot(colour, (0.299, 0.587, 0.114)) / 255, abs=1e-4
    )


@pytest.mark.parametrize("name", ["red", "green", "blue"])
def test_a_veil_of_a_colour_raises_the_lowest_level_of_that_channel(name: str) -> None:
    channel = ("red", "green", "blue").index(name)
    scene = photo().astype(np.float64)
    scene = (scene - scene.min()) / np.ptp(scene) * 255
    before = measure(facts(), scene.astype(np.uint8))
    scene[:, :, channel] = 40 + scene[:, :, channel] * 0.8
    after = measure(facts(), scene.astype(np.uint8))
    change = {key: after[key] - before[key] for key in after if key.startswith(("low_", "high_"))}
    assert change.pop(f"low_{name}") == pytest.approx(40 / 255, abs=0.04)
    assert all(abs(change[f"low_{other}"]) < 1e-6 for other in {"red", "green", "blue"} - {name})


def test_the_strongest_edges_and_the_sharpest_part_tell_blur_from_a_smooth_background() -> None:
    """A sharp thing before a smooth background is a photograph; nothing sharp at all is blur."""
    smooth = np.asarray(Image.fromarray(photo()).filter(ImageFilter.GaussianBlur(6)))
    rng = np.random.default_rng(0)
    object_ = rng.integers(0, 256, (28, 28, 3), dtype=np.uint8)
    sharp = smooth.copy()
    sharp[42:70, 42:70] = object_
    blurred = np.asarray(Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(2)))
    for name in ("edge_sharpness", "sharpest_part"):
        assert measure(facts(), sharp)[name] > 1.5 * measure(facts(), blurred)[name], name


def test_quiet_noise_is_that_of_the_quietest_part() -> None:
    rng = np.random.default_rng(0)
    half = np.full((SIDE, SIDE, 3), 128.0)
    half[:, : SIDE // 2] += rng.normal(0, 20, (SIDE, SIDE // 2, 1))
    assert measure(facts(), half.clip(0, 255).astype(np.uint8))["quiet_noise"] < 0.001
    everywhere = 128 + rng.normal(0, 10, (SIDE, SIDE, 1)).repeat(3, axis=2)
    found = measure(facts(), everywhere.clip(0, 255).astype(np.uint8))["quiet_noise"]
    assert found == pytest.approx(10 / 255, rel=0.3)


@pytest.mark.parametrize("shift", [0, 3])
def test_blocks_of_a_strong_jpeg_are_seen_also_after_a_crop(shift: int) -> None:
    scene = Image.fromarray(photo()).resize((200, 160), Image.Resampling.BICUBIC)
    kept = io.BytesIO()
    scene.save(kept, "JPEG", quality=15)
    blocky = Image.open(kept).convert("RGB").crop((shift, shift, 200, 160))
    values = [
        measure(replace(facts(), picture=picture), photo())["blockiness"]
        for picture in (scene, blocky)
    ]
    assert values[0] < 1.3 < values[1] / 1.1


def test_dark_corners_show_as_a_vignette() -> None:
    rows, columns = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    shade = np.clip(1.3 - (rows**2 + columns**2), 0, 1)[:, :, None]
    change = changed((photo() * shade).astype(np.uint8))
    assert change["vignette"] > 0.2
    assert change["corner_light"] < -0.2
    assert change["corner_ratio"] < -0.2


def test_turning_and_mirroring_change_nothing() -> None:
    pixels = photo()
    for turned in (pixels[::-1], pixels[:, ::-1], pixels.swapaxes(0, 1)):
        # Some take every other pixel or equal parts of the image, which are others after a turn.
        sampled = ("noise", "quiet_noise", "edge_sharpness", "sharpest_part")
        change = changed(turned)
        assert max(abs(change.pop(name)) for name in sampled) < 0.05
        # Quantiles of colours may fall on the neighbouring level.
        ends = [name for name in change if name.startswith(("low_", "high_"))]
        assert max(abs(change.pop(name)) for name in ends) < 0.02
        assert max(map(abs, change.values())) < 1e-4


def test_a_slow_plain_loop_agrees() -> None:
    pixels = photo()[:20, :17]
    brightness, saturation, across, bend = [], [], [], []
    for row in pixels.astype(float) / 255:
        grey = [0.299 * red + 0.587 * green + 0.114 * blue for red, green, blue in row]
        brightness += grey
        saturation += [(max(pixel) - min(pixel)) / max(*pixel, 1 / 255) for pixel in row]
        steps = [right - left for left, right in pairwise(grey)]
        across += [abs(step) for step in steps]
        bend += [abs(b - a) for a, b in pairwise(steps)]
    values = measure(facts(), pixels)
    assert values["brightness"] == pytest.approx(np.mean(brightness), abs=1e-5)
    assert values["saturation"] == pytest.approx(np.mean(saturation), abs=1e-5)
    both = measure(facts(), np.broadcast_to(pixels[:1], pixels.shape))  # rows alike: across only
    row = across[:16], bend[:15]
    assert both["sharpness"] == pytest.approx(np.mean(row[1]) / np.mean(row[0]), rel=1e-4)


@pytest.mark.parametrize(("rows", "columns"), [(SIDE, SIDE), (33, 20)])
def test_shares_and_quantiles_are_those_of_whole_sorts(rows: int, columns: int) -> None:
    pixels = photo()[:rows, :columns]
    values = measure(facts(), pixels)
    some = np.sort(pixels[::2, ::2].reshape(-1, 3), axis=0)
    for place, name in enumerate(("red", "green", "blue")):
        assert values[f"low_{name}"] == some[int(0.005 * len(some)), place] / 255
        assert values[f"high_{name}"] == some[int(0.995 * len(some)), place] / 255
    grey = pixels @ np.array([0.299, 0.587, 0.114]) / 255
    assert values["contrast"] == pytest.approx(grey.std(), abs=1e-6)
    mixed = np.diff(np.diff(grey, 2, axis=1), 2, axis=0)[::2, ::2]
    assert values["noise"] == pytest.approx(np.median(np.abs(mixed)) / (6 * 0.6745), abs=1e-6)
    strong = [
        np.percentile(np.abs(np.diff(grey, times, axis=axis))[::2, ::2], 99)
        for times in (1, 2)
        for axis in (0, 1)
    ]
    edges = sum(strong[2:]) / sum(strong[:2])
    assert values["edge_sharpness"] == pytest.approx(edges, rel=1e-5)
    high, wide = rows // 5, columns // 5
    corners = [grey[:high, :wide], grey[:high, -wide:], grey[-high:, :wide], grey[-high:, -wide:]]
    lightest = max(np.percentile(corner, 95) for corner in corners)
    assert values["corner_light"] == pytest.approx(lightest, abs=1e-6)


def test_blockiness_is_that_of_whole_numbers() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (70, 45), dtype=np.uint8)
    picture = Image.fromarray(grey).convert("RGB")
    ratios = []
    for axis in (0, 1):
        profile = np.abs(np.diff(grey.astype(np.int64), axis=1 - axis)).mean(axis=axis)
        means = np.sort(profile[: len(profile) // 8 * 8].reshape(-1, 8).mean(axis=0))
        ratios.append(means[-1] / means[3])
    values = measure(replace(facts(), picture=picture), photo())
    assert values["blockiness"] == pytest.approx(np.mean(ratios), rel=1e-5)


def test_the_pixels_are_not_changed() -> None:
    pixels = photo()
    before = pixels.copy()
    measure(facts(), pixels)
    assert (pixels == before).all()


@settings(max_examples=60, derandomize=True, deadline=None)
@given(rows=st.integers(5, 40), columns=st.integers(5, 40), seed=st.integers(0, 99))
def test_any_small_input_has_finite_numbers_in_range(rows: int, columns: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    values = measure(facts(), pixels)
    assert all(np.isfinite(value) for value in values.values())
    for name in ("brightness", "saturation", "dark_share", "bright_share", "border_uniformity"):
        assert -1e-5 <= values[name] <= 1 + 1e-5, name


def test_measuring_is_cheap_beside_a_forward_pass() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    spent = []
    for _ in range(20):
        start = time.process_time()
        measure(facts(), pixels)
        spent.append(time.process_time() - start)
    # Under 2 ms; the bound leaves room for a busy machine and still fails when it becomes slow.
    assert min(spent) < 0.006
