"""Dataset: which images there are, their labels and metadata, and how to read each one."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shortcut_finder.data import tables
from shortcut_finder.data.containers import Contents, Remote, contents_of, remote_manifest
from shortcut_finder.data.dicom import framed
from shortcut_finder.data.features import Pictures, described, has_features
from shortcut_finder.data.imports import is_function_name
from shortcut_finder.data.items import (
    Items,
    check_images,
    class_names,
    item_labels,
    labels_of,
    make_items,
    method_home,
    without_subset,
)
from shortcut_finder.data.joining import joined_columns
from shortcut_finder.data.labels import class_order, several_in_one, take_labels
from shortcut_finder.data.reading import ReadImage, storable
from shortcut_finder.data.sources import Files, Source
from shortcut_finder.data.storage import is_url, safe_image
from shortcut_finder.data.walking import entries_of, has_folders, images_below, is_image
from shortcut_finder.errors import DatasetError

__all__ = ["ImageDataset", "ReadImage", "load_dataset"]


@dataclass(frozen=True, eq=False)
class ImageDataset:
    r"""Labelled images.

    Attributes:
        name: of the folder, manifest or Python dataset.
        root: folder that relative image names start from; ``None`` where there are no files.
        images: one name an image: the path below ``root`` with ``/``, the absolute path for files
            elsewhere, ``item/0000012`` for item 12 of a Python dataset. File names that are not
            UTF-8 have the odd bytes written as ``\xff``.
        labels: index into ``classes``, (image,); where an image may have several classes or none,
            their membership, (image, class) int8, see `shortcut_finder.data.membership`.
        classes: names in the order a model's outputs take when nothing else says it: class folders
            and text labels sorted, whole numbers by value, otherwise the dataset's own order.
        metadata: one row an image, in the same order; it may have no columns.
        source: reads an image by its name.
        notes: what a user should know about how the dataset was taken.
        groups: number of the group that each image must stay with, (image,); None where each may
            stand for itself.
    """

    name: str
    root: Path | None
    images: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    metadata: pd.DataFrame
    source: Source
    notes: tuple[str, ...] = ()
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not self.images:
            raise DatasetError(f"{self.name}: no images")
        if not len(self.labels) == len(self.metadata) == len(self.images):
            raise DatasetError(f"{self.name}: images, labels and metadata differ in number")
        for what, names in (("images", self.images), ("classes", self.classes)):
            if len(set(names)) != len(names):
                twice = Counter(names).most_common(1)[0][0]
                raise DatasetError(f"{self.name}: two {what} share the name {twice!r}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def several(self) -> bool:
        """Whether an image may have several classes, or none."""
        return self.labels.ndim == 2

    @property
    def fingerprint(self) -> str:
        """Hash of the images' names and labels, 32 hex digits; pixels and places do not enter."""
        digest = hashlib.sha256()
        for image, label in zip(self.images, self.labels, strict=True):
            name = ",".join(map(str, label)) if self.several else self.classes[label]
            digest.update(f"{image}\0{name}\0".encode())
        digest.update("\0".join(self.classes).encode())
        return digest.hexdigest()[:32]

    def read(self, index: int) -> ReadImage:
        """Read one image.

        Raises:
            UnreadableImage: with a reason in plain words.
        """
        return self.source.read(self.images[index])

    def subset(self, indices: Sequence[int] | np.ndarray) -> ImageDataset:
        """The same dataset with these images only, in this order; all classes stay."""
        chosen = np.asarray(indices, dtype=np.int64)
        return dataclasses.replace(
            self,
            images=tuple(self.images[index] for index in chosen),
            labels=self.labels[chosen],
            metadata=self.metadata.iloc[chosen].reset_index(drop=True),
            groups=None if self.groups is None else self.groups[chosen],
        )


def load_dataset(
    data: Any, *, metadata: Path | None = None, label_columns: Sequence[str] = ()
) -> ImageDataset:
    """Take a labelled image dataset in any of the forms users have them.

    Args:
        data: folder of class folders; CSV or Parquet manifest with the columns ``image`` and
            ``label`` (further columns are metadata), or with several labels an image: a column
            ``labels`` of names separated by ``|`` or ``;``, or a column a label;
            ``FILE.py:FUNCTION`` or ``package.module:function`` that returns a map-style dataset of
            (image, label), where label may be a set or a vector, too; such a dataset itself, for
            example of torchvision; or a DataFrame like a manifest.
        metadata: CSV or Parquet file with a column ``image`` (or ``path``, ``filename``...) that
            names the images; its other columns are joined.
        label_columns: columns of a manifest that hold a label each: 1 has it, 0 has it not, blank
            or -1 is unknown; by default all whose names start with ``label:``.

    Raises:
        DatasetError: it cannot be used as labelled images.
    """
    if isinstance(data, (str, os.PathLike)):
        dataset = _from_name(os.fspath(data), label_columns)
    else:
        dataset = _from_object(data, type(data).__name__, label_columns=label_columns)
    if metadata is None:
        return dataset
    columns, notes = joined_columns(Path(metadata), dataset.images, dataset.root)
    kept = dataset.metadata.drop(columns=columns.columns, errors="ignore")
    return dataclasses.replace(
        dataset,
        metadata=pd.concat([kept, columns], axis=1),
        notes=(*dataset.notes, *notes),
    )


