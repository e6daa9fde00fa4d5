"""Labels: lists, one-hot columns, vectors and sets say the same; what is wrong is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from shortcut_finder.data.dataset import ImageDataset, load_dataset
from shortcut_finder.data.membership import having, lacking, matrix, occurring
from shortcut_finder.errors import DatasetError

NAMES = ("edema", "mass", "tube")
# Of images a to e; the last is unknown throughout.
STATES = [[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1], [-1, -1, -1]]
IMAGES = [f"{letter}.png" for letter in "abcde"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in IMAGES:
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    return tmp_path


def manifest(folder: Path, text: str) -> Path:
    path = folder / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


def check(dataset: ImageDataset, states: Any = STATES) -> None:
    assert dataset.several
    assert dataset.classes == NAMES
    assert dataset.labels.dtype == np.int8
    assert dataset.labels.tolist() == states


ONE_HOT = """image,site,edema,mass,tube
a.png,n,1,0,1
b.png,n,0,1.0,0
c.png,s,0,0,false
d.png,s,1,1,TRUE
e.png,n,-1,,-1.0
"""


def test_one_hot_columns_are_chosen_by_name(folder: Path) -> None:
    dataset = load_dataset(manifest(folder, ONE_HOT), label_columns=NAMES)
    check(dataset)
    assert list(dataset.metadata) == ["site"]


def test_one_hot_columns_are_known_by_their_prefix(folder: Path) -> None:
    text = ONE_HOT.replace("edema,mass,tube", "label:edema,label: mass,label:tube")
    check(load_dataset(manifest(folder, text)))
    assert load_dataset(manifest(folder, text), label_columns=["mass", "tube"]).classes == (
        "mass",
        "tube",
    )


@pytest.mark.parametrize("mark", ["|", ";"])
def test_lists_are_separated_by_a_bar_or_a_semicolon(folder: Path, mark: str) -> None:
    text = (
        "image,labels,age\na.png,tube| edema,3\nb.png,mass,4\nd.png,edema|mass|tube,5\ne.png,,6\n"
    )
    dataset = load_dataset(manifest(folder, text.replace("|", mark)))
    check(dataset, [STATES[n] for n in (0, 1, 3, 4)])
    assert list(dataset.metadata) == ["age"]


def test_frames_and_parquet_hold_lists_sets_and_missing_values(folder: Path) -> None:
    images = [str(folder / name) for name in IMAGES]
    lists = [["tube", "edema"], ["mass"], [], ["edema", "mass", "tube"], None]
    check(load_dataset(pd.DataFrame({"image": images, "labels": lists})))
    sets = [None if one is None else set(one) for one in lists]
    check(load_dataset(pd.DataFrame({"image": images, "labels": sets})))
    vectors = load_dataset(pd.DataFrame({"image": images, "labels": list(np.array(STATES))}))
    assert vectors.labels.tolist() == STATES
    assert vectors.classes == ("0", "1", "2")
    unknown = [*np.array(STATES[:4]), None]
    assert load_dataset(pd.DataFrame({"image": images, "labels": unknown})).labels.tolist() == (
        vectors.labels.tolist()
    )
    path = folder / "list.parquet"
    pd.DataFrame({"image": IMAGES, "labels": lists}).to_parquet(path)
    check(load_dataset(path))
    numbers = pd.DataFrame(STATES, columns=list(NAMES)).replace(-1, np.nan)
    check(load_dataset(numbers.assign(image=images), label_columns=NAMES))


class Pairs:
    """A map-style dataset."""

    def __init__(self, targets: list[Any], classes: list[str] | None = None) -> None:
        self.targets_ = targets
        if classes:
            self.classes = classes

    def __len__(self) -> int:
        return len(self.targets_)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Any]:
        return np.zeros((4, 4, 3), np.uint8), self.targets_[index]


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_items_have_vectors(kind: Any) -> None:
    check(load_dataset(Pairs([kind(row) for row in STATES], list(NAMES))))
    assert load_dataset(Pairs([kind([1.0, 0.0])])).classes == ("0", "1")


def test_items_have_sets_of_names_or_numbers() -> None:
    known = STATES[:4]
    named = [{name for name, has in zip(NAMES, row, strict=True) if has} for row in known]
    check(load_dataset(Pairs(named)), known)
    check(load_dataset(Pairs([sorted(one) for one in named], list(NAMES))), known)
    numbers = [{place for place, has in enumerate(row) if has} for row in known]
    check(load_dataset(Pairs(numbers, list(NAMES))), known)


def test_sets_and_vectors_may_stand_in_a_column_called_label(folder: Path) -> None:
    images = [str(folder / name) for name in IMAGES[:4]]
    known = STATES[:4]
    named = [{name for name, has in zip(NAMES, row, strict=True) if has} for row in known]
    check(load_dataset(pd.DataFrame({"image": images, "label": named})), known)
    numbers = [{place for place, has in enumerate(row) if has} for row in known]
    for form in (numbers, [torch.tensor(row) for row in known]):
        dataset = load_dataset(pd.DataFrame({"image": images, "label": form}))
        assert (dataset.classes, dataset.labels.tolist()) == (("0", "1", "2"), known)
    mixed = pd.DataFrame({"image": images, "label": ["edema", {"mass"}, set(), "mass|tube"]})
    assert load_dataset(mixed).labels.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 1, 1]]


def test_an_item_without_labels_is_unknown() -> None:
    named = [{name for name, has in zip(NAMES, row, strict=True) if has} for row in STATES[:4]]
    check(load_dataset(Pairs([*named, None])))
    check(load_dataset(Pairs([*STATES[:4], None], list(NAMES))))


def test_one_image_a_row_and_the_order_of_names(folder: Path) -> None:
    text = "image,labels\nd.png,b|a\na.png,b\nd.png,a|b\n"
    dataset = load_dataset(manifest(folder, text))
    assert dataset.images == ("a.png", "d.png")
    assert dataset.labels.tolist() == [[0, 1], [1, 1]]
    assert "1 rows repeat an image" in dataset.notes[0]
    assert dataset.subset([1]).labels.tolist() == [[1, 1]]


def test_a_label_column_comes_first(folder: Path) -> None:
    text = "image,label,labels,label:x\na.png,cat,a|b,1\nb.png,dog,b,0\n"
    dataset = load_dataset(manifest(folder, text))
    assert not dataset.several
    assert dataset.classes == ("cat", "dog")


def test_the_fingerprint_knows_what_is_unknown(folder: Path) -> None:
    prints = {
        load_dataset(
            manifest(folder, f"image,x,y\na.png,1,{value}\n"), label_columns="xy"
        ).fingerprint
        for value in ("1", "0", "-1", "")
    }
    assert len(prints) == 3


@pytest.mark.parametrize(
    ("text", "columns", "problem"),
    [
        (ONE_HOT, ("edema", "fracture"), "no column fracture for the label of that name"),
        (ONE_HOT, ("edema", "edema"), "two label columns of one name"),
        ("image,a,b\na.png,1,0.5\n", ("a", "b"), "row 1 has '0.5' in column b; expected 1"),
        ("image,a\na.png,yes\n", ("a",), "row 1 has 'yes' in column a; expected 1"),
        ("image,a\na.png,2\n", ("a",), "row 1 has '2' in column a"),
        ("image,a,b\na.png,,-1\nb.png,-1,\n", ("a", "b"), "all labels of all images are unknown"),
        ("image,labels\na.png,\nb.png, \n", (), "all labels of all images are unknown"),
        ("image,a\na.png,0\n", ("a",), "no image has a label"),
        ('image,labels\na.png,"x,y"\nb.png,y\n', (), "labels like 'x,y' look separated by ','"),
        ("image,labels\na.png,x/y\nb.png,y\n", (), "look separated by '/'"),
        ('image,labels\na.png,"x,y"\nb.png,"y,z"\n', (), "labels like 'x,y' look separated by ','"),
        ("image,labels\na.png,x\ty\nb.png,y\n", (), r"look separated by '\\t'"),
        ("image,labels\na.png,x & y\nb.png,y\n", (), "look separated by '&'"),
        ("image,labels\na.png,x y\nb.png,y\nd.png,x\n", (), "look separated by ' '"),
        ("image,labels\na.png,\"['x', 'y']\"\n", (), "without brackets"),
        ("image,labels\na.png,x|y\na.png,x\n", (), r"'a.png' has the labels 'x\|y' and 'x'"),
        ("image,label: ,label:b\na.png,1,1\n", (), "or one without; rename them"),
        ("path,labels\na.png,x\n", (), "no column image"),
    ],
)
def test_labels_that_cannot_be_used_are_one_clear_line(
    folder: Path, text: str, columns: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(DatasetError, match=problem) as caught:
        load_dataset(manifest(folder, text), label_columns=columns)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "names", [("pleural effusion", "effusion"), ("New York, NY", "cat"), ("n/a", "b")]
)
def test_names_of_one_label_may_hold_what_others_separate_by(
    folder: Path, names: tuple[str, str]
) -> None:
    path = manifest(folder, 'image,labels\na.png,"{}"\nb.png,"{}"\n'.format(*names))
    assert load_dataset(path).classes == tuple(sorted(names))


def test_single_labels_that_look_like_several_are_noted(folder: Path) -> None:
    dataset = load_dataset(manifest(folder, "image,label\na.png,x|y\nb.png,y\nd.png,x\n"))
    assert dataset.classes == ("x", "x|y", "y")
    assert (
        "labels like 'x|y' count as classes of their own; call the column labels"
        in (dataset.notes[0])
    )
    assert not load_dataset(manifest(folder, "image,label\na.png,x|z\nb.png,y\n")).notes


@pytest.mark.parametrize(
    ("targets", "classes", "problem"),
    [
        ([[1, 0], [1]], None, "the labels of item 1 are 1 numbers, and there are 2 classes"),
        ([[1, 0]], ["a"], "are 2 numbers, and there are 1 classes"),
        ([[1, 0.5]], None, r"item 0 has '0\.5' in its labels"),
        ([{"a"}, [1, 0]], None, "item 0 are a set and those of others are not"),
        ([[1, 0], 1], None, "item 1 are a int and those of others are not"),
        ([{1.5}], None, "a float among its labels"),
        ([{"c"}], ["a", "b"], "item 0 has the label 'c', which is none of the 2 classes"),
        ([{2}], ["a", "b"], "item 0 has the label 2, which is none of the 2 classes"),
        ([[-1, -1]], None, "all labels of all images are unknown"),
    ],
)
def test_items_with_labels_that_cannot_be_used(
    targets: list[Any], classes: list[str] | None, problem: str
) -> None:
    with pytest.raises(DatasetError, match=problem) as caught:
        load_dataset(Pairs(targets, classes))
    assert "\n" not in str(caught.value)


def test_only_manifests_have_label_columns(folder: Path) -> None:
    for data in (folder, Pairs([[1, 0]])):
        with pytest.raises(DatasetError, match="--label-columns a"):
            load_dataset(data, label_columns=("a",))


def test_having_and_lacking_of_either_form() -> None:
    states, labels = np.array(STATES, np.int8), np.array([2, 0, 2])
    assert having(states, 0).tolist() == [True, False, False, True, False]
    assert lacking(states, 0).tolist() == [False, True, True, False, False]
    assert occurring(states[1:3]) == [1]
    one_hot = matrix(labels, 3)
    for number in range(3):
        assert (having(labels, number) == having(one_hot, number)).all()
        assert (lacking(labels, number) == lacking(one_hot, number)).all()
    assert occurring(labels) == occurring(one_hot) == [0, 2]
