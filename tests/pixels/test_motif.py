"""Motif: what aligned pictures share, and where another shows it."""

from __future__ import annotations

import numpy as np
from synthetic import SIDE, paste, stamp, texture

from shortcut_finder.pixels.gradients import gradients_of
from shortcut_finder.pixels.motif import motif_of, sought
from shortcut_finder.pixels.rigidity import FAINT, measure_rigidity

# Pixels of background around the stamp in each patch.
RIM = 6


def patches(count: int, opacity: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(3)
    side = len(stamp()) + 2 * RIM
    return np.stack(
        [paste(texture(rng, SIDE), stamp(), RIM, RIM, opacity)[:side, :side] for _ in range(count)]
    ).astype(np.float32)


def test_backgrounds_cancel_and_the_mark_stays() -> None:
    motif = motif_of(patches(10))
    assert motif is not None
    inside = motif.weight[RIM:-RIM, RIM:-RIM]
    assert inside.mean() > 5 * motif.weight[: RIM - 1].mean()


def test_textures_share_nothing() -> None:
    rng = np.random.default_rng(4)
    motif = motif_of(np.stack([texture(rng, 30) for _ in range(12)]).astype(np.float32))
    assert motif is None or float((motif.weight > 0).float().mean()) < 0.3


def test_it_is_found_where_it_lies_also_through_a_thin_one() -> None:
    rng = np.random.default_rng(5)
    motif = motif_of(patches(10, opacity=0.5))
    assert motif is not None
    corners = rng.integers(0, SIDE - len(stamp()), (8, 2))
    plain = [texture(rng, SIDE).astype(np.float32) for _ in corners]
    marked = [
        paste(grey, stamp(), x, y, 0.5).astype(np.float32)
        for grey, (x, y) in zip(plain, corners.tolist(), strict=True)
    ]
    likeness, places = sought(motif, marked)
    usual, _ = sought(motif, plain)
    assert likeness.min() > usual.max()
    middles = (corners + len(stamp()) / 2) / SIDE
    assert np.abs(places - middles).max() * SIDE <= 1


def test_the_correlation_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(6)
    motif = motif_of(patches(6))
    assert motif is not None
    picture = texture(rng, 40)[:40, :36].astype(np.float32)
    likeness, _ = sought(motif, [picture])
    weight, mean = motif.weight.numpy(), motif.edges.numpy()
    margins = [side // 4 for side in weight.shape]
    edges = np.pad(gradients_of(picture[None, :, :, None])[0], [(0, 0), *((m, m) for m in margins)])
    best = -1.0
    for y in range(edges.shape[1] - weight.shape[0] + 1):
        for x in range(edges.shape[2] - weight.shape[1] + 1):
            window = edges[:, y : y + weight.shape[0], x : x + weight.shape[1]]
            energies = [(weight * np.square(one).sum(axis=0)).sum() for one in (window, mean)]
            floor = FAINT**2 * weight.sum()
            size = np.sqrt(np.maximum(energies[0], floor) * max(energies[1], floor))
            best = max(best, float((weight * window * mean).sum() / size))
    assert abs(likeness[0] - best) < 1e-4


def test_a_picture_smaller_than_the_motif_shows_nothing() -> None:
    motif = motif_of(patches(6))
    assert motif is not None
    assert sought(motif, [np.zeros((4, 4), dtype=np.float32)])[0].tolist() == [0.0]


def test_what_a_mirror_at_the_border_shows_is_no_part_of_a_motif() -> None:
    rng = np.random.default_rng(8)
    side, gap, beyond, left = 16, 2, 4, 20

    def marked(gap: int) -> np.ndarray:
        return paste(texture(rng, SIDE), stamp(0, 10), left + 3, gap).astype(np.float32)

    # Windows that reach beyond the upper border.
    aligned = np.stack(
        [
            np.pad(marked(gap), ((beyond, 0), (0, 0)), mode="symmetric")[:side, left : left + side]
            for _ in range(12)
        ]
    )
    inside = np.ones((side, side))
    inside[:beyond] = 0
    with_mirror, motif = motif_of(aligned), motif_of(aligned, inside)
    assert motif is not None
    assert with_mirror is not None
    assert motif.weight.shape == (side - beyond, side)
    # One row nearer to the border a quarter of the larger window is not enough.
    nearer = [marked(gap - 1) for _ in range(8)]
    assert sought(motif, nearer)[0].min() > sought(with_mirror, nearer)[0].max() + 0.1


def test_windows_know_what_of_them_lies_on_the_pictures() -> None:
    rng = np.random.default_rng(9)
    marked = [
        paste(texture(rng, SIDE), stamp(0, 12), SIDE - 14, 2).astype(np.float32) for _ in range(6)
    ]
    look = measure_rigidity(marked, np.full((6, 2), (0.97, 0.03)))
    # The upper right corner of the windows lies beyond that of the pictures.
    assert look.inside[0, -1] == 0
    assert look.inside[-1, 0] == 1
    assert measure_rigidity(marked, np.full((6, 2), (0.5, 0.5))).inside.min() == 1
