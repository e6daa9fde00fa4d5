"""Registration: parts of one picture lie over each other, different pictures do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from shortcut_finder.pixels import registration
from shortcut_finder.pixels.registration import edge_likeness, rough_maps

SIDE = 32


def picture(seed: int) -> np.ndarray:
    """Soft blotches, grey, (row, column)."""
    noise = np.random.default_rng(seed).normal(size=(96, 96))
    blotches = ndimage.gaussian_filter(noise, 4)
    return 127 + 40 * blotches / blotches.std()


def small(grey: np.ndarray) -> torch.Tensor:
    image = Image.fromarray(grey.clip(0, 255).astype(np.uint8))
    resized = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(resized, dtype=np.float32))[None]


def of_part(left: float, top: float, width: float, height: float) -> torch.Tensor:
    """The map from a picture to a part of it, all as fractions of its sides."""
    across, down = 1 / width, 1 / height
    return torch.tensor(
        [
            [
                [across, 0.0, across * (1 - 2 * left) - 1],
                [0.0, down, down * (1 - 2 * top) - 1],
            ]
        ]
    )


VERSIONS = {
    "the same": (lambda grey: grey, of_part(0, 0, 1, 1)),
    "cut": (lambda grey: grey[12:84, 24:96], of_part(0.25, 0.125, 0.75, 0.75)),
    "mirrored": (lambda grey: grey[:, ::-1], torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]])),
    "turned": (lambda grey: np.rot90(grey).copy(), torch.tensor([[[0.0, 1, 0], [-1, 0, 0]]])),
    "lighter and flatter": (lambda grey: 0.6 * grey + 60, of_part(0, 0, 1, 1)),
}


@pytest.mark.parametrize("name", VERSIONS)
def test_a_version_lies_over_the_picture_where_its_map_is_known_roughly(name: str) -> None:
    make, exact = VERSIONS[name]
    grey = picture(0)
    off = torch.tensor([[[0.06, -0.04, 0.07], [0.05, -0.05, -0.06]]])
    (found,) = edge_likeness(small(grey), small(make(grey)), exact + off)
    assert found > 0.9
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registration, "BLURS", ())
        (unfitted,) = edge_likeness(small(grey), small(make(grey)), exact + off)
    assert unfitted < 0.8
    (other,) = edge_likeness(small(grey), small(make(picture(1))), exact + off)
    assert other < 0.6


def test_pictures_that_hardly_overlap_say_nothing() -> None:
    grey = small(picture(0))
    aside = torch.tensor([[[1.0, 0, 1.8], [0, 1, 0]]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registration, "BLURS", ())
        assert edge_likeness(grey, grey, aside).tolist() == [0.0]


def test_the_map_that_most_places_agree_in_is_found_among_wrong_ones() -> None:
    lines = torch.linspace(-0.9, 0.9, 5)
    here = torch.cartesian_prod(lines, lines)
    exact = torch.tensor([[-1.1, 0.2, 0.1], [0.1, 0.9, -0.2]])
    there = here @ exact[:, :2].T + exact[:, 2]
    wrong = torch.rand(len(here), 2, generator=torch.Generator().manual_seed(3)) * 2 - 1
    there = torch.where((torch.arange(len(here)) % 5 < 2)[:, None], wrong, there)
    (found,) = rough_maps(here, there[None], torch.ones(1, len(here)))
    assert (found - exact).abs().max() < 0.15


def test_no_pair_gives_no_answer() -> None:
    nothing = torch.zeros(0, SIDE, SIDE)
    assert edge_likeness(nothing, nothing, torch.zeros(0, 2, 3)).shape == (0,)
    places = torch.rand(9, 2)
    assert rough_maps(places, torch.zeros(0, 9, 2), torch.zeros(0, 9)).shape == (0, 2, 3)
