"""Page data: what the script of the page works on, as plain values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import pandas as pd

from shortcut_finder.data.membership import label_lists
from shortcut_finder.figures.pictures import jpeg_uri, smaller
from shortcut_finder.report.album import Album
from shortcut_finder.report.selection import listed_images, listed_offenders
from shortcut_finder.run.decisions import Decisions
from shortcut_finder.run.folder import Run
from shortcut_finder.settings import LIKELY

ICON_SIDE = 64
SIDES = ("x0", "y0", "x1", "y1")


def page_data(run: Run, album: Album, decisions: Decisions | None) -> dict[str, Any]:
    """What the script needs; texts that repeat stand in lists of their own.

    Args:
        run: the run.
        album: its pictures.
        decisions: what was decided before, or None.

    Returns:
        ``run``, the fingerprint; ``root``, where the images lie, as an address; ``images``, the
        names of all offenders; ``texts``; ``rows``, the offenders (`offender_rows`); ``icons``,
        a small picture by number of the image; ``decisions``.
    """
    texts: dict[str, int] = {}
    offenders = _with_all_labels(listed_offenders(run.offenders), run.images)
    rows = offender_rows(offenders, album.numbers, texts)
    icons = {
        album.numbers[name]: jpeg_uri(smaller(album.thumbnails[name], ICON_SIDE))
        for name in listed_images(offenders)
        if name in album.thumbnails
    }
    return {
        "run": run.fingerprint,
        "root": image_root(run.card["dataset"]),
        "images": list(album.numbers),
        "texts": list(texts),
        "rows": rows,
        "icons": icons,
        "decisions": (decisions or Decisions(run.fingerprint)).as_dict(),
    }


def _with_all_labels(offenders: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """The offenders; where images may have several labels, each with all of its own."""
    if "labels" not in images:
        return offenders
    held = dict(zip(images["image"], label_lists(images), strict=True))
    return offenders.assign(
        label=[
            _also(label, [name for name in held[image] if name != label])
            for image, label in zip(offenders["image"], offenders["label"], strict=True)
        ]
    )


def _also(label: str, others: Sequence[str]) -> str:
    return f"{label}, also {', '.join(others)}" if others else label


def offender_rows(
    offenders: pd.DataFrame, numbers: Mapping[str, int], texts: dict[str, int]
) -> list[list[Any]]:
    """The offenders as lists: rank, image, finding, label, predicted, score, reason, box, likely.

    The last is 1, and there only for images that likely carry the finding.

    Image is a number, and so is each text: its place in ``texts``, which grows.
    """
    rows = []
    for row in offenders.to_dict("records"):
        words = [
            texts.setdefault(str(row[name]), len(texts))
            for name in ("finding", "label", "predicted", "reason")
        ]
        box = [None if pd.isna(row[side]) else int(row[side]) for side in SIDES]
        number = numbers[str(row["image"])]
        score = round(float(row["score"]), 2)
        likely = [1] if row["tier"] == LIKELY else []
        rows.append([int(row["rank"]), number, *words[:3], score, words[3], box, *likely])
    return rows


def image_root(dataset: Mapping[str, Any]) -> str:
    """The folder of the images as an address; empty where they are no files."""
    root = dataset.get("root")
    if not root or not PurePath(root).is_absolute():
        return ""
    return "file://" + quote(os.fsencode(str(root))).rstrip("/") + "/"
