"""Mending: what an earlier sweep left, as far as it still holds."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.dicom import framed
from shortcut_finder.data.reading import content_hash, file_bytes
from shortcut_finder.data.sources import Files
from shortcut_finder.errors import RunError, UnreadableImage
from shortcut_finder.sweep.shards import is_whole, read_shard
from shortcut_finder.sweep.whitening import load_whitenings
from shortcut_finder.texts import count, shown

log = logging.getLogger(__name__)


def mend(folder: Path, dataset: ImageDataset) -> None:
    """Remove what is damaged, and what was made of images that have changed since.

    The sweep makes it again. Contents are compared of those files alone that were touched after
    the sweep of their shard began.

    Args:
        folder: the shards of this very scan.
        dataset: its images as they are now.
    """
    shards = sorted(folder.glob("shard-*.parquet"))
    whitening = folder / "whitening.npz"
    if not shards:
        # Learned on a shard that was not written: it is learned on the same images again.
        whitening.unlink(missing_ok=True)
        return
    if not _is_whitening(whitening):
        log.warning("%s: missing or damaged; learned again on the first shard", whitening.name)
        _remove(shards[:1], whitening)
        shards = shards[1:]
    first = shards[:1] if whitening.exists() else []
    for shard in shards:
        unreadable = listed_beside(shard)
        damage = _damage(shard, unreadable)
        problem = damage or _change(shard, unreadable, dataset)
        if problem is None:
            continue
        log.warning("%s: %s; it is swept again", shard.name, problem)
        if [shard] != first:
            _remove([shard])
        elif damage is None:
            # All others are white by what was learned on this one.
            _remove(shards, whitening)
            return
        else:
            # What is learned on the same images is the same.
            _remove(first, whitening)


def _remove(paths: Iterable[Path], *more: Path) -> None:
    for path in (*paths, *more):
        path.unlink(missing_ok=True)


def listed_beside(shard: Path) -> Path:
    """The list of images of a shard that could not be read."""
    return shard.with_name(f"unreadable-{shard.stem.removeprefix('shard-')}.json")


def read_list(path: Path) -> list[dict[str, str]]:
    """Entries of ``image`` and ``error``.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read ({error}); scan again with --fresh") from error
    names = {"image", "error"}
    if not isinstance(rows, list) or any(
        not isinstance(row, dict) or set(row) != names or {*map(type, row.values())} != {str}
        for row in rows
    ):
        raise RunError(f"{path}: no list of images; scan again with --fresh")
    return rows


def begun(shard: Path, since: float) -> None:
    """Date a shard to when its sweep began: images that are touched later may have changed."""
    os.utime(shard, (since, since))


def _is_whitening(path: Path) -> bool:
    try:
        load_whitenings(path)
    except RunError:
        return False
    return True


def _damage(shard: Path, unreadable: Path) -> str | None:
    if not is_whole(shard):
        return "damaged"
    try:
        read_list(unreadable)
    except RunError:
        return f"{unreadable.name} is missing or damaged"
    return None


def _change(shard: Path, unreadable: Path, dataset: ImageDataset) -> str | None:
    """The first image that is not what it was when it was looked at."""
    if not isinstance(dataset.source, Files):
        # Items of a Python dataset have no date.
        return None
    since = shard.stat().st_mtime
    for image, content in _looked_at(shard, unreadable):
        file, frame = framed(dataset.source.path(image))
        try:
            facts = file.stat()
            # The time of a change cannot be set, but not every file system has it.
            if max(facts.st_mtime, facts.st_ctime) < since:
                continue
            now = content_hash(file_bytes(file), frame)
        except (OSError, ValueError, UnreadableImage):
            now = ""
        if now != content:
            return f"the image {shown(image)[:100]!r} has changed"
    return None


def _looked_at(shard: Path, unreadable: Path) -> Iterator[tuple[str, str]]:
    """Name and content hash of every image of a shard; of what could not be read, no hash."""
    table = read_shard(shard).table
    yield from zip(table["image"], table["content"], strict=True)
    for row in read_list(unreadable):
        yield row["image"], ""


def difference(folder: Path, dataset: ImageDataset, before: int | None) -> str:
    """What an earlier sweep looked at that the dataset has no more, in words.

    Args:
        folder: the shards.
        dataset: the images as they are now.
        before: how many images there were; ``None`` if that is not known.
    """
    known = set(dataset.images)
    gone: list[str] = []
    for shard in sorted(folder.glob("shard-*.parquet")):
        gone += [image for image in read_shard(shard).table["image"] if image not in known]
    said = []
    if before is not None and before != len(known):
        said.append(f"{count(before, 'image', 'images')} then, {len(known):,} now")
    if gone:
        said.append(f"{shown(gone[0])[:100]!r} is not there now")
    return ", ".join(said) or "other names or labels"
