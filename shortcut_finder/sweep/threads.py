"""Threads: one item each, side by side, with the results in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Threads at most: what they share, such as the files, is used by one at a time.
MOST = 4


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """What work makes of each item, in their order, on as many cores as torch may use.

    Meanwhile each thread has its part of torch's threads.

    Args:
        work: changes nothing that another item sees.
        items: any number.

    Example:
        >>> list(side_by_side(lambda n: n * n, [1, 2, 3]))
        [1, 4, 9]
    """
    import torch

    cores = torch.get_num_threads()
    count = min(cores, MOST, len(items))
    if count < 2:
        yield from map(work, items)
        return
    torch.set_num_threads(cores // count)
    pool = ThreadPoolExecutor(count)
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(cores)
