"""Walking: the image files below a folder, each real folder entered once."""

from __future__ import annotations

import os
from pathlib import Path

from shortcut_finder.data.dicom import has_preamble
from shortcut_finder.data.reading import SUFFIXES
from shortcut_finder.errors import DatasetError


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder and is not hidden.

    Raises:
        DatasetError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be listed ({error.strerror})") from error


def is_image(entry: os.DirEntry[str]) -> bool:
    """Whether a file is taken for an image, by its name or as a DICOM file."""
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - ten times faster
    # Scanners name files by numbers.
    return suffix in SUFFIXES or (not suffix[1:].isalpha() and has_preamble(Path(entry.path)))


def images_below(folder: Path) -> list[str]:
    """Images anywhere below a folder, as relative paths with ``/``."""
    images = []
    pending = [(folder, "")]
    # Every real folder is entered once, so links cannot make the walk endless.
    seen = {_identity(folder)}
    while pending:
        place, prefix = pending.pop()
        for entry in entries_of(place):
            if entry.is_dir():
                below = place / entry.name
                if (identity := _identity(below)) not in seen:
                    seen.add(identity)
                    pending.append((below, f"{prefix}{entry.name}/"))
            elif is_image(entry):
                images.append(prefix + entry.name)
    return images


def _identity(folder: Path) -> tuple[int, int]:
    facts = folder.stat()
    return facts.st_dev, facts.st_ino


def has_folders(root: Path) -> bool:
    """Whether any folder lies in a folder."""
    return any(entry.is_dir() for entry in entries_of(root))
