"""Verdicts: what the experiments make of a finding, and the sentences that say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from shortcut_finder.data.regions import ANYWHERE, BORDER, SURROUNDINGS, cell_centres
from shortcut_finder.detect.finding import LEAST, WIDE, Finding
from shortcut_finder.detect.suspicion import BEYOND_DOUBT, COMMON, EXACT, HIGH, MEDIUM, NEARLY_ALL
from shortcut_finder.stats.experiments import (
    BEYOND_OWN,
    FEWEST_PAIRS,
    Experiment,
    Verification,
)
from shortcut_finder.sweep.records import Records
from shortcut_finder.texts import percent

# Share of a class from which what stands where objects do, and does not repeat, may be a look of
# the object: seed heads among dandelions.
USUAL = 0.15
# Share of a class against that share and the others' from which a class has something alone.
ALONE = 0.95
# Objects seldom keep to the border in so many of the images.
KEEPS = 0.9
# Part of the score of an image that depends on how much its label hangs on the thing.
HANGING = 0.1


def decided(finding: Finding, verification: Verification, records: Records) -> Finding:
    """Confirmed when the model relies on what looks like an artifact; reliance is kept apart."""
    verdict, severity = _verdict(finding, verification)
    best = verification.decisive
    arm = None if best is None else best.strongest
    score = finding.score * (_weight(finding.suspicion, severity) / max(finding.suspicion, LEAST))
    return replace(
        finding,
        verdict=verdict,
        severity=severity,
        score=_hanging(np.clip(score, 0, 1), verification.without, records),
        reliance=finding.reliance if arm is None else (arm.effect, arm.low, arm.high),
        sentence=" ".join(filter(None, (finding.sentence, _says(finding, verification)))),
        verification=verification,
    )


def _verdict(finding: Finding, verification: Verification) -> tuple[str, str]:
    """Verdict and severity.

    What may be natural, a look or a thing where objects stand, is low unless it is shown to be
    relied on or beyond doubt.
    """
    if finding.region == SURROUNDINGS:
        return ("confirmed", "high") if verification.rivals_own else ("suspect", "low")
    # Where objects stand, parts of drawn ones all but repeat.
    plain = finding.suspicion >= BEYOND_DOUBT or not _inside(finding)
    if _is_object(finding, verification):
        # What repeats exactly stays worth a look, unless it moves as objects do in all of a class.
        seldom = finding.extent is not None or finding.share < NEARLY_ALL
        worth = finding.severity != "low" and seldom and plain and not _looks_natural(finding)
        return "suspect", "medium" if worth else "low"
    if _relied_on(finding, verification) and _artificial(finding, verification):
        if _may_be_object(finding, verification):
            return "suspect", "medium"
        return "confirmed", "high"
    if _is_loose(finding) and verification.experiments:
        return "present" if verification.ruled_out else "suspect", "low"
    if verification.ruled_out:
        return "present", "medium" if plain and finding.severity == "high" else "low"
    natural = finding.kind == "property" or _inside(finding)
    if natural and verification.experiments and finding.suspicion < BEYOND_DOUBT:
        # Coarse pictures of one kind of object repeat, too, and anatomy does.
        return "suspect", "low"
    if finding.kind == "property" and verification.experiments and finding.severity == "high":
        return "suspect", "medium"
    return "suspect", finding.severity


def _relied_on(finding: Finding, verification: Verification) -> bool:
    """Whether experiments show that the model relies on it.

    A look that is taken away is held against one control only, so it has to work when given, too.
    """
    if finding.kind == "property":
        return any(made.holds and made.name == "paste" for made in verification.experiments)
    return verification.holds


def _weight(suspicion: float, severity: str) -> float:
    """What scores of a finding's images are multiplied by: suspicion, within what severity allows.

    So images of what experiments confirmed come before those of what only looks suspicious.
    """
    low, high = {"low": (0.0, MEDIUM), "medium": (MEDIUM, HIGH), "high": (HIGH, 1.0)}[severity]
    return float(np.clip(suspicion, low, high))


def _inside(finding: Finding) -> bool:
    """Whether it stands where objects do: at changing places, or in the middle of the frame.

    What changes its place along the border alone does not.
    """
    if finding.region == "centre":
        return True
    return finding.region == ANYWHERE and _at_border(finding.place) < KEEPS


def _at_border(place: np.ndarray) -> float:
    """Share of the places, (row, column), that lie along the border; 0 if there are none."""
    centres = cell_centres(np.arange(place.size), (place.shape[0], place.shape[1]))
    outer = np.minimum(centres, 1 - centres).min(axis=1) <= BORDER
    return float(place.ravel()[outer].sum() / max(place.sum(), 1e-9))


def _behaves(finding: Finding, verification: Verification) -> bool:
    """Whether it behaves like an addition, and could be one.

    What most of a class carries may be what the class looks like: the few images without it are
    then the odd ones. And pasting most of the frame pastes the object.
    """
    if finding.share >= COMMON or _may_be_part(finding, verification):
        return False
    if finding.region == ANYWHERE and verification.overturns:
        return True
    wide = finding.extent is not None and finding.extent.mean() >= WIDE and _inside(finding)
    return verification.behaves and not wide


def _may_be_part(finding: Finding, verification: Verification) -> bool:
    """Whether what does not repeat to the pixel may be a part of the object, whatever it says.

    It stands where objects do, and much of the class carries it, as close-ups of a blossom, or
    other parts of the class say a good deal, too, or images with it are no surer than the class's
    others and nothing of the class is left without it.
    """
    if not _looks_natural(finding) or not _inside(finding):
        return False
    surplus = verification.surplus
    adds_nothing = surplus is not None and surplus.adds_nothing
    return finding.share >= USUAL or adds_nothing or not verification.outdoes_own


def _is_object(finding: Finding, verification: Verification) -> bool:
    """Objects are inside, and so are some artifacts: these must come on top of the object.

    For what repeats exactly at one place the contrary has to be plain. Of an image whose background
    is filled nothing is left to compare.
    """
    surplus = verification.surplus
    if surplus is None or not verification.holds or _behaves(finding, verification):
        return False
    if finding.cells:
        return False
    if not _inside(finding):
        # What keeps to a spot may be the object as well, unless it repeats exactly.
        return _looks_natural(finding) and surplus.is_plainly_object
    stamped = finding.severity != "low" and not (finding.extent is None and _looks_natural(finding))
    return surplus.is_plainly_object if stamped else surplus.is_object


def _may_be_object(finding: Finding, verification: Verification) -> bool:
    """Whether nothing tells a thing inside from the class's object.

    Nearly all images of the class carry it, or the class's own parts do as much as it does. Colours
    of nearly all images may be the object's, too. Of a handful of images one cannot say whether it
    comes on top of the object, but what repeats exactly and turns most images over is none; nor can
    one where hardly any image lacks it, and objects may be exact copies.
    """
    if finding.kind == "property":
        return finding.share >= NEARLY_ALL
    if finding.cells:
        # Its pasted background may hold the object, as that of the class's other images does.
        return verification.decisive is None or verification.decisive.beyond_own < BEYOND_OWN
    seldom = finding.share < NEARLY_ALL
    stamped = seldom and verification.overturns and not _looks_natural(finding)
    told = verification.surplus is not None or stamped
    return _inside(finding) and (not told or verification.within_own)


def _artificial(finding: Finding, verification: Verification) -> bool:
    """Whether it looks enough like an artifact to be called a shortcut when the model relies on it.

    What does not repeat to the pixel may still behave like an artifact, and where objects stand it
    must.
    """
    doubtful = _looks_natural(finding) and _inside(finding)
    looks = finding.severity != "low" and not doubtful
    return looks or _behaves(finding, verification)


def _looks_natural(finding: Finding) -> bool:
    """Whether nothing repeats in it to the pixel; of a place, not of a look of the whole image."""
    whole = finding.kind == "property" or bool(finding.cells)
    return not whole and finding.parts.get("rigidity", 1.0) < EXACT


def _is_loose(finding: Finding) -> bool:
    """Whether few images share edges where objects stand, but nothing that can be laid on top.

    A petal before the sky has the same edge in many photos, as a sticker has, but now and then
    photos of other classes have it, too.
    """
    few = finding.numbers.get("repeating", FEWEST_PAIRS) < FEWEST_PAIRS and not finding.cells
    common = finding.parts.get("exclusivity", 1.0) < ALONE
    return few and common and not finding.exact and finding.region == ANYWHERE and _inside(finding)


def _hanging(score: np.ndarray, without: Mapping[int, float], records: Records) -> np.ndarray:
    """Scores that depend a little on how much each image's own label hangs on the thing."""
    if not without:
        return score
    images = np.array(list(without))
    fall = np.zeros(len(score))
    now = records.probabilities[images, records.outputs[images]]
    fall[images] = np.clip(now - np.array(list(without.values())), 0, 1)
    return np.asarray(score * (1 - HANGING * (1 - fall)))


