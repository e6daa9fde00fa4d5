"""Trials: a treatment of some images, and the controls that it is held against.

A thing that stands somewhere is pasted and masked; a look of the whole image is given and taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from itertools import islice
from typing import overload

import numpy as np

from shortcut_finder.data.regions import SURROUNDINGS, surroundings
from shortcut_finder.detect.finding import Finding
from shortcut_finder.stats.experiments import (
    EARLY_CONFIDENCE,
    EARLY_PAIRS,
    FLOOR,
    Answers,
    Arm,
    Experiment,
    Shot,
    between,
    masked_arm,
    pasted_arm,
)
from shortcut_finder.sweep.lab import Lab
from shortcut_finder.verify.cast import PAIRS, Cast
from shortcut_finder.verify.interventions import (
    blurred,
    box_mask,
    cells_mask,
    control_region,
    diffused,
    has_control,
    paste,
    shift_anywhere,
    shift_to,
    with_border_of,
    with_colours_of,
    with_sharpness_of,
)

# An experiment ends with the first control that the treatment does not beat at this p.
HOPELESS = 0.05
# Pictures kept of an experiment.
SHOTS = 3
# What a thing is held against beside its controls, to tell it from the class's true parts.
OWN = "hottest part of the class itself"
OWN_MIDDLE = "a third of what the middle of the same images says"
# In 35 classes of flowers and aligned objects surroundings say up to .28 of what the middle does,
# .21 at the low end of its interval; in six actions, each at its kind of place, .31 to .68.
MUCH = 1 / 3
# Part of that from which a few images say that more are worth their price.
HOPEFUL = 0.75

Look = Callable[[np.ndarray, np.ndarray], np.ndarray]
Fill = Callable[[int, np.ndarray], np.ndarray]


class Pictures(Sequence[np.ndarray]):
    """Pictures of an experiment, each made when it is first asked for: most end early.

    Args:
        make: of the number of a picture, from 0.
        count: how many there are.
    """

    def __init__(self, make: Callable[[int], np.ndarray], count: int) -> None:
        self._make, self._made = make, list[np.ndarray | None]([None] * count)

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, place: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, place: slice) -> list[np.ndarray]: ...

    def __getitem__(self, place: int | slice) -> np.ndarray | list[np.ndarray]:
        """One of them, or some."""
        if isinstance(place, slice):
            return [self[number] for number in range(len(self))[place]]
        number = range(len(self))[place]
        made = self._made[number]
        if made is None:
            made = self._made[number] = self._make(number)
        return made


Compared = Iterator[tuple[str, Pictures, Pictures]]

# How an image is given another's look, by family of properties; what is not here does not show in
# the pixels that the model sees.
LOOKS: Mapping[str, Look] = {
    **dict.fromkeys(("colour range", "colour", "brightness"), with_colours_of),
    **dict.fromkeys(("sharpness", "texture"), with_sharpness_of),
    **dict.fromkeys(("border", "corner light"), with_border_of),
}


@dataclass(frozen=True, eq=False)
class Trial:
    """A treatment of some images, and what it is held against.

    Attributes:
        name: of the experiment.
        place: where the treatment is made.
        images: numbers of the treated images.
        arm: how an arm is made of the answers to treatment and control.
        compared: for each control its name and the pixels of treated and control images; made one
            after the other, since an experiment may end early. `OWN` or `OWN_MIDDLE`, never first,
            is what the class itself says.
    """

    name: str
    place: str
    images: np.ndarray
    arm: Callable[..., Arm]
    compared: Compared


@dataclass(frozen=True, eq=False)
class Made:
    """A trial that was made.

    Attributes:
        experiment: what it showed.
        shots: pictures of it.
        first: what the model says of the treated images, treated as for the first control.
    """

    experiment: Experiment
    shots: tuple[Shot, ...]
    first: Answers


def made_of(trial: Trial, output: int, lab: Lab, *, controls: int | None = None) -> Made:
    """Make an experiment, up to the first control that the treatment does not beat.

    Args:
        trial: what is treated, and how.
        output: of the model, that stands for the label.
        lab: the model and the images.
        controls: at most so many; all if None.
    """
    before = lab.now(trial.images, output)
    arms: list[Arm] = []
    own: Arm | None = None
    seen: list[_Seen] = []
    for name, treated, control in islice(trial.compared, controls):
        if not seen:
            one = _seen_first(name, treated, control, before, trial, output, lab)
        else:
            # Pastes are compared with one control after another: the model need not look again.
            again = seen[-1].treated is treated
            answer = seen[-1].answer if again else lab.answers(treated, output)
            one = _Seen(treated, answer, control, lab.answers(control, output))
        before = before.first(len(one.answer.log_odds))
        against = one.against
        if name == OWN_MIDDLE:
            against = between(seen[0].against, against, MUCH)
        arm = trial.arm(name, one.answer, against, before)
        if name in (OWN, OWN_MIDDLE):
            own = arm
        else:
            seen.append(one)
            arms.append(arm)
        if arm.p > HOPELESS or arm.high < FLOOR:
            break
    weakest = int(np.argmin([arm.effect for arm in arms]))
    shown = seen[weakest]
    experiment = Experiment(
        name=trial.name,
        place=trial.place,
        pairs=len(before.log_odds),
        before=float(before.probability.mean()),
        after=float(shown.answer.probability.mean()),
        flips=float((shown.answer.chosen != before.chosen).mean()),
        arms=tuple(arms),
        own=own,
    )
    return Made(experiment, _shots(trial, before, shown, arms[weakest].name, lab), seen[0].answer)


@dataclass(frozen=True, eq=False)
class _Seen:
    """Images of a treatment and of a control, and what the model says of them."""

    treated: Sequence[np.ndarray]
    answer: Answers
    control: Sequence[np.ndarray]
    against: Answers


def _seen_first(
    name: str,
    treated: Pictures,
    control: Pictures,
    before: Answers,
    trial: Trial,
    output: int,
    lab: Lab,
) -> _Seen:
    """The first control; no more images than it takes to rule an effect out."""
    parts: list[tuple[Answers, Answers]] = []
    for start in range(0, len(treated), EARLY_PAIRS):
        some = slice(start, start + EARLY_PAIRS)
        parts.append((lab.answers(treated[some], output), lab.answers(control[some], output)))
        answer, against = (reduce(Answers.and_of, said) for said in zip(*parts, strict=True))
        count = len(answer.log_odds)
        arm = trial.arm(name, answer, against, before.first(count), EARLY_CONFIDENCE)
        if arm.high < FLOOR:
            return _Seen(treated[:count], answer, control[:count], against)
    return _Seen(treated, answer, control, against)


def _shots(trial: Trial, before: Answers, shown: _Seen, control: str, lab: Lab) -> tuple[Shot, ...]:
    """Pictures of the first images, as they are, treated and under a control."""
    title = f"{trial.name} {trial.place}".strip()
    return tuple(
        Shot(title, int(image), arm, float(found.probability[number]), pixels)
        for number, image in enumerate(trial.images[:SHOTS])
        for arm, found, pixels in (
            ("before", before, lab.pixels(int(image))),
            ("after", shown.answer, shown.treated[number]),
            (control, shown.against, shown.control[number]),
        )
    )


# Things that stand somewhere: paste and mask


def place_trials(
    finding: Finding, cast: Cast, lab: Lab, rng: np.random.Generator
) -> Iterator[Trial]:
    """Paste, then mask, for a thing that stands somewhere; each prepared when it is asked for."""
    masks = {int(image): mask_of(finding, int(image), lab) for image in cast.members}
    yield _paste(cast, masks, finding.place.covers is not None, finding.number, lab, rng)
    yield _masking(cast, masks, lab)


def mask_of(finding: Finding, image: int, lab: Lab) -> np.ndarray:
    """The pixels of the model's input that the thing covers in an image."""
    size = lab.scene.preprocessing
    if finding.place.region == SURROUNDINGS:
        return surroundings(size.height, size.width)
    if finding.place.covers is not None and not finding.place.exact:
        return cells_mask(finding.place.covers, size.height, size.width)
    return box_mask(finding.place.boxes(image), size.height, size.width)


