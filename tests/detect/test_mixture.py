"""Mixture: a direction that cuts a class in two heaps is found, and one heap gains nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from shortcut_finder.detect import mixture
from shortcut_finder.detect.mixture import best_splits, fit_frame, grow, learn, nearest, responses

IMAGES, CELLS, WIDTH = 60, 16, 24


def row(*heaps: tuple[float, int], seed: int = 0) -> Tensor:
    """Responses to one direction: heaps of so many around such means."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(mean, 1.0, images) for mean, images in heaps]
    return torch.tensor(np.concatenate(parts), dtype=torch.float32)[None]


def white(images: int, seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    cells = torch.tensor(rng.normal(size=(images, CELLS, WIDTH)), dtype=torch.float32)
    return cells / cells.norm(dim=-1, keepdim=True)


def planted(share: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """White cells with one direction in part of the images, the direction, and who has it."""
    rng = np.random.default_rng([seed, 1])
    cells, look = white(IMAGES, seed), white(1, seed + 100)[0, 0]
    carriers = torch.from_numpy(rng.permutation(IMAGES) < round(share * IMAGES))
    for image in torch.nonzero(carriers)[:, 0].tolist():
        at = int(rng.integers(CELLS))
        cell = look + 0.3 * cells[image, at]
        cells[image, at] = cell / cell.norm()
    return cells, look, carriers


def test_two_heaps_gain_and_one_does_not() -> None:
    splits = best_splits(
        torch.cat([row((0, 80), (8, 20)), row((0, 100), seed=1)]), torch.zeros(2, 50)
    )
    assert splits.gain[0] > 0.5
    assert splits.gain[1] < 0.1
    assert splits.share[0] == pytest.approx(0.2)
    assert 3 < splits.limit[0] < 7


def test_the_gain_of_a_cut_is_what_two_heaps_save() -> None:
    own = row((0, 40), (9, 10))
    splits = best_splits(own, torch.full((1, 50), -9.0))
    values = own[0].double()
    upper = values >= splits.limit[0]
    within = sum(float(((h - h.mean()) ** 2).sum()) for h in (values[upper], values[~upper])) / 50
    entropy = -(0.2 * np.log(0.2) + 0.8 * np.log(0.8))
    expected = 0.5 * np.log(float(values.var(correction=0)) / within) - entropy
    assert splits.gain[0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("strangers", "part"), [(0, 1.0), (2, 0.4), (10, 0.0)])
def test_what_other_classes_have_as_well_is_no_cue(strangers: int, part: float) -> None:
    own = row((0, 80), (12, 20))
    alone = best_splits(own, torch.full((1, 50), -9.0)).gain
    rest = torch.full((1, 50), -9.0)
    rest[0, :strangers] = 12.0
    shared = best_splits(own, rest)
    assert float(shared.gain / alone) == pytest.approx(part, abs=0.02)


def test_too_few_images_have_no_heaps() -> None:
    splits = best_splits(row((0, 3), (9, 2)), torch.zeros(1, 8))
    assert splits.gain[0] == -torch.inf
    assert splits.limit[0] == torch.inf
    # With one more on the upper side there are enough.
    assert best_splits(row((0, 3), (9, 3)), torch.zeros(1, 8)).gain[0] > 0


def test_images_answer_with_the_mean_of_their_closest_cells() -> None:
    cells, directions = white(7, 0), white(1, 5)[0, :3]
    for closest in (1, 2):
        expected = [
            [float((image @ direction).sort().values[-closest:].mean()) for image in cells]
            for direction in directions
        ]
        answers = responses(cells, directions, closest)
        assert answers.tolist() == [pytest.approx(each, abs=1e-5) for each in expected]


def test_a_frame_makes_cells_white() -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(200, CELLS, 6)) @ rng.normal(size=(6, 6)) + 3
    frame = fit_frame(torch.tensor(raw, dtype=torch.float32).flatten(0, 1))
    cells = frame(torch.tensor(raw, dtype=torch.float32))
    assert cells.norm(dim=-1) == pytest.approx(np.ones((200, CELLS)), abs=1e-4)
    spread = torch.cov(cells.flatten(0, 1).T)
    assert (spread - torch.diag(spread.diagonal())).abs().max() < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_a_direction_in_a_fifth_of_a_class_is_found(seed: int) -> None:
    cells, look, carriers = planted(0.2, seed)
    found = learn(cells, white(80, seed + 50), 400, np.random.default_rng(seed))
    best = found.vectors[0] / found.vectors[0].norm()
    assert float(best @ look) > 0.9
    assert torch.equal(found.answers[0] >= found.splits.limit[0], carriers)
    assert found.splits.gain[0] > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_noise_holds_no_direction_for_other_images(seed: int) -> None:
    found = learn(white(IMAGES, seed), white(80, seed + 50), 400, np.random.default_rng(seed))
    assert not len(found.vectors) or found.splits.gain[0] < 0.3
    fresh = responses(white(200, seed + 900), found.vectors, 1)
    assert not len(fresh) or best_splits(fresh, fresh[:, :0] + 0).gain.max() < 0.05


def test_what_is_in_other_classes_alike_is_not_found() -> None:
    cells, _, _ = planted(0.2, 0)
    alone = learn(cells, white(80, 50), 400, np.random.default_rng(0))
    shared = learn(cells, cells, 400, np.random.default_rng(0))
    best = float(shared.splits.gain[0]) if len(shared.vectors) else 0.0
    assert best < 0.3 * float(alone.splits.gain[0])


def test_an_image_is_not_judged_by_a_direction_that_it_took_part_in() -> None:
    """Averaged over images that share nothing, a direction is like each of them all the same."""
    own, rest = white(12, 0), white(20, 1)
    vectors = own[:4].mean(1)[:1]
    members = torch.arange(12)[None] < 5
    grown = grow(own, rest, vectors, members, 1, 1)
    best = [int((own[n] @ vectors[0]).argmax()) for n in range(5)]
    shown = torch.stack([own[n, at] for n, at in enumerate(best)])
    for image in range(12):
        others = shown[[n for n in range(5) if n != image]].mean(0)
        assert float(grown.answers[0, image]) == pytest.approx(
            float((own[image] @ others).max()), abs=1e-5
        )


def test_a_seed_says_nothing_of_its_own_image(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[Tensor] = []

    def spied(own: Tensor, rest: Tensor) -> mixture.Splits:
        judged.append(own.clone())
        return best_splits(own, rest)

    monkeypatch.setattr(mixture, "best_splits", spied)
    cells = white(10, 0)
    learn(cells, white(10, 1), 10 * CELLS, np.random.default_rng(0))
    # Any seed is its own image's closest cell by far, with a product of 1.
    assert judged[0].max() < 0.99


def test_directions_with_the_same_carriers_are_one() -> None:
    cells, _, _ = planted(0.2, 0)
    found = learn(cells, white(80, 50), 400, np.random.default_rng(0))
    assert len(found.joined(found).different(100).vectors) == len(found.different(100).vectors)
    carriers = found.answers >= found.splits.limit[:, None]
    alike = mixture.correlated(carriers).fill_diagonal_(0)
    assert alike.max() < mixture.TWINS
    assert nearest(found.answers).sum(1).tolist() == [mixture.BEGUN] * len(found.vectors)


def test_variants_of_a_clear_thing_leave_room_for_a_faint_one() -> None:
    """Ten directions with 16 of 20 carriers in common, and one of less gain with its own."""
    carriers = torch.zeros(11, 100, dtype=torch.bool)
    for place in range(10):
        carriers[place, :16] = carriers[place, 20 + 4 * place : 24 + 4 * place] = True
    carriers[10, 70:90] = True
    clear, faint = torch.linspace(0.9, 0.8, 10), torch.tensor([0.1])
    gains, flat = torch.cat([clear, faint]), torch.full((11,), 0.5)
    splits = mixture.Splits(gains, flat, carriers.float().mean(1), torch.zeros(11))
    found = mixture.Directions(torch.eye(11), torch.ones(11).long(), splits, carriers.float())
    kept = found.different(4).splits.gain.tolist()
    assert kept == pytest.approx([0.9, 0.8889, 0.1], abs=1e-3)
    assert found.different(1).splits.gain.tolist() == pytest.approx([0.9])
