"""Experiments: what an intervention changes, against its controls, on paired images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from scipy import stats
from scipy.special import expit

from shortcut_finder.stats.surplus import Surplus

# Fewer pairs cannot reach a small p once several findings are tested.
FEWEST_PAIRS = 24
# Pairs from one look to the next: an experiment ends when its interval at such a confidence leaves
# no effect worth the name. That can only hide a reliance, never make one up.
EARLY_PAIRS, EARLY_CONFIDENCE = 8, 0.99
# False discovery rate over all findings.
Q_LIMIT = 0.05
# Least effect beyond every control that counts as reliance: half a unit of log-odds.
FLOOR = 0.125
# Least effect beyond the hottest parts of the class itself, at the low end of its interval, from
# which what is of low severity is worth masking, too: half a unit of log-odds.
BEYOND_OWN = 0.125
CONFIDENCE = 0.95
# Strongest first: the model relies on it; it looks like a shortcut; it is there, unused.
VERDICTS = ("confirmed", "suspect", "present")


@dataclass(frozen=True, eq=False)
class Answers:
    """What the model says of one class on some images.

    Attributes:
        probability: of the class, (image,) in [0, 1].
        log_odds: logit of the class minus the log of the other classes' summed exponentials,
            (image,); the logit alone where each class has a sigmoid.
        chosen: whether the class is the predicted one, or likelier than not, (image,) of bool.
    """

    probability: np.ndarray
    log_odds: np.ndarray
    chosen: np.ndarray

    def first(self, count: int) -> Answers:
        """What it says of the first so many images."""
        return Answers(self.probability[:count], self.log_odds[:count], self.chosen[:count])

    def and_of(self, others: Answers) -> Answers:
        """What it says of these images and of others, in this order."""
        pairs = ((getattr(one, f.name) for one in (self, others)) for f in fields(self))
        return Answers(*(np.concatenate([*pair]) for pair in pairs))


def answers_for(logits: np.ndarray, output: int, *, sigmoid: bool = False) -> Answers:
    """Answers for one output of the model, from logits (image, output).

    Where each output has a sigmoid of its own, its logit is the log-odds.
    """
    logits = logits.astype(np.float64)
    if sigmoid:
        own = logits[:, output]
        return Answers(expit(own), own, own > 0)
    rest = np.delete(logits, output, axis=1)
    top = rest.max(axis=1)
    log_odds = logits[:, output] - top - np.log(np.exp(rest - top[:, None]).sum(axis=1))
    return Answers(expit(log_odds), log_odds, logits.argmax(axis=1) == output)


@dataclass(frozen=True)
class Arm:
    """One control of an experiment, or one way to fill a region, against the treatment.

    Attributes:
        name: of the control or fill.
        role: ``control`` or ``fill``.
        after: mean probability of the label under the control.
        flips: share of the images whose predicted class the control changes, to the label when
            pasting, away from it when masking.
        effect: of the treatment beyond the control, by `effect_of`; positive when the model relies
            on the thing.
        low: lower end of the 95% interval of the effect.
        high: upper end.
        log_odds: mean difference of the label's log-odds between treatment and control.
        p: of that difference being 0 or against reliance (Wilcoxon signed-rank, one-sided).
    """

    name: str
    role: str
    after: float
    flips: float
    effect: float
    low: float
    high: float
    log_odds: float
    p: float


@dataclass(frozen=True)
class Experiment:
    """A treatment against all its controls, on the same images.

    Attributes:
        name: ``paste``, ``mask`` or ``neutralise``.
        place: ``same place``, ``random places`` or empty.
        pairs: how many images were treated.
        before: mean probability of the label on the images as they are.
        after: the same after the treatment.
        flips: share of the images whose predicted class the treatment changes, to the label when
            pasting, away from it otherwise.
        arms: the controls or fills that were made; the remaining ones are left out once one of
            them shows no reliance.
        q: false discovery rate over all findings.
        own: the same against the hottest parts of images of the class that lack the thing, which
            its true parts seldom surpass, or, for surroundings, against a part of what the middle
            says; ``None`` where a control was not beaten before, or where there are no such images.
    """

    name: str
    place: str
    pairs: int
    before: float
    after: float
    flips: float
    arms: tuple[Arm, ...]
    q: float = 1.0
    own: Arm | None = None

    @property
    def strongest(self) -> Arm:
        """The control that leaves least of the effect."""
        return min(self.arms, key=lambda arm: arm.effect)

    @property
    def p(self) -> float:
        """Of the claim that the treatment beats every control (intersection-union test)."""
        return max(arm.p for arm in self.arms)

    @property
    def beats_all(self) -> bool:
        """Whether the treatment beats every control by enough, by itself."""
        return self.pairs >= FEWEST_PAIRS and all(
            a.effect >= FLOOR and a.low > 0 for a in self.arms
        )

    @property
    def holds(self) -> bool:
        """Whether the model relies on the thing: beyond every control, among all findings."""
        return self.beats_all and self.q <= Q_LIMIT

    @property
    def beyond_own(self) -> float:
        """Effect beyond the class's own parts, at the low end of its interval; -1 without them."""
        return -1.0 if self.own is None else self.own.low

    @property
    def rules_out(self) -> bool:
        """Whether some control leaves no effect worth the name, at the ends of intervals too."""
        return self.pairs >= EARLY_PAIRS and any(arm.high < FLOOR for arm in self.arms)

    def as_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        strongest = self.strongest
        return {
            **{k: getattr(self, k) for k in ("name", "place", "pairs", "before", "after", "flips")},
            **{k: getattr(strongest, k) for k in ("effect", "low", "high", "log_odds")},
            **{"p": self.p, "q": self.q, "holds": self.holds},
            "arms": [vars(arm) for arm in self.arms],
            "own": None if self.own is None else vars(self.own),
        }


