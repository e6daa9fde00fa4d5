"""Memory: freed blocks stay in the process for the next ones, and go back at the end."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from shortcut_finder.maps import memory
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.maps.memory import kept_memory
from shortcut_finder.settings import Settings
from tests.networks import FAMILIES, classifier_of

BYTES = 48 * 2**20

pytestmark = pytest.mark.skipif(
    memory.gnu_library() is None, reason="only the GNU C library can keep freed memory"
)


def cleared_pages(work: Callable[[], object]) -> int:
    """Pages the system cleared for this process meanwhile."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def fill() -> None:
    torch.ones(BYTES, dtype=torch.uint8)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_freed_block_is_used_again_without_being_cleared() -> None:
    pages = BYTES // resource.getpagesize()
    with kept_memory():
        # A gap must be a little larger than the block that left it.
        for _ in range(10):
            fill()
        assert cleared_pages(fill) < pages / 10


# In a process of its own: one that has run long has gaps for large blocks.
AFTERWARDS = """
import contextlib, resource
import numpy as np
from shortcut_finder.maps.memory import kept_memory

def cleared_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones({size}, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with contextlib.suppress(ZeroDivisionError), kept_memory():
    np.ones({size}, dtype=np.uint8)
    {error}
cleared_pages()
print(cleared_pages())
"""


@pytest.mark.parametrize("error", ["pass", "1 / 0"])
def test_afterwards_large_blocks_come_from_the_system_again(error: str) -> None:
    script = AFTERWARDS.format(size=BYTES, error=error)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    # Pages may be as large as 2 MiB.
    assert int(done.stdout) >= BYTES // (2 * 2**20)


def test_what_was_kept_goes_back_at_the_end() -> None:
    with kept_memory():
        fill()
        kept = resident()
    assert resident() < kept - BYTES / 2


def test_other_threads_can_take_large_blocks_meanwhile() -> None:
    seen: list[float] = []
    with kept_memory():
        thread = threading.Thread(target=lambda: seen.append(torch.ones(BYTES // 4).sum().item()))
        thread.start()
        thread.join()
    assert seen == [BYTES // 4]


def test_nothing_happens_without_the_gnu_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with kept_memory():
        assert torch.ones(3).sum() == 3


def test_the_engine_keeps_the_memory_of_its_batches() -> None:
    classifier = classifier_of(FAMILIES["small resnet"].network(), 96)
    pixels = torch.zeros(64, 96, 96, 3, dtype=torch.uint8)
    with MapEngine(classifier, Settings(precision="fp32")) as engine:
        engine.run(pixels, None)
        engine.run(pixels, None)
        inside = cleared_pages(lambda: engine.run(pixels, None))
    # The first layer's output alone, were it mapped anew.
    assert inside < 64 * 64 * 48 * 48 * 4 // resource.getpagesize()


# What the pictures of a decode process are like: blocks of a megabyte, several at a time.
PICTURES = """
import resource
import numpy as np
from shortcut_finder.maps.memory import settle_memory

if {settled}:
    settle_memory()

def picture():
    return [np.ones(2**20, dtype=np.uint8) for _ in range(8)]

for _ in range(4):
    picture()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
picture()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize("settled", [True, False])
def test_a_settled_process_uses_the_blocks_of_a_picture_for_the_next(settled: bool) -> None:
    script = PICTURES.format(settled=settled)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert (int(done.stdout) < 100) == settled
