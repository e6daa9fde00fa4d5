"""Associations: properties of the whole image that tell the label where no map can show why.

Roses are redder than daisies, so a difference of the means says nothing. What was done to the
whole of a picture differs from what is in it in two ways. It moves traits that most pictures share
whatever they show: where the colours end, how sharp the strongest edges are, how much noise the
quietest part has. And it sets images apart, where natural classes overlap.

Each family of traits is learned on one half of the images and tested on the other, one class
against the rest: all traits together, and one trait alone where a gap sets images apart. An
association counts as far as it goes beyond what natural classes reach.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from shortcut_finder.data.membership import having, lacking, occurring, two_classes
from shortcut_finder.detect.families import FAMILIES, natural_distance, traits_of
from shortcut_finder.detect.natural import (
    FEWEST,
    OUTER,
    doubted,
    excess_of,
    precedence_p,
    share_beyond,
)

# Parts that a class's values of a trait are cut into; more would learn single images.
BINS = 8
# Images' worth of doubt in what a class has in a bin.
PRIOR = 10
# Shares of the other classes' images that may look like a member.
STRANGERS = (0.005, 0.02, 0.05, 0.1, 0.2)
# Parts of a class that a cut-off may lie between.
STEPS = 40
# Of more images of the other classes, every second or third... chooses the cut-offs.
HELD_AGAINST = 10_000


@dataclass(frozen=True)
class Shift:
    """How a trait of the members differs.

    Attributes:
        trait: name of the property.
        members: its median in the members.
        others: its median in all other images.
    """

    trait: str
    members: float
    others: float


@dataclass(frozen=True, eq=False)
class Association:
    """A look of the whole image that one class has and the others have not.

    Attributes:
        label: index of the class.
        family: name of the traits, one of `FAMILIES`.
        share: of the class that has it, on the tested half.
        elsewhere: the same for all other classes.
        excess: by how much the share passes what natural classes reach, of what is left, at most 1.
        p: exact, one-sided.
        q: false discovery rate over all classes, families and cut-offs.
        carries: which images of the whole dataset have it, (image,) of bool.
        margin: log-odds beyond the cut-off, (image,).
    """

    label: int
    family: str
    share: float
    elsewhere: float
    excess: float
    p: float
    q: float
    carries: np.ndarray
    margin: np.ndarray

    @property
    def made(self) -> bool:
        """Whether the making of a picture decides it."""
        return FAMILIES[self.family].made


@dataclass(frozen=True, eq=False)
class _Halves:
    """Images by half, each (image,) of bool.

    Attributes:
        first: all images of the half that looks are learned on.
        learned: those of it that count, one of each group that stays together.
        tested: those of the other half that count.
    """

    first: np.ndarray
    learned: np.ndarray
    tested: np.ndarray

    def of(self, images: np.ndarray) -> _Halves:
        """The same of some images, (image,) of bool."""
        return _Halves(self.first[images], self.learned[images], self.tested[images])


@dataclass(frozen=True, eq=False)
class _Asked:
    """Whether a family of traits tells a class.

    Attributes:
        traits: of the images that are known to have the class or not, (image, trait).
        own: which of them have it, (image,) of bool.
        halves: the same images by half.
        label: index of the class.
        family: name of the traits.
        apart: by how many standard deviations natural classes may differ in these.
    """

    traits: np.ndarray
    own: np.ndarray
    halves: _Halves
    label: int
    family: str
    apart: float


def tried_associations(
    table: pd.DataFrame, labels: np.ndarray, half: np.ndarray, counted: np.ndarray
) -> list[Association]:
    """What every class has beyond every cut-off in every family of traits, q still 1.

    Args:
        table: the properties, one row an image.
        labels: class of each image, (image,), or membership.
        half: images that looks are learned on, (image,) of bool.
        counted: images that count, one of each group that stays together, (image,) of bool.
    """
    classes = occurring(labels)
    alone = two_classes(labels) or len(classes) == 1
    halves = _Halves(half, half & counted, ~half & counted)
    tried: list[Association] = []
    for name, family in FAMILIES.items():
        traits = traits_of(table, family)
        apart = natural_distance(name, alone=alone)
        for label in classes:
            own, rest = having(labels, label), lacking(labels, label)
            known = own | rest
            asked = _Asked(traits[known], own[known], halves.of(known), label, name, apart)
            tried += [_over_all(one, known) for one in _tried(asked)]
    return tried


def _tried(asked: _Asked) -> list[Association]:
    """What a class has beyond cut-offs in all traits together, and in one alone."""
    return _cuts(asked) + (_gap(asked) if FAMILIES[asked.family].made else [])


def _over_all(one: Association, known: np.ndarray) -> Association:
    """The same over all images; those that may or may not have the class take no part."""
    if known.all():
        return one
    return replace(one, carries=_spread(one.carries, known), margin=_spread(one.margin, known))


def _spread(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values of the images that are known, with nothing for the others."""
    spread = np.zeros(len(known), dtype=values.dtype)
    spread[known] = values
    return spread