def _from_name(data: str, label_columns: Sequence[str]) -> ImageDataset:
    path = Path(data)
    if is_url(data) or path.is_file() or (path.is_dir() and not has_folders(path)):
        found = contents_of(data)
        if found is not None:
            _need_table(data, label_columns)
            return _from_contents(found)
    if is_url(data):
        table, source = remote_manifest(data)
        return _from_table(table, Path(data).stem, data, None, label_columns, source)
    if path.is_file() and path.suffix.lower() in tables.SUFFIXES:
        manifest = tables.read_table(path)
        return _from_table(manifest, path.stem, data, tables.absolute(path.parent), label_columns)
    _need_table(data, label_columns)
    if path.is_dir():
        return _from_folder(path)
    if path.exists() or not is_function_name(data):
        problem = "cannot be used" if path.exists() else "not found"
        raise DatasetError(
            f"{data}: {problem}; expected a folder of class folders, a .csv or .parquet manifest, "
            "an archive, or FILE.py:FUNCTION"
        )
    return _from_object(make_items(data), data, spec=data)


def _need_table(name: str, label_columns: Sequence[str]) -> None:
    if label_columns:
        raise DatasetError(
            f"--label-columns {','.join(label_columns)}: {name} is no manifest and has no columns"
        )


def _from_object(
    data: Any, name: str, spec: str | None = None, label_columns: Sequence[str] = ()
) -> ImageDataset:
    if isinstance(data, pd.DataFrame):
        return _from_table(data, name, name, Path.cwd(), label_columns)
    base, indices = without_subset(data)
    if has_features(base):
        whole = _from_features(base, name, spec, label_columns)
        return whole if indices is None else whole.subset(indices)
    _need_table(name, label_columns)
    if isinstance(base, Mapping):
        splits = ", ".join(map(str, base)) or "none"
        raise DatasetError(f"{name}: a {type(base).__name__} of {splits}; give one of them")
    if not (hasattr(base, "__getitem__") and hasattr(base, "__len__")):
        raise DatasetError(
            f"{name}: a {type(base).__name__} is no map-style dataset; it needs __len__, and "
            "__getitem__ that returns (image, label)"
        )
    whole = _from_image_folder(base, name) or _from_items(Items(base, spec), name)
    return whole if indices is None else whole.subset(indices)


def _from_folder(root: Path) -> ImageDataset:
    """Each subfolder is a class; its images lie anywhere below it."""
    entries = entries_of(root)
    folders = sorted(entry.name for entry in entries if entry.is_dir())
    loose = sum(is_image(entry) for entry in entries if not entry.is_dir())
    if not folders:
        problem = "images but no class folders" if loose else "no class folders"
        raise DatasetError(f"{root}: {problem}; expected {root}/<class>/<image>, or a CSV manifest")
    paths: list[str] = []
    labels: list[str] = []
    for folder in folders:
        found = images_below(root / folder)
        if not found:
            raise DatasetError(
                f"{root / folder}: class folder without images; add some or remove the folder"
            )
        paths += [f"{folder}/{path}" for path in found]
        labels += [folder] * len(found)
    note = f"{root}: {loose} images beside the class folders have no label and were left out"
    root = tables.absolute(root)
    return _from_files(
        root, root.name or str(root), paths, labels, sorted(folders), notes=[note] * bool(loose)
    )


