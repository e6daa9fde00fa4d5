"""Scoring: how every image answers to things, each to the model that has not seen it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from shortcut_finder.data.membership import having
from shortcut_finder.detect.mixture import Frame
from shortcut_finder.detect.study import Study
from shortcut_finder.detect.things import Thing
from shortcut_finder.sweep.descriptors import Descriptors, descriptor_blocks


def scored(study: Study, things: Sequence[Thing], folder: Path) -> list[Thing]:
    """The things with how every image answers to them, each to the model that has not seen it."""
    images = len(study.labels)
    answers = np.zeros((len(things), images), dtype=np.float32)
    best = np.zeros((len(things), images), dtype=np.int32)
    covers: list[dict[int, np.ndarray]] = [{} for _ in things]
    for block in descriptor_blocks(folder):
        for number, frame in enumerate(study.frames):
            # The second half's images are scored by the first half's models.
            here = block.index[study.half[block.index] == (number == 1)]
            if len(here) and things:
                _score(study, things, number, frame, block, here, answers, best, covers)
    return [
        replace(
            thing,
            answers=answers[n],
            score=_in_terms_of_models(thing, answers[n], study.labels),
            best=best[n],
            covers=covers[n],
        )
        for n, thing in enumerate(things)
    ]


def _score(
    study: Study,
    things: Sequence[Thing],
    number: int,
    frame: Frame,
    block: Descriptors,
    here: np.ndarray,
    answers: np.ndarray,
    best: np.ndarray,
    covers: list[dict[int, np.ndarray]],
) -> None:
    """Score some images of a block by one half's models."""
    cells = frame(block.of(here).to(study.device))
    models = [thing.models[number] for thing in things]
    vectors = torch.stack([model.vector for model in models])
    every = (cells.flatten(0, 1) @ vectors.T).reshape(*cells.shape[:2], -1).permute(2, 0, 1)
    top = every.topk(min(max(model.closest for model in models), every.shape[2]), dim=2)
    for n, (thing, model) in enumerate(zip(things, models, strict=True)):
        mine = np.flatnonzero(having(study.labels[here], thing.label))
        if model.field is not None and thing.extent is not None:
            answers[n, here] = (cells.flatten(1) @ model.field.flatten()).cpu().numpy()
            best[n, here] = int(model.field.square().sum(1).argmax())
            covers[n] |= dict.fromkeys(here[mine].tolist(), thing.extent)
            continue
        answers[n, here] = top.values[n, :, : model.closest].mean(1).cpu().numpy()
        best[n, here] = top.indices[n, :, 0].cpu().numpy()
        # What answers half as much as a carrier's cells is at its rim.
        mine = mine[answers[n, here[mine]] >= model.limit / 2]
        on = (every[n, torch.from_numpy(mine)] >= model.limit / 2).cpu().numpy()
        covers[n] |= dict(zip(here[mine].tolist(), on, strict=True))


def _in_terms_of_models(thing: Thing, answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    score = np.zeros(len(answers))
    for number, mine in enumerate((~thing.half, thing.half)):
        own = answers[mine & having(labels, thing.label)]
        score[mine] = in_terms_of(thing.models[number].limit, answers[mine], own)
    return score


def in_terms_of(limit: float, answers: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Answers as scores: 0 at the limit, 1 for a typical carrier of the class.

    Args:
        limit: answer from which an image carries the thing.
        answers: of any images, (image,).
        own: of the class's images among them.
    """
    beyond = own[own >= limit]
    typical = float(np.median(beyond)) if len(beyond) else limit
    return np.asarray((answers - limit) / max(typical - limit, 1e-3))
