from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.figures.pictures import (
    cell_picture,
    colour_bar,
    crop,
    heat_colours,
    heat_layer,
    heat_scale,
    jpeg_uri,
    overlay,
    png_uri,
    read_thumbnails,
    smaller,
    thumbnail,
    write_thumbnails,
)


def alpha(layer: Image.Image) -> np.ndarray:
    return np.asarray(layer.convert("RGBA"))[:, :, 3]


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def one_hot(row: int, column: int, rows: int = 7, columns: int = 7) -> np.ndarray:
    class_map = np.full((rows, columns), -1.0)
    class_map[row, column] = 5.0
    return class_map


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 480), (320, 240)),
        ((100, 1000), (32, 320)),
        ((50, 20), (50, 20)),
        ((5000, 1), (320, 1)),
    ],
)
def test_thumbnail_keeps_proportions_and_never_enlarges(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    small = opened(thumbnail(Image.new("RGB", size, "red")))
    assert small.size == expected
    assert small.format == "JPEG"


def test_thumbnail_leaves_the_image_alone() -> None:
    image = Image.new("RGB", (640, 480), "red")
    thumbnail(image)
    assert image.size == (640, 480)


def test_thumbnails_survive_the_file_and_unreadable_images_are_left_out(tmp_path: Path) -> None:
    def read(name: str) -> Image.Image:
        if name == "bad.jpg":
            raise UnreadableImage("zero bytes")
        return Image.new("RGB", (40, 20), "blue")

    path = tmp_path / "thumbnails.parquet"
    names = ["b/2.jpg", "bad.jpg", "a/向日葵.jpg", "not text \udce9.jpg"]
    assert write_thumbnails(path, read, names) == ["b/2.jpg", "a/向日葵.jpg"]
    table = pd.read_parquet(path)
    assert list(table.columns) == ["image", "jpeg"]
    thumbnails = read_thumbnails(path)
    assert list(thumbnails) == ["b/2.jpg", "a/向日葵.jpg"]
    assert opened(thumbnails["b/2.jpg"]).size == (40, 20)
    first = path.read_bytes()
    write_thumbnails(path, read, names)
    assert path.read_bytes() == first


def test_a_picture_is_made_smaller_but_never_larger() -> None:
    jpeg = thumbnail(Image.new("RGB", (200, 100), "red"))
    assert opened(smaller(jpeg, 64)).size == (64, 32)
    assert smaller(jpeg, 200) == jpeg


def test_no_thumbnails_are_an_empty_album(tmp_path: Path) -> None:
    path = tmp_path / "thumbnails.parquet"
    assert read_thumbnails(path) == {}
    path.write_bytes(b"no parquet")
    assert read_thumbnails(path) == {}
    write_thumbnails(path, lambda name: Image.new("RGB", (1, 1)), [])
    assert read_thumbnails(path) == {}


@pytest.mark.parametrize("damaged", [b"", b"no picture", None, "text", "half", "png"])
def test_damaged_thumbnails_are_left_out(tmp_path: Path, damaged: object) -> None:
    whole = thumbnail(Image.effect_noise((64, 48), 60).convert("RGB"))
    if damaged == "half":
        damaged = whole[: len(whole) // 2]
    elif damaged == "png":
        content = io.BytesIO()
        Image.new("RGB", (8, 8)).save(content, "PNG")
        damaged = content.getvalue()
    path = tmp_path / "thumbnails.parquet"
    rows = {"image": ["a", "b"], "jpeg": [whole, damaged]}
    if isinstance(damaged, str):
        rows["jpeg"] = ["a", damaged]
    pd.DataFrame(rows, dtype=object).to_parquet(path)
    assert read_thumbnails(path) == ({} if isinstance(damaged, str) else {"a": whole})


def test_scale_is_of_all_maps_together_and_ignores_one_outlier() -> None:
    maps = [np.array([[1.0, 2.0]])] * 19 + [np.array([[100.0, 0.0]])]
    assert heat_scale(maps) == 2.0


@pytest.mark.parametrize("maps", [[], [np.array([[-3.0, -1.0]])], [np.zeros((2, 2))]])
def test_maps_without_positive_evidence_have_a_scale_too(maps: list[np.ndarray]) -> None:
    assert heat_scale(maps) == 1.0


def test_layer_is_transparent_where_evidence_is_negative() -> None:
    layer = heat_layer(np.full((7, 7), -4.0), 1.0, (100, 100), (0, 0, 100, 100))
    assert alpha(layer).max() == 0


def test_hottest_spot_still_lets_the_image_through() -> None:
    layer = heat_layer(np.full((7, 7), 9.0), 1.0, (100, 100), (0, 0, 100, 100))
    assert 150 < alpha(layer).min() == alpha(layer).max() < 200


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64)])
def test_layer_has_the_proportions_of_the_image(size: tuple[int, int]) -> None:
    layer = heat_layer(one_hot(0, 0), 5.0, size, (0, 0, *size))
    assert layer.width / layer.height == pytest.approx(size[0] / size[1], rel=0.03)


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(400, 200), (200, 400), (300, 300)])
def test_hottest_cell_lies_where_preprocessing_says(resize: str, size: tuple[int, int]) -> None:
    preprocessing = Preprocessing(resize=resize)
    class_map = one_hot(3, 4)
    layer = heat_layer(class_map, 5.0, size, preprocessing.input_box(*size))
    rows, columns = np.nonzero(alpha(layer) == alpha(layer).max())
    x = (columns.mean() + 0.5) / layer.width * size[0]
    y = (rows.mean() + 0.5) / layer.height * size[1]
    x0, y0, x1, y1 = preprocessing.to_original((4 / 7, 3 / 7, 5 / 7, 4 / 7), *size)
    assert x0 <= x <= x1
    assert y0 <= y <= y1


