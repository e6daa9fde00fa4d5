"""Notebook: a run and a finding show themselves, and their names stay text."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from handmade import CLASSES, HOSTILE, handmade_run
from matplotlib.figure import Figure
from PIL import Image

from shortcut_finder.errors import RunError
from shortcut_finder.run.folder import Run, load_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    handmade_run(folder := tmp_path_factory.mktemp("run"))
    return load_run(folder)


def png(figure: Figure) -> Image.Image:
    return Image.open(io.BytesIO(figure._repr_png_()))


def test_a_run_shows_its_findings_and_its_page(run: Run) -> None:
    text = run._repr_html_()
    assert text.count("<tr") == 1 + 3
    assert "70 images scanned" in text
    assert "confirmed" in text
    assert "0.61" in text
    assert str(run.folder / "report.html") in text
    assert "<script" not in text
    assert "<i>" not in text
    assert "&lt;script&gt;" in text


def test_a_run_without_findings_says_so(tmp_path: Path) -> None:
    run = handmade_run(tmp_path, findings=0, thumbnails=False, maps=False)
    assert "no findings" in run._repr_html_()


def test_a_finding_shows_mean_maps_and_its_worst_images_with_boxes(run: Run) -> None:
    figure = run.finding("F1").show()
    assert isinstance(figure, Figure)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["mean map\nwith it", "mean map\nwithout", "000 photo.jpg\nscore 0.99"]
    assert [len(axes.patches) for axes in figure.axes] == [0, 0, 1, 1, 1, 1, 1]
    picture = np.asarray(figure.axes[2].images[0].get_array())
    assert picture.shape == (240, 320, 3)
    # The box lies where the tag does: 4, 4 to 124, 64 of 480 pixels.
    box = figure.axes[2].patches[0].get_bbox()
    assert np.allclose(box.extents, np.array([4, 4, 124, 64]) * 320 / 480)
    assert png(figure).width > 1000


def test_a_finding_has_text_and_picture_in_a_notebook(run: Run) -> None:
    text = run.finding("F2")._repr_html_()
    assert "data:image/png;base64," in text
    assert "high severity, suspect" in text
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text


def test_the_figure_is_the_same_every_time_and_leaves_matplotlib_as_found(run: Run) -> None:
    before = dict(matplotlib.rcParams)
    first = run.finding("F1").show()._repr_png_()
    assert run.finding("F1").show()._repr_png_() == first
    assert dict(matplotlib.rcParams) == before


def test_regions_are_plotted_with_a_row_a_class(run: Run) -> None:
    figure = run.plot_regions()
    assert len(figure.axes[0].get_yticks()) == len(CLASSES)
    assert png(figure).size[0] > 400


def test_a_finding_that_is_not_there_is_said_with_those_that_are(run: Run) -> None:
    with pytest.raises(RunError, match="no finding 'F9'; there are: F1, F2, F3"):
        run.finding("F9")


def test_a_finding_without_pictures_maps_or_boxes_is_still_shown(tmp_path: Path) -> None:
    run = handmade_run(tmp_path, thumbnails=False, maps=False)
    assert len(run.finding("F3").show().axes) == 2
    bare = handmade_run(tmp_path / "bare").finding("F3")
    assert [len(axes.patches) for axes in bare.show().axes] == [0] * 7
