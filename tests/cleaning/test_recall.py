"""Recall: a few accepted images are enough to find the others that carry the same thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from versions import GRID, SIZE, TAG, finding, picture, write_images, write_run

from shortcut_finder.cleaning.folder import clean
from shortcut_finder.cleaning.recall import recalled
from shortcut_finder.detect.placing import resembling
from shortcut_finder.run.folder import Run
from shortcut_finder.sweep.shards import ARRAYS, shard_path, write_shard
from shortcut_finder.sweep.whitening import stored_cells

PER_CLASS, CARRIERS, WIDTH = 40, 16, 24


def run_with_cells(home: Path, *, fixed: bool) -> tuple[Run, list[str]]:
    """A run whose shards hold one direction at one cell of the carriers, among random ones."""
    root = write_images(home / "images", per_class=PER_CLASS, tagged=0)
    region = "top left corner" if fixed else "anywhere"
    names = [f"cat/{number:03d}.jpg" for number in range(CARRIERS)]
    one = finding("F1", region=region, kind="corner" if fixed else "patch")
    run = write_run(home / "run", root, [one], {"F1": names})
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(len(run.images), GRID, GRID, WIDTH))
    thing = rng.normal(size=WIDTH) * 1.5
    at = rng.integers(0, GRID, (len(run.images), 2)) * (not fixed)
    boxes = {}
    for number, name in enumerate(run.images["image"]):
        row, column = at[number]
        boxes[name] = (
            column * SIZE[0] / GRID, row * SIZE[1] / GRID,
            (column + 1) * SIZE[0] / GRID, (row + 1) * SIZE[1] / GRID,
        )  # fmt: skip
        if name in names:
            cells[number, row, column] += thing
    cells /= np.linalg.norm(cells, axis=-1, keepdims=True)
    arrays = {name: np.zeros((len(cells), 1)) for name in ARRAYS}
    arrays["cells"] = stored_cells(torch.from_numpy(cells)).numpy()
    (run.folder / "shards").mkdir()
    write_shard(shard_path(run.folder / "shards", 0), run.images[["image"]], arrays)
    placed = np.array([boxes[name] for name in run.offenders["image"]])
    run.offenders[["x0", "y0", "x1", "y1"]] = placed
    return run, names


@pytest.mark.parametrize("fixed", [True, False])
def test_the_others_are_found_after_a_few_were_accepted(tmp_path: Path, fixed: bool) -> None:
    run, names = run_with_cells(tmp_path, fixed=fixed)
    accepted = run.offenders.iloc[:6]
    found = recalled(run, accepted, set())
    assert list(found.columns) == list(run.offenders.columns)
    hits = set(found["image"])
    assert len(hits & set(names)) >= CARRIERS - 2
    assert len(hits - set(names)) <= 1
    added = found[~found["image"].isin(accepted["image"])]
    assert added["reason"].str.contains("alike to the accepted images of F1").all()
    # Of a thing at any place the box is where the probe saw it.
    truth = run.offenders.set_index("image")
    for row in added[added["image"].isin(names)].to_dict("records"):
        middle = (row["x0"] + row["x1"]) / 2, (row["y0"] + row["y1"]) / 2
        x0, y0, x1, y1 = truth.loc[row["image"], ["x0", "y0", "x1", "y1"]]
        assert abs(middle[0] - (x0 + x1) / 2) <= SIZE[0] / GRID
        assert abs(middle[1] - (y0 + y1) / 2) <= SIZE[1] / GRID


def test_what_was_refused_is_not_added(tmp_path: Path) -> None:
    run, names = run_with_cells(tmp_path, fixed=True)
    refused = {("F1", name) for name in names[10:]}
    found = recalled(run, run.offenders.iloc[:6], refused)
    assert set(found["image"]) & set(names) == set(names[:10])


def test_too_few_accepted_images_teach_nothing(tmp_path: Path) -> None:
    run, _ = run_with_cells(tmp_path, fixed=True)
    accepted = run.offenders.iloc[:3]
    pd.testing.assert_frame_equal(recalled(run, accepted, set()), accepted)


def test_clean_expand_adds_to_what_is_cleaned(tmp_path: Path) -> None:
    run, names = run_with_cells(tmp_path, fixed=True)
    few = run.offenders.iloc[:6]
    short = Run(**{**{n: getattr(run, n) for n in Run.__dataclass_fields__}, "offenders": few})
    assert (clean(short).images["change"] == "drop").sum() == 6
    expanded = clean(short, expand=True).images
    assert set(expanded.loc[expanded["change"] == "drop", "image"]) == set(names)


def test_what_repeats_exactly_must_show_it_to_the_pixel() -> None:
    rng = np.random.default_rng(1)
    tag = picture(0, tag=True).crop((TAG[0], TAG[1], TAG[2] + 1, TAG[3] + 1))
    pictures, boxes = {}, {}
    for number in range(20):
        image = picture(number).resize((128, 128))
        x, y = (int(value) for value in rng.integers(8, 90, 2))
        if number < 14:
            image.paste(tag, (x, y))
        pictures[f"{number:02d}"] = image
        boxes[f"{number:02d}"] = (x - 6, y - 6, x + 30, y + 20)
    accepted = {name: pictures[name] for name in list(pictures)[:6]}
    others = {name: pictures[name] for name in list(pictures)[6:]}
    assert resembling(accepted, others, boxes) == {f"{number:02d}" for number in range(6, 14)}
    # Accepted images that have nothing in common to the pixel say nothing about others.
    noise = rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    plain = {str(n): Image.fromarray(one).resize((128, 128)) for n, one in enumerate(noise)}
    places = dict.fromkeys(plain, (40, 40, 80, 80))
    first = dict(list(plain.items())[:6])
    rest = dict(list(plain.items())[6:])
    assert resembling(first, rest, places) == set(rest)
