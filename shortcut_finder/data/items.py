"""Items: images and labels of a map-style Python dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shortcut_finder.data.features import Pictures, has_features
from shortcut_finder.data.imports import load_function
from shortcut_finder.data.labels import class_order, from_targets, is_several
from shortcut_finder.data.levels import Window
from shortcut_finder.data.reading import ReadImage, read_item, storable
from shortcut_finder.errors import DatasetError, UnreadableImage


class Items:
    """Items of a map-style dataset, read as images.

    Where the dataset came from ``FILE.py:FUNCTION``, another process makes it again instead of
    unpickling it, because it would not find the classes of such a file by name.

    Attributes:
        items: a dataset of (image, label) pairs.
        spec: the function that made it, where there is one.
        window: the numbers that become black and white, of pixels deeper than 8 bits.
    """

    def __init__(self, items: Any, spec: str | None = None, window: Window | None = None) -> None:
        self.items = items
        self.spec = spec
        self.window = window

    def __getstate__(self) -> dict[str, Any]:
        items = None if self.spec else self.items
        return {"items": items, "spec": self.spec, "window": self.window}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.items, self.spec, self.window = state["items"], state["spec"], state["window"]
        if self.spec:
            made = without_subset(make_items(self.spec))[0]
            self.items = Pictures(made, self.spec) if has_features(made) else made

    def __len__(self) -> int:
        return len(self.items)

    def read(self, image: str) -> ReadImage:
        """Read one image by its name, ``item/0000012``."""
        return read_item(self.item(int(image.rpartition("/")[2]))[0], self.window)

    def item(self, index: int) -> Any:
        """Item ``index``, a pair of image and label.

        Raises:
            UnreadableImage: the dataset raised an error, or returned something else.
        """
        try:
            item = self.items[index]
        # Code of the user's; whatever it raises concerns this image only.
        except Exception as error:
            raise UnreadableImage(f"item {index} raised {_named(error)}") from error
        if not isinstance(item, (tuple, list)) or len(item) < 2:
            raise UnreadableImage(
                f"item {index} is a {type(item).__name__}; expected a pair (image, label)"
            )
        return item


def make_items(spec: str) -> Any:
    """What the function of ``FILE.py:FUNCTION`` returns.

    Raises:
        DatasetError: the function raised an error.
    """
    function = load_function(spec)
    try:
        return function()
    # Code of the user's: whatever it raises is theirs to mend.
    except Exception as error:
        raise DatasetError(f"{spec}: raised {_named(error)}") from error


def _named(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200].removesuffix(":")


def without_subset(dataset: Any) -> tuple[Any, np.ndarray | None]:
    """The dataset below any `torch.utils.data.Subset`, and the indices taken from it."""
    indices: np.ndarray | None = None
    # Known by its method, so that torch need not be imported and subclasses are left alone.
    while method_home(dataset) == "torch.utils.data.dataset" and hasattr(dataset, "indices"):
        own = np.asarray(dataset.indices, dtype=np.int64)
        indices = own if indices is None else own[indices]
        dataset = dataset.dataset
    return dataset, indices


def method_home(dataset: Any) -> str:
    """The module in which a dataset's ``__getitem__`` is written."""
    return getattr(getattr(type(dataset), "__getitem__", None), "__module__", "")


def item_labels(items: Items, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels of all items as indices into the class names, and these names.

    Where items have vectors or sets of labels, it is their membership, (image, class). They come
    from the dataset's own list (``targets`` or ``labels``) where it has one; otherwise every item
    is read once.

    Raises:
        DatasetError: no image can be taken from it, or a label is no whole number or name.
    """
    check_images(items, name)
    targets = _listed_targets(items) or _read_targets(items, name)
    return labels_of(targets, class_names(items.items, name), name)


def labels_of(
    targets: Sequence[Any], classes: tuple[str, ...] | None, name: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as indices into the class names, or as membership, and these names.

    Args:
        targets: one an item: a whole number, a name, a vector or a set.
        classes: the dataset's own names, where it has any.
        name: of the dataset, for messages.

    Raises:
        DatasetError: a label is none of these.
    """
    if any(map(is_several, targets)) or all(target is None for target in targets):
        found = from_targets(targets, classes, name)
        return found.states, found.classes
    labels = [_label(target, name, index) for index, target in enumerate(targets)]
    if classes is not None:
        return _indexed(labels, classes, name), classes
    names = [storable(str(label)) for label in labels]
    classes = class_order(names)
    return _indexed(names, classes, name), classes


def check_images(items: Items, name: str) -> None:
    """See that images can be taken from it.

    Raises:
        DatasetError: one bad item is listed by the sweep, but the first three bad are not: it is a
            wrong kind of dataset.
    """
    reasons = []
    for index in range(min(3, len(items))):
        try:
            read_item(items.item(index)[0], items.window)
        except UnreadableImage as error:
            reasons.append(str(error))
        else:
            return
    raise DatasetError(f"{name}: no image can be taken from it: {(*reasons, 'no items')[0]}")


def _listed_targets(items: Items) -> list[Any]:
    """Labels that the dataset lists, so that no image need be read for them."""
    if getattr(items.items, "target_transform", None) is not None:
        return []
    for attribute in ("targets", "labels"):
        listed: Any = getattr(items.items, attribute, None)
        if hasattr(listed, "__len__") and len(listed) == len(items):
            return listed.tolist() if hasattr(listed, "tolist") else list(listed)
    return []


def _read_targets(items: Items, name: str) -> list[Any]:
    try:
        return [items.item(index)[1] for index in range(len(items))]
    except UnreadableImage as error:
        raise DatasetError(
            f"{name}: {error}, so its label is unknown; give the dataset a list `targets`"
        ) from error


def _label(target: Any, name: str, index: int) -> int | str:
    if getattr(target, "shape", None) in ((), (1,)):
        target = target.item()
    if isinstance(target, (int, str)):
        return target
    if isinstance(target, float) and target.is_integer():
        return int(target)
    raise DatasetError(
        f"{name}: the label of item {index} is a {type(target).__name__}; expected one whole "
        "number or one name"
    )


def class_names(dataset: Any, name: str) -> tuple[str, ...] | None:
    """The names in a dataset's ``classes``, in its order; None where it has none."""
    listed = getattr(dataset, "classes", None)
    if not isinstance(listed, (list, tuple)) or not listed:
        return None
    names = tuple(storable(str(entry)) for entry in listed)
    if not all(entry.strip() for entry in names):
        raise DatasetError(f"{name}: an empty class name")
    return names


def _indexed(labels: Sequence[int | str], classes: Sequence[str], name: str) -> np.ndarray:
    index = {label: position for position, label in enumerate(classes)}
    indexed = np.empty(len(labels), dtype=np.int64)
    for position, label in enumerate(labels):
        found = label if isinstance(label, int) else index.get(storable(label), -1)
        if not 0 <= found < len(classes):
            raise DatasetError(
                f"{name}: item {position} has the label {label!r}, which is none of the "
                f"{len(classes)} classes"
            )
        indexed[position] = found
    return indexed
