"""Columns: the user's metadata as groups of images.

A column becomes groups: the values of a text, quartiles of a number, years of a date.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from shortcut_finder.texts import shown

# Columns with more different values than this share of their cells name images, not groups.
NEARLY_UNIQUE = 0.5
# Numbers with no more different values than this are groups as they are.
FEW_VALUES = 12
QUARTILES = (0.25, 0.5, 0.75)
# Sample weights have a mean this close to one even where a few images are unreadable.
WEIGHTS_MEAN = 0.01
# Letters of a value that are shown.
LONGEST = 60
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

    def counts(self, images: np.ndarray) -> np.ndarray:
        """How many of some images, (image,) of bool, have each value, (value,)."""
        codes = self.codes[images]
        return np.bincount(codes[codes >= 0], minlength=len(self.values))


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
