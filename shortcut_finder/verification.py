"""Verification: what a finding is worth to the model, by experiments with matched controls.

Maps propose; here the thing is pasted onto images that lack it and masked in images that have it.
Only images that the finding was not found on take part, and every treatment is held against
controls on the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from shortcut_finder.errors import UnreadableImage
from shortcut_finder.experiments import (
    FEWEST_PAIRS,
    FLOOR,
    Answers,
    Arm,
    Experiment,
    Shot,
    Surplus,
    Verification,
    answers_for,
    controlled,
    masked_arm,
    pasted_arm,
    surplus_of,
)
from shortcut_finder.findings import Finding, Scene
from shortcut_finder.interventions import (
    blurred,
    box_mask,
    cells_mask,
    control_region,
    diffused,
    paste,
    shift_anywhere,
    shift_to,
    with_border_of,
    with_colours_of,
    with_sharpness_of,
)
from shortcut_finder.records import Records
from shortcut_finder.regions import CORNERS, EDGES
from shortcut_finder.texts import percent

# Images treated in an experiment; many more would cost more than a quarter of the sweep.
PAIRS = 28
# A paste from fewer different members would be an anecdote about one of them.
FEWEST_DONORS = 4
# An experiment ends with the first control that the treatment does not beat at this p.
HOPELESS = 0.05
# Pictures kept of an experiment, and images whose own dependence is measured, a finding.
SHOTS, MEASURED = 3, 60
# Part of the score of an image that depends on how much its label hangs on the thing.
HANGING = 0.1
# Suspicion from which a look of the whole image is beyond what natural classes show.
BEYOND_NATURE = 0.3
# Images a forward pass.
BATCH = 32

Predict = Callable[[np.ndarray], np.ndarray]
Look = Callable[[np.ndarray, np.ndarray], np.ndarray]

# How an image is given another's look, by family of properties; what is not here does not show in
# the pixels that the model sees.
LOOKS: Mapping[str, Look] = {
    **dict.fromkeys(("colour range", "colour", "brightness"), with_colours_of),
    **dict.fromkeys(("sharpness", "texture"), with_sharpness_of),
    **dict.fromkeys(("border", "corner light"), with_border_of),
}


def verify(
    findings: Sequence[Finding],
    scene: Scene,
    tested: np.ndarray,
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
        tested: images that no finding was found on, (image,) of bool.
        predict: logits, (image, output), of pixels, uint8 (image, row, column, channel).
        batch: images a forward pass.
        seed: for who takes part, and for random places.
        progress: show a bar on stderr.
    """
    lab = _Lab(scene, predict, batch or BATCH)
    made: list[Verification] = []
    bar = tqdm(findings, desc="verify", unit=" findings", disable=not progress)
    for number, finding in enumerate(bar):
        rng = np.random.default_rng([seed, 3, number])
        made.append(_verified(finding, _cast(finding, lab, tested, rng), lab, rng))
    rates = controlled([one.experiments for one in made])
    return [
        _decided(finding, replace(one, experiments=experiments), scene.records)
        for finding, one, experiments in zip(findings, made, rates, strict=True)
    ]


