"""Fixtures of the tests of the sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from shortcut_finder.demo.dataset import make_dataset


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copies")
    make_dataset(folder, per_class=16, progress=False)
    return folder / "images"
