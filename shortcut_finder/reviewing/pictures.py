"""Pictures: the images of a run, found below its dataset and nowhere else."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from shortcut_finder.data.containers import contents_of
from shortcut_finder.data.dicom import framed
from shortcut_finder.data.levels import Window
from shortcut_finder.data.reading import read_file
from shortcut_finder.data.storage import is_url
from shortcut_finder.errors import DatasetError, UnreadableImage
from shortcut_finder.run.folder import Run

# Sides in pixels: a tile of the list; and what no screen shows more of.
TILE, LARGEST = 192, 4096
QUALITY = 88


class Pictures:
    """Reads images of a run by their names.

    A run folder may come from a stranger, so its names are not believed: a file is read only where
    it lies, with all links followed, below the folder of the dataset; and nothing that the run
    names is ever called or fetched.

    Args:
        run: as loaded from its folder.
        data: where the images lie now: a folder, an archive, a Parquet file, or a URL that the
            person at the keyboard has named; as the run says if None.

    Raises:
        DatasetError: there are no images at ``data``.
    """

    def __init__(self, run: Run, data: str | None = None) -> None:
        self.thumbnails = run.thumbnails
        self.known = frozenset(run.images["image"].astype(str))
        root = run.card["dataset"].get("root")
        window = run.card["settings"].get("window")
        self.window: Window | None = None if window is None else (window[0], window[1])
        self.root: Path | None = None
        self.source: Any = None
        named = data or str(run.card.get("command", {}).get("data") or "")
        if data is None and root is not None:
            self.root = Path(root).resolve()
            return
        # An address in a run folder is its maker's; one that was typed is the user's.
        if not named or (data is None and (is_url(named) or not Path(named).exists())):
            return
        found = contents_of(named)
        if found is not None:
            self.source = found.source
        elif Path(named).is_dir():
            self.root = Path(named).resolve()
        elif data is not None:
            raise DatasetError(f"{data}: no folder, archive or Parquet file with images")

    def picture(self, image: str) -> Image.Image:
        """The upright picture of an image, in the pixels of the original.

        Raises:
            UnreadableImage: it is none of the run's, lies outside, or cannot be decoded.
        """
        if image not in self.known:
            raise UnreadableImage("no image of this run")
        if self.source is not None:
            return self.source.read(image).picture
        if self.root is None:
            raise UnreadableImage("the run has no image files; name them with --data")
        path = self.root / image
        try:
            # The frame of a DICOM file is no part of the name on disk.
            inside = framed(path)[0].resolve().is_relative_to(self.root)
        except (OSError, ValueError, RuntimeError) as error:
            raise UnreadableImage("no file can have this name") from error
        if not inside:
            raise UnreadableImage("lies outside the folder of the dataset")
        return read_file(path, self.window).picture

    def jpeg(self, image: str) -> bytes:
        """The picture at full size, as JPEG; no side longer than `LARGEST`.

        Raises:
            UnreadableImage: as `picture` does, where there is no small copy in the run either.
        """
        try:
            return _jpeg(self.picture(image), LARGEST)
        except UnreadableImage:
            if image in self.thumbnails and image in self.known:
                return _jpeg(self.thumbnails[image], LARGEST)
            raise

    def tile(self, image: str) -> bytes:
        """A small copy, as JPEG.

        Raises:
            UnreadableImage: as `picture` does.
        """
        if image in self.thumbnails and image in self.known:
            return _jpeg(self.thumbnails[image], TILE)
        return _jpeg(self.picture(image), TILE)


def _jpeg(picture: Image.Image, side: int) -> bytes:
    picture = picture.convert("RGB")
    if max(picture.size) > side:
        picture = picture.copy()
        picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
