"""Charts: regions of classes and effects, as figures and as SVG in the colours of the page."""

from __future__ import annotations

import io
import math
import re
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from shortcut_finder.data.regions import BOXES

# Diverging and safe for colour-blind readers: blue below the other classes, red above.
EFFECT_COLOURS = "RdBu_r"
SIGNIFICANT = 0.05
TITLE = "effect against the other classes; a dot: q ≤ 0.05"
# More rows than this cannot be read; the classes with the strongest effects are kept.
MAX_ROWS = 100
MAX_LABEL = 26  # columns of text
# Never drawn as such: the page puts its own colours in the place of these.
INK, STRONG, PLAIN = "#010203", "#010204", "#010205"
PAGE_COLOURS = {INK: "currentColor", STRONG: "var(--fill)", PLAIN: "var(--rest)"}


class Chart(Figure):
    """A figure that a notebook shows by itself, whether or not pyplot is there."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        with warnings.catch_warnings():
            # A name may have letters that the font lacks; the picture is still good.
            warnings.simplefilter("ignore", UserWarning)
            self.savefig(content, format="png", dpi=self.dpi, metadata={"Software": None})
        return content.getvalue()


def region_figure(regions: pd.DataFrame, classes: Sequence[str], title: str = TITLE) -> Chart:
    """The effect of every class and region, class against rest; dots mark ``q <= 0.05``.

    Args:
        regions: the table of ``regions.csv``.
        classes: the rows wanted, from top to bottom; classes without numbers stay empty.
        title: of the scale of colours.
    """
    names = _columns(regions)
    effects = _grid(regions, "effect", classes, names)
    marked = _grid(regions, "q", classes, names) <= SIGNIFICANT
    high = float(np.nanmax(np.abs(effects), initial=0.0))
    limits = Normalize(-(high or 1.0), high or 1.0)

    column, row = 24.0, 24.0 if len(classes) <= 40 else 15.0
    labels = [_clipped(name) for name in classes]
    left = 7.0 * max((_columns_of_text(label) for label in labels), default=0) + 14
    top, right, bottom = 118.0, 64.0, 66.0
    width = left + column * len(names) + right
    height = top + row * len(classes) + bottom
    figure = Chart(figsize=(width / 72, height / 72), dpi=72)
    axes = figure.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    )
    axes.imshow(
        effects, cmap=EFFECT_COLOURS, norm=limits, aspect="auto", interpolation="none", gid="cells"
    )
    _mark(axes, marked, np.abs(limits(effects) - 0.5) > 0.3)
    axes.set_xticks(range(len(names)), names, rotation=48, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0, pad=5)
    ramp = min(220, width - left - 20)
    _scale(figure, limits, (left / width, 30 / height, ramp / width, 9 / height), title)
    for text in figure.findobj(Text):
        text.set(color=INK, fontsize=11, parse_math=False)
    for axis in figure.axes:
        axis.spines[:].set_visible(False)
        axis.patch.set_visible(False)
    return figure


def region_chart(regions: pd.DataFrame, classes: Sequence[str], title: str = TITLE) -> str:
    """`region_figure` as SVG markup: the same bytes every time, text in the page's own colour."""
    label = "Heat map of the effect of each class and region; regions.csv holds its numbers"
    return _svg(region_figure(regions, classes, title), label, "regions")


@dataclass(frozen=True)
class Interval:
    """An effect with its 95% interval, in [-1, 1].

    Attributes:
        name: what it is measured against.
        effect: change of a probability.
        low: lower end of the interval; NaN where there is none.
        high: upper end.
        strong: whether it is the number that decides.
    """

    name: str
    effect: float
    low: float
    high: float
    strong: bool = False


def interval_figure(intervals: Sequence[Interval]) -> Chart:
    """Effects with their intervals, one below the other, each under its name.

    Args:
        intervals: from top to bottom; at least one.
    """
    width, row, top, bottom = 320.0, 38.0, 4.0, 62.0
    height = top + row * len(intervals) + bottom
    figure = Chart(figsize=(width / 72, height / 72), dpi=72)
    axes = figure.add_axes((0.03, bottom / height, 0.94, 1 - (top + bottom) / height))
    ends = [value for each in intervals for value in (each.low, each.high, each.effect)]
    ends = [value for value in ends if math.isfinite(value)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = 0.06 * max(high - low, 0.1)
    axes.set_xlim(max(low - room, -1.05), min(high + room, 1.05))
    axes.set_ylim(len(intervals), 0)
    for place, each in enumerate(intervals):
        colour = STRONG if each.strong else PLAIN
        size = 8.0 if each.strong else 6.0
        axes.vlines(0, place + 0.5, place + 0.94, color=INK, linewidth=1, alpha=0.55)
        axes.plot([each.low, each.high], [place + 0.72] * 2, color=colour, linewidth=size / 2.4)
        axes.plot([each.effect], [place + 0.72], color=colour, marker="o", markersize=size)
        line: dict[str, Any] = {"y": place + 0.34, "transform": axes.get_yaxis_transform()}
        weight = "bold" if each.strong else "normal"
        axes.text(0, s=_clipped(each.name, 38), weight=weight, **line)
        axes.text(1, s=_points(each.effect), ha="right", weight=weight, **line)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10], min_n_ticks=3))
    axes.xaxis.set_major_formatter(lambda value, _: _points(value, unit=""))
    axes.tick_params(length=3, pad=3, color=INK)
    below: dict[str, Any] = {"transform": figure.transFigure, "alpha": 0.85}
    axes.text(0.03, s="percentage points beyond the control,", y=21 / height, **below)
    axes.text(0.03, s="in an image that could go either way", y=6 / height, **below)
    for text in figure.findobj(Text):
        text.set(color=INK, fontsize=11, parse_math=False)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set(color=INK, alpha=0.55)
    axes.patch.set_visible(False)
    return figure


