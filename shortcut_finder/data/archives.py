"""Archives: images inside tar and zip files, read where they lie; nothing is ever unpacked to disk.

The index of an archive is made once, from its headers alone; an image is then some bytes at a
place. Both kinds of file come from strangers: names are labels and never paths, and no member may
be larger than an image file may be, whatever its header or its compressed bytes claim.
"""

from __future__ import annotations

import json
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from shortcut_finder.data.levels import Window
from shortcut_finder.data.reading import MOST_BYTES, SUFFIXES, storable
from shortcut_finder.data.sources import Bytes
from shortcut_finder.data.storage import Headers, Storage, safe_name
from shortcut_finder.errors import DatasetError, UnreadableImage

ARCHIVES = (".tar", ".zip")
# Bytes of a label file and of a tar header that are believed; WebDataset labels are a number or a
# few lines of JSON, names at most some kilobytes.
MOST_LABEL, MOST_HEADER = 2**20, 2**20
_LOCAL_HEADER = 30


@dataclass(frozen=True)
class Member:
    """One file inside an archive.

    Attributes:
        archive: name of the archive below its folder.
        start: where its bytes start in a tar; where its local header does in a zip.
        packed: bytes in the archive.
        size: bytes unpacked; None where they are stored as they are.
        crc: CRC-32 of a zip member, None in a tar.
        refused: why it cannot be read.
    """

    archive: str
    start: int
    packed: int
    size: int | None = None
    crc: int | None = None
    refused: str = ""


@dataclass(frozen=True)
class Archived(Bytes):
    """Images inside archives.

    Attributes:
        storage: the folder of the archives.
        members: where each image lies, by name of the archive and in it.
        window: the numbers that become black and white, of grey deeper than 8 bits.
    """

    storage: Storage
    members: Mapping[str, Member]
    window: Window | None = None

    def bytes(self, image: str) -> bytes:
        """The bytes of the image's file.

        Raises:
            UnreadableImage: with a reason in plain words.
        """
        if image not in self.members:
            raise UnreadableImage("not in the archive")
        data = member_bytes(self.storage, self.members[image], MOST_BYTES)
        if not data:
            raise UnreadableImage("an empty file (0 bytes)")
        return data


@dataclass
class Index:
    """What lies in some archives.

    Attributes:
        images: by name of the archive and in it.
        labels: of WebDataset samples: members with the label, by key of the sample.
        left_out: names that would leave the archive.
        repeated: names that come again; the last counts, as for tar.
    """

    images: dict[str, Member] = field(default_factory=dict)
    labels: dict[str, Member] = field(default_factory=dict)
    left_out: int = 0
    repeated: int = 0

    def add(self, archive: str, name: str, member: Member) -> None:
        """Take in a member, if it is an image or a label of one."""
        inside = safe_name(name)
        if inside is None:
            self.left_out += 1
            return
        whole = storable(f"{archive}/{inside}")
        suffix = PurePosixPath(inside).suffix.lower()
        hidden = PurePosixPath(inside).name.startswith(".") or inside.startswith("__MACOSX/")
        if suffix in SUFFIXES and not hidden:
            self.repeated += whole in self.images
            self.images[whole] = member
        elif suffix in (".cls", ".json"):
            self.labels[_key(whole) + suffix] = member


def index_of(storage: Storage, archives: Sequence[str]) -> Index:
    """Look through archives.

    Args:
        storage: their folder.
        archives: their names in it.

    Raises:
        DatasetError: one of them is damaged, or is packed as a whole, so that no image can be read
            without all before it.
    """
    index = Index()
    for archive in archives:
        with storage.open(archive) as file:
            place = f"{storage.root}/{archive}"
            try:
                if archive.lower().endswith(".zip"):
                    with zipfile.ZipFile(file) as opened:
                        _index_zip(archive, opened, index)
                else:
                    with tarfile.open(fileobj=Headers(file, MOST_HEADER), mode="r:") as opened:
                        _index_tar(archive, opened, index)
            except (tarfile.TarError, zipfile.BadZipFile, OSError, ValueError, EOFError) as error:
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                raise DatasetError(
                    f"{place}: cannot be read as an archive ({reason}); a tar must not be "
                    "compressed, and the file must be whole"
                ) from error
    return index


