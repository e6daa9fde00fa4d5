"""What all tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from forked import Python, forking


@pytest.fixture(scope="session", autouse=True)
def _no_words() -> Iterator[None]:
    """Scans read no words: loading what reads them takes longer than a scan of small pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "rapidocr", None)
        yield


@pytest.fixture(scope="module")
def words(_no_words: None) -> Iterator[None]:
    """Words are read after all, where that is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "rapidocr")
        yield


@pytest.fixture(scope="module")
def python() -> Iterator[Python]:
    """Runs programs in processes of their own that need not import everything anew."""
    with forking() as run:
        yield run
