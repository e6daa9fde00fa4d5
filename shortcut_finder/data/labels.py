"""Labels: lists, one-hot columns and vectors of users, as membership of images in classes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shortcut_finder.data.membership import HAS, LACKS, UNKNOWN
from shortcut_finder.data.reading import storable
from shortcut_finder.errors import DatasetError

# A manifest that has no column ``label`` has one of lists, or one a label that starts so.
LISTS, PREFIX = "labels", "label:"
SEPARATORS = "|;"
# What people separate by as well, but what also stands inside names; the first ones hardly do.
_RARE = (",", "\t", "\n")
_UNSURE = (*_RARE, "/", "+", "&", " ")
_STATES = {
    "1": HAS, "true": HAS, "0": LACKS, "false": LACKS, "-1": UNKNOWN, "": UNKNOWN, "nan": UNKNOWN,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Membership:
    """Which classes each image has.

    Attributes:
        states: `HAS`, `LACKS` or `UNKNOWN`, (image, class) int8.
        classes: their names.
    """

    states: np.ndarray
    classes: tuple[str, ...]

    def text(self, image: int) -> str:
        """The labels of an image in words, different for all that differ."""
        has, unknown = (
            "|".join(np.array(self.classes, dtype=object)[self.states[image] == state])
            for state in (HAS, UNKNOWN)
        )
        return f"{has} (unknown: {unknown})" if unknown else has

    def checked(self, name: str) -> Membership:
        """The same, if it says anything.

        Raises:
            DatasetError: no label of any image is known, or no image has one.
        """
        if not (self.states != UNKNOWN).any():
            raise DatasetError(f"{name}: all labels of all images are unknown; fill some in")
        if not (self.states == HAS).any():
            raise DatasetError(f"{name}: no image has a label; 1 says that it has one")
        return self


def label_columns(table: pd.DataFrame, asked: Sequence[str], name: str) -> dict[str, str]:
    """The columns that hold a label each, with the labels' names.

    Args:
        table: a manifest.
        asked: names of columns; if there are none, all whose names start with ``label:``.
        name: of the table, for the message.

    Raises:
        DatasetError: a column is missing, or two stand for the same label.
    """
    columns = [str(column) for column in table.columns]
    named = {c.removeprefix(PREFIX).strip(): c for c in columns if c.startswith(PREFIX)}
    named |= {column: column for column in columns} if asked else {}
    if not asked and "label" in columns:
        return {}
    missing = [label for label in asked if label not in named]
    if missing:
        raise DatasetError(
            f"{name}: no column {missing[0]} for the label of that name; columns found: "
            f"{', '.join(columns)}"
        )
    found = {named[label]: label.removeprefix(PREFIX).strip() for label in asked or named}
    labels = list(found.values())
    if not all(labels) or len(set(labels)) < len(labels) or len(found) < len(asked):
        raise DatasetError(f"{name}: two label columns of one name, or one without; rename them")
    return found


def from_columns(table: pd.DataFrame, columns: Mapping[str, str], name: str) -> Membership:
    """Labels of one-hot columns: 1 has it, 0 has it not, blank or -1 unknown.

    Raises:
        DatasetError: a cell is anything else.
    """
    states = np.empty((len(table), len(columns)), dtype=np.int8)
    for place, column in enumerate(columns):
        for row, value in enumerate(table[column].tolist()):
            states[row, place] = _state(value, f"{name}: row {row + 1}", f"column {column}")
    return Membership(states, tuple(columns.values())).checked(name)


def _state(value: Any, place: str, what: str) -> int:
    """What one cell or number of a vector says of a label."""
    if _missing(value):
        return UNKNOWN
    if hasattr(value, "item"):
        value = value.item()
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value)
    text = re.sub(r"^([+-]?\d+)\.0*$", r"\1", text.strip().lower())
    if text not in _STATES:
        raise DatasetError(
            f"{place} has {str(value)[:40]!r} in {what}; expected 1 (has the label), 0 (has not), "
            "or blank or -1 (unknown)"
        )
    return _STATES[text]


def from_lists(cells: Iterable[Any], name: str, what: Callable[[int], str]) -> Membership:
    """Labels of lists: text separated by ``|`` or ``;``, or lists and sets of names.

    Args:
        cells: one an image. Blank text is unknown, an empty list or set is no label at all.
        name: of the dataset, for messages.
        what: names an image by its number, for messages.

    Raises:
        DatasetError: a cell is something else, or separated by something else.
    """
    lists = [_names(cell, what(number)) for number, cell in enumerate(cells)]
    _check_separators([one for one in lists if one], name)
    names = class_order([label for one in lists for label in one or ()])
    index = {label: place for place, label in enumerate(names)}
    states = np.full((len(lists), len(names)), LACKS, dtype=np.int8)
    for row, one in enumerate(lists):
        if one is None:
            states[row] = UNKNOWN
        else:
            states[row, [index[label] for label in one]] = HAS
    return Membership(states, names).checked(name)


def _names(cell: Any, place: str) -> list[str] | None:
    """The labels of one cell; ``None`` where they are unknown."""
    if _missing(cell):
        return None
    if isinstance(cell, str):
        if re.fullmatch(r"\s*[\[({].*[\])}]\s*", cell, re.S):
            raise DatasetError(
                f"{place} has {cell[:40]!r} as labels; separate names with | or ;, without brackets"
            )
        parts = [part.strip() for part in re.split(f"[{SEPARATORS}]", cell)]
        return [part for part in parts if part] or None
    if isinstance(cell, (set, frozenset, list, tuple, np.ndarray)):
        names = [one.strip() if isinstance(one, str) else one for one in cell]
        if all(isinstance(one, str) and one for one in names):
            return sorted(names)
    raise DatasetError(
        f"{place} has a {type(cell).__name__} as labels; expected names separated by | or ;"
    )


def _check_separators(lists: Sequence[Sequence[str]], name: str) -> None:
    """No separator but ours: parts of a name that are names of other images give it away."""
    if any(len(one) > 1 for one in lists):
        return
    names = {label for one in lists for label in one}
    for mark in _UNSURE:
        parts = {label: _parts(label, mark) for label in sorted(names) if mark in label}
        counts = Counter(part for some in parts.values() for part in some)
        for label, some in parts.items():
            known = [part in names or (mark in _RARE and counts[part] > 1) for part in some]
            # Names of several words are common, so that one word alone gives nothing away.
            if all(known) if mark == " " else any(known):
                raise DatasetError(
                    f"{name}: labels like {label[:60]!r} look separated by {mark!r}; "
                    "separate them with | or ;"
                )


def _parts(label: str, mark: str) -> set[str]:
    return {part.strip() for part in label.split(mark)} - {"", label}


def several_in_one(labels: Sequence[str], name: str) -> tuple[str, ...]:
    """A note where single labels look like lists of others."""
    names = set(labels)
    for label in sorted(names):
        if any(_parts(label, mark) & names for mark in SEPARATORS):
            return (
                f"{name}: labels like {label[:60]!r} count as classes of their own; call the "
                "column labels where an image has several",
            )
    return ()


def is_several(target: Any) -> bool:
    """Whether the target of an item is a set or a vector, and not one label."""
    if isinstance(target, (set, frozenset, list, tuple)):
        return True
    return len(getattr(target, "shape", ())) == 1 and tuple(target.shape) != (1,)


def _of_numbers(cell: Any) -> bool:
    """Whether a cell is a set or a vector that holds numbers, and not names."""
    return is_several(cell) and any(not isinstance(one, str) for one in cell)


def _missing(cell: Any) -> bool:
    """Whether a cell of a table is empty."""
    return cell is None or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell))


def from_targets(targets: Sequence[Any], classes: tuple[str, ...] | None, name: str) -> Membership:
    """Labels of a Python dataset that gives vectors of 1, 0 and -1, or sets of names or numbers.

    Args:
        targets: one an item; None where all of its labels are unknown.
        classes: the dataset's own class names; vectors are in their order.
        name: of the dataset, for messages.

    Raises:
        DatasetError: a target is neither, or does not fit the classes.
    """
    plain = [one.tolist() if hasattr(one, "tolist") else one for one in targets]
    given = [number for number, one in enumerate(plain) if one is not None]
    if all(_is_set(plain[number]) for number in given):
        found, names = _of_sets({row: set(plain[row]) for row in given}, classes, name)
    else:
        odd = next((n for n in given if _is_set(plain[n]) or not _is_list(plain[n])), None)
        if odd is not None:
            raise DatasetError(
                f"{name}: the labels of item {odd} are a {type(targets[odd]).__name__} and those "
                "of others are not; give sets of labels, or vectors of 1 and 0, for all items"
            )
        found, names = _of_vectors({row: plain[row] for row in given}, classes, name)
    states = np.full((len(plain), len(names)), UNKNOWN, dtype=np.int8)
    for row, one in found.items():
        states[row] = one
    return Membership(states, names).checked(name)


def _is_list(target: Any) -> bool:
    return isinstance(target, (list, tuple))


def _is_set(target: Any) -> bool:
    """A set, or a list of names, which is none of numbers."""
    return isinstance(target, (set, frozenset)) or (
        _is_list(target) and all(isinstance(one, str) for one in target)
    )


def _of_vectors(
    vectors: Mapping[int, Sequence[Any]], classes: tuple[str, ...] | None, name: str
) -> tuple[dict[int, list[int]], tuple[str, ...]]:
    """States by item, and the names of the classes."""
    width = len(classes) if classes is not None else len(next(iter(vectors.values())))
    found = {}
    for number, one in vectors.items():
        if len(one) != width:
            raise DatasetError(
                f"{name}: the labels of item {number} are {len(one)} numbers, and there are "
                f"{width} classes; give one for each, or a set of labels"
            )
        found[number] = [_state(value, f"{name}: item {number}", "its labels") for value in one]
    return found, classes or tuple(map(str, range(width)))


def _of_sets(
    sets: Mapping[int, set[Any]], classes: tuple[str, ...] | None, name: str
) -> tuple[dict[int, list[int]], tuple[str, ...]]:
    """States by item, and the names of the classes."""
    own = {row: {_label(one, f"{name}: item {row}") for one in s} for row, s in sets.items()}
    if classes is None:
        own = {row: {str(one) for one in s} for row, s in own.items()}
        classes = class_order([str(one) for s in own.values() for one in s])
    index: dict[Any, int] = {label: place for place, label in enumerate(classes)}
    index |= {place: place for place in range(len(classes))}
    found = {}
    for row, labels in own.items():
        found[row] = [LACKS] * len(classes)
        for label in labels:
            if label not in index:
                raise DatasetError(
                    f"{name}: item {row} has the label {label!r}, which is none of the "
                    f"{len(classes)} classes"
                )
            found[row][index[label]] = HAS
    return found, classes


def _label(label: Any, place: str) -> int | str:
    """One label of a set."""
    label = label.item() if hasattr(label, "item") else label
    if isinstance(label, str):
        return storable(label)
    if isinstance(label, int) and not isinstance(label, bool):
        return label
    raise DatasetError(
        f"{place} has a {type(label).__name__} among its labels; expected names or whole numbers"
    )


def class_order(labels: Sequence[str]) -> tuple[str, ...]:
    """The different labels, sorted; whole numbers by value, as they number a model's outputs.

    Example:
        >>> class_order(["10", "9", "9"]), class_order(["b", "a"])
        (('9', '10'), ('a', 'b'))
    """
    names = sorted(set(labels))
    whole = all(name.isascii() and name.isdigit() and len(name) < 19 for name in names)
    return tuple(sorted(names, key=int) if whole else names)


def take_labels(
    table: pd.DataFrame, asked: Sequence[str], name: str
) -> tuple[pd.DataFrame, Membership | None]:
    """The labels of a manifest whose images may have several.

    Args:
        table: with trimmed column names.
        asked: columns that hold a label each, as the user named them.
        name: of the table, for messages.

    Returns:
        The table with a column ``label`` in place of them, a text that tells rows apart whose
        labels differ; and the membership. ``None`` where the table has one label an image.
    """
    columns = label_columns(table, asked, name)
    lists = "label" if "label" in table.columns else LISTS
    cells = table[lists].tolist() if lists in table.columns else []
    if columns:
        found, gone = from_columns(table, columns, name), list(columns)
    elif any(map(_of_numbers, cells)):
        targets = [None if _missing(cell) else cell for cell in cells]
        found, gone = from_targets(targets, None, name), [lists]
    elif any(map(is_several, cells)) or (lists == LISTS and LISTS in table.columns):
        found, gone = from_lists(cells, name, lambda row: f"{name}: row {row + 1}"), [lists]
    else:
        return table, None
    table = table.drop(columns=[*gone, "label"], errors="ignore")
    return table.assign(label=[found.text(row) for row in range(len(table))]), found