def _index_tar(archive: str, opened: tarfile.TarFile, index: Index) -> None:
    while (entry := opened.next()) is not None:
        # It would keep every header that it has read.
        opened.members = []  # type: ignore[attr-defined]
        if entry.isreg() and not entry.issparse():
            index.add(archive, entry.name, Member(archive, entry.offset_data, entry.size))


def _index_zip(archive: str, opened: zipfile.ZipFile, index: Index) -> None:
    for entry in opened.infolist():
        if entry.is_dir():
            continue
        refused = ""
        if entry.flag_bits & 0x1:
            refused = "encrypted in its archive"
        elif entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            refused = "packed in its archive by a method that cannot be read; zip it anew"
        packed = entry.compress_type == zipfile.ZIP_DEFLATED
        index.add(
            archive,
            entry.filename,
            Member(
                archive,
                entry.header_offset,
                entry.compress_size,
                entry.file_size if packed else None,
                entry.CRC,
                refused,
            ),
        )


def member_bytes(storage: Storage, member: Member, most: int) -> bytes:
    """The bytes of a member.

    Args:
        storage: the folder of the archive.
        member: of a tar or a zip.
        most: bytes that it may have.

    Raises:
        UnreadableImage: with a reason in plain words.
    """
    if member.refused:
        raise UnreadableImage(member.refused)
    size = member.packed if member.size is None else member.size
    if max(size, member.packed) > most:
        raise UnreadableImage(f"a file of {max(size, member.packed):,} bytes; up to {most:,}")
    start = member.start
    if member.crc is not None:
        header = storage.part(member.archive, start, _LOCAL_HEADER)
        if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
            raise UnreadableImage("damaged: nothing lies where its archive says")
        start += _LOCAL_HEADER
        start += int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    data = storage.part(member.archive, start, member.packed)
    if len(data) < member.packed:
        raise UnreadableImage("truncated: its archive ends before it does")
    if member.size is not None:
        data = _unpacked(data, member.size)
    if member.crc is not None and zlib.crc32(data) != member.crc:
        raise UnreadableImage("damaged: its bytes are not what its archive says")
    return data


def _unpacked(data: bytes, size: int) -> bytes:
    """Deflated bytes, of which there are as many as was said and not one more."""
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = unpack.decompress(data, size + 1)
    except zlib.error as error:
        raise UnreadableImage("damaged: it cannot be unpacked") from error
    if len(found) != size:
        raise UnreadableImage("damaged: it unpacks to another size than its archive says")
    return found


def labels_of(storage: Storage, index: Index, place: str) -> list[str]:
    """The label of each image, in the order of the index.

    A WebDataset sample has it in a file of the same name, ``.cls`` or ``.json`` with ``label`` or
    ``cls``. Elsewhere it is the first folder inside the archives in which the images differ.

    Raises:
        DatasetError: some image has no label.
    """
    if not index.labels:
        return _folders(list(index.images), place)
    labels = []
    for image in index.images:
        label = None
        for suffix in (".cls", ".json"):
            member = index.labels.get(_key(image) + suffix)
            if member is not None and label is None:
                label = _label(storage, member, suffix)
        if label is None:
            raise DatasetError(
                f"{place}: {image!r} has no label; expected {_key(image)}.cls beside it, or .json "
                "with label"
            )
        labels.append(label)
    return labels


def _label(storage: Storage, member: Member, suffix: str) -> str | None:
    try:
        text = member_bytes(storage, member, MOST_LABEL).decode("utf-8-sig").strip()
        if suffix == ".cls":
            return text or None
        content = json.loads(text)
    except (UnreadableImage, ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    found = content.get("label", content.get("cls"))
    plain = isinstance(found, (str, int)) and not isinstance(found, bool)
    return str(found).strip() or None if plain else None


def _folders(images: Sequence[str], place: str) -> list[str]:
    # Without the archive itself and the file.
    parts = [PurePosixPath(image).parts[1:-1] for image in images]
    depth = 0
    while all(len(one) > depth for one in parts):
        names = [one[depth] for one in parts]
        if len(set(names)) > 1:
            return names
        depth += 1
    raise DatasetError(
        f"{place}: no class folders inside; expected ARCHIVE/<class>/<image>, or WebDataset "
        "samples with .cls beside each image"
    )


def _key(name: str) -> str:
    """What the files of a WebDataset sample share: all up to the first dot of the file's name."""
    path = PurePosixPath(name)
    return f"{path.parent}/{path.name.split('.')[0]}"
