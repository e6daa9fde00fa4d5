"""Notebook: a run and its findings as a notebook shows them."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.figures.charts import Chart
from shortcut_finder.figures.pictures import cell_picture, overlay, png_uri
from shortcut_finder.texts import clipped, percent, shown

COLUMNS = ("finding", "label", "kind", "region", "images", "share", "reliance", "severity",
           "verdict")  # fmt: skip
# Images in the figure of a finding.
SHOWN_IMAGES = 5
# Letters of a sentence that fit on a line above the figure.
LINE = 110


@dataclass(frozen=True, eq=False)
class RunFinding:
    """One finding of a run, to look at in a notebook.

    Attributes:
        detail: the finding with the numbers of every test, as in ``findings.json``.
        offenders: the images that carry it, worst first.
        thumbnails: small copies of some of them, by name.
        maps: class map of the label by image, raw and signed, (row, column).
        sizes: width and height of the original images, by name.
        preprocessing: how images became the model's input.
    """

    detail: Mapping[str, Any]
    offenders: pd.DataFrame
    thumbnails: Mapping[str, Image.Image]
    maps: Mapping[str, np.ndarray]
    sizes: Mapping[str, tuple[int, int]]
    preprocessing: Preprocessing

    def show(self) -> Chart:
        """Mean maps of the images with and without it, and the worst images with their maps."""
        names = [str(name) for name in self.offenders["image"].drop_duplicates()]
        names = [name for name in names if name in self.thumbnails][:SHOWN_IMAGES]
        means = {
            title: np.asarray(self.detail["maps"].get(who) or [], dtype=float)
            for who, title in (("members", "mean map\nwith it"), ("others", "mean map\nwithout"))
        }
        means = {title: cells for title, cells in means.items() if cells.ndim == 2}
        columns = max(len(means) + len(names), 1)
        figure = Chart(figsize=(2.1 * columns, 3.1), layout="constrained")
        figure.suptitle("\n".join(textwrap.wrap(self._sentence, LINE)), x=0.01, ha="left")
        panels = figure.subplots(1, columns, squeeze=False)[0]
        scale = max([float(np.nanmax(cells)) for cells in means.values()] + [1e-9])
        for panel, (title, cells) in zip(panels, means.items(), strict=False):
            panel.imshow(cell_picture(cells, scale).convert("RGB"), interpolation="none")
            panel.set_title(title)
        for panel, name in zip(panels[len(means) :], names, strict=True):
            self._draw(panel, name)
        for panel in panels:
            panel.set_axis_off()
        for text in figure.findobj(Text):
            text.set(fontsize=9, parse_math=False)
        return figure

    def _draw(self, panel: Any, name: str) -> None:
        """A worst image with its class map and the box of the thing."""
        picture, (width, height) = self.thumbnails[name], self.sizes[name]
        shrink = picture.width / width
        if name in self.maps:
            left, top, right, bottom = self.preprocessing.input_box(width, height)
            place = (shrink * left, shrink * top, shrink * right, shrink * bottom)
            scale = max(float(self.maps[name].max()), 1e-9)
            picture = overlay(picture, self.maps[name], scale, place)
        panel.imshow(picture)
        row = self.offenders[self.offenders["image"] == name].iloc[0]
        x0, y0, x1, y1 = (float(row[side]) * shrink for side in ("x0", "y0", "x1", "y1"))
        if np.isfinite([x0, y0, x1, y1]).all():
            corner, size = (x0, y0), (x1 - x0, y1 - y0)
            panel.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=1.5))
        title = clipped(shown(name).rpartition("/")[2], 20)
        panel.set_title(f"{title}\nscore {row['score']:.2f}")

    @property
    def _sentence(self) -> str:
        return f"{shown(self.detail['finding'])}: {shown(self.detail['sentence'])}"

    def _repr_html_(self) -> str:
        picture = Image.open(io.BytesIO(self.show()._repr_png_()))
        detail = {name: shown(self.detail[name]) for name in ("severity", "verdict", "advice")}
        return Markup(
            '<p><b>{sentence}</b><br>{severity} severity, {verdict}. {advice}</p><img src="{src}" '
            'alt="Mean class maps and the worst images of the finding" style="max-width:100%">'
        ).format(sentence=self._sentence, src=png_uri(picture), **detail)


def run_html(findings: pd.DataFrame, counts: Mapping[str, int], name: str, page: str) -> str:
    """A run as a table of its findings.

    Args:
        findings: the table of ``findings.csv``.
        counts: of ``run.json``.
        name: of the dataset.
        page: path of the report.
    """
    table = findings[list(COLUMNS)].copy()
    table["share"] = [percent(share) for share in table["share"]]
    table["reliance"] = ["" if pd.isna(v) else f"{v:.2f}" for v in table["reliance"]]
    for column in ("finding", "label", "kind", "region", "severity", "verdict"):
        table[column] = [clipped(shown(value), 60) for value in table[column]]
    listing = Markup(table.to_html(index=False, escape=True)) if len(table) else "no findings"
    return Markup("<p><b>{}</b>: {:,} images scanned</p>{}<p>{}</p>").format(
        shown(name), counts["scanned"], listing, escape(shown(page))
    )
