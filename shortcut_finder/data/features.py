"""Features: a dataset of Hugging Face, whose columns say by themselves what they hold.

It is known by what it has, so that the package need not be installed. Pictures are read as they are
stored, whatever format or transform is set for training: a scan prepares them itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from shortcut_finder.data.labels import label_columns
from shortcut_finder.errors import DatasetError

# Columns of labels by name, where it is not plain by their type.
LABELS = ("label", "labels")


def has_features(dataset: Any) -> bool:
    """Whether it is a dataset of Hugging Face, and no stream of one."""
    features = getattr(dataset, "features", None)
    return isinstance(features, Mapping) and all(
        hasattr(dataset, needed) for needed in ("select_columns", "__getitem__", "__len__")
    )


class Pictures:
    """Its column of images, as a map-style dataset of pairs without labels.

    Attributes:
        column: the name of the column.
    """

    def __init__(self, dataset: Any, name: str) -> None:
        features = dataset.features
        found = [column for column in features if type(features[column]).__name__ == "Image"]
        self.column = "image" if "image" in found or not found else found[0]
        if not found or (len(found) > 1 and "image" not in found):
            problem = f"columns {' and '.join(found)}" if found else "no column"
            raise DatasetError(
                f"{name}: {problem} of the type Image; columns found: {', '.join(features)}; name "
                "one image, and cast it to datasets.Image() where it holds paths or bytes"
            )
        plain = dataset.with_format(None).select_columns([self.column])
        kind = features[self.column]
        self._rows = plain if kind.decode else plain.cast_column(self.column, type(kind)())

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Any, None]:
        return self._rows[index][self.column], None


def described(
    dataset: Any, asked: Sequence[str], name: str
) -> tuple[list[Any], tuple[str, ...] | None, pd.DataFrame]:
    """What its columns say of the images.

    Args:
        dataset: of Hugging Face.
        asked: columns that hold a label each, as the user named them.
        name: of the dataset, for messages.

    Returns:
        The target of each image: the number or name of its class, a set of them, or a vector;
        the names of the classes, where the type of the column has them; and all other columns but
        those of images.

    Raises:
        DatasetError: there is no column of labels, or more than one could be it.
    """
    features = dataset.features
    table = pd.DataFrame(
        {
            column: pd.Series(_values(dataset, column), dtype=object)
            for column, kind in features.items()
            if type(kind).__name__ != "Image"
        }
    )
    own = next((column for column in LABELS if column in table and not asked), None)
    columns = {} if own else label_columns(table, asked, name)
    if columns:
        rows = table[list(columns)].to_numpy().tolist()
        return rows, tuple(columns.values()), table.drop(columns=list(columns))
    column = own or _only_classes(features, name)
    inner = _inner(features[column])
    names = getattr(features[column] if inner is None else inner, "names", None)
    targets = table[column].tolist()
    if inner is not None and names is not None:
        targets = [None if one is None else set(one) for one in targets]
    rest = table.drop(columns=column)
    for other in rest.columns:
        if (words := getattr(features[other], "names", None)) is not None:
            rest[other] = [_word(value, words) for value in rest[other]]
    return targets, None if names is None else tuple(map(str, names)), rest


def _values(dataset: Any, column: str) -> list[Any]:
    """The column as it is stored."""
    return list(dataset.with_format(None).select_columns([column])[column])


def _inner(kind: Any) -> Any:
    """What the lists of a column hold; None where it holds no lists."""
    return kind[0] if isinstance(kind, list) else getattr(kind, "feature", None)


def _word(number: Any, names: Sequence[str]) -> str | None:
    known = isinstance(number, int) and 0 <= number < len(names)
    return names[number] if known else None


def _only_classes(features: Mapping[str, Any], name: str) -> str:
    """The one column whose type has names of classes."""
    found = [
        column
        for column, kind in features.items()
        if hasattr(kind, "names") or hasattr(_inner(kind), "names")
    ]
    if len(found) != 1:
        problem = f"columns {' and '.join(found)} could all be it" if found else "none of classes"
        raise DatasetError(
            f"{name}: no column label, and {problem}; rename_column the right one to label; "
            f"columns found: {', '.join(features)}"
        )
    return found[0]
