"""Sources: where the files of images are read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from shortcut_finder.data.dicom import SUFFIXES as DICOM
from shortcut_finder.data.levels import Window
from shortcut_finder.data.reading import ReadImage, read_bytes, read_file


class Source(Protocol):
    """Where the images of a dataset come from."""

    def read(self, image: str) -> ReadImage:
        """Read one image by its name."""
        ...


class Bytes(Protocol):
    """A source that has the bytes of an image's file: in an archive, a table, or far away."""

    @property
    def window(self) -> Window | None:
        """The numbers that become black and white, of grey deeper than 8 bits."""

    def bytes(self, image: str) -> bytes:
        """The bytes of an image's file.

        Raises:
            UnreadableImage: with a reason in plain words.
        """
        ...

    def read(self, image: str) -> ReadImage:
        """Read one image by its name."""
        old = PurePosixPath(image).suffix.lower() in DICOM
        return read_bytes(self.bytes(image), 0, self.window, without_preamble=old)


@dataclass(frozen=True)
class Files:
    """Image files below a folder.

    Attributes:
        root: folder that relative names start from.
        renamed: real paths of the names that had to be changed to be stored.
        window: the numbers that become black and white, of grey deeper than 8 bits.
    """

    root: Path
    renamed: Mapping[str, str]
    window: Window | None = None

    def path(self, image: str) -> Path:
        """Where an image lies; the frame of a DICOM file has its number at the end."""
        return self.root / self.renamed.get(image, image)

    def read(self, image: str) -> ReadImage:
        """Read one image by its name."""
        return read_file(self.path(image), self.window)
