"""Verification: what a finding is worth to the model, by experiments with matched controls.

Maps propose; here the thing is pasted onto images that lack it and masked in images that have it.
Only images that the finding was not found on take part, and every treatment is held against
controls on the same images.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import expit
from tqdm import tqdm

from shortcut_finder.data.membership import having
from shortcut_finder.detect.finding import Finding, surest_first
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.stats.experiments import (
    BEYOND_OWN,
    FEWEST_PAIRS,
    Q_LIMIT,
    Answers,
    Experiment,
    Verification,
    controlled,
)
from shortcut_finder.stats.surplus import Surplus, surplus_of
from shortcut_finder.sweep.lab import BATCH, Lab, Predict
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.verify.cast import FEWEST_DONORS, FEWEST_OF_ARTIFACTS, Cast, cast_for
from shortcut_finder.verify.treatments import (
    LOOKS,
    look_trials,
    place_trials,
    surroundings_trials,
    without_it,
    worth_exchanging,
)
from shortcut_finder.verify.trials import Made, made_of
from shortcut_finder.verify.verdicts import decided

# Images whose own dependence is measured, a finding.
MEASURED = 40
# Images that what looks natural is pasted onto first, and the p from which that was all: what all
# of 26 images will show, eight do not deny.
PILOT, IDLE = 8, 0.25


def verify(
    findings: Sequence[Finding],
    scene: Scene,
    predict: Predict,
    *,
    batch: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> list[Finding]:
    """Findings with what experiments say of each: verdict, reliance, severity and sentence.

    Args:
        findings: in any order.
        scene: what the sweep kept, and the pictures behind it.
        predict: logits, (image, output), of pixels, uint8 (image, row, column, channel).
        batch: images a forward pass.
        seed: for who takes part, and for random places.
        progress: show a bar on stderr.
    """
    lab = Lab(scene, predict, batch or BATCH)
    order = np.random.default_rng([seed, 3]).permutation(len(scene.records.labels))
    # An experiment with such a p holds whatever the others show (Bonferroni over two of each).
    settled = Q_LIMIT / max(2 * len(findings), 1)
    made = [
        tried(finding, cast_for(finding, lab, order), lab, _stream(finding, seed), settled)
        for finding in tqdm(findings, desc="verify", unit=" findings", disable=not progress)
    ]
    rates = controlled([one.experiments for one in made])
    return [
        decided(finding, replace(one, experiments=experiments), scene.records)
        for finding, one, experiments in zip(findings, made, rates, strict=True)
    ]


def _stream(finding: Finding, seed: int) -> np.random.Generator:
    """Random numbers that depend on what a finding is, not on how many come before it."""
    return np.random.default_rng(
        [seed, 3, zlib.crc32(np.packbits(finding.carriers.listed).tobytes())]
    )


def tried(
    finding: Finding, cast: Cast, lab: Lab, rng: np.random.Generator, settled: float
) -> Verification:
    """The experiments that can be made of a finding.

    Args:
        finding: what they are made of.
        cast: who takes part.
        lab: the model and the images.
        rng: for random places.
        settled: p from which one experiment is enough.
    """
    reason = _untried(finding, cast)
    if reason:
        return Verification(reason)
    diffuse, around = finding.place.look, finding.place.around
    notes = [
        f"no power to {what}: {len(images)} tested images, {FEWEST_PAIRS} are needed"
        for what, images in (("paste", cast.strangers), ("mask", cast.members))
        if len(images) < FEWEST_PAIRS
    ]
    if diffuse:
        trials = look_trials(finding, cast, lab)
    elif around:
        trials = surroundings_trials(finding, cast, lab)
    else:
        trials = place_trials(finding, cast, lab, rng)
    made: list[Made] = []
    masked: tuple[np.ndarray, Answers] | None = None
    natural = finding.decided.severity == "low" and not diffuse
    stands_out = _rivals_own if around else _stands_out
    if natural and len(cast.strangers) >= FEWEST_PAIRS and _idle(finding, cast, lab, rng):
        return Verification(f"pasted onto {PILOT} images it says too little")
    for trial in trials:
        if len(trial.images) < FEWEST_PAIRS:
            continue
        # A second experiment shows what the images lose, but decides no more.
        sure = any(one.experiment.beats_all and one.experiment.p <= settled for one in made)
        made.append(made_of(trial, cast.output, lab, controls=1 if sure else None))
        if trial.name == "mask":
            masked = trial.images[: made[-1].experiment.pairs], made[-1].first
        # What looks natural is masked only where pasting sets it apart from parts of the class.
        if natural and not stands_out(made[-1].experiment):
            break
    without: dict[int, float] = {}
    surplus: Surplus | None = None
    if not diffuse and any(stands_out(one.experiment) for one in made):
        without, surplus = _without(finding, cast, lab, masked)
    return Verification(
        "; ".join(notes),
        tuple(one.experiment for one in made),
        tuple(shot for one in made for shot in one.shots),
        without,
        surplus,
    )


def _untried(finding: Finding, cast: Cast) -> str:
    """Why no experiment is made of a finding; empty where some are."""
    if finding.place.column:
        return "a column of the metadata can be neither pasted nor masked"
    if finding.place.look and finding.place.region not in LOOKS:
        return "it does not show in the pixels that the model sees"
    if finding.measured.artifact < POLICY.experiment and not finding.place.around:
        return "it looks like a part of the object, and no experiment can say more"
    needed = FEWEST_DONORS if finding.decided.severity == "low" else FEWEST_OF_ARTIFACTS
    if len(cast.members) < needed:
        return f"no power: {len(cast.members)} tested images carry it, {needed} are needed"
    return ""


def _idle(finding: Finding, cast: Cast, lab: Lab, rng: np.random.Generator) -> bool:
    """Whether a pilot shows nothing that more images could make a reliance."""
    few = cast.few(PILOT)
    if finding.place.around:
        return not worth_exchanging(finding, few, lab)
    pilot = next(place_trials(finding, few, lab, rng))
    return made_of(pilot, few.output, lab, controls=1).experiment.p > IDLE


def _stands_out(made: Experiment) -> bool:
    """Whether it beats its controls, and the class's own parts where there are any."""
    return made.beats_all and (made.own is None or made.beyond_own >= BEYOND_OWN)