def _cuts(asked: _Asked) -> list[Association]:
    """What a class has beyond each of the cut-offs in all traits together."""
    traits, own, halves, tested = asked.traits, asked.own, asked.halves, asked.halves.tested
    # Each half is scored by what the other one taught.
    scores = np.where(
        halves.first,
        look_alike(traits, own, tested),
        look_alike(traits, own, halves.learned),
    )
    found = []
    for strangers in STRANGERS:
        beyond = np.empty(len(own))
        for part, some in ((halves.first, halves.learned), (~halves.first, tested)):
            outside = np.sort(scores[some & ~own])[::-1]
            if not len(outside):
                return []
            beyond[part] = scores[part] - outside[_place(strangers, len(outside)) - 1]
        carries = beyond > 0
        size, rest = int((tested & own).sum()), int((tested & ~own).sum())
        members = int(carries[tested & own].sum())
        place = _place(strangers, rest)
        found.append(
            Association(
                label=asked.label,
                family=asked.family,
                share=members / max(size, 1),
                elsewhere=float(carries[tested & ~own].mean()),
                excess=float(excess_of(members, size, doubted(place - 1, rest), asked.apart)),
                p=precedence_p(members, size, place, rest),
                q=1.0,
                carries=carries,
                margin=beyond,
            )
        )
    return found


def _place(strangers: float, others: int) -> int:
    """Which of the other images, counted from the most alike, is the cut-off."""
    return max(1, round(strangers * others))


