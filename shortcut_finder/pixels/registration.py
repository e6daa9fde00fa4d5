"""Registration: how a picture lies over another one that shows a part of the same.

A picture may be cut, scaled, turned or mirrored before it is saved again. Places of both that look
alike say roughly how one lies over the other (random sample consensus, Fischler and Bolles 1981).
Then the map is fitted to the grey levels (Lucas and Kanade 1981), lightness and contrast apart.

Places are x and y from -1 to 1 over a picture, and a map is affine: six numbers, (2, 3).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

# Maps that are tried, each from three matches, and how far a match may be off, in places.
TRIED, NEAR = 128, 0.25
# How much larger or smaller in area one picture may lie over the other.
ZOOM = 2.5
# Blur of each step of the fit, as a standard deviation in pixels of pictures of 32: coarse first.
BLURS = (1.5, 1.5, 1.0, 0.7, 0.0, 0.0)
# A step moves no place by more than this.
STRIDE = 0.15
# Correlation from which a map fits well enough.
CLEAR = 0.95
# Part of the first picture that must lie on the second; less says nothing.
OVERLAP = 0.3
# Pairs that are worked on at once.
BLOCK = 128


def rough_maps(here: Tensor, there: Tensor, weights: Tensor) -> Tensor:
    """The map of each pair that most matches agree in, (pair, 2, 3).

    Args:
        here: places in the first pictures, the same in all, (match, 2).
        there: the places in the second pictures that look most like these, (pair, match, 2).
        weights: how alike they look, (pair, match).
    """
    source = torch.cat([here, torch.ones(len(here), 1)], dim=1)
    draw = torch.Generator().manual_seed(0)
    threes = torch.stack([torch.randperm(len(here), generator=draw)[:3] for _ in range(TRIED)])
    # Three places in a row say nothing of what lies beside them.
    threes = threes[torch.linalg.det(source[threes]).abs() > NEAR]
    solved = torch.linalg.inv(source[threes])
    blocks = _blocks(there, weights.clamp(min=0))
    parts = [_agreed(source, solved, threes, *some) for some in blocks]
    return torch.cat(parts) if parts else torch.zeros(0, 2, 3)


def _blocks(*values: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same `BLOCK` entries of each, one block after the other."""
    for start in range(0, len(values[0]), BLOCK):
        yield tuple(one[start : start + BLOCK] for one in values)


def _agreed(
    source: Tensor, solved: Tensor, threes: Tensor, there: Tensor, weights: Tensor
) -> Tensor:
    """The map with the heaviest matches near where it says, fitted to these."""
    maps = torch.einsum("tij,ptjk->ptki", solved, there[:, threes])
    apart = (torch.einsum("ptki,mi->ptmk", maps, source) - there[:, None]).norm(dim=-1)
    support = ((apart < NEAR) * weights[:, None]).sum(-1)
    area = torch.linalg.det(maps[..., :2]).abs()
    support[(area > ZOOM) | (area < 1 / ZOOM)] = -1
    best = support.argmax(dim=1)
    agree = weights * (apart[torch.arange(len(there)), best] < NEAR)
    normal = torch.einsum("pm,mi,mj->pij", agree, source, source) + 1e-3 * torch.eye(3)
    right = torch.einsum("pm,mi,pmk->pik", agree, source, there)
    return torch.linalg.solve(normal, right).transpose(1, 2)


def edge_likeness(ones: Tensor, others: Tensor, maps: Tensor) -> Tensor:
    """Correlation of the edges of two pictures where they overlap, at the best map, (pair,).

    Args:
        ones: grey levels, (pair, row, column), all square and of one size.
        others: likewise.
        maps: from the first pictures to the second, roughly, (pair, 2, 3).

    Returns:
        In [-1, 1]; 0 where less than `OVERLAP` of the first lies on the second.
    """
    parts = [_fitted(*some) for some in _blocks(ones, others, maps)]
    return torch.cat(parts) if parts else torch.zeros(0)


