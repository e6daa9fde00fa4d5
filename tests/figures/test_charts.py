"""Charts: every class has its row, texts stay text, and the same input gives the same bytes."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from browser import chromium, visiting
from handmade import handmade_regions

from shortcut_finder.data.regions import BOXES
from shortcut_finder.figures.charts import (
    MAX_ROWS,
    Interval,
    charted_classes,
    interval_chart,
    interval_figure,
    region_chart,
)


@pytest.fixture(scope="module")
def browser() -> Any:
    with chromium() as running:
        yield running


@pytest.mark.parametrize("classes", [2, 100])
def test_region_chart_has_a_row_a_class_and_keeps_its_text_readable(
    browser: Any, tmp_path: Path, classes: int
) -> None:
    names = tuple(f"class {n}" for n in range(classes))
    path = tmp_path / "chart.html"
    path.write_text(region_chart(handmade_regions(names), names), encoding="utf-8")
    with visiting(browser, path) as visit:
        rows = visit.page.evaluate(
            """[...document.querySelectorAll("text")]
                .filter(text => /^class \\d+$/.test(text.textContent.trim()))
                .map(text => text.getBoundingClientRect())
                .map(place => [place.y, place.height])"""
        )
        assert len(rows) == classes
        assert min(height for _, height in rows) > 10
        assert min(np.diff(sorted(y for y, _ in rows))) > 11


def test_region_chart_escapes_class_names() -> None:
    names = ("<script>alert(1)</script>", "$\\frac{1}$", "向日葵")
    chart = region_chart(handmade_regions(names), names)
    assert "<script" not in chart
    assert "&lt;script&gt;" in chart
    assert "$\\frac{1}$" in chart
    assert "向日葵" in chart


def test_region_chart_leaves_matplotlib_as_found() -> None:
    before = dict(matplotlib.rcParams)
    region_chart(handmade_regions(("a", "b")), ("a", "b"))
    assert dict(matplotlib.rcParams) == before


def test_region_chart_marks_just_the_significant_cells() -> None:
    regions = handmade_regions(("a", "b"))
    regions["q"] = 0.0501
    regions.loc[regions.index[[0, 5, 30]], "q"] = 0.05
    chart = region_chart(regions, ("a", "b"))
    assert chart.count('xlink:href="#m') == 3


def test_region_chart_survives_missing_numbers() -> None:
    regions = handmade_regions(("a", "b"))
    regions["effect"] = np.nan
    assert "<svg" in region_chart(regions, ("a", "b"))


def test_only_the_classes_with_the_strongest_effects_are_charted_when_there_are_too_many() -> None:
    names = tuple(f"class {n}" for n in range(MAX_ROWS + 50))
    regions = pd.DataFrame(
        [(name, region, 0.001 * n) for n, name in enumerate(names) for region in BOXES],
        columns=["label", "region", "effect"],
    )
    assert charted_classes(regions, names) == list(names[50:])
    assert charted_classes(regions, names[:3]) == list(names[:3])


def test_interval_is_drawn_where_its_numbers_are() -> None:
    figure = interval_figure(
        [Interval("all", 0.6, 0.5, 0.7, True), Interval("one", 0.65, 0.6, 0.8)]
    )
    lines = [line.get_xdata().tolist() for line in figure.axes[0].lines]
    assert lines == [[0.5, 0.7], [0.6], [0.6, 0.8], [0.65]]
    low, high = figure.axes[0].get_xlim()
    assert low < 0 < 0.8 < high


def test_interval_without_ends_is_a_dot() -> None:
    chart = interval_chart([Interval("all", -0.2, math.nan, math.nan)], "all")
    assert "\N{MINUS SIGN}20 points" in chart


def test_interval_chart_takes_the_colours_and_the_font_of_the_page() -> None:
    chart = interval_chart([Interval("all", 0.6, 0.5, 0.7, True)], 'a "label"')
    assert 'aria-label="a &quot;label&quot;"' in chart
    assert "var(--fill)" in chart
    assert "currentColor" in chart
    assert "#0102" not in chart
    assert "font-family" not in chart


def test_two_charts_of_a_page_share_no_id_and_the_same_chart_has_the_same_bytes() -> None:
    intervals = [Interval("all", 0.6, 0.5, 0.7, True)]
    one, other = interval_chart(intervals, "one"), interval_chart(intervals, "other")
    ids = [set(re.findall(r' id="([^"]+)"', chart)) for chart in (one, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert interval_chart(intervals, "one") == one
