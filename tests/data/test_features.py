"""Datasets of Hugging Face: columns say by their types which labels an image has."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shortcut_finder.data.dataset import load_dataset
from shortcut_finder.data.groups import numbered
from shortcut_finder.errors import DatasetError

datasets = pytest.importorskip("datasets", reason="datasets is not installed")

# The order of the model's outputs, which is no alphabet.
NAMES = ["mass", "edema", "tube"]
STATES = [[1, 0, 1], [0, 1, 0], [0, 0, 0], [-1, -1, -1]]
SETS = [[0, 2], [1], [], None]


def made(kinds: dict[str, Any], columns: dict[str, list[Any]]) -> Any:
    """Four pictures with further columns."""
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (6, 5, 3), np.uint8)) for _ in SETS]
    features = datasets.Features({"image": datasets.Image(), **kinds})
    return datasets.Dataset.from_dict({"image": pictures, **columns}, features=features)


def of_sets(**columns: Any) -> Any:
    kinds = {"labels": datasets.Sequence(datasets.ClassLabel(names=NAMES))}
    return made(
        kinds | {name: datasets.Value("string") for name in columns}, {"labels": SETS, **columns}
    )


def test_lists_of_class_labels_are_sets_with_the_names_of_the_type() -> None:
    dataset = load_dataset(of_sets())
    assert dataset.several
    assert dataset.classes == tuple(NAMES)
    assert dataset.labels.tolist() == STATES
    assert dataset.images[2] == "item/0000002"
    assert dataset.read(1).width == 5


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_lists_of_numbers_are_vectors(kind: str) -> None:
    vectors = [[1, 0, 1], [0, 1, 0], [0, 0, 0], None]
    inner = datasets.Sequence(datasets.Value(kind), length=3)
    dataset = load_dataset(made({"label": inner}, {"label": vectors}))
    assert dataset.classes == ("0", "1", "2")
    assert dataset.labels.tolist() == STATES


def test_lists_of_names_are_sets() -> None:
    names = [[NAMES[place] for place in one] if one is not None else None for one in SETS]
    kind = {"labels": datasets.Sequence(datasets.Value("string"))}
    dataset = load_dataset(made(kind, {"labels": names}))
    assert dataset.classes == tuple(sorted(NAMES))
    assert dataset.labels[:, [1, 0, 2]].tolist() == STATES


def test_a_column_a_label_by_prefix_or_by_name() -> None:
    rows = {name: [row[place] for row in STATES] for place, name in enumerate(NAMES)}
    kind = datasets.Value("int8")
    prefixed = {f"label:{name}": row for name, row in rows.items()}
    dataset = load_dataset(made(dict.fromkeys(prefixed, kind), prefixed))
    assert (dataset.classes, dataset.labels.tolist()) == (tuple(NAMES), STATES)
    plain = made(dict.fromkeys(rows, kind), rows)
    dataset = load_dataset(plain, label_columns=("tube", "mass"))
    assert dataset.classes == ("tube", "mass")
    assert dataset.labels.tolist() == [[row[2], row[0]] for row in STATES]
    assert list(dataset.metadata) == ["edema"]
    with pytest.raises(DatasetError, match="no column fracture for the label"):
        load_dataset(plain, label_columns=("fracture",))


def test_one_class_label_an_image_and_other_columns_as_metadata() -> None:
    kinds = {
        "animal": datasets.ClassLabel(names=["dog", "cat"]),
        "site": datasets.Value("string"),
        "age": datasets.Value("int32"),
        "scanner": datasets.Value("string"),
    }
    columns = {
        "animal": [0, 1, 1, 0], "site": ["n", "s", "n", None], "age": [1, 2, 3, 4],
        "scanner": ["a", "a", "b", ""],
    }  # fmt: skip
    dataset = load_dataset(made(kinds, columns))
    assert not dataset.several
    assert dataset.classes == ("dog", "cat")
    assert dataset.labels.tolist() == [0, 1, 1, 0]
    assert dataset.metadata["age"].tolist() == [1, 2, 3, 4]
    assert numbered(dataset.metadata["scanner"].fillna("").tolist()).tolist() == [0, 0, 1, 2]


def test_other_class_labels_become_words() -> None:
    kinds = {
        "label": datasets.ClassLabel(names=["dog", "cat"]),
        "view": datasets.ClassLabel(names=["AP", "PA"]),
    }
    dataset = load_dataset(made(kinds, {"label": [0, 1, 1, 0], "view": [1, 0, -1, 1]}))
    assert dataset.metadata["view"].fillna("").tolist() == ["PA", "AP", "", "PA"]


def test_formats_and_transforms_of_a_training_are_left_out() -> None:
    plain = load_dataset(of_sets())

    def normalised(rows: Any) -> Any:
        rows["image"] = [np.asarray(one) / 255 - 3 for one in rows["image"]]
        return rows

    given = of_sets().with_transform(normalised)
    assert load_dataset(given).read(0).content == plain.read(0).content
    assert given[0]["image"].min() < -1
    stored = of_sets().cast_column("image", datasets.Image(decode=False))
    assert load_dataset(stored).read(0).content == plain.read(0).content
    assert load_dataset(of_sets().with_format("numpy")).labels.tolist() == STATES


def test_a_dataset_goes_to_another_process() -> None:
    dataset = load_dataset(of_sets())
    again = pickle.loads(pickle.dumps(dataset))
    assert again.read(3).content == dataset.read(3).content


def test_a_function_makes_it_there_and_in_a_process_that_never_saw_it(tmp_path: Path) -> None:
    of_sets().to_parquet(tmp_path / "data.parquet")
    (tmp_path / "mine.py").write_text(
        "import datasets\n\n\ndef pictures():\n"
        f"    return datasets.Dataset.from_parquet({str(tmp_path / 'data.parquet')!r}, "
        f"cache_dir={str(tmp_path / 'cache')!r})\n",
        encoding="utf-8",
    )
    dataset = load_dataset(f"{tmp_path / 'mine.py'}:pictures")
    assert dataset.labels.tolist() == STATES
    (tmp_path / "pickle").write_bytes(pickle.dumps(dataset))
    code = (
        "import pickle, sys, pathlib\n"
        "print(pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()).read(1).content)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "pickle")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == dataset.read(1).content


@pytest.mark.parametrize(
    ("dataset", "problem"),
    [
        (lambda: datasets.DatasetDict(train=of_sets(), test=of_sets()), "of train, test; give one"),
        (lambda: of_sets().to_iterable_dataset(), "no map-style dataset"),
        (lambda: of_sets().remove_columns("image"), "no column of the type Image"),
        (lambda: of_sets().remove_columns("labels"), "no column label, and none of classes"),
        (
            lambda: made(
                dict.fromkeys("ab", datasets.ClassLabel(names=NAMES)),
                {"a": [0] * 4, "b": [1] * 4},
            ),
            "columns a and b could all be it; rename_column the right one to label",
        ),
        (
            lambda: made({"label": datasets.ClassLabel(names=NAMES)}, {"label": [0, 1, 2, -1]}),
            "item 3 has the label -1, which is none of the 3 classes",
        ),
        (
            lambda: made(
                {"labels": datasets.Sequence(datasets.Value("float32"))}, {"labels": [[0.5]] * 4}
            ),
            r"item 0 has '0\.5' in its labels",
        ),
        (
            lambda: of_sets().map(lambda _: {"labels": None}, features=of_sets().features),
            "all labels of all images are unknown",
        ),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(dataset: Any, problem: str) -> None:
    with pytest.raises(DatasetError, match=problem) as caught:
        load_dataset(dataset())
    assert "\n" not in str(caught.value)