def _fitted(ones: Tensor, others: Tensor, maps: Tensor) -> Tensor:
    best = _correlation(ones, others, maps)
    for blur in BLURS:
        open_ = torch.nonzero(best < CLEAR)[:, 0]
        if not len(open_):
            break
        some, rest, at = ones[open_], others[open_], maps[open_]
        maps[open_] = at = at + _step(_blurred(some, blur), _blurred(rest, blur), at)
        best[open_] = torch.maximum(best[open_], _correlation(some, rest, at))
    return best


def _step(ones: Tensor, others: Tensor, maps: Tensor) -> Tensor:
    """A step of Gauss and Newton towards the map that makes the second picture the first."""
    side = ones.shape[-1]
    across, down = _slopes(others)
    seen, inside = _seen_through(torch.stack([others, across, down], dim=1), maps)
    levels, across, down = seen.flatten(2).unbind(1)
    places = F.affine_grid(torch.eye(2, 3)[None], [1, 1, side, side], align_corners=False)
    places = F.pad(places.reshape(-1, 2), (0, 1), value=1.0)
    # Change of the levels for each number of the map, then for contrast and lightness.
    change = torch.cat(
        [
            across[..., None] * places * side / 2,
            down[..., None] * places * side / 2,
            levels[..., None],
            torch.ones_like(levels)[..., None],
        ],
        dim=2,
    )
    weighted = change * inside.flatten(1)[..., None]
    normal = weighted.transpose(1, 2) @ change
    normal = normal + torch.diag_embed(normal.diagonal(dim1=1, dim2=2) * 1e-4 + 1e-3)
    rest = (ones.flatten(1) - levels)[..., None]
    step = torch.linalg.solve(normal, weighted.transpose(1, 2) @ rest)[:, :6, 0].reshape(-1, 2, 3)
    return step * (STRIDE / step.abs().amax((1, 2), keepdim=True).clamp(min=STRIDE))


def _seen_through(pictures: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures as a map lays them, (pair, channel, row, column), and where there is any of them."""
    places = F.affine_grid(maps, [len(maps), 1, *pictures.shape[2:]], align_corners=False)
    inside = (places.abs() <= 1).all(dim=-1)
    seen = F.grid_sample(pictures, places, padding_mode="border", align_corners=False)
    return seen, inside.to(pictures.dtype)


def _correlation(ones: Tensor, others: Tensor, maps: Tensor) -> Tensor:
    """Correlation of edges where both pictures have some, (pair,)."""
    seen, inside = _seen_through(others[:, None], maps)
    # Beside the border of either picture there are edges of none.
    inside = -F.max_pool2d(-F.pad(inside[:, None, 1:-1, 1:-1], (1, 1, 1, 1)), 3, 1, 1)[:, 0]
    first, second = (torch.stack(_slopes(one)) for one in (ones, seen[:, 0]))
    shared = (first * second * inside).sum((0, 2, 3))
    sizes = (first.square() * inside).sum((0, 2, 3)) * (second.square() * inside).sum((0, 2, 3))
    found = shared / sizes.sqrt().clamp(min=1e-6)
    return torch.where(inside.mean((1, 2)) < OVERLAP, torch.zeros_like(found), found)


def _slopes(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Steps across and down, in levels a pixel, (picture, row, column) each."""
    padded = F.pad(pictures[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    return across, (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2


def _blurred(pictures: Tensor, deviation: float) -> Tensor:
    if not deviation:
        return pictures
    deviation *= pictures.shape[-1] / 32
    reach = round(3 * deviation)
    weights = torch.exp(-torch.arange(-reach, reach + 1.0).square() / (2 * deviation**2))
    weights = weights / weights.sum()
    padded = F.pad(pictures[:, None], (reach,) * 4, mode="replicate")
    down = F.conv2d(padded, weights[None, None, :, None])
    return F.conv2d(down, weights[None, None, None])[:, 0]
