from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from shortcut_finder.errors import DatasetError, ModelError, SettingsError, UnreadableImage
from shortcut_finder.explanation import Explanation, explain, explain_images
from shortcut_finder.settings import Settings

COLOURS = ("red", "green", "blue", "none")
PLAIN = Settings(
    input_size=56, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), device="cpu", precision="fp32"
)


class ColourNet(nn.Module):
    """Sees colours: the logit of a class is ten times the mean of its channel; 'none' is 1."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.AvgPool2d(8))
        self.head = nn.Linear(3, 4)
        with torch.no_grad():
            self.features[0].weight.copy_(torch.eye(3)[:, :, None, None])
            self.head.weight.copy_(10 * torch.eye(4)[:, :3])
            self.head.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).mean((2, 3)))


def coloured(size: tuple[int, int] = (70, 70)) -> Image.Image:
    """Red left half, blue in the bottom right quarter, black elsewhere."""
    width, height = size
    image = Image.new("RGB", size)
    image.paste((255, 0, 0), (0, 0, width // 2, height))
    image.paste((0, 0, 255), (width // 2, height // 2, width, height))
    return image


def explained(image: Any, **options: Any) -> Explanation:
    return explain(ColourNet(), image, classes=COLOURS, settings=PLAIN, **options)


def written(images: list[Path], out: Path, **options: Any) -> list[Path]:
    chosen = {"weights": None, "classes": COLOURS, "top": 3, "settings": PLAIN, **options}
    return explain_images(images, ColourNet(), out=out, **chosen)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "photo.png"
    path.parent.mkdir()
    coloured().save(path)
    return path


def test_top_classes_come_with_their_probabilities_and_maps(photo: Path) -> None:
    explanation = explained(photo)
    assert explanation.classes == ("red", "blue", "none")
    logits = np.array([5.0, 0.0, 2.5, 1.0])
    softmax = np.exp(logits) / np.exp(logits).sum()
    assert explanation.probabilities == pytest.approx(softmax[[0, 2, 3]], rel=1e-4)
    assert explanation.maps.shape == (3, 7, 7)
    red, blue, none = explanation.maps
    assert red[:, :3].min() > 9
    assert red[:, 4:].max() < 1
    assert blue[4:, 4:].min() > 9
    assert blue[:, :3].max() < 1
    assert np.abs(none - none.mean()).max() < 1e-3


def test_maps_are_the_same_from_path_image_array_and_tensor(photo: Path) -> None:
    pixels = np.array(coloured())
    images = [photo, str(photo), coloured(), pixels, torch.from_numpy(pixels).permute(2, 0, 1)]
    first, *others = [explained(image) for image in images]
    for other in others:
        assert np.array_equal(first.maps, other.maps)
        assert first.classes == other.classes


@pytest.mark.parametrize("top", [1, 2, 3])
def test_top_says_how_many_classes(top: int) -> None:
    explanation = explained(coloured(), top=top)
    assert len(explanation.classes) == len(explanation.maps) == top


@pytest.mark.parametrize("top", [0, 4, -1])
def test_impossible_top_is_refused(top: int) -> None:
    with pytest.raises(SettingsError, match=rf"--top {top}: choose 1 to 3"):
        explained(coloured(), top=top)


def test_model_with_two_classes_has_two_maps() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                        nn.Linear(4, 2))  # fmt: skip
    torch.manual_seed(0)
    explanation = explain(net, coloured(), classes=("a", "b"), settings=PLAIN)
    assert sorted(explanation.classes) == ["a", "b"]
    assert explanation.probabilities.sum() == pytest.approx(1)


def test_overlay_has_the_size_of_the_image_and_colours_only_the_evidence() -> None:
    image = coloured((140, 100))
    overlay = np.asarray(explained(image).overlay(0), dtype=int)
    assert overlay.shape == (100, 140, 3)
    change = np.abs(overlay - np.asarray(image, dtype=int)).sum(axis=2)
    assert change[:, :50].min() > 100
    assert change[:, 95:].max() < 20


def test_all_maps_of_an_image_share_one_scale() -> None:
    explanation = explained(coloured())
    assert explanation.scale == pytest.approx(explanation.maps.max())
    change = [
        np.abs(
            np.asarray(explanation.overlay(position), dtype=int)
            - np.asarray(explanation.image, dtype=int)
        ).max()
        for position in range(3)
    ]
    assert change[2] < change[0]


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_evidence_lies_on_the_red_part_however_the_image_was_resized(resize: str) -> None:
    image = Image.new("RGB", (200, 100))
    image.paste((255, 0, 0), (110, 40, 140, 70))
    settings = Settings(**{**PLAIN.as_dict(), "resize": resize})
    explanation = explain(ColourNet(), image, classes=COLOURS, settings=settings)
    red = explanation.classes.index("red")
    change = np.abs(
        np.asarray(explanation.overlay(red), dtype=int) - np.asarray(image, dtype=int)
    ).sum(axis=2)
    rows, columns = np.nonzero(change > 0.9 * change.max())
    assert 105 <= columns.mean() <= 145
    assert 35 <= rows.mean() <= 75


def test_one_picture_an_image_the_same_bytes_every_time(photo: Path, tmp_path: Path) -> None:
    [path] = written([photo], tmp_path / "out")
    assert path == tmp_path / "out" / "photo.maps.png"
    first = path.read_bytes()
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width > 4 * picture.height * 0.8
    assert written([photo], tmp_path / "out") == [path]
    assert path.read_bytes() == first


def test_images_of_the_same_name_get_pictures_of_their_own(tmp_path: Path) -> None:
    images = []
    for folder, name in (("a", "x.png"), ("b", "x.png"), ("b", "x.jpg"), ("c", "X.png")):
        (tmp_path / folder).mkdir(exist_ok=True)
        images.append(tmp_path / folder / name)
        coloured((20, 20)).save(images[-1])
    paths = written(images, tmp_path / "out")
    assert [path.name for path in paths] == [
        "x.maps.png", "x-2.maps.png", "x-3.maps.png", "X-4.maps.png",
    ]  # fmt: skip
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_images_are_never_overwritten_even_in_their_own_folder(tmp_path: Path) -> None:
    images = [tmp_path / "x.png", tmp_path / "x.maps.png"]
    for image in images:
        coloured((20, 20)).save(image)
    before = [image.read_bytes() for image in images]
    paths = written(images, tmp_path)
    assert [path.name for path in paths] == ["x-2.maps.png", "x.maps.maps.png"]
    assert [image.read_bytes() for image in images] == before


@pytest.mark.parametrize("name", ["..png", "-rf.png", "a\nb\x1b[2J.png", "é" * 120 + ".png", "<b>"])
def test_strange_names_stay_inside_the_folder(tmp_path: Path, name: str) -> None:
    image = tmp_path / name
    coloured((20, 20)).save(image, format="PNG")
    [path] = written([image], tmp_path / "out")
    assert path.parent == tmp_path / "out"
    assert path.exists()
    assert path.name.isprintable()
    assert [found.name for found in (tmp_path / "out").iterdir()] == [path.name]


def test_link_in_the_folder_is_replaced_not_followed(photo: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo.maps.png").symlink_to(precious)
    paths = written([photo], tmp_path / "out")
    assert precious.read_text() == "mine"
    assert paths[0].read_bytes().startswith(b"\x89PNG")


def test_unreadable_image_is_named_and_the_others_are_written(photo: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(UnreadableImage, match=r"bad\.jpg: not an image"):
        written([bad, photo], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.maps.png"]


def test_missing_image_is_named() -> None:
    with pytest.raises(UnreadableImage, match=r"nowhere\.jpg: file not found"):
        explained("nowhere.jpg")


def test_unwritable_folder_is_named(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=r"cannot be written .* choose another --out"):
        written([photo], tmp_path / "file")


def test_wrong_class_names_are_refused() -> None:
    with pytest.raises(ModelError, match="4 outputs"):
        explain(ColourNet(), coloured(), classes=("a", "b"), settings=PLAIN)


def test_model_is_left_as_found() -> None:
    net = ColourNet().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    explain(net, coloured(), classes=COLOURS, settings=PLAIN)
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("size", [(1, 1), (600, 4), (4, 600), (3000, 2000)])
def test_picture_of_any_shape_has_a_sensible_size(size: tuple[int, int]) -> None:
    explanation = explained(Image.new("RGB", size, "red"))
    with Image.open(io.BytesIO(explanation.png())) as picture:
        assert 60 <= picture.height <= 1100
        assert 1000 <= picture.width <= 4400


def test_class_names_in_any_script_and_with_formulas_are_drawn() -> None:
    names = ("$\\frac{1}{2}$", "向日葵", "<b>" * 200, "x\x07")
    explanation = explain(ColourNet(), coloured(), classes=names, settings=PLAIN)
    assert explanation.png().startswith(b"\x89PNG")


def test_importing_explain_leaves_torch_unloaded() -> None:
    code = "import sys, shortcut_finder.explanation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
