"""Work side by side: in order, on all cores, and ended by the first error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from shortcut_finder.sweep.lately import Lately
from shortcut_finder.sweep.threads import side_by_side


@pytest.fixture(autouse=True)
def _four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_results_are_in_order_and_threads_as_they_were() -> None:
    both = threading.Barrier(2, timeout=30)

    def work(item: int) -> tuple[int, int]:
        both.wait()
        time.sleep(0.05 * (1 - item))
        return item, torch.get_num_threads()

    assert list(side_by_side(work, [0, 1])) == [(0, 2), (1, 2)]
    assert torch.get_num_threads() == 4


def test_one_core_works_without_threads() -> None:
    torch.set_num_threads(1)
    here = threading.get_ident()
    assert set(side_by_side(lambda _: threading.get_ident(), [1, 2])) == {here}


def test_an_error_ends_what_has_not_begun() -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise ValueError("off")
        time.sleep(0.02)

    with pytest.raises(ValueError, match="off"):
        list(side_by_side(work, range(1000)))
    assert len(begun) < 500
    assert torch.get_num_threads() == 4


def test_what_is_remembered_is_made_once_and_one_at_a_time() -> None:
    made: list[int] = []
    inside = threading.Semaphore()

    def make(number: int) -> int:
        assert inside.acquire(blocking=False)
        time.sleep(0.001)
        made.append(number)
        inside.release()
        return number * number

    square = Lately(make, size=lambda _: 1, budget=100)
    asked = [n % 20 for n in range(200)]
    assert list(side_by_side(square, asked)) == [n * n for n in asked]
    assert sorted(made) == list(range(20))