def look_alike(traits: np.ndarray, own: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """Log-odds that an image is of the class by its traits alone, (image,).

    Naive Bayes over bins of the class's own quantiles: a value that many images of the class share
    to the bit, as a tone curve leaves it, gets a bin of its own.

    Args:
        traits: (image, trait).
        own: images of the class, (image,) of bool.
        learned: images to learn on, (image,) of bool.

    Example:
        >>> values = np.repeat([[0.2], [0.7]], 8, axis=0)
        >>> own, learned = np.arange(16) < 6, np.arange(16) % 2 == 0
        >>> look_alike(values, own, learned)[[1, 15]].round(1).tolist()
        [0.4, -0.5]
    """
    inside, outside = own & learned, ~own & learned
    odds = np.zeros(len(traits))
    if not inside.any() or not outside.any():
        return odds
    for values in traits.T:
        edges = np.unique(np.quantile(values[inside], np.arange(1, BINS) / BINS, method="nearest"))
        # Twice as many bins as parts: below, at and above every edge.
        bins = np.searchsorted(edges, values, "left") + np.searchsorted(edges, values, "right")
        count = 2 * len(edges) + 1
        class_, others = (np.bincount(bins[part], minlength=count) for part in (inside, outside))
        # A few images' worth of what all classes have in the bin: chance alone gives small odds.
        prior = PRIOR * (class_ + others + 0.5) / (class_ + others + 0.5).sum()
        odds += np.log(
            (class_ + prior) / (class_.sum() + PRIOR) * (others.sum() + PRIOR) / (others + prior)
        )[bins]
    return odds


def _gap(asked: _Asked) -> list[Association]:
    """What a class has beyond cut-offs in one trait, chosen on one half and tested on the other.

    Few images can lie beyond any cut-off by chance alone, however few they are. But where nothing
    lies for a long way before the cut-off, next to none of the other images would.
    """
    traits, own, learned = asked.traits, asked.own, asked.halves.learned
    others = np.flatnonzero(learned & ~own)
    others = others[:: max(1, len(others) // HELD_AGAINST)]
    inside, outside = traits[learned & own], traits[others]
    if min(len(inside), len(outside)) < FEWEST:
        return []
    best, chosen, limits = 0.0, (0, 1), np.empty(0)
    for way in ((trait, sign) for trait in range(traits.shape[1]) for sign in (1, -1)):
        trait, sign = way
        excess, tried = _cut_offs(sign * inside[:, trait], sign * outside[:, trait], asked.apart)
        if excess.max(initial=0.0) > best:
            best, chosen = float(excess.max()), way
            # The strictest, and one that leaves out fewer.
            limits = np.unique([tried[excess.argmax()], tried[excess >= best / 2].min()])
    trait, sign = chosen
    values = sign * traits[:, trait]
    return [_beyond(values, at, asked) for at in limits]


def _cut_offs(
    inside: np.ndarray, outside: np.ndarray, apart: float
) -> tuple[np.ndarray, np.ndarray]:
    """How far a class passes natural ones beyond each of some cut-offs, and the cut-offs.

    Args:
        inside: values of the class's images, (image,).
        outside: values of the others, (image,).
        apart: by how many standard deviations natural classes may differ.
    """
    steps = np.unique(np.quantile(inside, np.arange(1, STEPS) / STEPS, method="nearest"))
    steps = steps[steps > np.quantile(outside, 1 - OUTER)]
    every = np.sort(np.concatenate([inside, outside]))
    # Half-way into the gap before each.
    limits = (every[np.searchsorted(every, steps) - 1] + steps) / 2
    members = (inside > limits[:, None]).sum(axis=1)
    return excess_of(members, len(inside), share_beyond(outside, limits), apart), limits


def _beyond(values: np.ndarray, limit: float, asked: _Asked) -> Association:
    """What the tested half says of a cut-off in one trait."""
    own, tested = asked.own, asked.halves.tested
    inside, outside = values[tested & own], values[tested & ~own]
    members, strangers = int((inside > limit).sum()), int((outside > limit).sum())
    table = (len(inside) + len(outside), members + strangers, len(inside))
    (most,) = share_beyond(outside, np.array([limit]))
    beyond = values - limit
    return Association(
        label=asked.label,
        family=asked.family,
        share=members / max(len(inside), 1),
        elsewhere=strangers / max(len(outside), 1),
        excess=float(excess_of(members, len(inside), most, asked.apart)),
        p=float(stats.hypergeom.sf(members - 1, *table)),
        q=1.0,
        carries=beyond > 0,
        margin=beyond / max(float(beyond[own & (beyond > 0)].std()), 1e-9),
    )


def shifts_of(table: pd.DataFrame, one: Association, labels: np.ndarray) -> tuple[Shift, ...]:
    """Medians of members and of all other images, the trait that sets them apart most first."""
    members = one.carries & having(labels, one.label)
    found = []
    for trait in FAMILIES[one.family].traits:
        values = table[trait].to_numpy(dtype=float)
        inside, outside = values[members], values[~members]
        wins = stats.mannwhitneyu(inside, outside, method="asymptotic").statistic
        apart = abs(wins / (len(inside) * len(outside)) - 0.5) if np.ptp(values) > 0 else 0.0
        found.append((apart, Shift(trait, float(np.median(inside)), float(np.median(outside)))))
    return tuple(shift for _, shift in sorted(found, key=lambda pair: -pair[0]))