def _from_table(
    table: pd.DataFrame,
    name: str,
    place: str,
    root: Path | None,
    label_columns: Sequence[str],
    source: Remote | None = None,
) -> ImageDataset:
    """A manifest: a row an image; ``place`` names it in messages, ``root`` is where paths start.

    What a ``source`` reads lies below the folder of the manifest, and nothing else is looked at.
    """
    table, several = take_labels(tables.need_columns(table, (), place), label_columns, place)
    table = tables.need_columns(table, ("image", "label"), place)
    if table.empty:
        raise DatasetError(f"{place}: no rows; expected one an image")
    named = tables.cells(table, "image", place)
    table = table.assign(
        image=[
            safe_image(path, place) if root is None else tables.relative(path, root)
            for path in named
        ]
    )
    if several is None:
        table["label"] = [label.strip() for label in tables.cells(table, "label", place)]
    states = {} if several is None else dict(zip(table["label"], several.states, strict=True))
    table, repeated = tables.one_row_an_image(table, place)
    metadata, left_out = tables.metadata_columns(table.drop(columns=["image", "label"]), place)
    paths, labels = table["image"].tolist(), table["label"].tolist()
    # One missing file is listed by the sweep, but all of them missing is a wrong folder.
    if root is not None and not any(_exists(root / path) for path in paths):
        raise DatasetError(
            f"{place}: none of its {len(paths)} files exists, such as {paths[0]!r}; paths are "
            f"taken from {root}"
        )
    joined = several_in_one(labels, place) if several is None else ()
    notes = (*joined, *repeated, *left_out)
    classes = class_order(labels) if several is None else several.classes
    return _from_files(
        root, name, paths, labels, classes, metadata, notes, states=states, source=source
    )


def _from_contents(found: Contents) -> ImageDataset:
    return _from_files(
        None,
        found.name,
        found.images,
        found.labels,
        found.classes,
        found.metadata,
        found.notes,
        source=found.source,
    )


def _exists(path: Path) -> bool:
    # A frame of a DICOM file has its number at the end.
    return tables.exists(path) or tables.exists(framed(path)[0])


def _from_image_folder(dataset: Any, name: str) -> ImageDataset | None:
    """Folder datasets of torchvision as files, unless something else decodes or labels them."""
    loader = getattr(getattr(dataset, "loader", None), "__name__", "")
    if method_home(dataset) != "torchvision.datasets.folder" or loader != "default_loader":
        return None
    classes = class_names(dataset, name)
    if classes is None or dataset.target_transform is not None:
        return None
    root = tables.absolute(dataset.root)
    paths = [tables.relative(str(tables.absolute(path)), root) for path, _ in dataset.samples]
    labels = [classes[target] for _, target in dataset.samples]
    return _from_files(root, name, paths, labels, classes, sort=False)


def _from_files(
    root: Path | None,
    name: str,
    paths: Sequence[str],
    labels: Sequence[str],
    classes: Sequence[str],
    metadata: pd.DataFrame | None = None,
    notes: Iterable[str] = (),
    *,
    sort: bool = True,
    states: Mapping[str, np.ndarray] | None = None,
    source: Source | None = None,
) -> ImageDataset:
    """A dataset of files; ``paths`` are relative to ``root`` or absolute, or known to ``source``.

    ``states`` are the membership that each of the ``labels`` stands for, where it is no class.
    """
    images = [storable(path) for path in paths]
    index: dict[str, Any] = {label: number for number, label in enumerate(classes)}
    index |= states or {}
    # Indices of a Subset refer to the order of the dataset below it, which is then kept.
    order = sorted(range(len(images)), key=images.__getitem__) if sort else range(len(images))
    if metadata is None:
        metadata = pd.DataFrame(index=range(len(images)))
    changed = {image: path for image, path in zip(images, paths, strict=True) if image != path}
    return ImageDataset(
        name=storable(name),
        root=root,
        images=tuple(images[position] for position in order),
        labels=np.array(
            [index[labels[position]] for position in order], dtype=np.int8 if states else np.int64
        ),
        classes=tuple(storable(label) for label in classes),
        metadata=metadata.iloc[list(order)].reset_index(drop=True),
        source=source or Files(root or Path(), changed),
        notes=tuple(notes),
    )


def _from_features(
    dataset: Any, name: str, spec: str | None, label_columns: Sequence[str]
) -> ImageDataset:
    """A dataset of Hugging Face: its columns are labels and metadata."""
    items = Items(Pictures(dataset, name), spec)
    check_images(items, name)
    targets, classes, table = described(dataset, label_columns, name)
    labels, classes = labels_of(targets, classes, name)
    metadata, notes = tables.metadata_columns(table, name)
    return _of_items(items, name, labels, classes, metadata, notes)


def _from_items(items: Items, name: str) -> ImageDataset:
    labels, classes = item_labels(items, name)
    return _of_items(items, name, labels, classes, pd.DataFrame(index=range(len(items))))


def _of_items(
    items: Items,
    name: str,
    labels: np.ndarray,
    classes: tuple[str, ...],
    metadata: pd.DataFrame,
    notes: tuple[str, ...] = (),
) -> ImageDataset:
    return ImageDataset(
        name=storable(name),
        root=None,
        images=tuple(f"item/{index:07d}" for index in range(len(items))),
        labels=labels,
        classes=classes,
        metadata=metadata,
        source=items,
        notes=notes,
    )
