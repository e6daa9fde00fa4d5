"""Dataset: every form users have gives the same images, labels and classes, or one clear line."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shortcut_finder.data.dataset import ImageDataset, load_dataset
from shortcut_finder.data.items import Items
from shortcut_finder.errors import DatasetError, ShortcutFinderError, UnreadableImage

PNG = hostile.encoded(hostile.picture(), "PNG")


def label_names(dataset: ImageDataset) -> list[str]:
    return [dataset.classes[label] for label in dataset.labels]


def read_all(dataset: ImageDataset) -> dict[str, str]:
    """What becomes of every image: its corners, or the reason it cannot be read."""
    outcome = {}
    for index, image in enumerate(dataset.images):
        try:
            outcome[image] = hostile.corners(dataset.read(index).picture)
        except UnreadableImage as error:
            outcome[image] = str(error)
    return outcome


# Folders ------------------------------------------------------------------------------------------


def test_each_subfolder_is_a_class_and_images_lie_anywhere_below(tmp_path: Path) -> None:
    root = hostile.write(
        tmp_path / "pets",
        {
            "dog/b.PNG": PNG,
            "dog/2024/may/a.png": PNG,
            "cat/z.png": PNG,
            "cat/notes.txt": b"",
            "cat/.hidden.png": PNG,
            "cat/.thumbnails/z.png": PNG,
            ".git/x.png": PNG,
            "readme.txt": b"",
        },
    )
    dataset = load_dataset(root)
    assert dataset.name == "pets"
    assert dataset.root == root
    assert dataset.images == ("cat/z.png", "dog/2024/may/a.png", "dog/b.PNG")
    assert label_names(dataset) == ["cat", "dog", "dog"]
    assert dataset.classes == ("cat", "dog")
    assert dataset.metadata.shape == (3, 0)
    assert dataset.notes == ()
    assert set(read_all(dataset).values()) == {"RGBW"}


def test_class_folders_are_sorted_as_torchvision_does(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    root = hostile.class_folders(tmp_path, "10", "9", "b", "B", "a a", "a")
    folder = torchvision.datasets.ImageFolder(str(root))
    dataset = load_dataset(str(root))
    assert list(dataset.classes) == folder.classes
    indices = [int(label) for label in dataset.labels]
    paths = [str(root / image) for image in dataset.images]
    assert dict(zip(paths, indices, strict=True)) == dict(folder.samples)


def test_links_that_loop_end(tmp_path: Path) -> None:
    root = hostile.write(tmp_path, {"cat/in/a.png": PNG})
    (root / "cat/in/up").symlink_to(root / "cat")
    (root / "cat/in/self").symlink_to(root / "cat/in")
    (root / "cat/broken.png").symlink_to(root / "nowhere")
    dataset = load_dataset(root)
    assert read_all(dataset) == {"cat/broken.png": "file not found", "cat/in/a.png": "RGBW"}


def test_linked_folders_and_files_are_followed(tmp_path: Path) -> None:
    hostile.write(tmp_path, {"store/a.png": PNG, "data/cat/b.png": PNG})
    (tmp_path / "data/dog").symlink_to(tmp_path / "store")
    (tmp_path / "data/cat/c.png").symlink_to(tmp_path / "store/a.png")
    dataset = load_dataset(tmp_path / "data")
    assert dataset.images == ("cat/b.png", "cat/c.png", "dog/a.png")
    assert set(read_all(dataset).values()) == {"RGBW"}


def test_a_folder_called_like_an_image_is_a_folder(tmp_path: Path) -> None:
    root = hostile.write(tmp_path, {"cat/album.jpg/a.png": PNG})
    assert load_dataset(root).images == ("cat/album.jpg/a.png",)


def test_images_beside_the_class_folders_are_left_out_with_a_note(tmp_path: Path) -> None:
    dataset = load_dataset(hostile.write(tmp_path, {"cat/a.png": PNG, "cover.jpg": PNG}))
    assert dataset.images == ("cat/a.png",)
    assert "1 images beside the class folders" in dataset.notes[0]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "no class folders"),
        ({"notes.txt": b""}, "no class folders"),
        ({"a.png": PNG}, "images but no class folders"),
        ({"cat/a.png": PNG, "dog/notes.txt": b""}, "dog: class folder without images"),
        ({"cat/a.png": PNG, "dog/deep/.hidden.png": PNG}, "dog: class folder without images"),
    ],
)
def test_folders_without_images_are_one_clear_line(
    tmp_path: Path, files: dict[str, bytes], problem: str
) -> None:
    with pytest.raises(DatasetError, match=problem) as caught:
        load_dataset(hostile.write(tmp_path, files))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", ["nowhere", "nowhere.csv", "nowhere/", "C:/nowhere"])
def test_what_does_not_exist_is_named(data: str) -> None:
    with pytest.raises(DatasetError, match=f"{data}: not found"):
        load_dataset(data)


def test_a_file_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    path = hostile.write(tmp_path, {"cat.jpg": PNG}) / "cat.jpg"
    with pytest.raises(DatasetError, match=r"cat\.jpg: cannot be used; expected a folder"):
        load_dataset(path)


def test_every_hostile_file_is_read_or_has_a_reason(tmp_path: Path) -> None:
    files = {f"odd/{name}": content for name, content in hostile.sound().items()}
    files |= {f"bad/{name}": content for name, (content, _) in hostile.damaged().items()}
    files |= {f"{name} class/{name}": PNG for name in hostile.nasty_names() if len(name) < 200}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = load_dataset(hostile.write(tmp_path, files))
        outcome = read_all(dataset)
    assert len(outcome) == len(files)
    for image, result in outcome.items():
        assert (result == "RGBW") != image.startswith("bad/")


def test_names_that_are_no_text_can_be_stored_and_read(tmp_path: Path) -> None:
    if os.name != "posix" or sys.platform == "darwin":
        pytest.skip("file names are text on this system")
    root = hostile.write(tmp_path, {os.fsdecode(b"caf\xe9/\xff.png"): PNG})
    dataset = load_dataset(root)
    assert dataset.images == ("caf\\xe9/\\xff.png",)
    assert dataset.classes == ("caf\\xe9",)
    assert read_all(dataset) == {dataset.images[0]: "RGBW"}
    assert read_all(dataset.subset([0])) == {dataset.images[0]: "RGBW"}


def test_two_files_with_one_stored_name_are_an_error(tmp_path: Path) -> None:
    if os.name != "posix" or sys.platform == "darwin":
        pytest.skip("file names are text on this system")
    root = hostile.write(tmp_path, {os.fsdecode(b"a/\xff.png"): PNG, "a/\\xff.png": PNG})
    with pytest.raises(DatasetError, match="two images share the name"):
        load_dataset(root)


# Manifests ----------------------------------------------------------------------------------------


def manifest(folder: Path, text: str, *images: str) -> Path:
    files = {"list.csv": text.encode(), **dict.fromkeys(images, PNG)}
    return hostile.write(folder, files) / "list.csv"


def test_a_manifest_gives_images_labels_and_metadata(tmp_path: Path) -> None:
    text = (
        "image,label,site,age\n"
        f"b.png,dog,north,3\n./a.png,cat,,\n{tmp_path}/sub/c.png,cat,south,4.5\n"
    )
    dataset = load_dataset(manifest(tmp_path, text, "a.png", "b.png", "sub/c.png"))
    assert dataset.name == "list"
    assert dataset.images == ("a.png", "b.png", "sub/c.png")
    assert label_names(dataset) == ["cat", "dog", "cat"]
    assert dataset.metadata["site"].isna().tolist() == [True, False, False]
    assert dataset.metadata["site"].tolist()[1:] == ["north", "south"]
    assert dataset.metadata["age"].tolist()[1:] == [3.0, 4.5]
    assert set(read_all(dataset).values()) == {"RGBW"}


def test_files_elsewhere_keep_their_absolute_name(tmp_path: Path) -> None:
    hostile.write(tmp_path, {"far/a.png": PNG})
    dataset = load_dataset(manifest(tmp_path / "near", f"image,label\n{tmp_path}/far/a.png,x\n"))
    assert dataset.images == (f"{tmp_path}/far/a.png",)
    assert read_all(dataset) == {dataset.images[0]: "RGBW"}


def test_folder_manifest_and_table_are_the_same_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = hostile.class_folders(tmp_path, "cat", "dog", "owl")
    folder = load_dataset(root)
    table = pd.DataFrame({"label": label_names(folder), "image": folder.images})
    table.to_csv(root / "list.csv", index=False)
    table.to_parquet(root / "list.parquet")
    table.set_index("image").to_parquet(root / "indexed.parquet")
    monkeypatch.chdir(root)
    forms = [root / "list.csv", str(root / "list.parquet"), root / "indexed.parquet", table[::-1]]
    for form in forms:
        dataset = load_dataset(form)
        assert dataset.fingerprint == folder.fingerprint
        assert dataset.images == folder.images
        assert [dataset.read(i).content for i in range(len(dataset))] == [
            folder.read(i).content for i in range(len(folder))
        ]


def test_labels_keep_their_text(tmp_path: Path) -> None:
    text = "image,label\na.png,01\nb.png,1\nc.png,NA\nd.png,1.0\ne.png, x \n"
    dataset = load_dataset(manifest(tmp_path, text, "a.png"))
    assert label_names(dataset) == ["01", "1", "NA", "1.0", "x"]


def test_whole_number_labels_are_ordered_by_value(tmp_path: Path) -> None:
    rows = "".join(f"{label}.png,{label}\n" for label in (10, 9, 0, 1, 11, 2))
    dataset = load_dataset(manifest(tmp_path, "image,label\n" + rows, "0.png"))
    assert dataset.classes == ("0", "1", "2", "9", "10", "11")
    numbers = pd.DataFrame({"image": ["0.png", "b.png"], "label": [10, 9]})
    numbers["image"] = [str(tmp_path / image) for image in numbers["image"]]
    assert load_dataset(numbers).classes == ("9", "10")


def test_missing_files_are_left_to_the_sweep(tmp_path: Path) -> None:
    dataset = load_dataset(manifest(tmp_path, "image,label\na.png,x\ngone.png,x\n", "a.png"))
    assert read_all(dataset) == {"a.png": "RGBW", "gone.png": "file not found"}


def test_repeated_rows_count_once_with_a_note(tmp_path: Path) -> None:
    text = "image,label,site\na.png,x,one\n./a.png,x,two\nb.png,x,one\n"
    dataset = load_dataset(manifest(tmp_path, text, "a.png"))
    assert dataset.images == ("a.png", "b.png")
    assert dataset.metadata["site"].tolist() == ["one", "one"]
    assert "1 rows repeat an image" in dataset.notes[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("path,label\na.png,x\n", "no column image; columns found: path, label"),
        ("image;label\na.png;x\n", "no column image and label; columns found: image;label"),
        ("image,class\na.png,x\n", "no column label; columns found: image, class"),
        ("image,label\n", "no rows"),
        ("", "cannot be read"),
        ("image,label\na.png,\n", "row 1 has an empty label"),
        ("image,label\na.png,x\nb.png,  \n", "row 2 has an empty label"),
        ("image,label\n,x\n", "row 1 has an empty image"),
        ("image,label\na.png\n", "row 1 has an empty label"),
        ("image,label\na.png,x,extra\n", "cannot be read"),
        ("image,label\na.png,x\nb.png,x,extra\n", "cannot be read"),
        ("image,label,label\na.png,x,y\n", "'label' appears twice"),
        ('image,label\n"a.png,x\n', "cannot be read"),
        ("image,label\na.png,x\na.png,y\n", "'a.png' has the labels 'x' and 'y'"),
        ("image,label\nb.png,x\nc.png,x\n", "none of its 2 files exists, such as 'b.png'"),
    ],
)
def test_manifests_that_cannot_be_used_are_one_clear_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(DatasetError, match=problem) as caught:
        load_dataset(manifest(tmp_path, text, "a.png"))
    assert str(caught.value).startswith(str(tmp_path / "list.csv"))
    assert "\n" not in str(caught.value)


def test_a_manifest_that_is_no_table_is_one_clear_line(tmp_path: Path) -> None:
    hostile.write(tmp_path, {"list.csv": b"image,label\n\xff\xfe,x\n", "list.parquet": b"PAR1"})
    with pytest.raises(DatasetError, match="not UTF-8"):
        load_dataset(tmp_path / "list.csv")
    with pytest.raises(DatasetError, match="cannot be read"):
        load_dataset(tmp_path / "list.parquet")


def test_a_manifest_of_excel_is_read(tmp_path: Path) -> None:
    text = "\ufeffimage, label\r\na.png,x\r\n"
    assert load_dataset(manifest(tmp_path, text, "a.png")).classes == ("x",)


def test_a_manifest_is_data(tmp_path: Path) -> None:
    text = "image,label,=cmd\na.png,=HYPERLINK(1),@import os\n"
    dataset = load_dataset(manifest(tmp_path, text, "a.png"))
    assert dataset.classes == ("=HYPERLINK(1)",)
    assert dataset.metadata["=cmd"].tolist() == ["@import os"]


@pytest.mark.parametrize(
    ("column", "typed"),
    [
        (["1", "2.5", ""], [1.0, 2.5, None]),
        (["1e3", "-2", " 4"], [1000.0, -2.0, 4.0]),
        (["01", "02", "10"], ["01", "02", "10"]),
        (["0", "0.5", "10"], [0.0, 0.5, 10.0]),
        (["1", "two", ""], ["1", "two", None]),
        (["nan", "inf", "1"], ["nan", "inf", "1"]),
        (["2024-01-01", "2024-01-02", ""], ["2024-01-01", "2024-01-02", None]),
        (["", "", ""], [None, None, None]),
    ],
)
def test_metadata_is_numbers_where_all_of_it_is(
    tmp_path: Path, column: list[str], typed: list[Any]
) -> None:
    rows = "".join(f'{name},x,"{value}"\n' for name, value in zip("abc", column, strict=True))
    dataset = load_dataset(manifest(tmp_path, "image,label,more\n" + rows, "a"))
    values = dataset.metadata["more"].tolist()
    assert [None if pd.isna(value) else value for value in values] == typed


def test_metadata_that_cannot_be_compared_is_left_out(tmp_path: Path) -> None:
    hostile.write(tmp_path, {"a.png": PNG})
    table = pd.DataFrame(
        {"image": ["a.png"], "label": ["x"], "box": [[1, 2]], "raw": [b"1"], "flag": [True]}
    )
    table.to_parquet(tmp_path / "list.parquet")
    dataset = load_dataset(tmp_path / "list.parquet")
    assert list(dataset.metadata.columns) == ["flag"]
    assert [note.split("'")[1] for note in dataset.notes] == ["box", "raw"]


def test_cells_of_a_table_that_are_no_text_are_named(tmp_path: Path) -> None:
    hostile.write(tmp_path, {"a.png": PNG})
    good = str(tmp_path / "a.png")
    with pytest.raises(DatasetError, match="row 2 has an empty label"):
        load_dataset(pd.DataFrame({"image": [good, "b"], "label": ["x", None]}))
    with pytest.raises(DatasetError, match="row 1 has a dict as image"):
        load_dataset(pd.DataFrame({"image": [{"bytes": b""}], "label": ["x"]}))
    paths = pd.DataFrame({"image": [Path(good)], "label": pd.Categorical([7])})
    assert load_dataset(paths).classes == ("7",)


def test_a_table_is_not_changed(tmp_path: Path) -> None:
    hostile.write(tmp_path, {"a.png": PNG})
    table = pd.DataFrame({"image": [str(tmp_path / "a.png")], "label": [" x"]}, index=[7])
    before = table.copy()
    load_dataset(table)
    pd.testing.assert_frame_equal(table, before)


# Metadata -----------------------------------------------------------------------------------------


def test_metadata_is_joined_and_every_image_stays(tmp_path: Path) -> None:
    root = hostile.class_folders(tmp_path / "data", "cat", "dog")
    extra = tmp_path / "extra.csv"
    extra.write_text("site,image,label\nnorth,dog/0.png,ignored\nsouth,./cat/1.png,x\nz,more,x\n")
    dataset = load_dataset(root, metadata=extra)
    assert dataset.images == ("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")
    assert list(dataset.metadata.columns) == ["site"]
    assert dataset.metadata["site"].fillna("").tolist() == ["", "south", "north", ""]
    assert dataset.notes == (f"{extra}: metadata for 2 of 4 images",)


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("path", ["cat/a.png", "dog/b.png"]),
        ("File_Name", ["data/cat/a.png", "./data/dog/b.png"]),
        ("filename", ["a.png", "b.png"]),
        ("image_id", ["a", "b"]),
        ("image", ["elsewhere/a.png", "elsewhere/b.png"]),
    ],
    ids=["below the root", "below the file's folder", "names", "no endings", "moved"],
)
def test_metadata_is_joined_however_it_names_the_images(
    tmp_path: Path, column: str, names: list[str]
) -> None:
    content = hostile.encoded(hostile.picture(), "PNG")
    hostile.write(tmp_path, dict.fromkeys(("data/cat/a.png", "data/dog/b.png"), content))
    (tmp_path / "facts.csv").write_text(f"site,{column}\nnorth,{names[0]}\nsouth,{names[1]}\n")
    dataset = load_dataset(tmp_path / "data", metadata=tmp_path / "facts.csv")
    assert dataset.metadata.to_dict("list") == {"site": ["north", "south"]}
    assert dataset.notes == (f"{tmp_path / 'facts.csv'}: metadata for 2 of 2 images",)


@pytest.mark.parametrize("names", ["a/0.png,b/0.png", "0.png,cat/9.png"])
def test_metadata_is_not_joined_on_names_that_several_images_share(
    tmp_path: Path, names: str
) -> None:
    """Both the file and the dataset may have them."""
    folders = ("cat",) if names.startswith("a/") else ("cat", "dog")
    root = hostile.class_folders(tmp_path / "data", *folders)
    rows = "".join(f"{name},north\n" for name in names.split(","))
    (tmp_path / "facts.csv").write_text(f"image,site\n{rows}")
    notes = load_dataset(root, metadata=tmp_path / "facts.csv").notes
    assert "metadata for none of" in notes[0]


def test_metadata_that_matches_nothing_says_how_names_differ(tmp_path: Path) -> None:
    root = hostile.class_folders(tmp_path / "data", "cat")
    (tmp_path / "extra.csv").write_text("image,site\n7.png,north\n")
    notes = load_dataset(root, metadata=tmp_path / "extra.csv").notes
    assert "metadata for none of 2 images" in notes[0]
    assert "like '7.png', the dataset like 'cat/0.png'" in notes[1]


def test_metadata_beside_that_of_a_manifest(tmp_path: Path) -> None:
    path = manifest(tmp_path, "image,label,site,age\na.png,x,old,3\n", "a.png")
    (tmp_path / "extra.csv").write_text("image,site\na.png,new\na.png,newer\n")
    dataset = load_dataset(path, metadata=tmp_path / "extra.csv")
    assert dataset.metadata.to_dict("records") == [{"age": 3.0, "site": "new"}]
    assert "1 rows repeat an image" in dataset.notes[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("scan,site\na,b\n", "no column image, nor one called path, .*; columns found: scan, site"),
        ("path,file\na,b\n", "columns path and file could all name the images; rename the right"),
        (None, "not found"),
    ],
)
def test_metadata_that_cannot_be_joined_is_named(
    tmp_path: Path, text: str | None, problem: str
) -> None:
    root = hostile.class_folders(tmp_path / "data", "cat")
    extra = tmp_path / "extra.csv"
    if text is not None:
        extra.write_text(text)
    with pytest.raises(DatasetError, match=problem):
        load_dataset(root, metadata=extra)


# Python datasets ----------------------------------------------------------------------------------


class Pairs:
    """A map-style dataset; only item 0 may be read when its labels are asked for."""

    def __init__(self, pairs: list[Any], **attributes: Any) -> None:
        self.pairs = pairs
        self.read: list[int] = []
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        self.read.append(index)
        return hostile.picture(), self.pairs[index]


def test_a_dataset_without_a_list_of_labels_is_read_once_for_them() -> None:
    pairs = Pairs(["dog", "cat", "dog"])
    dataset = load_dataset(pairs)
    assert dataset.classes == ("cat", "dog")
    assert label_names(dataset) == ["dog", "cat", "dog"]
    assert dataset.images == ("item/0000000", "item/0000001", "item/0000002")
    assert dataset.root is None
    assert pairs.read == [0, 0, 1, 2]
    assert set(read_all(dataset).values()) == {"RGBW"}


@pytest.mark.parametrize("attribute", ["targets", "labels"])
def test_listed_labels_are_taken_without_reading_images(attribute: str) -> None:
    pairs = Pairs([1, 0], classes=["zebra", "ant"], **{attribute: np.array([1, 0])})
    dataset = load_dataset(pairs)
    assert dataset.classes == ("zebra", "ant")
    assert label_names(dataset) == ["ant", "zebra"]
    assert pairs.read == [0]


def test_changed_labels_are_read_from_the_items() -> None:
    pairs = Pairs([5, 6], targets=[0, 1], target_transform=lambda target: target + 5)
    assert load_dataset(pairs).classes == ("5", "6")


def test_numbers_without_class_names_keep_their_order() -> None:
    dataset = load_dataset(Pairs([10, 9, np.int64(2), np.array(10)]))
    assert dataset.classes == ("2", "9", "10")


def test_the_images_of_a_subset_keep_their_names() -> None:
    data = pytest.importorskip("torch.utils.data")
    pairs = Pairs([0, 1, 1, 0], classes=["a", "b"], targets=[0, 1, 1, 0])
    dataset = load_dataset(data.Subset(data.Subset(pairs, [3, 1, 0]), [0, 1]))
    assert dataset.images == ("item/0000003", "item/0000001")
    assert label_names(dataset) == ["a", "b"]


def test_an_image_folder_of_torchvision_is_read_as_files(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    root = hostile.class_folders(tmp_path, "cat", "dog")
    transform = torchvision.transforms.ToTensor()
    folder = torchvision.datasets.ImageFolder(str(root), transform=transform)
    dataset, plain = load_dataset(folder), load_dataset(root)
    assert dataset.images == plain.images
    assert dataset.fingerprint == plain.fingerprint
    assert dataset.read(0).bytes == plain.read(0).bytes > 0


def test_an_image_folder_with_its_own_loader_is_read_by_it(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    root = hostile.class_folders(tmp_path, "cat", "dog")
    folder = torchvision.datasets.ImageFolder(str(root), loader=lambda _: hostile.picture())
    dataset = load_dataset(folder)
    assert dataset.images[0] == "item/0000000"
    assert set(read_all(dataset).values()) == {"RGBW"}


def test_a_generated_torchvision_dataset_is_read() -> None:
    torchvision = pytest.importorskip("torchvision")
    dataset = load_dataset(torchvision.datasets.FakeData(size=3, image_size=(3, 8, 8)))
    assert len(dataset) == 3
    assert dataset.read(2).picture.size == (8, 8)


def test_an_item_that_raises_is_one_unreadable_image() -> None:
    class Broken(Pairs):
        def __getitem__(self, index: int) -> tuple[Any, Any]:
            if index == 1:
                raise KeyError("no\nsuch frame")
            return super().__getitem__(index)

    dataset = load_dataset(Broken([0, 0, 0], targets=[0, 0, 0]))
    assert list(read_all(dataset).values())[1].startswith("item 1 raised KeyError: ")
    assert "\n" not in read_all(dataset)["item/0000001"]
    with pytest.raises(DatasetError, match=r"item 1 raised KeyError.*give the dataset a list"):
        load_dataset(Broken([0, 0, 0]))


@pytest.mark.parametrize(
    ("dataset", "problem"),
    [
        (iter([]), "no map-style dataset"),
        (42, "an int is no map-style|a int is no map-style"),
        ([], "no items"),
        ([{"image": 1, "label": 0}], "item 0 is a dict; expected a pair"),
        ([(np.full((4, 4, 3), -2.0), 0)] * 4, "before normalisation"),
        ([(np.zeros((4, 4, 3)), {"a": 1})], "label of item 0 is a dict"),
        ([(np.zeros((4, 4, 3)), 0.5)], "label of item 0 is a float"),
        ([(np.zeros((4, 4, 3)), np.zeros(5))], "no image has a label"),
        (Pairs([0, 2], classes=["a", "b"]), "item 1 has the label 2.*none of the 2 classes"),
        (Pairs([0, -1], classes=["a", "b"]), "item 1 has the label -1"),
        (Pairs(["c"], classes=["a", "b"]), "item 0 has the label 'c'"),
        (Pairs([0], classes=["a", "a"]), "two classes share the name 'a'"),
        (Pairs([0], classes=["a", " "]), "empty class name"),
    ],
)
def test_python_datasets_that_cannot_be_used_are_one_clear_line(dataset: Any, problem: str) -> None:
    with pytest.raises(DatasetError, match=problem) as caught:
        load_dataset(dataset)
    assert "\n" not in str(caught.value)


FUNCTION = """
import numpy as np