def _says(finding: Finding, verification: Verification) -> str:
    """What the experiments showed, in a sentence or two."""
    said = [_outcome(finding, one) for one in verification.experiments if one.holds]
    if finding.region == SURROUNDINGS:
        if verification.rivals_own:
            said.append(
                "On other images it says more than two fifths of what its own middle does, and "
                "every side says it: the class is told by its background."
            )
    elif _is_object(finding, verification):
        said.append(
            f"Without it these images are less surely {finding.label} than other images of the "
            "class are, so it is part of what the class is recognised by, not an addition."
        )
    elif said and finding.severity == "low" and _behaves(finding, verification):
        said.append(
            f"With it the images are more surely {finding.label} than the class's others are: an "
            "addition does that, a part of the object does not."
        )
    elif said and not _artificial(finding, verification):
        said.append("So the model uses it, as it would use a true part of the class.")
    elif said and _may_be_object(finding, verification):
        said.append(
            "It cannot be told from the class's object: nearly all images of the class carry it, "
            "or other parts of them say as much."
        )
    if verification.ruled_out:
        said.append("The model does not react when it is added or taken away.")
    return " ".join(said)


def _outcome(finding: Finding, made: Experiment) -> str:
    odds = f"the odds of {finding.label} {_times(made.strongest.log_odds)}"
    changed = max(arm.flips for arm in made.arms)
    if made.name == "paste":
        given = "Given to" if finding.kind == "property" else "Pasted onto"
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
