"""Containers: the same images in any of them are the same dataset, and none is trusted."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from synthetic import paste, stamp, texture
from torch import nn

from shortcut_finder.cleaning.folder import clean
from shortcut_finder.data import archives, embedded
from shortcut_finder.data.dataset import ImageDataset, load_dataset
from shortcut_finder.data.loading import open_dataset
from shortcut_finder.detect import study
from shortcut_finder.errors import DatasetError, UnreadableImage
from shortcut_finder.run.decisions import Decisions
from shortcut_finder.scanning import scan
from shortcut_finder.schema import to_json
from shortcut_finder.settings import Settings
from shortcut_finder.sweep import batches
from shortcut_finder.sweep.batches import sweep_order

SIDE = 64
# Cells of a class that are tried: the pictures are small.
SEEDS = 400
SETTINGS = Settings(input_size=SIDE, precision="fp32", workers=0, batch_size=16, device="cpu")


def picture(seed: int, marked: bool = False) -> bytes:
    grey = texture(np.random.default_rng(seed), SIDE)
    if marked:
        grey = paste(grey, stamp(0, 16), 2, 2)
    colours = np.stack([grey, grey * 0.9, grey * 0.8], axis=2).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(colours).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def images() -> dict[str, bytes]:
    """120 images of two classes, a stamp in 40% of one."""
    made = {}
    for number in range(120):
        name = ("ant", "bee")[number % 2]
        marked = name == "bee" and number % 5 < 2
        made[f"{name}/{number:03d}.png"] = picture(number, marked)
    return dict(sorted(made.items()))


def as_folder(images: dict[str, bytes], place: Path) -> Path:
    for name, data in images.items():
        file = place / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return place / "photos"


def as_manifest(images: dict[str, bytes], place: Path) -> Path:
    as_folder(images, place)
    rows = [{"image": f"photos/{name}", "label": name.partition("/")[0]} for name in images]
    pd.DataFrame(rows).to_csv(place / "labels.csv", index=False)
    return place / "labels.csv"


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def as_tar(images: dict[str, bytes], place: Path) -> Path:
    """Two shards, in one folder."""
    (place / "shards").mkdir()
    items = list(images.items())
    for shard, part in enumerate((items[:50], items[50:])):
        with tarfile.open(place / "shards" / f"train-{shard:06d}.tar", "w") as tar:
            for name, data in part:
                add(tar, f"./photos/{name}", data)
    return place / "shards"


def as_samples(images: dict[str, bytes], place: Path) -> Path:
    """One WebDataset shard with labels beside the images."""
    with tarfile.open(place / "train.tar", "w") as tar:
        for number, (name, data) in enumerate(images.items()):
            add(tar, f"{number:06d}.png", data)
            label = name.partition("/")[0]
            if number % 2:
                add(tar, f"{number:06d}.cls", label.encode())
            else:
                add(tar, f"{number:06d}.json", json.dumps({"label": label}).encode())
    return place / "train.tar"


def as_zip(images: dict[str, bytes], place: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(place / "photos.zip", "w", method) as file:
        for name, data in images.items():
            file.writestr(f"photos/{name}", data)
    return place / "photos.zip"


def as_parquet(images: dict[str, bytes], place: Path, group: int = 10) -> Path:
    """As Hugging Face datasets write it."""
    (place / "data").mkdir()
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["ant", "bee"], "_type": "ClassLabel"},
        "source": {"dtype": "string", "_type": "Value"},
    }
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    items = list(images.items())
    for shard, part in enumerate((items[:50], items[50:])):
        table = pa.table(
            {
                "image": pa.array([{"bytes": d, "path": n} for n, d in part], kind),
                "label": pa.array([int(n.startswith("bee")) for n, _ in part], pa.int64()),
                "source": pa.array(["left" if d[-9] % 2 else "right" for _, d in part]),
            }
        ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        path = place / "data" / f"train-{shard:05d}-of-00002.parquet"
        pq.write_table(table, path, row_group_size=group)
    return place / "data"


def as_url(images: dict[str, bytes], place: Path) -> str:
    files = fsspec.filesystem("memory")
    for name, data in images.items():
        files.pipe(f"/{place.name}/photos/{name}", data)
    return f"memory://{place.name}/photos"


def as_url_manifest(images: dict[str, bytes], place: Path) -> str:
    as_url(images, place)
    table = "image,label\n" + "".join(f"photos/{n},{n.partition('/')[0]}\n" for n in images)
    fsspec.filesystem("memory").pipe(f"/{place.name}/labels.csv", table.encode())
    return f"memory://{place.name}/labels.csv"


def as_url_tar(images: dict[str, bytes], place: Path) -> str:
    files = fsspec.filesystem("memory")
    for path in as_tar(images, place).iterdir():
        files.pipe(f"/{place.name}/shards/{path.name}", path.read_bytes())
    return f"memory://{place.name}/shards"


FORMS = (
    as_folder, as_manifest, as_tar, as_samples, as_zip, as_parquet, as_url, as_url_manifest,
    as_url_tar,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _few_seeds() -> Iterator[None]:
    with patch.object(study, "SEEDS", SEEDS):
        yield


@pytest.fixture(autouse=True)
def _empty_memory() -> Iterator[None]:
    yield
    fsspec.filesystem("memory").store.clear()


@pytest.mark.parametrize("form", FORMS)
def test_the_same_images_in_any_form(
    form: object, images: dict[str, bytes], tmp_path: Path
) -> None:
    dataset = load_dataset(str(form(images, tmp_path)))  # type: ignore[operator]
    assert dataset.classes == ("ant", "bee")
    assert len(dataset) == 120
    for number, (name, data) in enumerate(images.items()):
        assert dataset.classes[dataset.labels[number]] == name.partition("/")[0]
        read = dataset.read(number)
        assert read.content == archives_hash(data)
        assert read.bytes == len(data)


def archives_hash(data: bytes) -> str:
    from shortcut_finder.data.reading import content_hash

    return content_hash(data)


def test_names_say_the_container_and_the_place_in_it(
    images: dict[str, bytes], tmp_path: Path
) -> None:
    first = {
        as_tar: "train-000000.tar/photos/ant/000.png",
        as_samples: "train.tar/000000.png",
        as_zip: "photos.zip/photos/ant/000.png",
        as_parquet: "train-00000-of-00002.parquet/ant/000.png",
        as_url: "ant/000.png",
    }
    for form, name in first.items():
        assert load_dataset(str(form(images, tmp_path))).images[0] == name
    assert load_dataset(str(tmp_path / "data")).metadata.columns.tolist() == ["source"]


def test_scans_of_any_form_find_the_same(images: dict[str, bytes], tmp_path: Path) -> None:
    """Findings to the byte; offenders too, but for what stands before the names."""
    found = {}
    for form in (as_folder, as_samples, as_zip, as_parquet, as_url_manifest):
        place = tmp_path / form.__name__
        place.mkdir()
        run = scan(
            str(form(images, place)),
            small_net(),
            out=place / "run",
            settings=Settings(**{**SETTINGS.as_dict(), "verify": False}),
            progress=False,
        )
        listed = [name.rpartition("/")[2] for name in run.offenders["image"]]
        found[form.__name__] = run.findings, listed
    reference, offenders = found["as_folder"]
    assert len(reference)
    assert len(offenders) > 10
    for name, (table, listed) in found.items():
        pd.testing.assert_frame_equal(table, reference, obj=name)
        if name != "as_samples":
            assert listed == offenders


def test_a_run_of_an_archive_is_cleaned_by_lists(images: dict[str, bytes], tmp_path: Path) -> None:
    place = as_zip(images, tmp_path)
    settings = Settings(**{**SETTINGS.as_dict(), "verify": False})
    run = scan(str(place), small_net(), out=tmp_path / "run", settings=settings, progress=False)
    assert run.card["dataset"]["root"] is None
    decided = {str(detail["finding"]): "accept" for detail in run.details}
    decisions = Decisions(run.fingerprint, decided)
    (tmp_path / "d.json").write_bytes(to_json(decisions.as_dict()))
    clean(run, action="drop", decisions=tmp_path / "d.json", out=tmp_path / "cleaned")
    removed = pd.read_csv(tmp_path / "cleaned" / "removed.csv")["image"].tolist()
    kept = pd.read_csv(tmp_path / "cleaned" / "manifest.csv")["image"].tolist()
    assert len(removed) >= 10
    assert sorted(removed + kept) == sorted(f"photos.zip/photos/{name}" for name in images)
    indices = np.load(tmp_path / "cleaned" / "indices.npy")
    assert [sorted(run.images["image"])[index] for index in indices] == sorted(kept)
    with pytest.raises(DatasetError, match="its images are no files of their own"):
        clean(run, action="mask", out=tmp_path / "masked")


def small_net() -> nn.Module:
    import torch

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 24, 5, 4, 2), nn.ReLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(32, 32, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2),
    )  # fmt: skip


def test_datasets_go_to_other_processes(images: dict[str, bytes], tmp_path: Path) -> None:
    for form in (as_tar, as_zip, as_parquet):
        dataset = load_dataset(str(form(images, tmp_path)))
        dataset.read(0)
        sent = pickle.dumps(dataset)
        # The index goes along, the pictures that were read do not.
        assert len(sent) < 40_000
        assert pickle.loads(sent).read(7).content == dataset.read(7).content


def test_a_window_reaches_into_containers(tmp_path: Path) -> None:
    deep = np.linspace(0, 4000, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(deep).save(file, "PNG")
    place = as_zip({"a/1.png": file.getvalue(), "b/2.png": file.getvalue()}, tmp_path)
    dark = np.asarray(open_dataset(str(place)).read(0).picture)
    bright = np.asarray(open_dataset(str(place), window=(0, 4000)).read(0).picture)
    assert dark.max() < 20
    assert bright.max() == 255


# --- order


def test_parquet_too_large_to_keep_is_taken_group_by_group(
    images: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset(str(as_parquet(images, tmp_path)))
    free = sweep_order(dataset, SETTINGS)
    monkeypatch.setattr(embedded, "KEPT", 1000)
    monkeypatch.setattr(batches, "SHARD", 20)
    order = sweep_order(dataset, SETTINGS)
    assert sorted(order) == sorted(free)
    assert order[:20].tolist() == free[:20].tolist()
    blocks = [dataset.source.block(dataset.images[i]) for i in order[20:]]
    assert len(blocks) == 100
    assert sum(a != b for a, b in zip(blocks[1:], blocks[:-1], strict=True)) == 11
    for position in order:
        dataset.read(position)
    assert len(dataset.source.kept) == 1


# --- hostile


def tar_of(members: dict[str, bytes], path: Path) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            add(tar, name, data)
    return str(path)


def test_names_that_lead_out_of_an_archive_are_left_out_and_said(tmp_path: Path) -> None:
    good = {"cat/1.png": picture(1), "dog/2.png": picture(2)}
    bad = {"../evil/3.png": picture(3), "/etc/4.png": picture(4), "cat/../../5.png": picture(5)}
    bad |= {"C:\\cat\\6.png": picture(6)}
    dataset = load_dataset(tar_of({**good, **bad}, tmp_path / "x.tar"))
    assert dataset.images == ("x.tar/cat/1.png", "x.tar/dog/2.png")
    assert "4 names lead out of the archive" in " ".join(dataset.notes)
    assert not (tmp_path.parent / "evil").exists()


def test_links_and_devices_are_no_images(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        add(tar, "cat/1.png", picture(1))
        add(tar, "dog/2.png", picture(2))
        for name, kind in (("cat/3.png", tarfile.SYMTYPE), ("dog/4.png", tarfile.CHRTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            tar.addfile(entry)
    assert len(load_dataset(str(tmp_path / "x.tar"))) == 2


def test_a_header_that_claims_gigabytes_is_not_believed(tmp_path: Path) -> None:
    """A pax header is read whole by any reader of tar, however large it says that it is."""
    entry = tarfile.TarInfo("long")
    entry.type, entry.size = tarfile.XHDTYPE, 2**31
    with (tmp_path / "x.tar").open("wb") as file:
        file.write(entry.tobuf(tarfile.USTAR_FORMAT))
        file.truncate(2**31 + 4096)
    with pytest.raises(DatasetError, match=r"a header of 2,147,483,648 bytes"):
        load_dataset(str(tmp_path / "x.tar"))


def test_a_member_that_is_too_large_or_cut_off_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.tar"
    tar_of({"cat/1.png": picture(1), "dog/2.png": picture(2) + bytes(2**16)}, path)
    dataset = load_dataset(str(path))
    monkeypatch.setattr(archives, "MOST_BYTES", 2**16)
    with pytest.raises(UnreadableImage, match=r"up to 65,536"):
        dataset.read(1)
    with path.open("r+b") as file:
        file.truncate(600)
    with pytest.raises(UnreadableImage, match="its archive ends before it does"):
        dataset.read(0)


def test_compressed_and_cut_archives_are_refused_in_one_line(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "z.tar", "w:gz") as tar:
        add(tar, "cat/1.png", picture(1))
    with pytest.raises(DatasetError, match="a tar must not be compressed"):
        load_dataset(str(tmp_path / "z.tar"))
    (tmp_path / "n.zip").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(DatasetError, match="cannot be read as an archive"):
        load_dataset(str(tmp_path / "n.zip"))
    (tmp_path / "n.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(DatasetError, match=r"n\.parquet: cannot be read"):
        load_dataset(str(tmp_path / "n.parquet"))


def test_a_bomb_in_a_zip_stops_at_what_it_claims(tmp_path: Path) -> None:
    """Its header says a small size; the bytes behind it unpack to a large one."""
    path = as_zip({"cat/1.png": bytes(2**22), "dog/2.png": picture(2)}, tmp_path)
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    assert struct.unpack_from("<I", data, directory + 24) == (2**22,)
    struct.pack_into("<I", data, directory + 24, 1000)
    path.write_bytes(data)
    dataset = load_dataset(str(path))
    with pytest.raises(UnreadableImage, match="unpacks to another size"):
        dataset.read(0)
    assert dataset.read(1).width == SIDE


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [(8, 1, "encrypted"), (10, 12, "by a method"), (42, 3, "nothing lies where")],
)
def test_zip_entries_that_cannot_be_read_are_listed(
    place: int, value: int, message: str, tmp_path: Path
) -> None:
    path = as_zip({"cat/1.png": picture(1), "dog/2.png": picture(2)}, tmp_path)
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, data.index(b"PK\x01\x02") + place, value)
    path.write_bytes(data)
    with pytest.raises(UnreadableImage, match=message):
        load_dataset(str(path)).read(0)


def test_changed_bytes_in_a_zip_are_noticed(tmp_path: Path) -> None:
    path = as_zip({"a/1.png": picture(1), "b/2.png": picture(2)}, tmp_path, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableImage, match="its bytes are not what its archive says"):
        load_dataset(str(path)).read(0)


def test_rows_without_an_image_or_a_label(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": picture(1), "path": "../1.png"}, {"bytes": None, "path": "2.png"}, None]
    table = pa.table({"image": pa.array(cells, kind), "label": ["a", "b", "b"]})
    pq.write_table(table, tmp_path / "x.parquet")
    dataset = load_dataset(str(tmp_path / "x.parquet"))
    # A path that leads elsewhere is no name for any of them.
    assert dataset.images == tuple(f"x.parquet/000000{n}" for n in range(3))
    assert dataset.read(0).width == SIDE
    for number in (1, 2):
        with pytest.raises(UnreadableImage, match="an empty cell"):
            dataset.read(number)
    pq.write_table(table.drop_columns(["label"]), tmp_path / "x.parquet")
    with pytest.raises(DatasetError, match="no column label beside the images"):
        load_dataset(str(tmp_path / "x.parquet"))


def test_a_number_that_names_no_class(images: dict[str, bytes], tmp_path: Path) -> None:
    folder = as_parquet(images, tmp_path)
    path = sorted(folder.iterdir())[0]
    table = pq.read_table(path)
    labels = pa.array([-1] + [0] * 49, pa.int64())
    pq.write_table(table.set_column(1, "label", labels), path)
    with pytest.raises(DatasetError, match="row 1 has the label '-1', which is none of the 2"):
        load_dataset(str(folder))


def test_a_sample_without_a_label_is_said(tmp_path: Path) -> None:
    members = {"1.png": picture(1), "1.cls": b"cat", "2.png": picture(2), "2.json": b"[[[["}
    with pytest.raises(DatasetError, match=r"'x\.tar/2\.png' has no label; expected x\.tar/2\.cls"):
        load_dataset(tar_of(members, tmp_path / "x.tar"))
    with pytest.raises(DatasetError, match="no class folders inside"):
        load_dataset(tar_of({"1.png": picture(1), "a/2.png": picture(2)}, tmp_path / "y.tar"))


def test_a_member_that_comes_again_counts_once_and_is_said(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, seed in (("a/1.png", 1), ("b/2.png", 2), ("a/1.png", 3)):
            add(tar, name, picture(seed))
    dataset = load_dataset(str(tmp_path / "x.tar"))
    assert dataset.read(0).content == archives_hash(picture(3))
    assert "1 names come again; the last of each counts" in " ".join(dataset.notes)


def test_nothing_outside_the_folder_of_a_remote_manifest_is_fetched(
    images: dict[str, bytes], tmp_path: Path
) -> None:
    as_url(images, tmp_path)
    files = fsspec.filesystem("memory")
    for name in ("../secret.png", "http://10.0.0.1/a.png", "/etc/a.png", "file:///etc/a.png"):
        files.pipe(f"/{tmp_path.name}/m.csv", f"image,label\n{name},a\n".encode())
        with pytest.raises(DatasetError, match="outside the folder of the manifest"):
            load_dataset(f"memory://{tmp_path.name}/m.csv")


def test_addresses_that_lead_nowhere_are_said_in_one_line(tmp_path: Path) -> None:
    for address in ("memory://nowhere/photos", "memory://nowhere/a.tar", "memory://nowhere/a.csv"):
        with pytest.raises(DatasetError, match=r"memory://nowhere.*(no images|cannot be read)"):
            load_dataset(address)
    with pytest.raises(DatasetError, match=r"strange://x: cannot be read \(ValueError"):
        load_dataset("strange://x")


def test_manifests_and_folders_are_what_they_were(tmp_path: Path) -> None:
    """A Parquet manifest of paths is none of images; class folders win over archives beside."""
    folder = as_folder({"a/1.png": picture(1), "b/2.png": picture(2)}, tmp_path)
    tar_of({"c/1.png": picture(1), "d/2.png": picture(2)}, folder / "x.tar")
    dataset: ImageDataset = load_dataset(str(folder))
    assert dataset.images == ("a/1.png", "b/2.png")
    table = pd.DataFrame({"image": ["photos/a/1.png", "photos/b/2.png"], "label": ["a", "b"]})
    table.to_parquet(tmp_path / "m.parquet")
    assert load_dataset(str(tmp_path / "m.parquet")).root == tmp_path
