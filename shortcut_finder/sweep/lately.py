"""Lately: values that were made lately, within a budget of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import RLock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Lately(Generic[Value]):
    """A function of an image's number that remembers what it returned lately.

    Threads may ask; one is answered at a time, so that what it is made of need not be ready for
    them.

    Args:
        make: of the number; what it raises is not remembered.
        size: bytes of a value.
        budget: bytes of all that is remembered; the longest unused goes first.

    Example:
        >>> square = Lately(lambda n: [n] * n, size=len, budget=5)
        >>> square(2) is square(2), square(4) is square(4), square(2) is square(2)
        (True, True, True)
    """

    def __init__(
        self, make: Callable[[int], Value], size: Callable[[Value], int], budget: int
    ) -> None:
        self._make, self._size, self._budget = make, size, budget
        self._kept: OrderedDict[int, Value] = OrderedDict()
        self._bytes = 0
        self._lock = RLock()

    def __call__(self, number: int) -> Value:
        """The value of an image."""
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
            value = self._make(number)
            self._kept[number] = value
            self._bytes += self._size(value)
            while self._bytes > self._budget and len(self._kept) > 1:
                self._bytes -= self._size(self._kept.popitem(last=False)[1])
            return value
