"""Trials: a treatment of some images, held against controls one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from typing import overload

import numpy as np

from shortcut_finder.stats.experiments import (
    EARLY_CONFIDENCE,
    EARLY_PAIRS,
    FLOOR,
    Answers,
    Arm,
    Experiment,
    Shot,
    between,
)
from shortcut_finder.sweep.lab import Lab

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
