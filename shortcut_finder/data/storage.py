"""Storage: a folder of this machine, or one that a URL names, read in parts.

A URL is one that fsspec understands: ``s3://``, ``gs://``, ``hf://``, ``memory://``... What opens
it is a package of the user's, with the user's credentials. Nothing is opened but what lies below
the folder that the user named.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from shortcut_finder.errors import DatasetError, UnreadableImage

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(name: str) -> bool:
    """Whether a name is the URL of something that is not on this machine.

    Example:
        >>> is_url("s3://bucket/photos"), is_url("photos/a.csv"), is_url("C:/photos")
        (True, False, False)
    """
    return _URL.match(name) is not None


@dataclass(frozen=True)
class Storage:
    """A folder, and what lies below it.

    Attributes:
        root: absolute path, or URL without a slash at the end.
    """

    root: str

    @property
    def remote(self) -> bool:
        """Whether it is not on this machine."""
        return is_url(self.root)

    def names(self) -> list[str]:
        """Every file below the folder, relative and with ``/``, sorted.

        Raises:
            DatasetError: it cannot be listed.
        """
        if not self.remote:
            folder = Path(self.root)
            found = (path for path in folder.rglob("*") if path.is_file())
            return sorted(path.relative_to(folder).as_posix() for path in found)
        with self._said():
            files, top = self._opened()
            start = top.rstrip("/") + "/"
            return sorted(name[len(start) :] for name in files.find(top) if name.startswith(start))

    def size(self, name: str) -> int:
        """Bytes of a file.

        Raises:
            DatasetError: there is none.
        """
        if not self.remote:
            try:
                return Path(self.root, name).stat().st_size
            except OSError as error:
                raise DatasetError(f"{self.root}/{name}: {error.strerror}") from error
        with self._said(name):
            files, top = self._opened()
            return int(files.info(_below(top, name))["size"])

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A file to read and seek in.

        Raises:
            DatasetError: it cannot be opened.
        """
        with self._said(name):
            if self.remote:
                files, top = self._opened()
                opened = files.open(_below(top, name), "rb")
            else:
                opened = Path(self.root, name).open("rb")  # noqa: SIM115 - closed below
        with opened as file:
            yield file

    def part(self, name: str, start: int, size: int) -> bytes:
        """Some bytes of a file, fewer where it ends before.

        Raises:
            UnreadableImage: they cannot be read.
        """
        try:
            if not self.remote:
                with Path(self.root, name).open("rb", buffering=0) as file:
                    return os.pread(file.fileno(), size, start) if size else b""
            files, top = self._opened()
            return bytes(files.cat_file(_below(top, name), start=start, end=start + size))
        # What stores raise is theirs: network, rights, names.
        except Exception as error:
            raise UnreadableImage(_reason(error)) from error

    def _opened(self) -> tuple[Any, str]:
        # Kept by fsspec itself, one for each process.
        from fsspec.core import url_to_fs

        return url_to_fs(self.root)

    @contextmanager
    def _said(self, name: str = "") -> Iterator[None]:
        try:
            yield
        except DatasetError:
            raise
        except Exception as error:
            place = f"{self.root}/{name}" if name else self.root
            raise DatasetError(f"{place}: cannot be read ({_reason(error)})") from error


def storage_of(name: str) -> tuple[Storage, str]:
    """The folder that a file or URL lies in, and its name there."""
    if is_url(name):
        root, _, last = name.rstrip("/").rpartition("/")
        return Storage(root), last
    path = Path(os.path.abspath(name))  # noqa: PTH100 - links are kept
    return Storage(str(path.parent)), path.name


def safe_name(name: str) -> str | None:
    """A name in an archive or list as a path below its folder; None where it leaves it.

    Example:
        >>> safe_name("./cat//1.jpg"), safe_name("../1.jpg"), safe_name("/etc/x.jpg")
        ('cat/1.jpg', None, None)
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0] or "\0" in name:
        return None
    return "/".join(parts)


def safe_image(name: str, place: str) -> str:
    """The name of an image in a remote manifest.

    Raises:
        DatasetError: it leads out of the manifest's folder, or to another address.
    """
    inside = None if is_url(name) else safe_name(name)
    if inside is None:
        raise DatasetError(
            f"{place}: {name[:100]!r} lies outside the folder of the manifest, and is not fetched"
        )
    return inside


def _below(top: str, name: str) -> str:
    return f"{top.rstrip('/')}/{name}"


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "file not found"
    if isinstance(error, PermissionError):
        return "permission denied"
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


class Headers(io.RawIOBase):
    """A file whose headers are read, of which no one read may be large.

    A header that claims gigabytes must not be believed.
    """

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._most = most

    def read(self, size: int = -1) -> bytes:
        """Some bytes.

        Raises:
            OSError: more are asked for than a header has.
        """
        if not 0 <= size <= self._most:
            raise OSError(f"a header of {size:,} bytes")
        return self._file.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to a place."""
        return self._file.seek(place, whence)

    def tell(self) -> int:
        """The place."""
        return self._file.tell()