class _Lab:
    """The model and the images, ready for interventions."""

    def __init__(self, scene: Scene, predict: Predict, batch: int) -> None:
        self.scene = scene
        self.records = scene.records
        self._predict = predict
        self._batch = batch
        self._seen: dict[int, np.ndarray | None] = {}

    def pixels(self, image: int) -> np.ndarray:
        """The model's input; of images that `readable` let through."""
        pixels = self._look_up(image)
        assert pixels is not None
        return pixels

    def _look_up(self, image: int) -> np.ndarray | None:
        if image not in self._seen:
            try:
                picture = self.scene.read(image)
                self._seen[image] = self.scene.preprocessing.pixels(picture)
            except UnreadableImage:
                self._seen[image] = None
        return self._seen[image]

    def readable(self, images: Iterable[int], count: int) -> np.ndarray:
        """The first so many images that can still be read."""
        found: list[int] = []
        for image in map(int, images):
            if len(found) == count:
                break
            if self._look_up(image) is not None:
                found.append(image)
        return np.array(found, dtype=np.int64)

    def forget(self) -> None:
        """Let go of the pixels; they are read again where they are needed again."""
        self._seen.clear()

    def now(self, images: np.ndarray, output: int) -> Answers:
        """What the model says of the images as they are."""
        return answers_for(self.records.logits[images], output)

    def answers(self, images: Iterable[np.ndarray], output: int) -> Answers:
        """What the model says of these pixels."""
        stack = np.stack(list(images))
        parts = [
            self._predict(stack[start : start + self._batch])
            for start in range(0, len(stack), self._batch)
        ]
        return answers_for(np.concatenate(parts), output)

    def hottest(self, image: int) -> tuple[float, float]:
        """The hottest place of the label's class map, as fractions x, y of the input."""
        heat = self.records.maps[image]
        row, column = np.unravel_index(int(heat.argmax()), heat.shape)
        return (column + 0.5) / heat.shape[1], (row + 0.5) / heat.shape[0]


@dataclass(frozen=True, eq=False)
class _Cast:
    """Who takes part in the experiments of a finding, by number of the image.

    Attributes:
        output: of the model, that stands for the finding's label.
        members: images of the class that carry the thing, surest first.
        plain: images without it, of the class where there are enough.
        others: all tested images of the class without it.
        strangers: images of other classes without it, not taken for the class where there are
            enough.
        hot: an image of another class for each stranger, of a third class where there is one.
    """

    output: int
    members: np.ndarray
    plain: np.ndarray
    others: np.ndarray
    strangers: np.ndarray
    hot: np.ndarray


def _cast(finding: Finding, lab: _Lab, tested: np.ndarray, rng: np.random.Generator) -> _Cast:
    records = lab.records
    own = records.labels == finding.number
    output = int(records.outputs[own][0])
    members = np.flatnonzero(tested & own & finding.carries)
    members = members[np.argsort(-finding.score[members], kind="stable")]
    plain = np.flatnonzero(own & ~finding.carries)
    if len(plain) < FEWEST_DONORS:
        plain = np.flatnonzero(~own & ~finding.carries)
    chosen = records.logits.argmax(axis=1) == output
    others = rng.permutation(np.flatnonzero(tested & ~own & ~finding.carries))
    others = others[np.argsort(chosen[others], kind="stable")]
    strangers = lab.readable(others, PAIRS)
    pool = lab.readable(others[~np.isin(others, strangers)], PAIRS)
    return _Cast(
        output=output,
        members=lab.readable(members, PAIRS),
        plain=lab.readable(rng.permutation(plain), PAIRS),
        others=np.flatnonzero(tested & own & ~finding.carries),
        strangers=strangers,
        hot=_of_third_classes(strangers, pool if len(pool) else strangers, records.labels),
    )


