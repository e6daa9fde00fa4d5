"""Pairing: which image of one version of a dataset is which image of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from shortcut_finder.run.folder import Run

PAIR_COLUMNS = ("image_a", "image_b", "label_a", "label_b", "state")
# What can have happened to an image, and whether both versions still show the same picture.
STATES = {
    "unchanged": True,
    "moved": True,
    "relabelled": True,
    "re-encoded": True,
    "edited": False,
    "removed": False,
    "added": False,
}
# Saving a picture anew moves its mean levels by less than this; pasting a small thing by more.
SAME_LEVELS = 0.002
LEVELS = (
    "brightness", "contrast", "red", "green", "blue", "border_brightness", "vignette",
)  # fmt: skip
SAME_ASPECT = 0.01

Key = tuple[Any, ...]


def pair_images(a: Run, b: Run) -> pd.DataFrame:
    """One row for every image of either run, `PAIR_COLUMNS`.

    Images are the same where content and name agree, then where the content does, then where the
    name does, first the whole path below the dataset's root, then without the suffix, then only
    class folder and file name. A name is empty where the version has no such image.
    """
    tables = [_table(run, (a, b)) for run in (a, b)]
    keys: tuple[Callable[[Any], Key], ...] = (
        lambda row: (row.content, row.path),
        lambda row: (row.content, row.label),
        lambda row: (row.content,),
        lambda row: (row.path,),
        lambda row: (row.path.with_suffix(""),),
        lambda row: row.path.with_suffix("").parts[-2:],
    )
    rows: list[tuple[Any, Any]] = []
    left = [list(table.itertuples(index=False)) for table in tables]
    for number, key in enumerate(keys):
        # Several copies of one picture pair up in order; names must be clear.
        rows += _matched(left, key, unique=number >= 3)
    pairs = [
        (one.image, other.image, one.label, other.label, _state(one, other)) for one, other in rows
    ]
    pairs += [(one.image, "", one.label, "", "removed") for one in left[0]]
    pairs += [("", other.image, "", other.label, "added") for other in left[1]]
    pairs.sort(key=lambda pair: (pair[0] or pair[1], pair[1]))
    return pd.DataFrame(pairs, columns=list(PAIR_COLUMNS))


def _table(run: Run, runs: Sequence[Run]) -> pd.DataFrame:
    """What pairing looks at, sorted by name."""
    roots = [str(r.card["dataset"]["root"]) for r in runs if r.card["dataset"]["root"]]
    images = run.images.sort_values("image")
    columns = [name for name in (*LEVELS, "aspect") if name in images]
    paths = pd.Series([_below(str(image), roots) for image in images["image"]], images.index)
    return images[["image", "label", "content", *columns]].assign(path=paths)


def _below(image: str, roots: Sequence[str]) -> PurePosixPath:
    """The path below the root of either version, so that a manifest matches a folder."""
    path = PurePosixPath(image)
    for root in roots:
        if path.is_absolute() and path.is_relative_to(root):
            return path.relative_to(root)
    return path


def _matched(
    left: list[list[Any]], key: Callable[[Any], Key], *, unique: bool
) -> list[tuple[Any, Any]]:
    """Pairs with the same key, which leave ``left``."""
    waiting: dict[Key, list[Any]] = {}
    for other in left[1]:
        waiting.setdefault(key(other), []).append(other)
    often = Counter(key(one) for one in left[0])
    pairs, alone = [], []
    taken: set[str] = set()
    for one in left[0]:
        partners = waiting.get(key(one), [])
        clear = not unique or (often[key(one)] == 1 and len(partners) == 1)
        if partners and clear:
            pairs.append((one, partners.pop(0)))
            taken.add(pairs[-1][1].image)
        else:
            alone.append(one)
    left[0] = alone
    left[1] = [other for other in left[1] if other.image not in taken]
    return pairs


def _state(one: Any, other: Any) -> str:
    if one.content == other.content:
        if one.label != other.label:
            return "relabelled"
        return "unchanged" if one.path == other.path else "moved"
    if not _same_picture(one._asdict(), other._asdict()):
        return "edited"
    return "re-encoded" if one.label == other.label else "relabelled"


def _same_picture(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two files show the same picture, as far as its levels tell."""
    shared = [name for name in LEVELS if name in one and name in other]
    if len(shared) < len(LEVELS) or abs(one["aspect"] / other["aspect"] - 1) > SAME_ASPECT:
        return False
    levels = np.array([[each[name] for name in shared] for each in (one, other)], dtype=float)
    return bool(np.abs(levels[0] - levels[1]).max() <= SAME_LEVELS)