def without_it(finding: Finding, image: int, cast: Cast, lab: Lab) -> np.ndarray:
    """An image with the thing filled.

    To fill a background from the edge of the middle would draw it again, so it is a stranger's.
    """
    pixels, mask = lab.pixels(image), mask_of(finding, image, lab)
    if finding.place.region == SURROUNDINGS:
        return paste(pixels, lab.pixels(int(cast.strangers[image % len(cast.strangers)])), mask)
    return diffused(pixels, mask)


def _paste(
    cast: Cast,
    masks: Mapping[int, np.ndarray],
    fixed: bool,
    label: int,
    lab: Lab,
    rng: np.random.Generator,
) -> Trial:
    """Members' regions on strangers: at their place, or anywhere for a thing at any place."""
    count = len(cast.strangers)
    donors, plain = np.resize(cast.members, count), np.resize(cast.plain, count)
    regions = [masks[int(donor)] for donor in donors]
    shifts = [(0, 0) if fixed else shift_anywhere(region, rng) for region in regions]

    def pasted(source: Callable[[int], np.ndarray]) -> Pictures:
        def made(n: int) -> np.ndarray:
            return paste(lab.pixels(int(cast.strangers[n])), source(n), regions[n], shifts[n])

        return Pictures(made, count)

    def hottest(images: np.ndarray, of: int | None = None) -> Callable[[int], np.ndarray]:
        def made(n: int) -> np.ndarray:
            shift = shift_to(regions[n], *lab.hottest(int(images[n]), of))
            return np.roll(lab.pixels(int(images[n])), shift, axis=(0, 1))

        return made

    def compared() -> Compared:
        treated = pasted(lambda n: lab.pixels(int(donors[n])))
        yield "same place of a non-member", treated, pasted(lambda n: lab.pixels(int(plain[n])))
        yield "hot patch of another class", treated, pasted(hottest(cast.hot))
        grey = np.array(lab.scene.preprocessing.mean) * 255
        flat = np.broadcast_to(np.rint(grey).astype(np.uint8), treated[0].shape)
        yield "flat colour", treated, pasted(lambda _: flat)
        if cast.contrasted:
            yield OWN, treated, pasted(hottest(plain, label))

    place = "same place" if fixed else "random places"
    return Trial("paste", place, cast.strangers, pasted_arm, compared())


