"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from forked import Python, forking


@pytest.fixture(scope="module")
def python() -> Iterator[Python]:
    """Runs programs in processes of their own that need not import everything anew."""
    with forking() as run:
        yield run
