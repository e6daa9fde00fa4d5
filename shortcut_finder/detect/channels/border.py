"""Border: what nearly all of a class carries along the border of the frame.

Such a thing makes one heap of its class, so that no direction gains anything. But objects seldom
keep to the border, and images of a class seldom look alike there, unless something lies on them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

from shortcut_finder.detect.finding import Finding
from shortcut_finder.detect.judge import judged
from shortcut_finder.detect.likeness import NATURAL
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.detect.proposals import Concluded, Proposals, rated
from shortcut_finder.detect.scoring import scored
from shortcut_finder.detect.spot import NEIGHBOURS, along_border
from shortcut_finder.detect.study import Model, Study, alike
from shortcut_finder.detect.things import Thing
from shortcut_finder.detect.view import View
from shortcut_finder.stats.evidence import exclusivity_test

# Part of the most alike place's excess from which a place belongs to the thing.
PART = 0.5
# Share of the other classes that may be as like the class as its members are.
STRANGERS = 0.01
FEWEST = 4


def propose(view: View) -> Proposals:
    """Classes that both halves say are alike at the same part of the border."""
    things = border_things(view.study, view.records.cell_grid) if view.numbers else []

    def conclude(q: np.ndarray, found: Sequence[Finding]) -> Concluded:
        tested = (rated(*pair) for pair in zip(things, q, strict=True))
        held = [thing for thing in tested if POLICY.holds(thing.test)]
        return judged(scored(view.study, held, view.folder), view, found) if held else Concluded()

    return Proposals(np.array([thing.test["p"] for thing in things]), conclude)


def border_things(study: Study, grid: tuple[int, int]) -> list[Thing]:
    """A thing for each class that both halves say is alike at the same part of the border.

    Args:
        study: the halves.
        grid: rows and columns of cells.
    """
    if min(grid) < 5:
        return []
    found = []
    for label in study.classes:
        sides = [_side(study, label, half, grid) for half in (0, 1)]
        if None in sides:
            continue
        (first, one, test), (second, other, again) = (side for side in sides if side is not None)
        if not (first & second).any():
            continue
        extent = first | second
        likeness = min(test["likeness"], again["likeness"])
        found.append(
            Thing(
                label=label,
                models=(one, other),
                witnesses=(likeness, likeness),
                agreement=1.0,
                test=max(test, again, key=lambda held: held["p"]) | {"likeness": likeness},
                half=study.half,
                extent=extent.ravel(),
            )
        )
    return found


def _side(
    study: Study, label: int, half: int, grid: tuple[int, int]
) -> tuple[np.ndarray, Model, dict[str, float]] | None:
    """Where one half says that a class is alike, tested on the other; ``None`` where nowhere."""
    own, rest = (study.cells(half, study.images(half, label, own=own)) for own in (True, False))
    tested, strange = (
        study.cells(half, study.images(1 - half, label, own=own)) for own in (True, False)
    )
    if min(len(own), len(rest), len(tested), len(strange)) < FEWEST:
        return None
    border = along_border(grid)
    excess = np.where(border, (alike(own) - alike(rest)).reshape(grid), -1.0)
    if excess.max() < NATURAL:
        return None
    parts, _ = ndimage.label(excess >= PART * excess.max(), structure=NEIGHBOURS)
    extent = parts == parts.flat[int(excess.argmax())]
    held = (alike(tested) - alike(strange))[extent.ravel()].mean()
    if held < NATURAL:
        return None
    difference = own.mean(0) - rest.mean(0)
    chosen = torch.from_numpy(extent.ravel()).to(own.device)
    field = torch.where(chosen[:, None], difference, torch.zeros_like(difference))
    field = field / field.norm().clamp(min=1e-6)
    inside, outside = (cells.flatten(1) @ field.flatten() for cells in (tested, strange))
    limit = float(torch.quantile(rest.flatten(1) @ field.flatten(), 1 - STRANGERS))
    members, strays = int((inside >= limit).sum()), int((outside >= limit).sum())
    test = exclusivity_test(members, len(inside), strays, len(outside))
    test |= {"likeness": float(held), "gain": 0.0}
    return extent, Model(field.sum(0), 1, limit, 0.0, field), test
