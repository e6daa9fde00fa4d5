"""Cells: things that part of a class has, at any place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from shortcut_finder.detect.finding import Finding
from shortcut_finder.detect.judge import judged
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.detect.proposals import Concluded, Proposals, rated
from shortcut_finder.detect.scoring import scored
from shortcut_finder.detect.things import likeliest, paired, thing_of
from shortcut_finder.detect.view import View


def propose(view: View) -> Proposals:
    """Directions in which a class falls into two heaps, each tested on the half not asked."""
    rounds = [(half, label) for half in (0, 1) for label in view.numbers]
    bar = tqdm(rounds, desc="analyse", unit=" classes", disable=not view.progress)
    candidates = [one for half, label in bar for one in view.study.candidates(label, half)]

    def conclude(q: np.ndarray, found: Sequence[Finding]) -> Concluded:
        tested = (rated(*pair) for pair in zip(candidates, q, strict=True))
        holding = [one for one in tested if POLICY.holds(one.test)]
        if not holding:
            return Concluded()
        pairs = likeliest(
            paired(view.study, holding, POLICY.evidence),
            POLICY.tried,
            POLICY.evidence,
            POLICY.same,
            view.records.cell_grid,
        )
        things = [thing_of(pair, view.study) for pair in pairs]
        return judged(scored(view.study, things, view.folder), view, found)

    return Proposals(np.array([one.test["p"] for one in candidates]), conclude)
