"""Verdicts: what the experiments make of a finding, and the sentences that say so.

Whether the model relies on a thing and whether the thing looks like an artifact are two questions.
A model relies on petals, too: so what it relies on is confirmed where it is likelier an artifact
than not, and anything else is for a person to look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from shortcut_finder.detect.finding import LEAST, Decided, Finding
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.stats.experiments import Experiment, Verification
from shortcut_finder.sweep.records import Records
from shortcut_finder.texts import percent

# Part of the score of an image that depends on how much its label hangs on the thing.
HANGING = 0.1


def decided(finding: Finding, verification: Verification, records: Records) -> Finding:
    """The finding with verdict, reliance and severity, and what was seen in words."""
    verdict, severity = _verdict(finding, verification)
    best = verification.decisive
    arm = None if best is None else best.strongest
    score = finding.carriers.score * (
        _weight(finding.measured.artifact, severity) / max(finding.measured.artifact, LEAST)
    )
    score = _hanging(np.clip(score, 0, 1), verification.without, records, finding.number)
    reliance = finding.decided.reliance if arm is None else (arm.effect, arm.low, arm.high)
    return replace(
        finding,
        carriers=replace(finding.carriers, score=score),
        decided=Decided(severity, verdict, reliance, verification),
        said=(*finding.said, *_says(finding, verification, verdict)),
    )


def _verdict(finding: Finding, verification: Verification) -> tuple[str, str]:
    """Verdict and severity, from reliance and likeness to an artifact."""
    if finding.explained:
        return "present" if verification.ruled_out else "suspect", "low"
    if finding.place.around:
        return ("confirmed", "high") if verification.rivals_own else ("suspect", "low")
    if relied_on(finding, verification):
        if not outdoes_object(finding, verification):
            return "suspect", "low"
        if is_artifact(finding):
            return "confirmed", "high"
        # Perhaps the object: the sentence asks for a look.
        return "suspect", "medium" if finding.measured.artifact >= POLICY.experiment else "low"
    if verification.ruled_out:
        return "present", "medium" if is_artifact(finding) else "low"
    if not verification.experiments:
        return "suspect", finding.decided.severity
    return "suspect", "medium" if is_artifact(finding) else "low"


def relied_on(finding: Finding, verification: Verification) -> bool:
    """Whether experiments show that the model relies on it.

    A look that is taken away is held against one control only, so it has to work when given, too.
    """
    if finding.place.look:
        return any(made.holds and made.name == "paste" for made in verification.experiments)
    return verification.holds


def is_artifact(finding: Finding) -> bool:
    """Whether it is likelier an artifact than a part of the object.

    A look of nearly all images of a class may be the look of its objects.
    """
    if finding.place.look and finding.measured.share >= POLICY.nearly_all:
        return finding.measured.artifact >= POLICY.plain
    return finding.measured.artifact >= POLICY.artifact


def outdoes_object(finding: Finding, verification: Verification) -> bool:
    """Whether it says more than parts of the object do, if it stands where objects stand.

    There it has to beat the hottest parts of the class's other images, pasted in its place, where
    these were tried and it is not plainly an artifact.
    """
    inside = finding.measured.parts.get("border", 1.0) < POLICY.border
    if finding.place.whole or not inside or finding.measured.artifact >= POLICY.plain:
        return True
    return all(
        made.own is None or made.own.low >= POLICY.outdo for made in verification.experiments
    )


def _weight(suspicion: float, severity: str) -> float:
    """What scores of a finding's images are multiplied by: suspicion, within what severity allows.

    So images of what experiments confirmed come before those of what only looks suspicious.
    """
    low, high = {
        "low": (0.0, POLICY.artifact),
        "medium": (POLICY.artifact, POLICY.plain),
        "high": (POLICY.plain, 1.0),
    }[severity]
    return float(np.clip(suspicion, low, high))


def _hanging(
    score: np.ndarray, without: Mapping[int, float], records: Records, label: int
) -> np.ndarray:
    """Scores that depend a little on how much each image's own label hangs on the thing."""
    if not without:
        return score
    images = np.array(list(without))
    fall = np.zeros(len(score))
    now = records.probabilities(images)[:, records.output_of(label)]
    fall[images] = np.clip(now - np.array(list(without.values())), 0, 1)
    return np.asarray(score * (1 - HANGING * (1 - fall)))


def _says(finding: Finding, verification: Verification, verdict: str) -> list[str]:
    """What the experiments showed, a sentence each."""
    said = [_outcome(finding, one) for one in verification.experiments if one.holds]
    if finding.place.around:
        if verification.rivals_own:
            said.append(
                "On other images it says more than a third of what its own middle does, and "
                "every side says it: the class is told by its background."
            )
    elif relied_on(finding, verification) and verdict != "confirmed":
        said.append(
            "So the model uses it, as it would use a true part of the class; only a look at the "
            "pictures can say which it is."
        )
    if verification.ruled_out:
        said.append("The model does not react when it is added or taken away.")
    return said


def _outcome(finding: Finding, made: Experiment) -> str:
    odds = f"the odds of {finding.label} {_times(made.strongest.log_odds)}"
    changed = max(arm.flips for arm in made.arms)
    if made.name == "paste":
        given = "Given to" if finding.place.look else "Pasted onto"
        where = "" if made.place in ("", "same place") else f" at {made.place}"
        return (
            f"{given} images of other classes{where}, it raises {odds} and turns "
            f"{percent(made.flips)} of them into it (controls: {percent(changed)} at most)."
        )
    return (
        f"Taking it away lowers {odds}: {percent(made.flips)} of the images are no longer taken "
        f"for it (controls: {percent(changed)} at most)."
    )


def _times(log_odds: float) -> str:
    """A change of odds in words; beyond a thousand its size says nothing more."""
    factor = float(np.exp(min(abs(log_odds), 10.0)))
    if factor > 1000:
        return "more than 1000 times"
    return f"{factor:.0f} times" if factor >= 10 else f"{factor:.1f} times"
