"""Blanks: padding heat shows on pictures of nothing, and evidence does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import FAMILIES, classifier_of, random_pixels
from torch import nn

from shortcut_finder.data.regions import frame_regions
from shortcut_finder.maps.blanks import blank_notes, blank_pixels, scramble, standing_heat
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.settings import Settings

FP32 = Settings(precision="fp32")
SIDE = 56
MEAN = (0.5, 0.4, 0.3)


class Padded(nn.Module):
    """A cell is dimmed by the cells around it, and beside zeros there are fewer of these."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        light = nn.Conv2d(3, 1, 1)
        around = nn.Conv2d(1, 1, 3, padding=1, padding_mode=mode)
        with torch.no_grad():
            light.weight[:] = 0.05
            light.bias[:] = 1.0
            around.weight[:] = -0.1
            around.bias[:] = 1.0
        self.features = nn.Sequential(nn.AvgPool2d(8), light, around, nn.ReLU())
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.head.weight[:] = torch.tensor([[1.0], [-1.0]])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).mean((2, 3)))


def blanks(seed: int = 0) -> np.ndarray:
    pictures = list(random_pixels(16, SIDE, seed=seed).numpy())
    return blank_pixels(pictures, SIDE, SIDE, MEAN, np.random.default_rng(seed))


def heat_of(module: nn.Module) -> np.ndarray:
    classifier = classifier_of(module, SIDE)
    with MapEngine(classifier, FP32) as engine:
        maps = engine.maps(torch.from_numpy(blanks()), torch.tensor([0, 1]))
    return standing_heat(maps.numpy())


def test_zero_padding_shows_at_the_border_and_mirrored_padding_does_not() -> None:
    zeros, mirrored = heat_of(Padded("zeros")), heat_of(Padded("reflect"))
    ring = np.ones((7, 7), dtype=bool)
    ring[1:-1, 1:-1] = False
    # Three of nine neighbours lack at an edge, five in a corner.
    assert zeros[0, 0, 3] == pytest.approx(0.3, abs=0.1)
    assert zeros[0, 6, 6] == pytest.approx(0.5, abs=0.1)
    assert zeros[0, ring].min() > 0.2
    assert zeros[0, ~ring].max() < 0.1 * zeros[0].max()
    # What speaks against a class is no evidence for it.
    assert zeros[1].max() < 0.1 * zeros[0].max()
    assert mirrored.max() < 0.1 * zeros[0].max()


def test_noise_has_no_standing_heat() -> None:
    maps = np.random.default_rng(0).normal(size=(24, 3, 7, 7))
    assert standing_heat(maps).mean() < 0.02
    maps[:, 1, 6, 2] += 3.0
    found = standing_heat(maps)
    assert found[1, 6, 2] > 2
    assert found[0, 6, 2] < 0.5


def test_a_scrambled_picture_keeps_its_colours_and_frequencies_and_loses_its_places() -> None:
    picture = random_pixels(1, SIDE).numpy()[0].astype(float)
    scrambled = scramble(picture, np.random.default_rng(1))
    np.testing.assert_allclose(scrambled.mean(axis=(0, 1)), picture.mean(axis=(0, 1)), atol=1e-6)
    one, two = (np.abs(np.fft.fft2(p, axes=(0, 1))) for p in (picture, scrambled))
    np.testing.assert_allclose(one, two, atol=1e-6 * one.max())
    assert abs(np.corrcoef(picture.ravel(), scrambled.ravel())[0, 1]) < 0.5


def test_blank_pictures_are_the_same_for_the_same_seed_and_need_no_pictures() -> None:
    assert (blanks(3) == blanks(3)).all()
    assert (blanks(3) != blanks(4)).any()
    alone = blank_pixels([], 40, 30, MEAN, np.random.default_rng(0))
    assert alone.shape == (8, 40, 30, 3)
    assert alone.dtype == np.uint8
    # Flat pictures of the mean colour, which most networks take for zeros, are among them.
    assert any((picture == (128, 102, 76)).all() for picture in alone)


def test_only_a_class_with_much_of_it_is_mentioned() -> None:
    maps = np.ones((8, 7, 7))
    heat = np.zeros((2, 7, 7))
    heat[1, 0, :] = 1.0
    labels = np.repeat([0, 1], 4)
    (note,) = blank_notes(heat, maps, labels, ("ant", "bee"), frame_regions(7, 7))
    assert note.startswith("bee: 14% of what its maps show is there on blank pictures")
    assert "region top edge" in note


@pytest.mark.parametrize(
    "name", ["small resnet", "mobilenet_v3_small", "small vgg", "small vit", "small swin"]
)
def test_maps_of_chosen_outputs_are_those_of_a_scan(name: str) -> None:
    family = FAMILIES[name]
    classifier, pixels = classifier_of(family.network(), family.size), random_pixels(3, family.size)
    with MapEngine(classifier, FP32) as engine:
        together = engine.maps(pixels, torch.tensor([4, 0, 2]))
        alone = [engine.run(pixels, torch.tensor([k] * 3)).maps[:, 0] for k in (4, 0, 2)]
        assert engine.maps(pixels, torch.tensor([1])).shape == (3, 1, *engine.plan.grid)
    expected = torch.stack(alone, 1)
    assert together.shape == expected.shape
    torch.testing.assert_close(
        together, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())
    )
