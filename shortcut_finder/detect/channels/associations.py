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

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from shortcut_finder.data.membership import (
    comparable,
    having,
    lacking,
    occurring,
    two_classes,
)
from shortcut_finder.stats.evidence import false_discovery_rate


@dataclass(frozen=True)
class Family:
    """Traits that one cause moves together.

    Attributes:
        traits: names of properties.
        made: whether the making of a picture decides them, more than what it shows.
    """

    traits: tuple[str, ...]
    made: bool = True


_LOW, _HIGH = ("low_red", "low_green", "low_blue"), ("high_red", "high_green", "high_blue")

FAMILIES = {
    "colour range": Family((*_LOW, *_HIGH, "low_chroma", "high_chroma")),
    "sharpness": Family(("edge_sharpness", "sharpest_part", "quiet_noise")),
    "compression": Family(("blockiness",)),
    "corner light": Family(("corner_light", "corner_ratio", "vignette")),
    "image size": Family(("width", "height", "aspect")),
    "file type": Family(("jpeg", "grey")),
    "border": Family(("border_uniformity", "border_step")),
    "brightness": Family(("brightness", "contrast"), made=False),
    "colour": Family(("red", "green", "blue", "saturation"), made=False),
    "texture": Family(("sharpness", "noise"), made=False),
}  # fmt: skip

# Parts that a class's values of a trait are cut into; more would learn single images.
BINS = 8
# Images' worth of doubt in what a class has in a bin.
PRIOR = 10
# Shares of the other classes' images that may look like a member.
STRANGERS = (0.005, 0.02, 0.05, 0.1, 0.2)
# Part of the other classes' images whose values show how fast a trait falls off, parts of a class
# that a cut-off may lie between, and images of either kind that it takes to see anything.
OUTER, STEPS, FEWEST = 0.1, 40, 5
# Of more images of the other classes, every second or third... chooses the cut-offs.
HELD_AGAINST = 10_000
# Natural classes differ by less than this many standard deviations in how an image was made, and
# in what it shows: of five kinds of flower, and of all pairs of them, none stands out.
NATURAL_MADE, NATURAL_SHOWN = 1.3, 1.8
# And by this much more where there is but one other class, as others do not even each other out.
NATURAL_PAIR = 0.3
Q_LIMIT = 0.01
# What stays within nature, but not by much and beyond all chance, is worth a word where most of a
# class has it.
NEARLY, PLAIN, MOST = -0.6, 1e-8, 0.5
LIFT = 3.0
# Doubt in the share of a class and in that of the others, one-sided.
DOUBT = 0.1


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
        shifts: the traits of the family, the one that differs most first.
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
    shifts: tuple[Shift, ...] = ()

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


def find_associations(
    table: pd.DataFrame,
    labels: np.ndarray,
    half: np.ndarray,
    counted: np.ndarray | None = None,
) -> list[Association]:
    """Families of traits that tell a class beyond what natural classes do.

    Args:
        table: the properties, one row an image.
        labels: class of each image, (image,), or membership.
        half: images that looks are learned on, (image,) of bool.
        counted: images that count, one of each group that stays together, (image,) of bool; all
            where it is None.

    Returns:
        Those with q of at most 0.01, three times as common in the class as elsewhere, and beyond
        nature; the clearest first. Of two classes only one is reported for each family. For a class
        without any, the plainest way in which its images were made that comes near this.
    """
    if not comparable(labels):
        return []
    classes, two = occurring(labels), two_classes(labels)
    counted = np.ones(len(labels), dtype=bool) if counted is None else counted
    halves = _Halves(half, half & counted, ~half & counted)
    tried: list[Association] = []
    for name, family in FAMILIES.items():
        traits = _columns(table, family)
        apart = _apart(name, alone=two or len(classes) == 1)
        for label in classes:
            tried += _tried(traits, labels, halves, label, name, apart)
    q = false_discovery_rate(np.array([one.p for one in tried]))
    sure: dict[tuple[int, str], list[Association]] = {}
    near: dict[int, Association] = {}
    for one, value in zip(tried, q, strict=True):
        if value > Q_LIMIT or one.share < LIFT * one.elsewhere:
            continue
        # With two classes, "covid is wide" and "the others are narrow" are one statement.
        label = -1 if two else one.label
        sure.setdefault((label, one.family), []).append(replace(one, q=float(value)))
        if one.made and NEARLY < one.excess <= 0 and one.share >= MOST and value <= PLAIN:
            best = near.setdefault(label, one)
            near[label] = replace(one if one.p < best.p else best, q=float(value))
    kept = {key: told for key, those in sure.items() if (told := _clearest(those)).excess > 0}
    told_of = {label for label, _ in kept}
    all_kept = [*kept.values(), *(one for label, one in near.items() if label not in told_of)]
    found = sorted(all_kept, key=lambda one: (not one.made, -one.excess))
    return [replace(one, shifts=_shifts(table, one, labels)) for one in found]