def _masking(cast: Cast, masks: Mapping[int, np.ndarray], lab: Lab) -> Trial:
    """The thing filled in members, against a region like it in the same image."""
    images = np.array([n for n, mask in masks.items() if has_control(mask)], np.int64)
    swapped = dict(zip(images.tolist(), np.resize(cast.plain, len(images)).tolist(), strict=True))
    # Diffusion comes first: what images are without the thing is asked again.
    fills: dict[str, Fill] = {
        "diffusion": lambda n, region: diffused(lab.pixels(n), region),
        "blur": lambda n, region: blurred(lab.pixels(n), region),
        "same place of a non-member": lambda n, region: paste(
            lab.pixels(n), lab.pixels(swapped[n]), region
        ),
    }

    @cache
    def control_of(image: int) -> np.ndarray:
        region = control_region(lab.pixels(image), masks[image])
        assert region is not None
        return region

    def filled(fill: Fill, region_of: Callable[[int], np.ndarray]) -> Pictures:
        return Pictures(lambda n: fill(int(images[n]), region_of(int(images[n]))), len(images))

    def compared() -> Compared:
        for name, fill in fills.items():
            yield name, filled(fill, masks.__getitem__), filled(fill, control_of)

    return Trial("mask", "same place", images, masked_arm, compared())


# Backgrounds: exchange what surrounds the middle of the frame