def _of_third_classes(images: np.ndarray, pool: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each image one of the pool, of another class than its own where the pool has one."""
    chosen = []
    for number, image in enumerate(images):
        turned = np.roll(pool, -number)
        other = turned[labels[turned] != labels[image]]
        chosen.append(int((other if len(other) else turned)[0]))
    return np.array(chosen, dtype=np.int64)


def _verified(finding: Finding, cast: _Cast, lab: _Lab, rng: np.random.Generator) -> Verification:
    """The experiments that can be made of a finding."""
    diffuse = finding.kind == "property"
    if finding.kind == "metadata":
        return Verification("a column of the metadata can be neither pasted nor masked")
    if diffuse and finding.region not in LOOKS:
        return Verification("it does not show in the pixels that the model sees")
    if len(cast.members) < FEWEST_DONORS:
        return Verification(
            f"no power: {len(cast.members)} tested images carry it, {FEWEST_DONORS} are needed"
        )
    notes = [
        f"no power to {what}: {len(images)} tested images, {FEWEST_PAIRS} are needed"
        for what, images in (("paste", cast.strangers), ("mask", cast.members))
        if len(images) < FEWEST_PAIRS
    ]
    trials = _looks(finding, cast, lab) if diffuse else _regions(finding, cast, lab, rng)
    made: list[tuple[Experiment, tuple[Shot, ...]]] = []
    for trial in trials:
        # What looks natural and cannot be pasted is not worth masking.
        idle = finding.severity == "low" and not diffuse and made and not made[0][0].beats_all
        if len(trial.images) >= FEWEST_PAIRS and not idle:
            made.append(_made(trial, cast.output, lab))
    without: dict[int, float] = {}
    surplus: Surplus | None = None
    promising = any(experiment.beats_all for experiment, _ in made)
    if not diffuse and (finding.severity != "low" or promising):
        without, surplus = _without(finding, cast, lab)
    lab.forget()
    return Verification(
        "; ".join(notes),
        tuple(experiment for experiment, _ in made),
        tuple(shot for _, shots in made for shot in shots),
        without,
        surplus,
    )


@dataclass(frozen=True, eq=False)
class _Trial:
    """A treatment of some images, and what it is held against.

    Attributes:
        name: of the experiment.
        place: where the treatment is made.
        images: numbers of the treated images.
        arm: how an arm is made of the answers to treatment and control.
        compared: for each control its name and the pixels of treated and control images; made one
            after the other, since an experiment may end early.
    """

    name: str
    place: str
    images: np.ndarray
    arm: Callable[[str, Answers, Answers, Answers], Arm]
    compared: Iterator[tuple[str, list[np.ndarray], list[np.ndarray]]]


def _made(trial: _Trial, output: int, lab: _Lab) -> tuple[Experiment, tuple[Shot, ...]]:
    """Make an experiment, up to the first control that the treatment does not beat."""
    before = lab.now(trial.images, output)
    arms: list[Arm] = []
    seen: list[tuple[list[np.ndarray], Answers, list[np.ndarray], Answers]] = []
    for name, treated, control in trial.compared:
        # Pastes are compared with one control after another: the model need not look again.
        again = bool(seen) and seen[-1][0] is treated
        answer = seen[-1][1] if again else lab.answers(treated, output)
        against = lab.answers(control, output)
        seen.append((treated, answer, control, against))
        arms.append(trial.arm(name, answer, against, before))
        if arms[-1].p > HOPELESS or arms[-1].high < FLOOR:
            break
    weakest = int(np.argmin([arm.effect for arm in arms]))
    treated, answer, control, against = seen[weakest]
    experiment = Experiment(
        name=trial.name,
        place=trial.place,
        pairs=len(trial.images),
        before=float(before.probability.mean()),
        after=float(answer.probability.mean()),
        flips=float((answer.chosen != before.chosen).mean()),
        arms=tuple(arms),
    )
    title = f"{trial.name} {trial.place}".strip()
    shots = [
        Shot(title, int(image), arm, float(found.probability[number]), pixels)
        for number, image in enumerate(trial.images[:SHOTS])
        for arm, found, pixels in (
            ("before", before, lab.pixels(int(image))),
            ("after", answer, treated[number]),
            (arms[weakest].name, against, control[number]),
        )
    ]
    return experiment, tuple(shots)


# Things that stand somewhere: paste and mask


def _regions(finding: Finding, cast: _Cast, lab: _Lab, rng: np.random.Generator) -> list[_Trial]:
    masks = {int(image): _mask(finding, int(image), lab) for image in cast.members}
    return [_paste(cast, masks, finding.extent is not None, lab, rng), _masking(cast, masks, lab)]


def _mask(finding: Finding, image: int, lab: _Lab) -> np.ndarray:
    """The pixels of the model's input that the thing covers in an image."""
    size = lab.scene.preprocessing
    if finding.extent is not None:
        return cells_mask(finding.extent, size.height, size.width)
    return box_mask(finding.boxes(image), size.height, size.width)


def _paste(
    cast: _Cast,
    masks: Mapping[int, np.ndarray],
    fixed: bool,
    lab: _Lab,
    rng: np.random.Generator,
) -> _Trial:
    """Members' regions on strangers: at their place, or anywhere for a thing at any place."""
    count = len(cast.strangers)
    donors, plain = np.resize(cast.members, count), np.resize(cast.plain, count)
    regions = [masks[int(donor)] for donor in donors]
    shifts = [(0, 0) if fixed else shift_anywhere(region, rng) for region in regions]

    def pasted(sources: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [
            paste(lab.pixels(int(image)), source, region, shift)
            for image, source, region, shift in zip(
                cast.strangers, sources, regions, shifts, strict=True
            )
        ]

    def hot(image: int, region: np.ndarray) -> np.ndarray:
        there = shift_to(region, *lab.hottest(image))
        return np.roll(lab.pixels(image), there, axis=(0, 1))

    def compared() -> Iterator[tuple[str, list[np.ndarray], list[np.ndarray]]]:
        treated = pasted([lab.pixels(int(donor)) for donor in donors])
        yield "same place of a non-member", treated, pasted([lab.pixels(int(n)) for n in plain])
        patches = [hot(int(n), region) for n, region in zip(cast.hot, regions, strict=True)]
        yield "hot patch of another class", treated, pasted(patches)
        grey = np.array(lab.scene.preprocessing.mean) * 255
        flat = np.broadcast_to(np.rint(grey).astype(np.uint8), patches[0].shape)
        yield "flat colour", treated, pasted([flat] * count)

    place = "same place" if fixed else "random places"
    return _Trial("paste", place, cast.strangers, pasted_arm, compared())


def _masking(cast: _Cast, masks: Mapping[int, np.ndarray], lab: _Lab) -> _Trial:
    """The thing filled in members, against a region like it in the same image."""
    controls = {image: control_region(lab.pixels(image), region) for image, region in masks.items()}
    images = np.array([n for n, control in controls.items() if control is not None], np.int64)
    swapped = dict(zip(images.tolist(), np.resize(cast.plain, len(images)).tolist(), strict=True))
    fills: dict[str, Callable[[int, np.ndarray], np.ndarray]] = {
        "blur": lambda n, region: blurred(lab.pixels(n), region),
        "same place of a non-member": lambda n, region: paste(
            lab.pixels(n), lab.pixels(swapped[n]), region
        ),
        "diffusion": lambda n, region: diffused(lab.pixels(n), region),
    }

    def compared() -> Iterator[tuple[str, list[np.ndarray], list[np.ndarray]]]:
        for name, fill in fills.items():
            treated = [fill(int(n), masks[int(n)]) for n in images]
            control = [
                fill(int(n), region) for n in images if (region := controls[int(n)]) is not None
            ]
            yield name, treated, control

    return _Trial("mask", "same place", images, masked_arm, compared())


# Diffuse things: neutralise, and impose on others


def _looks(finding: Finding, cast: _Cast, lab: _Lab) -> list[_Trial]:
    """The property taken from members and given to strangers, against swaps that keep it."""
    look = LOOKS[finding.region]

    def given(images: np.ndarray, donors: np.ndarray) -> list[np.ndarray]:
        return [
            look(lab.pixels(int(image)), lab.pixels(int(donor)))
            for image, donor in zip(images, np.resize(donors, len(images)), strict=True)
        ]

    def neutralised() -> Iterator[tuple[str, list[np.ndarray], list[np.ndarray]]]:
        treated = given(cast.members, cast.plain)
        yield "look of another member", treated, given(cast.members, np.roll(cast.members, 1))

    def imposed() -> Iterator[tuple[str, list[np.ndarray], list[np.ndarray]]]:
        treated = given(cast.strangers, cast.members)
        yield "look of a non-member", treated, given(cast.strangers, cast.plain)
        yield "look of another class", treated, given(cast.strangers, cast.hot)

    return [
        _Trial("paste", "", cast.strangers, pasted_arm, imposed()),
        _Trial("neutralise", "", cast.members, masked_arm, neutralised()),
    ]


def _without(finding: Finding, cast: _Cast, lab: _Lab) -> tuple[dict[int, float], Surplus | None]:
    """What the label would be with the thing filled: of the tested members, then of the surest.

    Returns:
        Probability of the label by number of the image, and what the tested members' fall says.
    """
    carriers = np.flatnonzero(finding.carries & (lab.records.labels == finding.number))
    carriers = carriers[np.argsort(-finding.score[carriers], kind="stable")]
    rest = carriers[~np.isin(carriers, cast.members)]
    images = np.append(cast.members, lab.readable(rest, MEASURED - len(cast.members)))
    filled = (diffused(lab.pixels(int(n)), _mask(finding, int(n), lab)) for n in images)
    answers = lab.answers(filled, cast.output)
    surplus = surplus_of(
        lab.now(cast.members, cast.output).log_odds,
        answers.log_odds[: len(cast.members)],
        lab.now(cast.others, cast.output).log_odds,
    )
    return dict(zip(images.tolist(), answers.probability.tolist(), strict=True)), surplus


# The verdict


def _decided(finding: Finding, verification: Verification, records: Records) -> Finding:
    """Confirmed when the model relies on what looks like an artifact; reliance is kept apart."""
    severity, verdict = finding.severity, "suspect"
    if _is_object(finding, verification):
        severity = "low"
    elif verification.holds and _artificial(finding, verification):
        severity, verdict = "high", "confirmed"
        if _may_be_object(finding, verification):
            severity, verdict = "medium", "suspect"
    elif verification.ruled_out:
        severity, verdict = {"high": "medium"}.get(severity, "low"), "present"
    best = verification.decisive
    arm = None if best is None else best.strongest
    return replace(
        finding,
        verdict=verdict,
        severity=severity,
        score=_hanging(finding.score, verification.without, records),
        reliance=finding.reliance if arm is None else (arm.effect, arm.low, arm.high),
        sentence=" ".join(filter(None, (finding.sentence, _says(finding, verification)))),
        verification=verification,
    )


def _is_object(finding: Finding, verification: Verification) -> bool:
    """Objects move about, and so do some artifacts: these must come on top of the object."""
    surplus = verification.surplus
    return finding.extent is None and surplus is not None and surplus.is_object


def _may_be_object(finding: Finding, verification: Verification) -> bool:
    """Whether nothing is there to tell a thing at changing places from the class's object."""
    moves = finding.extent is None and finding.kind != "property"
    return moves and verification.surplus is None


def _artificial(finding: Finding, verification: Verification) -> bool:
    """Whether it looks enough like an artifact to be called a shortcut when the model relies on it.

    A look of the whole image that goes beyond nature is seldom striking. And what does not repeat
    to the pixel may still stand at one place of the border, on top of what the class is known by.
    """
    if finding.kind == "property":
        return finding.suspicion >= BEYOND_NATURE
    surplus = verification.surplus
    at_border = finding.extent is not None and finding.region in (*CORNERS, *EDGES, "frame")
    added = at_border and surplus is not None and surplus.is_added
    return finding.severity != "low" or added


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
    if _is_object(finding, verification):
        said.append(
            f"Without it these images are less surely {finding.label} than other images of the "
            "class are, so it is part of what the class is recognised by, not an addition."
        )
    elif said and not _artificial(finding, verification):
        said.append("So the model uses it, as it would use a true part of the class.")
    elif said and _may_be_object(finding, verification):
        said.append(
            "Nearly all images of the class carry it, so it cannot be told from the class's object."
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