def test_what_a_crop_cuts_off_stays_transparent() -> None:
    box = Preprocessing(resize="crop", resize_to=224).input_box(400, 200)
    layer = alpha(heat_layer(np.ones((7, 7)), 1.0, (400, 200), box))
    seen = layer.max(axis=0) > 0
    across = (np.arange(len(seen)) + 0.5) / len(seen)
    assert seen.tolist() == ((across > 0.25) & (across < 0.75)).tolist()


def test_upscaling_is_bilinear_with_cell_centres_as_anchors() -> None:
    class_map = np.random.default_rng(0).normal(size=(4, 5)).clip(0)
    picture = overlay(Image.new("RGB", (50, 40)), class_map, 1.0, (0, 0, 50, 40))
    plain = np.zeros((40, 50))
    for i in range(40):
        for j in range(50):
            y = min(max((i + 0.5) / 10 - 0.5, 0), 3)
            x = min(max((j + 0.5) / 10 - 0.5, 0), 4)
            r, c = min(int(y), 2), min(int(x), 3)
            a, b = y - r, x - c
            plain[i, j] = (
                (1 - a) * (1 - b) * class_map[r, c]
                + (1 - a) * b * class_map[r, c + 1]
                + a * (1 - b) * class_map[r + 1, c]
                + a * b * class_map[r + 1, c + 1]
            )
    levels = np.rint(plain.clip(0, 1) * 255).astype(np.uint8)
    expected = overlay(Image.new("RGB", (50, 40)), levels / 255, 1.0, (0, 0, 50, 40))
    difference = np.abs(np.asarray(picture, dtype=int) - np.asarray(expected, dtype=int))
    assert difference.max() <= 4  # one colour level


def test_overlay_of_nothing_is_the_image() -> None:
    image = Image.effect_noise((60, 40), 80).convert("RGB")
    result = overlay(image, np.full((3, 3), -1.0), 1.0, (0, 0, 60, 40))
    assert np.array_equal(np.asarray(result), np.asarray(image))


def test_overlay_and_layer_leave_the_map_alone() -> None:
    class_map = one_hot(1, 1)
    before = class_map.copy()
    overlay(Image.new("RGB", (20, 20)), class_map, 5.0, (0, 0, 20, 20))
    heat_layer(class_map, 5.0, (20, 20), (0, 0, 20, 20))
    assert np.array_equal(class_map, before)


def test_two_maps_on_one_scale_keep_their_order_of_heat() -> None:
    weak, strong = (
        alpha(heat_layer(np.full((2, 2), value), 4.0, (10, 10), (0, 0, 10, 10))).max()
        for value in (1.0, 2.0)
    )
    assert weak < strong


def test_heat_grows_lighter_so_that_colour_blind_readers_can_follow() -> None:
    grey = np.asarray(colour_bar(opaque=True).convert("L"), dtype=int)[0]
    assert (np.diff(grey) >= 0).all()
    assert grey[-1] - grey[0] > 150


def test_colour_bar_on_an_image_looks_like_the_heat_colours() -> None:
    layer = colour_bar(opaque=False).convert("RGBA")
    grey = Image.new("RGBA", layer.size, (128, 128, 128, 255))
    shown = np.asarray(Image.alpha_composite(grey, layer).convert("RGB"), dtype=float)[0]
    assert np.abs(shown - 255 * heat_colours()(np.arange(256))[:, :3]).max() <= 2


def test_cell_picture_has_one_opaque_pixel_a_cell() -> None:
    picture = cell_picture(one_hot(1, 2, 3, 4), 5.0)
    assert picture.size == (4, 3)
    assert alpha(picture).min() == 255
    grey = np.asarray(picture.convert("L"))
    assert np.unravel_index(grey.argmax(), grey.shape) == (1, 2)


def test_broken_cells_are_drawn_cold() -> None:
    picture = np.asarray(cell_picture(np.array([[np.nan, 0.0, 1.0]]), 1.0).convert("RGB"))
    assert (picture[0, 0] == picture[0, 1]).all()


def test_crop_shows_the_box_with_some_surroundings() -> None:
    image = Image.new("RGB", (400, 200), "black")
    image.paste("white", (100, 50, 150, 100))
    part = np.asarray(crop(thumbnail(image), (100, 50, 150, 100), (400, 200)).convert("L"))
    assert part.shape[0] == part.shape[1]
    assert part[len(part) // 2, len(part) // 2] > 240
    assert part[0].max() < 60
    assert 0.5 < (part > 128).mean() < 0.75


@pytest.mark.parametrize("box", [(0, 0, 400, 200), (399, 199, 400, 200), (0, 0, 1, 1)])
def test_crop_stays_inside_the_image(box: tuple[int, int, int, int]) -> None:
    white = crop(thumbnail(Image.new("RGB", (400, 200), "white")), box, (400, 200))
    assert np.asarray(white).min() > 250


def test_uris_hold_the_picture() -> None:
    assert jpeg_uri(b"abc") == "data:image/jpeg;base64,YWJj"
    assert png_uri(Image.new("RGB", (1, 1))).startswith("data:image/png;base64,iVBOR")


def test_png_keeps_the_transparency_of_a_layer() -> None:
    layer = heat_layer(one_hot(0, 0), 5.0, (70, 70), (0, 0, 70, 70))
    again = opened(base64.b64decode(png_uri(layer).split(",")[1]))
    assert np.array_equal(alpha(again), alpha(layer))
    assert alpha(again).max() > 0
    assert alpha(again).min() == 0