def _tried(
    traits: np.ndarray,
    labels: np.ndarray,
    halves: _Halves,
    label: int,
    family: str,
    apart: float,
) -> list[Association]:
    """What a class has beyond all cut-offs; images that may or may not have it take no part."""
    own, rest = having(labels, label), lacking(labels, label)
    known = own | rest
    parts = (traits[known], own[known], halves.of(known), label, family, apart)
    found = _cuts(*parts)
    if FAMILIES[family].made:
        found += _gap(*parts)
    if known.all():
        return found
    return [
        replace(one, carries=_spread(one.carries, known), margin=_spread(one.margin, known))
        for one in found
    ]


def _spread(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values of the images that are known, with nothing for the others."""
    spread = np.zeros(len(known), dtype=values.dtype)
    spread[known] = values
    return spread


def _clearest(cuts: Sequence[Association]) -> Association:
    """The cut-off that tells members best, with what the one that says most goes beyond nature by.

    The strictest may say most and still leave half of the members out.
    """
    most = max(cuts, key=lambda one: one.excess)
    same = [one for one in cuts if one.label == most.label]
    return replace(max(same, key=lambda one: one.share - 2 * one.elsewhere), excess=most.excess)


def _columns(table: pd.DataFrame, family: Family) -> np.ndarray:
    """The traits as columns, and with the ends of the colours how far each is from neutral."""
    columns = [table[list(family.traits)].to_numpy(dtype=float)]
    for ends in (_LOW, _HIGH):
        if set(ends) <= set(family.traits):
            levels = table[list(ends)].to_numpy(dtype=float)
            columns.append(levels - levels.mean(axis=1, keepdims=True))
    return np.concatenate(columns, axis=1)


def _cuts(
    traits: np.ndarray,
    own: np.ndarray,
    halves: _Halves,
    label: int,
    family: str,
    apart: float,
) -> list[Association]:
    """What a class, (image,) of bool, has beyond each of the cut-offs."""
    tested = halves.tested
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
                label=label,
                family=family,
                share=members / max(size, 1),
                elsewhere=float(carries[tested & ~own].mean()),
                excess=float(_excess(members, size, _doubted(place - 1, rest), apart)),
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


def precedence_p(members: int, size: int, place: int, others: int) -> float:
    """Exact p that so many of a class are more alike than a given image of the others.

    If the label said nothing, the order of class and others would be random, and the images of the
    class before the place-th of the others follow the negative hypergeometric law.

    Args:
        members: images of the class before it.
        size: images of the class.
        place: which of the other images it is, counted from the most alike.
        others: images of the other classes.

    Example:
        >>> round(precedence_p(3, 3, 1, 3), 3)  # all three of the class before all of the others
        0.05
    """
    if members == 0:
        return 1.0
    return float(stats.nhypergeom.sf(members - 1, size + others, size, place))


def _apart(family: str, *, alone: bool) -> float:
    """By how many standard deviations natural classes may differ in a family of traits.

    More where there is but one class, or label, to hold another against.
    """
    natural = NATURAL_MADE if FAMILIES[family].made else NATURAL_SHOWN
    return natural + NATURAL_PAIR * alone


def _excess(members: ArrayLike, size: int, strangers: ArrayLike, apart: float) -> np.ndarray:
    """How far shares pass what natural classes reach, of what is left; negative when not.

    Natural classes are two normal curves that lie ``apart`` (the binormal model of a ROC curve).
    Both shares are taken at the unfavourable end of their doubt (Clopper and Pearson 1934), that of
    the ``strangers`` by the caller.
    """
    members = np.asarray(members)
    natural = stats.norm.cdf(apart + stats.norm.ppf(strangers))
    possible = (members > 0) & (natural < 1)
    low = stats.beta.ppf(DOUBT, np.maximum(members, 1), size - members + 1)
    return np.where(possible, (low - natural) / np.where(natural < 1, 1 - natural, 1.0), -1.0)


def _doubted(count: ArrayLike, images: int) -> np.ndarray:
    """The largest shares that so many of the images leave possible; 1 where it is all of them."""
    count = np.asarray(count)
    return np.where(count < images, stats.beta.ppf(1 - DOUBT, count + 1, images - count), 1.0)


def _gap(
    traits: np.ndarray,
    own: np.ndarray,
    halves: _Halves,
    label: int,
    family: str,
    apart: float,
) -> list[Association]:
    """What a class has beyond cut-offs in one trait, chosen on one half and tested on the other.

    Few images can lie beyond any cut-off by chance alone, however few they are. But where nothing
    lies for a long way before the cut-off, next to none of the other images would.
    """
    others = np.flatnonzero(halves.learned & ~own)
    others = others[:: max(1, len(others) // HELD_AGAINST)]
    inside, outside = traits[halves.learned & own], traits[others]
    if min(len(inside), len(outside)) < FEWEST:
        return []
    best, chosen, limits = 0.0, (0, 1), np.empty(0)
    for way in ((trait, sign) for trait in range(traits.shape[1]) for sign in (1, -1)):
        trait, sign = way
        excess, tried = _cut_offs(sign * inside[:, trait], sign * outside[:, trait], apart)
        if excess.max(initial=0.0) > best:
            best, chosen = float(excess.max()), way
            # The strictest, and one that leaves out fewer.
            limits = np.unique([tried[excess.argmax()], tried[excess >= best / 2].min()])
    trait, sign = chosen
    values = sign * traits[:, trait]
    return [_beyond(values, at, own, halves.tested, label, family, apart) for at in limits]


def _cut_offs(
    inside: np.ndarray, outside: np.ndarray, apart: float
) -> tuple[np.ndarray, np.ndarray]:
    """How far a class passes natural ones beyond each of some cut-offs, and the cut-offs.

    Args:
        inside: values of the class's images, (image,).
        outside: values of the others, (image,).
        apart: from `_apart`.
    """
    steps = np.unique(np.quantile(inside, np.arange(1, STEPS) / STEPS, method="nearest"))
    steps = steps[steps > np.quantile(outside, 1 - OUTER)]
    every = np.sort(np.concatenate([inside, outside]))
    # Half-way into the gap before each.
    limits = (every[np.searchsorted(every, steps) - 1] + steps) / 2
    members = (inside > limits[:, None]).sum(axis=1)
    return _excess(members, len(inside), share_beyond(outside, limits), apart), limits


def _beyond(
    values: np.ndarray,
    limit: float,
    own: np.ndarray,
    tested: np.ndarray,
    label: int,
    family: str,
    apart: float,
) -> Association:
    """What the tested half says of a cut-off in one trait."""
    inside, outside = values[tested & own], values[tested & ~own]
    members, strangers = int((inside > limit).sum()), int((outside > limit).sum())
    table = (len(inside) + len(outside), members + strangers, len(inside))
    (most,) = share_beyond(outside, np.array([limit]))
    beyond = values - limit
    return Association(
        label=label,
        family=family,
        share=members / max(len(inside), 1),
        elsewhere=strangers / max(len(outside), 1),
        excess=float(_excess(members, len(inside), most, apart)),
        p=float(stats.hypergeom.sf(members - 1, *table)),
        q=1.0,
        carries=beyond > 0,
        margin=beyond / max(float(beyond[own & (beyond > 0)].std()), 1e-9),
    )


def share_beyond(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """The largest share of images that may lie beyond limits, by how fast their values fall off.

    Beyond the outer tenth values fall off exponentially or faster (peaks over threshold, Pickands
    1975), unless more images are seen there. Taken at the unfavourable end of all doubt.

    Args:
        values: (image,).
        limits: in their units, (limit,).

    Example:
        >>> values = np.random.default_rng(0).normal(size=100)
        >>> share_beyond(values, np.array([0.0, 3.0, 6.0])).round(4).tolist()
        [0.598, 0.0036, 0.0]
    """
    if not len(values):
        return np.ones(len(limits))
    ordered = np.sort(values)
    beyond = len(values) - np.searchsorted(ordered, limits, "right")
    counted = _doubted(beyond, len(values))
    start = float(np.quantile(ordered, 1 - OUTER))
    over = ordered[ordered > start] - start
    if len(over) < FEWEST:
        return counted
    scale = over.sum() / float(stats.gamma.ppf(DOUBT, len(over)))
    outer = _doubted(len(over), len(values))
    falls = outer * np.exp(np.minimum(start - limits, 0.0) / scale)
    extrapolated = np.minimum(counted, np.maximum(falls, beyond / len(values)))
    return np.where(limits > start, extrapolated, counted)


def _shifts(table: pd.DataFrame, one: Association, labels: np.ndarray) -> tuple[Shift, ...]:
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
