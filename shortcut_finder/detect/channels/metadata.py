"""Metadata: what the user's own columns say about labels and about the images of a finding.

A column becomes groups of images: the values of a text, quartiles of a number, years of a date. A
column that tells the label is learned on the discovery half and tested on the other; whatever
else differs between two hospitals, two scanners or two years then tells the label as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from shortcut_finder.data.membership import comparable, having, lacking, occurring, two_classes
from shortcut_finder.stats.evidence import association_p, false_discovery_rate
from shortcut_finder.texts import percent, shown

# Columns with more different values than this share of their cells name images, not groups.
NEARLY_UNIQUE = 0.5
# Numbers with no more different values than this are groups as they are.
FEW_VALUES = 12
QUARTILES = (0.25, 0.5, 0.75)
# Values of fewer images than this are not looked at.
FEWEST = 3
Q_LIMIT = 0.01
# A column tells a label from this lift and excess share on.
LIFT, EXCESS = 3.0, 0.3
# A value goes with a finding from these on: of the members, and above the other images.
MOST, ABOVE = 0.5, 0.25
# Share of the cells that must be filled for a column to be held against a finding.
KNOWN = 0.5
# Sample weights have a mean this close to one even where a few images are unreadable.
WEIGHTS_MEAN = 0.01
# Letters of a value that are shown.
LONGEST = 60
# Values named beside a finding.
NAMED = 3

_DATE = r"\d{4}-\d{2}(-\d{2})?([T ].*)?"


@dataclass(frozen=True, eq=False)
class Column:
    """A column of metadata as groups of images.

    Attributes:
        name: as the user wrote it.
        values: one name a group.
        codes: group of each image, -1 where the cell is empty, (image,).
    """

    name: str
    values: tuple[str, ...]
    codes: np.ndarray


@dataclass(frozen=True, eq=False)
class Telling:
    """A column that tells a label.

    Attributes:
        label: index of the class.
        column: name of the column.
        values: that the class has more often than the others, most frequent first.
        share: of the class with one of these values, on the tested half, of the filled cells.
        elsewhere: the same for all other classes.
        p: exact, one-sided.
        q: false discovery rate over all classes and columns.
        carries: which images of the whole dataset have one of the values, (image,) of bool.
        also: other columns that tell the same class, the clearest first.
    """

    label: int
    column: str
    values: tuple[str, ...]
    share: float
    elsewhere: float
    p: float
    q: float
    carries: np.ndarray
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Companion:
    """A value of a column that images of a finding have more often than others.

    Attributes:
        column: name of the column.
        value: name of the group.
        share_members: of the finding's images of its class.
        share_rest: of the images they are held against.
        rest: which these are: the other images of the class, or all other images.
        q: false discovery rate over all findings, columns and values.
    """

    column: str
    value: str
    share_members: float
    share_rest: float
    rest: str
    q: float

    @property
    def sentence(self) -> str:
        """What a person should know."""
        return (
            f"{percent(self.share_members)} of the images with this have {self.column} = "
            f"{self.value}; {percent(self.share_rest)} of {self.rest} do."
        )


def metadata_columns(table: pd.DataFrame) -> list[Column]:
    """The columns that group images; names of images, constants and sample weights are left out.

    Example:
        >>> table = pd.DataFrame({"site": ["a", "b", "a", None, "b"], "id": list("pqrst")})
        >>> [(column.name, column.values) for column in metadata_columns(table)]
        [('site', ('a', 'b'))]
    """
    columns = []
    for name in table.columns:
        if _is_sample_weight(str(name), table[name]):
            continue
        groups = _groups(table[name])
        if groups is None:
            continue
        codes, values = pd.factorize(groups, sort=True)
        if len(values) > 1:
            columns.append(Column(shown(name), tuple(map(_short, values)), codes))
    return columns


def _is_sample_weight(name: str, values: pd.Series) -> bool:
    """Whether it says how often to draw an image, as `clean` writes it: no fact about the picture.

    Such weights have a mean of one, which the weight of a patient or a parcel has not.
    """
    if name != "weight" or not pd.api.types.is_numeric_dtype(values):
        return False
    return bool((values >= 0).all() and abs(values.mean() - 1) <= WEIGHTS_MEAN)


def _groups(values: pd.Series) -> pd.Series | None:
    """A name for the group of each image, ``None`` where the cell is empty."""
    filled = values.dropna()
    distinct = filled.nunique()
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        return values.dt.year.map("{:.0f}".format, na_action="ignore")
    if pd.api.types.is_numeric_dtype(values) and values.dtype.kind != "b":
        if distinct <= FEW_VALUES:
            return values.map("{:g}".format, na_action="ignore")
        numbers = values.astype(float)
        whole = bool((filled == filled.round()).all())
        return None if whole and _unique(filled) else _quartiles(numbers)
    texts = values.astype(object).where(values.notna(), None).map(str, na_action="ignore")
    if distinct and texts.dropna().str.fullmatch(_DATE).all():
        return texts.str[:4]
    return None if _unique(filled) else texts


def _short(value: object) -> str:
    """A value that fits a sentence; a user's cell may hold anything."""
    text = shown(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _unique(filled: pd.Series) -> bool:
    return filled.nunique() > NEARLY_UNIQUE * len(filled)


def _quartiles(numbers: pd.Series) -> pd.Series:
    """Equally large groups, named by their limits."""
    edges = np.unique(np.nanquantile(numbers[np.isfinite(numbers)], QUARTILES))
    names = [
        f"below {edges[0]:g}",
        *(f"{low:g} to {high:g}" for low, high in pairwise(edges)),
        f"{edges[-1]:g} or more",
    ]
    groups = pd.Series(np.array(names, dtype=object)[np.searchsorted(edges, numbers, "right")])
    return groups.set_axis(numbers.index).where(numbers.notna(), None)


def telling_columns(
    columns: Sequence[Column],
    labels: np.ndarray,
    half: np.ndarray,
    counted: np.ndarray | None = None,
) -> list[Telling]:
    """The columns that tell a label, the clearest first.

    Args:
        columns: of the user's metadata.
        labels: class of each image, (image,).
        half: images that values are learned on, (image,) of bool.
        counted: images that count, one of each group that stays together, (image,) of bool; all
            where it is None.

    Returns:
        Those with q of at most 0.01, three times as common in the class as elsewhere, and an
        excess share of 0.3; columns that tell a class less clearly are named in ``also`` of the
        clearest. Of two classes only one is named.
    """
    if not comparable(labels):
        return []
    classes, two = occurring(labels), two_classes(labels)
    counted = np.ones(len(labels), dtype=bool) if counted is None else counted
    tried = [
        _telling(column, labels, half, counted, label) for column in columns for label in classes
    ]
    q = false_discovery_rate(np.array([one.p for one in tried]))
    held = [
        replace(one, q=float(value))
        for one, value in zip(tried, q, strict=True)
        if value <= Q_LIMIT and one.share >= LIFT * one.elsewhere and _excess(one) >= EXCESS
    ]
    kept: dict[int, Telling] = {}
    for one in sorted(held, key=_simpler, reverse=True):
        # With two classes, "all of one are from here" and "the others are from there" are one.
        key = -1 if two else one.label
        best = kept.setdefault(key, one)
        if one.column not in (best.column, *best.also):
            kept[key] = replace(best, also=(*best.also, one.column))
    return sorted(kept.values(), key=_simpler, reverse=True)


def _excess(one: Telling) -> float:
    return one.share - one.elsewhere


def _simpler(one: Telling) -> tuple[float, int]:
    return round(_excess(one), 2), -len(one.values)


def _telling(
    column: Column, labels: np.ndarray, half: np.ndarray, counted: np.ndarray, label: int
) -> Telling:
    """Learn on the discovery half which values the class has, and count on the other."""
    # That a cell is empty is bookkeeping, not something the pictures of a class share.
    known = counted & (column.codes >= 0)
    own, others = known & having(labels, label), known & lacking(labels, label)
    inside, outside = _counts(column, half & own), _counts(column, half & others)
    more = inside / max((half & own).sum(), 1) > outside / max((half & others).sum(), 1)
    chosen = np.flatnonzero(more & (inside >= FEWEST))
    carries = np.isin(column.codes, chosen)
    tested_own, tested_rest = ~half & own, ~half & others
    members, elsewhere = int(carries[tested_own].sum()), int(carries[tested_rest].sum())
    size, rest = int(tested_own.sum()), int(tested_rest.sum())
    return Telling(
        label=label,
        column=column.name,
        values=tuple(column.values[n] for n in chosen[np.argsort(-inside[chosen], kind="stable")]),
        share=members / max(size, 1),
        elsewhere=elsewhere / max(rest, 1),
        p=association_p(members, size, elsewhere, rest),
        q=1.0,
        carries=carries,
    )


def _counts(column: Column, images: np.ndarray) -> np.ndarray:
    """How many of the images have each value, (value,)."""
    codes = column.codes[images]
    return np.bincount(codes[codes >= 0], minlength=len(column.values))


def companions(
    carries: Sequence[np.ndarray],
    homes: Sequence[int],
    labels: np.ndarray,
    columns: Sequence[Column],
    counted: np.ndarray | None = None,
) -> list[tuple[Companion, ...]]:
    """For each finding the values that its images have more often than others, clearest first.

    Members are held against the other images of their class; where that says nothing, because
    the whole class is alike, against all other images.

    Args:
        carries: for each finding which images carry it, (image,) of bool.
        homes: index of each finding's class.
        labels: class of each image, (image,).
        columns: of the user's metadata.
        counted: images that count, one of each group that stays together, (image,) of bool; all
            where it is None.

    Returns:
        Up to three a finding, of one value a column, with q of at most 0.01, in at least half of
        the members and a quarter more than in the other images.
    """
    tried: list[list[Companion]] = []
    for carried, home in zip(carries, homes, strict=True):
        own, all_counted = having(labels, home), True if counted is None else counted
        members = own & carried & all_counted
        rests = {
            "the other images of the class": own & ~carried & all_counted,
            "all other images": ~(own & carried) & all_counted,
        }
        tried.append(
            [
                one
                for rest, others in rests.items()
                for column in columns
                for one in _beside(column, members, others, rest)
            ]
        )
    q = iter(false_discovery_rate(np.array([one.q for found in tried for one in found])))
    return [_clearest([replace(one, q=float(next(q))) for one in found]) for found in tried]


def _beside(column: Column, members: np.ndarray, others: np.ndarray, rest: str) -> list[Companion]:
    """Every value of a column, with its p in the place of q; empty cells do not count."""
    inside, outside = _counts(column, members), _counts(column, others)
    size, against = int(inside.sum()), int(outside.sum())
    if size < KNOWN * members.sum() or against < max(KNOWN * others.sum(), 1):
        return []
    p = stats.hypergeom.sf(inside - 1, size + against, size, inside + outside)
    return [
        Companion(
            column.name,
            column.values[n],
            float(inside[n] / size),
            float(outside[n] / against),
            rest,
            float(p[n]),
        )
        for n in np.flatnonzero(inside >= FEWEST)
    ]


def _clearest(found: Sequence[Companion]) -> tuple[Companion, ...]:
    """The best value of each column, of those that say something."""
    clear = [
        one
        for one in found
        if one.q <= Q_LIMIT and one.share_members >= max(MOST, one.share_rest + ABOVE)
    ]
    # A stable sort: what holds within the class was tried first and comes first.
    clear.sort(key=lambda one: (one.rest == "all other images", one.share_rest - one.share_members))
    best: dict[str, Companion] = {}
    for one in clear:
        best.setdefault(one.column, one)
    return tuple(best.values())[:NAMED]
