"""Offenders: every image that carries a finding has a row, worst first, box inside the image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from findings import a_finding, changed

from shortcut_finder.data.preprocessing import Box, Preprocessing
from shortcut_finder.detect.finding import Finding
from shortcut_finder.run.offenders import rank_offenders
from shortcut_finder.stats.experiments import Verification

COLUMNS = (
    "rank", "image", "label", "predicted", "confidence", "score", "finding", "kind", "region",
    "x0", "y0", "x1", "y1", "reason", "tier",
)  # fmt: skip
IMAGES = pd.DataFrame(
    {
        "image": ["a/1.png", "a/2.png", "b/1.png", "b/2.png"],
        "label": ["a", "a", "b", "b"],
        "predicted": ["a", "b", "b", "b"],
        "confidence": [0.9, 0.6, 0.8, 0.7],
        "label_probability": [0.9, 0.4, 0.8, 0.7],
        "width": [100, 60, 200, 31],
        "height": [50, 90, 200, 17],
    }
)


def finding(
    key: str,
    score: list[float],
    boxes: Callable[[int], Box] = lambda _: (0.0, 0.0, 0.5, 0.5),
    kind: str = "corner",
    region: str = "top left corner",
) -> Finding:
    scores = np.array(score)
    given = {"share": 0.31, "elsewhere": 0.02, "typical": np.array([0])}
    return a_finding(
        scores > 0, key=key, kind=kind, region=region, score=scores, boxes=boxes, **given
    )


def rank(*findings: Finding, resize: str = "squash") -> pd.DataFrame:
    return rank_offenders(findings, IMAGES, Preprocessing(64, 64, resize=resize, resize_to=64))


def test_every_image_that_carries_a_finding_has_a_row_worst_first() -> None:
    table = rank(finding("F1", [0.5, 0.9, 0, 0.2]), finding("F2", [0.7, 0, 0, 0.2]))
    assert tuple(table.columns) == COLUMNS
    rows = list(zip(table["rank"], table["image"], table["finding"], table["score"], strict=True))
    assert rows == [
        (1, "a/2.png", "F1", 0.9),
        (2, "a/1.png", "F2", 0.7),
        (3, "a/1.png", "F1", 0.5),
        (4, "b/2.png", "F1", 0.2),
        (5, "b/2.png", "F2", 0.2),
    ]
    assert table["predicted"].tolist() == ["b", "a", "a", "b", "b"]


def test_no_finding_is_an_empty_table_with_all_columns() -> None:
    for table in (rank(), rank(finding("F1", [0, 0, 0, 0]))):
        assert tuple(table.columns) == COLUMNS
        assert len(table) == 0


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_boxes_are_whole_pixels_inside_the_original(resize: str) -> None:
    rng = np.random.default_rng(0)

    def boxes(_: int) -> Box:
        x, y = np.sort(rng.random((2, 2)), axis=1)
        return float(x[0]), float(y[0]), float(x[1]), float(y[1])

    for _ in range(20):
        table = rank(finding("F1", [0.4, 0.3, 0.2, 0.1], boxes), resize=resize)
        known = table.merge(IMAGES[["image", "width", "height"]], on="image")
        for low, high, size in (("x0", "x1", "width"), ("y0", "y1", "height")):
            assert (known[low] >= 0).all()
            assert (known[low] < known[high]).all()
            assert (known[high] <= known[size]).all()
            assert known[low].dtype.kind == known[high].dtype.kind == "i"


def test_boxes_answer_to_the_image_and_its_size() -> None:
    table = rank(finding("F1", [0.4, 0.3, 0.2, 0.1], lambda n: (0.0, 0.0, 0.5 + n / 10, 1.0)))
    assert table["x1"].tolist() == [50, 36, 140, 25]
    assert table["y1"].tolist() == [50, 90, 200, 17]


def test_reasons_say_what_and_where() -> None:
    table = rank(finding("F1", [0.4, 0, 0.3, 0])).set_index("image")
    assert table.loc["a/1.png", "reason"] == (
        "carries the corner (top left corner) that 31% of a images carry"
    )
    assert "found in a, in another class" in table.loc["b/1.png", "reason"]
    anywhere = rank(finding("F1", [0.4, 0, 0, 0], kind="patch", region="anywhere"))
    assert "anywhere" not in anywhere["reason"][0]


def test_an_image_says_how_much_its_label_hangs_on_the_thing() -> None:
    found = finding("F1", [0.5, 0.4, 0.4, 0])
    table = rank(changed(found, verification=Verification(without={0: 0.12, 1: 0.4})))
    assert table["reason"][0].endswith("; without it this image is 12% a, with it 90%")
    assert "without it" not in table["reason"][2]


def test_tiers_are_of_the_class_and_all_are_sure_where_nothing_else_is_said() -> None:
    found = finding("F1", [0.5, 0.4, 0.3, 0])
    assert rank(found)["tier"].tolist() == ["sure"] * 3
    cut = changed(found, sure=np.array([True, False, True, True]))
    assert rank(cut).set_index("image")["tier"].to_dict() == {
        "a/1.png": "sure",
        "a/2.png": "likely",
        "b/1.png": "likely",
    }
