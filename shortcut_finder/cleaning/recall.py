"""Recall: after some images of a finding were accepted, look for the same thing in all images.

A linear probe learns the cells of the accepted places against cells of other images (a concept
activation vector; Kim et al. 2018), once more against the cells it took for them, and then measures
every image at its best cell, or at the thing's own place where that is fixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from shortcut_finder.data.membership import labelled
from shortcut_finder.data.regions import ANYWHERE
from shortcut_finder.run.folder import Run
from shortcut_finder.settings import LIKELY
from shortcut_finder.sweep.shards import read_shards, unit_cells

# Fewer accepted images than this teach nothing.
FEWEST = 4
# Cells of every other image that the probe learns from.
OTHER_CELLS = 3
# Images that are held against the accepted ones, at most.
OTHER_IMAGES = 4000
# Score that all but this part of the other classes' images stay below.
STRANGERS = 0.005
# How far from there towards a typical accepted image, as a probe scores it that has not seen it, an
# image of the class is taken for a carrier; of another class it must be typical.
REACH = 0.4
FOLDS = 5


@dataclass(frozen=True, eq=False)
class _Cells:
    """Unit cells of some images: names, (image, row, column, width)."""

    images: np.ndarray
    values: np.ndarray


def recalled(run: Run, carriers: pd.DataFrame, refused: set[tuple[str, str]]) -> pd.DataFrame:
    """Accepted rows of the offenders, and rows for images in which the same things are found.

    Args:
        run: a scan, with its shards.
        carriers: rows of ``offenders.csv`` that were accepted.
        refused: pairs of finding and image that a person refused; these are never added.

    Returns:
        The same columns; the rows that were added say so in ``reason``.

    Raises:
        RunError: the shards are damaged.
    """
    tables = [carriers]
    for finding, rows in carriers.groupby("finding", sort=True):
        fixed = rows["region"].iloc[0] != ANYWHERE
        placed = rows[["x0", "y0", "x1", "y1"]].notna().all(axis=1)
        if placed.sum() >= FEWEST:
            found = _found(run, rows[placed], fixed=bool(fixed))
            known = set(rows["image"]) | {image for key, image in refused if key == finding}
            tables.append(found[~found["image"].isin(known)])
    return pd.concat(tables, ignore_index=True)[list(carriers.columns)]


def _found(run: Run, rows: pd.DataFrame, *, fixed: bool) -> pd.DataFrame:
    """Every image that the probe takes for a carrier, as rows of offenders."""
    places = {str(row.image): _cells_of(run, row) for row in rows.itertuples()}
    whole = next(iter(places.values())) if fixed else None
    own = str(rows["label"].mode().iloc[0])
    label_of = _labels(run, own)
    positive, negative = _examples(run, places, whole)
    probe = _fitted(_middle(positive), negative)
    if whole is None:
        # Boxes are drawn around whole cells: the thing may fill a neighbour better than the middle.
        hard = _best(run, probe, None, label_of)
        strange = hard[(hard["label"] != own) & ~hard["image"].isin(places)]
        negative = np.concatenate([negative, np.stack(strange["cell"].tolist())])
        probe = _fitted(_nearest(positive, probe), negative)
    scores = _best(run, probe, whole, label_of)
    limit, sure = _limits(_nearest(positive, probe), negative, scores, own, set(places))
    level = np.where(scores["image"].map(label_of) == own, limit, max(limit, sure))
    hits = scores[scores["score"].to_numpy() >= level]
    return _as_offenders(run, hits, rows, probe, fixed=fixed)


def _cells_of(run: Run, row: Any) -> np.ndarray:
    """Which cells a listed box covers; of a thing at any place the middle ones, (row, column)."""
    image = run.images.loc[run.images["image"] == row.image].iloc[0]
    rows, columns = run.card["maps"]["cell_grid"]
    x0, y0, x1, y1 = run.preprocessing.input_box(int(image["width"]), int(image["height"]))
    across = np.array([(row.x0 - x0) / (x1 - x0), (row.x1 - x0) / (x1 - x0)]) * columns
    down = np.array([(row.y0 - y0) / (y1 - y0), (row.y1 - y0) / (y1 - y0)]) * rows
    covered = np.zeros((rows, columns), dtype=bool)
    if row.region == ANYWHERE:
        middle = int(np.clip(down.mean(), 0, rows - 1)), int(np.clip(across.mean(), 0, columns - 1))
        covered[tuple(slice(max(at - 1, 0), at + 2) for at in middle)] = True
        return covered
    centres = np.arange(rows) + 0.5, np.arange(columns) + 0.5
    inside = [
        (c >= span[0]) & (c <= span[1]) for c, span in zip(centres, (down, across), strict=True)
    ]
    covered[np.ix_(*inside)] = True
    if row.kind == "frame" and min(rows, columns) > 2:
        covered[1:-1, 1:-1] = False
    return covered if covered.any() else np.ones_like(covered)


def _blocks(run: Run) -> Iterator[_Cells]:
    for shard in read_shards(run.folder / "shards", ["cells"]):
        yield _Cells(shard.table["image"].to_numpy(), unit_cells(shard.arrays["cells"]))


def _examples(
    run: Run, places: dict[str, np.ndarray], whole: np.ndarray | None
) -> tuple[list[np.ndarray], np.ndarray]:
    """Descriptors of each accepted place, (cell, width), and of other images, (example, width).

    A thing at a fixed place has one descriptor, the mean of its cells.
    """
    rng = np.random.default_rng([int(run.card["settings"]["seed"]), 7])
    part = min(1.0, OTHER_IMAGES / max(len(run.images), 1))
    positive, negative = [], []
    for block in _blocks(run):
        for image, cells in zip(block.images, block.values, strict=True):
            if image in places:
                there = cells[places[image]]
                positive.append(there if whole is None else there.mean(axis=0, keepdims=True))
            elif rng.random() < part:
                if whole is not None:
                    negative.append(cells[whole].mean(axis=0))
                else:
                    flat = cells.reshape(-1, cells.shape[-1])
                    negative += list(flat[rng.choice(len(flat), OTHER_CELLS)])
    return positive, np.stack(negative)


def _middle(positive: list[np.ndarray]) -> np.ndarray:
    """The middle cell of each accepted place, (image, width)."""
    return np.stack([cells[len(cells) // 2] for cells in positive])


def _nearest(positive: list[np.ndarray], probe: LogisticRegression) -> np.ndarray:
    """The cell of each accepted place that the probe likes best, (image, width)."""
    return np.stack([cells[int(np.argmax(cells @ probe.coef_[0]))] for cells in positive])


def _fitted(positive: np.ndarray, negative: np.ndarray) -> LogisticRegression:
    probe = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000)
    return probe.fit(*_together(positive, negative))


def _together(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    answers = np.repeat([1, 0], [len(positive), len(negative)])
    return np.concatenate([positive, negative]), answers


def _labels(run: Run, own: str) -> pd.Series:
    """A label by image: the wanted one where an image has it among others."""
    texts = np.where(labelled(run.images, own), own, run.images["label"])
    return pd.Series(texts, index=run.images["image"])


def _best(
    run: Run, probe: LogisticRegression, whole: np.ndarray | None, label_of: pd.Series
) -> pd.DataFrame:
    """Each image at its best place: ``image, label, score, at, cell``."""
    vector, offset = probe.coef_[0], float(probe.intercept_[0])
    parts = []
    for block in _blocks(run):
        if whole is None:
            flat = block.values.reshape(len(block.values), -1, block.values.shape[-1])
            answers = flat @ vector + offset
            at = answers.argmax(axis=1)
            cells = flat[np.arange(len(flat)), at]
        else:
            at = np.zeros(len(block.values), dtype=int)
            cells = block.values[:, whole].mean(axis=1)
        parts.append(
            pd.DataFrame(
                {
                    "image": block.images,
                    "label": label_of.reindex(block.images).to_numpy(),
                    "score": cells @ vector + offset,
                    "at": at,
                    "cell": list(cells),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _limits(
    positive: np.ndarray,
    negative: np.ndarray,
    scores: pd.DataFrame,
    own: str,
    accepted: set[str],
) -> tuple[float, float]:
    """Scores from which an image of the class, and one of another, is taken for a carrier."""
    examples, answers = _together(positive, negative)
    folds = StratifiedKFold(min(FOLDS, len(positive)), shuffle=True, random_state=0)
    unseen = cross_val_predict(
        LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000),
        examples, answers, cv=folds, method="decision_function",
    )[answers == 1]  # fmt: skip
    strange = scores[(scores["label"] != own) & ~scores["image"].isin(accepted)]["score"]
    tail = float(np.quantile(strange, 1 - STRANGERS)) if len(strange) else float(unseen.min())
    typical = float(np.median(unseen))
    return tail + REACH * max(typical - tail, 0.0), typical


def _as_offenders(
    run: Run, hits: pd.DataFrame, rows: pd.DataFrame, probe: LogisticRegression, *, fixed: bool
) -> pd.DataFrame:
    first = rows.iloc[0]
    images = run.images.set_index("image").loc[hits["image"]]
    chance = 1 / (1 + np.exp(-hits["score"].to_numpy()))
    boxes = [
        _box(run, rows, int(at), int(width), int(height), fixed=fixed)
        for at, width, height in zip(hits["at"], images["width"], images["height"], strict=True)
    ]
    added = pd.DataFrame(
        {
            "rank": 0,
            "image": hits["image"].to_numpy(),
            "label": hits["label"].to_numpy(),
            "predicted": images["predicted"].to_numpy(),
            "confidence": images["confidence"].to_numpy(),
            "score": chance * float(rows["score"].max()),
            "finding": first["finding"],
            "kind": first["kind"],
            "region": first["region"],
            "tier": LIKELY,
            "reason": f"not listed, but alike to the accepted images of {first['finding']}",
        }
    )
    added[["x0", "y0", "x1", "y1"]] = np.array(boxes, dtype=float).reshape(-1, 4)
    return added


def _box(
    run: Run, rows: pd.DataFrame, at: int, width: int, height: int, *, fixed: bool
) -> tuple[int, int, int, int]:
    """The thing's own place, or two cells around the best one, in pixels of the original."""
    grid = run.card["maps"]["cell_grid"]
    if fixed:
        like = rows.iloc[0]
        size = run.images.loc[run.images["image"] == like["image"]].iloc[0]
        x0, y0, x1, y1 = run.preprocessing.input_box(int(size["width"]), int(size["height"]))
        fractions = (
            (like["x0"] - x0) / (x1 - x0),
            (like["y0"] - y0) / (y1 - y0),
            (like["x1"] - x0) / (x1 - x0),
            (like["y1"] - y0) / (y1 - y0),
        )
    else:
        row, column = divmod(at, int(grid[1]))
        fractions = (
            max((column - 0.75) / grid[1], 0.0),
            max((row - 0.75) / grid[0], 0.0),
            min((column + 1.75) / grid[1], 1.0),
            min((row + 1.75) / grid[0], 1.0),
        )
    return run.preprocessing.to_original(fractions, width, height)