def surroundings_trials(finding: Finding, cast: Cast, lab: Lab) -> Iterator[Trial]:
    """Surroundings of members on strangers, and those of strangers on members.

    The first is held against a part of what the middle of the same members says beyond the first
    control, too.
    A background says something from every side; of an object that sticks out of the middle, or
    stands in a corner, one half of the surroundings holds nothing: with that half exchanged for
    another class's, the rest says as much as before.
    """
    around = mask_of(finding, int(cast.members[0]), lab)
    donors = np.resize(cast.members, len(cast.strangers))
    few = cast.few(PAIRS)

    def exchanged() -> Compared:
        others = np.resize(few.strangers, len(few.members))
        treated = _given(few.members, others, around, lab)
        kept = _given(few.members, np.roll(few.members, 1), around, lab)
        yield "surroundings of another member", treated, kept

    def compared() -> Compared:
        treated = _given(cast.strangers, donors, around, lab)
        strange = _given(cast.strangers, cast.hot, around, lab)
        yield "surroundings of another class", treated, strange
        yield OWN_MIDDLE, treated, _given(cast.strangers, donors, ~around, lab)
        for side, half in _halves(around).items():

            def without_half(n: int, half: np.ndarray = half) -> np.ndarray:
                return paste(treated[n], lab.pixels(int(cast.hot[n])), half)

            control = Pictures(without_half, len(treated))
            yield f"the same, {side} half of another class", treated, control

    yield Trial("paste", "same place", cast.strangers, pasted_arm, compared())
    yield Trial("neutralise", "", few.members, masked_arm, exchanged())


def _given(images: np.ndarray, sources: np.ndarray, region: np.ndarray, lab: Lab) -> Pictures:
    """Images with a region of others, one of these for each."""
    return Pictures(
        lambda n: paste(lab.pixels(int(images[n])), lab.pixels(int(sources[n])), region),
        len(images),
    )


def worth_exchanging(finding: Finding, cast: Cast, lab: Lab) -> bool:
    """Whether surroundings say most of what they must, beside the middle; on a few images."""
    around = mask_of(finding, int(cast.members[0]), lab)
    donors = np.resize(cast.members, len(cast.strangers))
    said, control, middle = (
        lab.answers(_given(cast.strangers, sources, region, lab), cast.output).log_odds
        for sources, region in ((donors, around), (cast.hot, around), (donors, ~around))
    )
    return bool((said - control).mean() > HOPEFUL * MUCH * (middle - control).mean())


def _halves(mask: np.ndarray) -> dict[str, np.ndarray]:
    """The parts of a region in each half of the frame, by name of the half."""
    height, width = mask.shape
    parts = {side: np.zeros_like(mask) for side in ("top", "bottom", "left", "right")}
    parts["top"][: height // 2] = parts["left"][:, : width // 2] = True
    parts["bottom"][height // 2 :] = parts["right"][:, width // 2 :] = True
    return {side: part & mask for side, part in parts.items()}


# Diffuse things: neutralise, and impose on others


def look_trials(finding: Finding, cast: Cast, lab: Lab) -> Iterator[Trial]:
    """The property taken from members and given to strangers, against swaps that keep it."""
    look = LOOKS[finding.place.region]

    def given(images: np.ndarray, donors: np.ndarray) -> Pictures:
        donors = np.resize(donors, len(images))
        return Pictures(
            lambda n: look(lab.pixels(int(images[n])), lab.pixels(int(donors[n]))), len(images)
        )

    def neutralised() -> Compared:
        treated = given(cast.members, cast.plain)
        yield "look of another member", treated, given(cast.members, np.roll(cast.members, 1))

    def imposed() -> Compared:
        treated = given(cast.strangers, cast.members)
        yield "look of a non-member", treated, given(cast.strangers, cast.plain)
        yield "look of another class", treated, given(cast.strangers, cast.hot)

    yield Trial("paste", "", cast.strangers, pasted_arm, imposed())
    yield Trial("neutralise", "", cast.members, masked_arm, neutralised())
