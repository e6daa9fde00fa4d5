"""Objects: boxes and masks cover the cells that the object covers in what the model sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from shortcut_finder.data.dataset import ImageDataset, load_dataset
from shortcut_finder.data.objects import cover_cells, take_outlines
from shortcut_finder.data.preprocessing import Preprocessing

SIZE = (90, 60)
BOX = (20, 10, 55, 48)
GRID = (7, 7)


def dataset_of(folder: Path, columns: dict[str, list[object]], rows: int = 4) -> ImageDataset:
    """A manifest of plain images with further columns."""
    for number in range(rows):
        Image.new("RGB", SIZE).save(folder / f"{number}.png")
    table = pd.DataFrame({"image": [f"{n}.png" for n in range(rows)], "label": ["a", "b"] * 2})
    table.assign(**columns).to_csv(folder / "all.csv", index=False)
    return load_dataset(folder / "all.csv")


def table_of(dataset: ImageDataset) -> pd.DataFrame:
    facts = {"index": range(len(dataset)), "image": dataset.images}
    return pd.DataFrame(facts).assign(width=SIZE[0], height=SIZE[1])


def drawn(box: tuple[int, int, int, int], size: tuple[int, int] = SIZE) -> Image.Image:
    """A mask that is white in a box."""
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=255)
    return mask


def corners(*boxes: tuple[object, ...]) -> dict[str, list[object]]:
    return {name: [box[n] for box in boxes] for n, name in enumerate(("x0", "y0", "x1", "y1"))}


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("given", ["box", "mask", "xywh"])
def test_cells_are_covered_as_the_drawn_object_covers_the_input(
    tmp_path: Path, resize: str, given: str
) -> None:
    x0, y0, x1, y1 = BOX
    if given == "mask":
        (tmp_path / "masks").mkdir()
        drawn(BOX).save(tmp_path / "masks" / "m.png")
        columns: dict[str, list[object]] = {"mask": ["masks/m.png"] * 4}
    elif given == "xywh":
        columns = {"lung_xywh": [f"{x0} {y0} {x1 - x0} {y1 - y0}"] * 4}
    else:
        columns = corners(*[BOX] * 4)
    dataset, outlines = take_outlines(dataset_of(tmp_path, columns))
    assert outlines is not None
    assert list(dataset.metadata.columns) == []
    preprocessing = Preprocessing(112, 112, resize, 128, mean=(0, 0, 0))
    found = cover_cells(outlines, table_of(dataset), preprocessing, GRID)
    # The slow way: the object drawn in white, seen by the model, averaged over each cell.
    seen = preprocessing.pixels(drawn(BOX).convert("RGB"))[:, :, 0] / 255
    expected = seen.reshape(7, 16, 7, 16).mean(axis=(1, 3))
    np.testing.assert_allclose(found.cover, np.tile(expected, (4, 1, 1)), atol=0.03)
    assert found.notes == ()


def test_two_boxes_of_an_image_are_one_object(tmp_path: Path) -> None:
    columns = {"left_xywh": ["0 0 30 60"] * 4, "right_xywh": ["60,0,30,60"] * 4}
    dataset, outlines = take_outlines(dataset_of(tmp_path, columns))
    assert outlines is not None
    cover = cover_cells(outlines, table_of(dataset), Preprocessing(), (1, 3)).cover
    np.testing.assert_allclose(cover, np.tile([[1.0, 0.0, 1.0]], (4, 1, 1)), atol=1e-9)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ((50, 10, 20, 48), "x1 must be beyond x0 and y1 beyond y0, not 50, 10, 20, 48"),
        ((95, 0, 120, 40), "95, 0, 120, 40 is outside of the 90 x 60 pixels"),
        ((-30, 0, -2, 40), "is outside of the"),
        ((0.1, 0.1, 0.9, 0.9), "boxes are in pixels of the original"),
        ((3, "wide", 30, 40), "a corner is missing or is no number"),
        ((3, "", 30, 40), "a corner is missing or is no number"),
    ],
)
def test_a_bad_box_is_no_box_and_is_said_in_one_line(
    tmp_path: Path, bad: tuple[object, ...], words: str
) -> None:
    dataset, outlines = take_outlines(dataset_of(tmp_path, corners(BOX, bad, BOX, BOX)))
    assert outlines is not None
    found = cover_cells(outlines, table_of(dataset), Preprocessing(), GRID)
    assert np.isnan(found.cover).any(axis=(1, 2)).tolist() == [False, True, False, False]
    first, second = found.notes
    assert first.startswith("1 object box cannot be used, such as 1.png: ")
    assert words in first
    assert second.startswith("1 of 4 images have no usable object box or mask")


def test_an_image_without_a_box_is_no_fault_but_is_counted(tmp_path: Path) -> None:
    columns = corners(BOX, ("", "", "", ""), BOX, ("", "", "", ""))
    dataset, outlines = take_outlines(dataset_of(tmp_path, columns))
    assert outlines is not None
    (note,) = cover_cells(outlines, table_of(dataset), Preprocessing(), GRID).notes
    assert note.startswith("2 of 4 images have no usable")


def test_a_box_that_reaches_over_the_border_counts_as_far_as_it_is_inside(tmp_path: Path) -> None:
    dataset, outlines = take_outlines(dataset_of(tmp_path, corners(*[(-10, -10, 45, 99)] * 4)))
    assert outlines is not None
    found = cover_cells(outlines, table_of(dataset), Preprocessing(), (1, 2))
    np.testing.assert_allclose(found.cover[0], [[1.0, 0.0]])


def test_masks_that_cannot_be_used_leave_the_box(tmp_path: Path) -> None:
    drawn(BOX).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    drawn((0, 0, 10, 10), (50, 50)).save(tmp_path / "square.png")
    Image.new("L", SIZE).save(tmp_path / "empty.png")
    masks = ["good.png", "bad.png", "square.png", "empty.png"]
    boxes = corners(*[(0, 0, 45, 60)] * 3, ("", "", "", ""))
    dataset, outlines = take_outlines(dataset_of(tmp_path, {**boxes, "mask": masks}))
    assert outlines is not None
    found = cover_cells(outlines, table_of(dataset), Preprocessing(), (1, 2))
    np.testing.assert_allclose(found.cover[1:3, 0], [[1.0, 0.0]] * 2)
    np.testing.assert_allclose(found.cover[0, 0], [25 / 45 * 38 / 60, 10 / 45 * 38 / 60], atol=0.02)
    assert np.isnan(found.cover[3]).all()
    assert found.notes[0].startswith("3 masks cannot be used, such as 1.png: bad.png: ")


def test_a_jpeg_mask_and_one_of_ones_say_the_same(tmp_path: Path) -> None:
    drawn(BOX).save(tmp_path / "m.jpg", quality=60)
    Image.fromarray(np.asarray(drawn(BOX)) // 255).save(tmp_path / "m.png")
    columns: dict[str, list[object]] = {"mask": ["m.jpg", "m.png"] * 2}
    dataset, outlines = take_outlines(dataset_of(tmp_path, columns))
    assert outlines is not None
    cover = cover_cells(outlines, table_of(dataset), Preprocessing(), GRID).cover
    np.testing.assert_allclose(cover[0], cover[1], atol=0.05)


@pytest.mark.parametrize(
    "columns",
    [
        {"mask": ["yes", "no", "no", "yes"]},
        {"x0": [1, 2, 3, 4], "y0": [1, 2, 3, 4]},
        corners(*[("left", "top", "right", "bottom")] * 4),
        {"code_xywh": ["a", "b", "a", "b"]},
    ],
    ids=["worn", "two corners", "words", "codes"],
)
def test_columns_that_hold_something_else_stay_metadata(
    tmp_path: Path, columns: dict[str, list[object]]
) -> None:
    dataset, outlines = take_outlines(dataset_of(tmp_path, columns))
    assert outlines is None
    assert list(dataset.metadata.columns) == list(columns)


def test_masks_named_by_a_metadata_file_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "facts").mkdir()
    dataset_of(tmp_path / "data", {})
    drawn(BOX).save(tmp_path / "facts" / "m.png")
    facts = pd.DataFrame({"image": [f"{n}.png" for n in range(4)], "mask": "m.png"})
    facts.to_csv(tmp_path / "facts" / "facts.csv", index=False)
    joined = load_dataset(tmp_path / "data" / "all.csv", metadata=tmp_path / "facts" / "facts.csv")
    dataset, outlines = take_outlines(joined)
    assert outlines is not None
    assert np.isfinite(cover_cells(outlines, table_of(dataset), Preprocessing(), GRID).cover).all()
