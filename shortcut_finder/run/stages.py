"""Stages: what each part of a scan takes, in seconds, forward passes and files."""

from __future__ import annotations

import ctypes
import dataclasses
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.reading import ReadImage
from shortcut_finder.data.sources import Source

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)


@dataclass
class Stage:
    """What one stage took.

    Attributes:
        seconds: by the clock.
        forward_passes: images that went through the network, however many at once, with those
            that layers are found on.
        decoded_files: images read and decoded, or tried.
    """

    seconds: float = 0.0
    forward_passes: int = 0
    decoded_files: int = 0


class Stages:
    """The account of one scan; every moment belongs to the stage that began last.

    Example:
        >>> stages = Stages()
        >>> stages.begin("sweep")
        >>> stages.decoded(3)
        >>> stages.as_dict()["sweep"]["decoded_files"]
        3
    """

    def __init__(self) -> None:
        self._stages: dict[str, Stage] = {}
        self._name = ""
        self._now = Stage()
        self._since = time.perf_counter()

    def begin(self, name: str) -> None:
        """End the stage that runs, and begin another or go on with an earlier one."""
        self.end()
        _give_memory_back()
        self._name = name
        self._now = self._stages.setdefault(name, Stage())

    def end(self) -> None:
        """End the stage that runs, with a line in the log."""
        self._settle()
        if self._name:
            log.info(
                "%s: %.1f s, %d forward passes, %d files decoded",
                self._name, self._now.seconds, self._now.forward_passes, self._now.decoded_files,
            )  # fmt: skip
        self._name = ""

    def decoded(self, images: int) -> None:
        """Count images that were decoded elsewhere, such as in other processes."""
        self._now.decoded_files += images

    def counted(self, dataset: ImageDataset) -> ImageDataset:
        """The same dataset; every image that is read from it in this process counts."""
        return dataclasses.replace(dataset, source=_Counted(dataset.source, self))

    @contextmanager
    def passes(self, network: nn.Module) -> Iterator[None]:
        """Count the images that go through a network."""

        def count(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            self._now.forward_passes += len(inputs[0])

        handle = network.register_forward_pre_hook(count)
        try:
            yield
        finally:
            handle.remove()

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Plain values by name of the stage up to now, ready for JSON."""
        self._settle()
        return {name: dataclasses.asdict(stage) for name, stage in self._stages.items()}

    def _settle(self) -> None:
        now = time.perf_counter()
        self._now.seconds += now - self._since
        self._since = now


@dataclass(frozen=True)
class _Counted:
    """A source of images that says how many were asked for."""

    source: Source
    stages: Stages

    def read(self, image: str) -> ReadImage:
        """Read one image by its name."""
        self.stages.decoded(1)
        return self.source.read(image)


def _give_memory_back() -> None:
    """Hand what is free back to the system, which glibc puts off: half a gigabyte a stage."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