def _rivals_own(made: Experiment) -> bool:
    """Whether a background beats its controls, and says much of what the object does."""
    return made.beats_all and made.beyond_own > 0


def _without(
    finding: Finding, cast: Cast, lab: Lab, masked: tuple[np.ndarray, Answers] | None
) -> tuple[dict[int, float], Surplus | None]:
    """What the label would be with the thing filled: of the tested members, then of the surest.

    Args:
        finding: what is filled.
        cast: who takes part.
        lab: the model and the images.
        masked: images that were filled before, and what the model said of them.

    Returns:
        Probability of the label by number of the image, and what the tested members' fall says.
    """
    carriers = np.flatnonzero(finding.carriers.listed & having(lab.records.labels, finding.number))
    carriers = surest_first(carriers, finding.carriers.score)
    rest = carriers[~np.isin(carriers, cast.members)]
    images = np.append(cast.members, lab.readable(rest, MEASURED - len(cast.members)))
    log_odds: dict[int, float] = {}
    if masked is not None:
        log_odds = dict(zip(masked[0].tolist(), masked[1].log_odds.tolist(), strict=True))
    ahead = [int(n) for n in images if int(n) not in log_odds]
    if ahead:
        filled = (without_it(finding, n, cast, lab) for n in ahead)
        log_odds |= dict(
            zip(ahead, lab.answers(filled, cast.output).log_odds.tolist(), strict=True)
        )
    surplus = surplus_of(
        lab.now(cast.members, cast.output).log_odds,
        np.array([log_odds[int(n)] for n in cast.members]),
        lab.now(cast.others, cast.output).log_odds,
    )
    return {int(n): float(expit(log_odds[int(n)])) for n in images}, surplus
