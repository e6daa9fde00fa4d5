"""Originals: the image files of a run, found again where its dataset lies."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from PIL import Image

from shortcut_finder.data.dicom import SUFFIXES, framed, is_file
from shortcut_finder.data.reading import content_hash, file_bytes, read_bytes, storable
from shortcut_finder.errors import DatasetError, UnreadableImage
from shortcut_finder.run.folder import Run


class Originals:
    """The image files that a run was made from.

    Attributes:
        root: where their names start; None for a Python dataset, and for images in archives,
            Parquet files or remote folders.
        window: of grey deeper than 8 bits, as in the scan.
    """

    def __init__(self, run: Run) -> None:
        self.folder = run.folder
        root = run.card["dataset"]["root"]
        self.root = None if root is None else Path(root)
        window = run.card["settings"].get("window")
        self.window = None if window is None else (float(window[0]), float(window[1]))
        self._content = dict(zip(run.images["image"], run.images["content"], strict=True))
        self._listings: dict[Path, dict[str, str]] = {}

    def path(self, image: str) -> Path:
        """The file of an image.

        Raises:
            DatasetError: there is none.
        """
        if self.root is None:
            raise DatasetError(f"{self.folder}: its images are no files of their own")
        path, _ = framed(self.root / image)
        if not is_file(path):
            path, _ = framed(self._spelled_out(self.root, image))
        if not is_file(path):
            raise DatasetError(
                f"{self.root}: {image!r} of {self.folder} is not there any more; put it back or "
                "scan again"
            )
        return path

    def frame(self, image: str) -> int:
        """The frame of a DICOM file that an image is; 0 for all others."""
        return 0 if self.root is None else framed(self.root / image)[1]

    def bytes(self, image: str) -> bytes:
        """The bytes of an image, the same as when it was scanned.

        Raises:
            DatasetError: the file is gone, or has changed since.
        """
        path = self.path(image)
        try:
            data = file_bytes(path)
        except UnreadableImage as error:
            raise DatasetError(f"{path}: {error}; scan again") from error
        if content_hash(data, self.frame(image)) != self._content[image]:
            raise DatasetError(f"{path}: has changed since the scan; scan again")
        return data

    def picture(self, image: str) -> Image.Image:
        """The upright picture of an image.

        Raises:
            UnreadableImage: it cannot be decoded, or is not there.
        """
        try:
            return read_bytes(
                self.bytes(image),
                self.frame(image),
                self.window,
                without_preamble=self.path(image).suffix.lower() in SUFFIXES,
            ).picture
        except DatasetError as error:
            raise UnreadableImage(str(error)) from error

    def _spelled_out(self, path: Path, image: str) -> Path:
        """The file whose name is not UTF-8 and was kept with the odd bytes spelled out."""
        for part in PurePosixPath(image).parts:
            if path not in self._listings:
                names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
                self._listings[path] = {storable(name): name for name in names}
            path = path / self._listings[path].get(part, part)
        return path


def absolute(path: Path) -> Path:
    """The path from the root, with links kept."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - links are kept