class Greys:
    classes = ["dark", "light"]
    targets = [0, 1]

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return np.full((8, 8, 3), index / 2), index

def make():
    return Greys()

def broken():
    raise RuntimeError("the disk is\\nnot there")

def number():
    return 7
"""


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    return hostile.write(tmp_path, {"greys_for_test.py": FUNCTION.encode()}) / "greys_for_test.py"


def test_a_function_of_the_users_makes_the_dataset(user_file: Path) -> None:
    dataset = load_dataset(f"{user_file}:make")
    assert dataset.name == f"{user_file}:make"
    assert dataset.classes == ("dark", "light")
    assert np.asarray(dataset.read(1).picture).max() == 128


def test_a_dataset_of_a_function_reaches_a_process_that_never_saw_it(
    user_file: Path, tmp_path: Path
) -> None:
    pickled = tmp_path / "pickled"
    pickled.write_bytes(pickle.dumps(load_dataset(f"{user_file}:make").subset([1])))
    code = (
        "import pathlib, pickle, sys; "
        f"print(pickle.loads(pathlib.Path({str(pickled)!r}).read_bytes()).read(0).content)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == load_dataset(f"{user_file}:make").read(1).content


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("broken", "raised RuntimeError: the disk is not there"),
        ("number", "no map-style dataset"),
        ("missing", "missing"),
    ],
)
def test_functions_that_make_no_dataset_are_one_clear_line(
    user_file: Path, function: str, problem: str
) -> None:
    with pytest.raises(ShortcutFinderError, match=problem) as caught:
        load_dataset(f"{user_file}:{function}")
    assert "\n" not in str(caught.value)


# What holds for all of them -----------------------------------------------------------------------


@pytest.fixture(params=["folder", "manifest", "pairs"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> ImageDataset:
    root = hostile.class_folders(tmp_path, "cat", "dog", "owl")
    makers: dict[str, Callable[[], Any]] = {
        "folder": lambda: root,
        "manifest": lambda: manifest(
            root, "image,label,site\ncat/0.png,cat,n\nowl/1.png,owl,s\ndog/0.png,dog,n\n"
        ),
        "pairs": lambda: Pairs([2, 0, 1], classes=["cat", "dog", "owl"]),
    }
    return load_dataset(makers[request.param]())


def test_a_subset_is_these_images_in_this_order(dataset: ImageDataset) -> None:
    chosen = dataset.subset([2, 0])
    assert chosen.images == (dataset.images[2], dataset.images[0])
    assert chosen.labels.tolist() == [dataset.labels[2], dataset.labels[0]]
    assert chosen.classes == dataset.classes
    assert chosen.metadata.equals(dataset.metadata.iloc[[2, 0]].reset_index(drop=True))
    assert chosen.read(0).content == dataset.read(2).content


def test_pickling_is_identity(dataset: ImageDataset) -> None:
    again = pickle.loads(pickle.dumps(dataset))
    assert again.fingerprint == dataset.fingerprint
    assert again.read(1).content == dataset.read(1).content


def test_the_fingerprint_is_of_names_and_labels(dataset: ImageDataset) -> None:
    assert dataset.subset(range(len(dataset))).fingerprint == dataset.fingerprint
    assert dataset.subset([0, 1]).fingerprint != dataset.fingerprint
    assert dataset.subset([1, 0, 2]).fingerprint != dataset.fingerprint
    changed = dataset.subset(range(len(dataset)))
    changed.labels[0] = (changed.labels[0] + 1) % 3
    assert changed.fingerprint != dataset.fingerprint


def test_an_empty_subset_is_an_error(dataset: ImageDataset) -> None:
    with pytest.raises(DatasetError, match="no images"):
        dataset.subset([])


def test_reading_an_item_by_its_name_reads_that_item() -> None:
    items = Items([(Image.new("L", (4, 4), number), 0) for number in range(12)])
    assert items.read("item/0000011").picture.getpixel((0, 0)) == (11, 11, 11)
