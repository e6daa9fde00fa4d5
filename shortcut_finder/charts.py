"""Charts: the class x region heat map, as a figure and as SVG that follows the page's colours."""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.text import Text

from shortcut_finder.regions import BOXES

# Diverging and safe for colour-blind readers: blue below the other classes, red above.
EFFECT_COLOURS = "RdBu_r"
SIGNIFICANT = 0.05
TITLE = "effect against the other classes; a dot: q ≤ 0.05"
# More rows than this cannot be read; the classes with the strongest effects are kept.
MAX_ROWS = 100
MAX_LABEL = 26  # columns of text
# Never drawn as such: the page puts its own text colour in the place of this one.
INK = "#010203"


def region_figure(regions: pd.DataFrame, classes: Sequence[str], title: str = TITLE) -> Figure:
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
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_visible(False)
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
    content = io.StringIO()
    figure = region_figure(regions, classes, title)
    # Fixed ids for the same bytes; text as text, so that the browser finds a font for any script.
    with (
        matplotlib.rc_context({"svg.hashsalt": "shortcut-finder", "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        # Matplotlib measures text in its own font and warns of every letter that font lacks.
        warnings.simplefilter("ignore", UserWarning)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(content, format="svg", metadata=nothing)
    text = content.getvalue()
    label = "Heat map of the effect of each class and region; regions.csv holds its numbers"
    markup = f'<svg role="img" aria-label="{label}" ' + text[text.index("<svg ") + 5 :]
    markup = markup.replace(f"fill: {INK}", "fill: currentColor")
    markup = re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', markup, count=2)
    return re.sub(r"font: [^;\"]*px '[^\"]*?(;|\")", r"font-size: 11px\1", markup)


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


def _clipped(name: str) -> str:
    """A name short enough for a row."""
    kept = ""
    for letter in name:
        if _columns_of_text(kept + letter) > MAX_LABEL:
            return kept + "…"
        kept += letter
    return kept


def _columns_of_text(text: str) -> int:
    """Width of a text where Chinese, Japanese and Korean letters take two columns."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