def between(control: Answers, other: Answers, part: float) -> Answers:
    """What lies between two answers on the same images: the first and ``part`` of the way on."""
    log_odds = control.log_odds + part * (other.log_odds - control.log_odds)
    return Answers(expit(log_odds), log_odds, control.chosen)


def pasted_arm(
    name: str,
    treated: Answers,
    control: Answers,
    before: Answers,
    confidence: float = CONFIDENCE,
) -> Arm:
    """A control of a paste: how much more the treatment raises the label than the control."""
    return _arm(name, "control", treated, control, control, before, confidence)


def masked_arm(
    name: str,
    treated: Answers,
    control: Answers,
    before: Answers,
    confidence: float = CONFIDENCE,
) -> Arm:
    """A fill of a mask: how much more filling the thing lowers the label than filling elsewhere."""
    return _arm(name, "fill", control, treated, control, before, confidence)


def _arm(
    name: str,
    role: str,
    more: Answers,
    less: Answers,
    control: Answers,
    before: Answers,
    confidence: float,
) -> Arm:
    """An arm from the answers that reliance would make the larger and the smaller."""
    log_odds = more.log_odds - less.log_odds
    mean, low, high = mean_interval(log_odds, confidence)
    return Arm(
        name=name,
        role=role,
        after=float(control.probability.mean()),
        flips=float((control.chosen != before.chosen).mean()),
        effect=effect_of(mean),
        low=effect_of(low),
        high=effect_of(high),
        log_odds=mean,
        p=signed_rank_p(log_odds),
    )


def effect_of(log_odds: float) -> float:
    """What a change of log-odds does to an image on which the model is undecided.

    The label's probability goes from the one to the other side of one half. Images that a model was
    trained on are often far from undecided, and then nothing moves their probabilities; the change
    of log-odds is the same for all.

    Returns:
        The difference of the two probabilities, in [-1, 1].

    Example:
        >>> round(effect_of(2.0), 2)
        0.46
    """
    return float(np.tanh(log_odds / 4))


def mean_interval(values: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """Mean and the ends of its interval, of 95% unless said otherwise (Student's t).

    Example:
        >>> [round(x, 2) for x in mean_interval(np.array([0.0, 1.0, 2.0, 3.0]))]
        [1.5, -0.55, 3.55]
    """
    mean = float(values.mean())
    if len(values) < 2:
        return mean, -np.inf, np.inf
    half = float(stats.sem(values) * stats.t.ppf((1 + confidence) / 2, len(values) - 1))
    return mean, mean - half, mean + half


def signed_rank_p(differences: np.ndarray) -> float:
    """One-sided p of differences being symmetric about 0 or less (Wilcoxon 1945); 1 if all are 0.

    Example:
        >>> round(signed_rank_p(np.arange(1.0, 6.0)), 4)
        0.0312
    """
    # Differences below the noise of the arithmetic are ties, or they would be ranked.
    settled = np.where(np.abs(differences) < 1e-6, 0.0, differences)
    if not settled.any():
        return 1.0
    return float(stats.wilcoxon(settled, alternative="greater", zero_method="pratt").pvalue)


def controlled(
    experiments: Sequence[tuple[Experiment, ...]],
) -> list[tuple[Experiment, ...]]:
    """The experiments of every finding with their false discovery rates.

    A finding may rely on any of its experiments, so that its p is the least of theirs times their
    number (Bonferroni); Benjamini and Hochberg (1995) over the findings that were tested.
    """
    tested = [made for made in experiments if made]
    if not tested:
        return list(experiments)
    least = [min(1.0, len(made) * min(e.p for e in made)) for made in tested]
    rates = iter(stats.false_discovery_control(least))
    return [_rated(made, float(next(rates))) if made else () for made in experiments]


def _rated(made: tuple[Experiment, ...], rate: float) -> tuple[Experiment, ...]:
    """No experiment is surer than its finding, nor than its own p allows."""
    return tuple(replace(e, q=min(1.0, max(rate, len(made) * e.p))) for e in made)


@dataclass(frozen=True, eq=False)
class Shot:
    """A picture of an experiment.

    Attributes:
        experiment: which one, by its name and place.
        image: number of the image that was treated.
        arm: ``before``, ``after`` or the name of a control.
        probability: of the label, in [0, 1].
        pixels: the model's input, uint8 (row, column, channel).
    """

    experiment: str
    image: int
    arm: str
    probability: float
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class Verification:
    """What experiments say of a finding.

    Attributes:
        note: why it was not tested, or what limits the answer; empty otherwise.
        experiments: those that were made.
        shots: pictures of them.
        without: probability of the label with the thing filled, by number of the image.
        surplus: whether it comes on top of what the class is recognised by; ``None`` where there
            is nothing to compare with.
    """

    note: str = ""
    experiments: tuple[Experiment, ...] = ()
    shots: tuple[Shot, ...] = ()
    without: Mapping[int, float] = field(default_factory=dict)
    surplus: Surplus | None = None

    @property
    def decisive(self) -> Experiment | None:
        """The experiment that shows most reliance: one that holds, if any does."""
        return max(self.experiments, key=lambda e: (e.holds, e.strongest.effect), default=None)

    @property
    def holds(self) -> bool:
        """Whether the model relies on the thing."""
        return any(experiment.holds for experiment in self.experiments)

    @property
    def rivals_own(self) -> bool:
        """Whether the model relies on it, and nearly as much as on the class's object."""
        return any(made.holds and made.beyond_own > 0 for made in self.experiments)

    @property
    def ruled_out(self) -> bool:
        """Whether every experiment says that the model does not react."""
        return bool(self.experiments) and all(e.rules_out for e in self.experiments)