def interval_chart(intervals: Sequence[Interval], label: str) -> str:
    """`interval_figure` as SVG markup.

    Args:
        intervals: from top to bottom; at least one.
        label: the numbers in words, for those who cannot see it.
    """
    return _svg(interval_figure(intervals), label, label)


def _points(value: float, unit: str = " points") -> str:
    r"""A change of a probability in percentage points.

    Example:
        >>> _points(0.614), _points(-0.05), _points(0.0, unit="")
        ('+61 points', '−5 points', '0')
    """
    text = f"{100 * value:+.0f}"
    return ("0" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")) + unit


def _svg(figure: Figure, label: str, salt: str) -> str:
    """A figure as SVG markup for a page: the same bytes every time, colours those of the page.

    Args:
        figure: drawn with `INK`, `STRONG` and `PLAIN`.
        label: what it shows, for those who cannot see it.
        salt: keeps its ids apart from those of other charts of the page.
    """
    content = io.StringIO()
    # Fixed ids for the same bytes; text as text, so that the browser finds a font for any script.
    with (
        matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        # Matplotlib measures text in its own font and warns of every letter that font lacks.
        warnings.simplefilter("ignore", UserWarning)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(content, format="svg", metadata=nothing, transparent=True)
    text = content.getvalue()
    markup = f'<svg role="img" aria-label="{escape(label, quote=True)}" '
    markup += text[text.index("<svg ") + 5 :]
    for colour, name in PAGE_COLOURS.items():
        markup = markup.replace(f"fill: {colour}", f"fill: {name}")
        markup = markup.replace(f"stroke: {colour}", f"stroke: {name}")
    # Two charts of a page must not share an id; only what is referred to needs one.
    markup = re.sub(r' id="[A-Za-z.]+\d?[A-Za-z]*_\d+"', "", markup)
    markup = re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', markup, count=2)
    # The font of the page, not that of Matplotlib; older versions of it write the short form.
    markup = re.sub(r"font: (?:bold )?[^;\"]*px '[^\"]*?(;|\")", r"font-size: 11px\1", markup)
    return re.sub(r"font-family: [^;\"]*; ?", "", markup)


def charted_classes(regions: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """The classes worth a row: all of them, or those with the strongest effects, in order."""
    if len(classes) <= MAX_ROWS:
        return list(classes)
    strength = regions["effect"].abs().groupby(regions["label"]).max()
    kept = set(strength.reindex(list(classes)).fillna(0).nlargest(MAX_ROWS, keep="first").index)
    return [name for name in classes if name in kept]


def _columns(regions: pd.DataFrame) -> list[str]:
    """Regions in the order they are defined, then any other."""
    present = [str(name) for name in regions["region"].unique()]
    return [name for name in BOXES if name in present] + [n for n in present if n not in BOXES]


def _grid(
    regions: pd.DataFrame, value: str, classes: Sequence[str], names: Sequence[str]
) -> np.ndarray:
    table = regions.drop_duplicates(["label", "region"]).pivot(
        index="label", columns="region", values=value
    )
    return table.reindex(index=list(classes), columns=list(names)).to_numpy(dtype=np.float64)


def _mark(axes: Axes, marked: np.ndarray, dark: np.ndarray) -> None:
    """Dots on significant cells, light on strong colours and dark on pale ones."""
    for cells, colour in ((marked & dark, "white"), (marked & ~dark, "black")):
        rows, columns = np.nonzero(cells)
        axes.scatter(columns, rows, s=11, c=colour, linewidths=0, gid=f"marks-{colour}")


def _scale(
    figure: Figure, limits: Normalize, place: tuple[float, float, float, float], title: str
) -> None:
    """The colour bar with its title, below the cells."""
    axes = figure.add_axes(place)
    low, high = float(limits.vmin or 0), float(limits.vmax or 0)
    ramp = np.linspace(low, high, 101)[None]
    axes.imshow(ramp, cmap=EFFECT_COLOURS, aspect="auto", extent=(low, high, 0, 1), gid="scale")
    axes.set_yticks([])
    axes.set_xticks([low, 0, high], [f"{low:.2g}", "0", f"+{high:.2g}"])
    axes.tick_params(length=0, pad=4)
    axes.set_title(title, loc="left", pad=5)


def _clipped(name: str, columns: int = MAX_LABEL) -> str:
    """A name short enough for a row."""
    kept = ""
    for letter in name:
        if _columns_of_text(kept + letter) > columns:
            return kept + "…"
        kept += letter
    return kept


def _columns_of_text(text: str) -> int:
    """Width of a text where Chinese, Japanese and Korean letters take two columns."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
