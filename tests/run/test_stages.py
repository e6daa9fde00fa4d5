"""The account of a scan, and memory that no stage needs any more."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from shortcut_finder.run.stages import Stages

# Blocks of this many bytes come from the heap, which shrinks only from its end.
BLOCK, BLOCKS = 100_000, 2_000


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="no glibc")
def test_a_stage_begins_with_what_the_one_before_it_left_free() -> None:
    blocks = [bytearray(b"x" * BLOCK) for _ in range(BLOCKS)]
    del blocks[::2], blocks[: BLOCKS // 4]
    before = resident()
    Stages().begin("page")
    assert before - resident() > BLOCK * BLOCKS / 4
    assert blocks
