"""Copies: one picture in several files is seen, several pictures alike are not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from swept import originals, swept

from shortcut_finder.sweep.copies import near_duplicates
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.sweep.together import kept_together


@pytest.fixture(scope="module")
def copied(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene]:
    root = tmp_path_factory.mktemp("copied")
    shutil.copytree(photos, root / "images")
    for label in sorted(root.glob("images/*")):
        first, second, third = sorted(label.iterdir())[:3]
        shutil.copy(first, label / f"{first.stem}~same.jpg")
        with Image.open(second) as image:
            image.save(label / f"{second.stem}~again.jpg", quality=60)
        with Image.open(third) as image:
            half = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
            half.save(label / f"{third.stem}~half.png")
    return swept(root / "images", root)


def test_pictures_that_only_look_alike_are_no_copies(photos: Path, tmp_path: Path) -> None:
    folder, scene = swept(photos, tmp_path)
    records = scene.records
    assert near_duplicates(folder, records.table, scene.pixels, 0).tolist() == []
    together = kept_together(scene, None, None, folder, 0)
    assert together.records is records
    assert (together.notes, dict(together.card)) == ((), {})
    assert records.counted.all()


def test_a_picture_saved_again_or_scaled_is_found(copied: tuple[Path, Scene]) -> None:
    folder, scene = copied
    records = scene.records
    names = records.table["image"].to_numpy()
    pairs = near_duplicates(folder, records.table, scene.pixels, 0)
    found = {tuple(sorted(originals(names[pair]))) for pair in pairs}
    assert all(one == other for one, other in found)
    assert len(pairs) == sum("~" in name for name in names)


def test_copies_are_kept_together_without_being_asked(copied: tuple[Path, Scene]) -> None:
    folder, scene = copied
    records = scene.records
    together = kept_together(scene, None, None, folder, 0)
    groups = together.records.groups
    assert groups is not None
    names = np.array(originals(records.table["image"].to_numpy()))
    assert len(set(groups)) == len(set(names))
    assert all(len(set(groups[names == name])) == 1 for name in set(names))
    assert together.records.counted.sum() == len(set(names))
    (line,) = together.notes
    assert f"{together.card['groups']['near_duplicates']} images are near-duplicates" in line
    assert "~" in line


def test_ten_copies_of_a_picture_are_one_group_and_the_page_can_say_so(
    photos: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for label in sorted(photos.iterdir())[:2]:
        (tmp_path / "images" / label.name).mkdir(parents=True)
        for number, path in enumerate(sorted(label.iterdir())):
            pixels = np.asarray(Image.open(path).convert("RGB")).astype(float)
            for copy in range(10 if number < 4 else 1):
                lighter = Image.fromarray((pixels + rng.uniform(-2, 2)).clip(0, 255).astype("u1"))
                name = tmp_path / "images" / label.name / f"{path.stem}~{copy}.jpg"
                lighter.save(name, quality=int(rng.integers(75, 96)))
    folder, scene = swept(tmp_path / "images", tmp_path)
    together = kept_together(scene, None, None, folder, 0)
    assert together.records.groups is not None
    names = np.array(originals(scene.records.table["image"].to_numpy()))
    groups = np.unique(together.records.groups, return_inverse=True)[1]
    assert (groups[:, None] == groups).tolist() == (names[:, None] == names).tolist()
    assert dict(together.card["groups"]) == {
        "column": None, "groups": 32, "largest": 10, "near_duplicates": 80,
    }  # fmt: skip
    assert together.records.counted.sum() == 32
    assert together.notes[0].startswith("80 images are near-duplicates of another, such as ")


def test_what_the_user_says_and_what_is_alike_are_joined(copied: tuple[Path, Scene]) -> None:
    folder, scene = copied
    records = scene.records
    names = records.table["image"].to_numpy()
    said = np.arange(len(names) + 100)
    first = int(np.flatnonzero(["~same" in name for name in names])[0])
    twin = originals(names).index(originals(names[[first]])[0])
    twin = (
        twin if twin != first else originals(names).index(originals(names[[first]])[0], first + 1)
    )
    stranger = next(n for n in range(len(names)) if n not in (first, twin))
    index = records.table["index"].to_numpy()
    said[index[first]] = said[index[stranger]]
    together = kept_together(scene, said, "video", folder, 0)
    groups = together.records.groups
    assert groups is not None
    assert len({groups[first], groups[twin], groups[stranger]}) == 1
    assert len(together.notes) == 2
    assert "of one video lie in 1 group, at most 2 in one" in together.notes[0]
