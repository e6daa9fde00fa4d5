"""Cast: who takes part in the experiments of a finding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from shortcut_finder.data.groups import first_of_each
from shortcut_finder.data.membership import having, lacking
from shortcut_finder.detect.finding import Finding, surest_first
from shortcut_finder.sweep.lab import Lab

# Images treated in an experiment; many more would cost more than a quarter of the sweep.
PAIRS = 26
# Of a background, since what two pictures of a place say differs far more than two of a sticker:
# the effect beyond the object's has a standard deviation of 1.9 of log-odds, and an interval of
# +-.8 on 26 pairs, +-.4 on these.
BACKGROUND_PAIRS = 3 * PAIRS
# A paste from fewer different members would be an anecdote about one of them. Of what looks like an
# artifact, as nothing does in clean sets, one fewer will do.
FEWEST_DONORS, FEWEST_OF_ARTIFACTS = 4, 3


@dataclass(frozen=True, eq=False)
class Cast:
    """Who takes part in the experiments of a finding, by number of the image.

    Attributes:
        output: of the model, that stands for the finding's label.
        members: images of the class that carry the thing, surest first.
        plain: images without it, of the class where there are enough.
        others: all tested images of the class without it.
        strangers: images of other classes without it, not taken for the class where there are
            enough.
        hot: an image of another class for each stranger, of a third class where there is one.
        contrasted: whether `plain` are of the class.
    """

    output: int
    members: np.ndarray
    plain: np.ndarray
    others: np.ndarray
    strangers: np.ndarray
    hot: np.ndarray
    contrasted: bool

    def few(self, count: int) -> Cast:
        """So many of those that are treated, given or pasted."""
        names = ("members", "plain", "strangers", "hot")
        return replace(self, **{name: getattr(self, name)[:count] for name in names})


def cast_for(finding: Finding, lab: Lab, order: np.ndarray) -> Cast:
    """Who takes part, at random but for the surest members.

    Args:
        finding: what the experiments are about.
        lab: to see which images can be read.
        order: all images, in an order drawn by lot. Findings that take the first that will do share
            most of them, and each is read and prepared once.
    """
    records, tested = lab.records, ~finding.carriers.found_on
    pairs = BACKGROUND_PAIRS if finding.place.around else PAIRS
    own, rest = having(records.labels, finding.number), lacking(records.labels, finding.number)
    once = partial(first_of_each, groups=records.groups)
    output = records.output_of(finding.number)
    members = np.flatnonzero(tested & own & finding.carriers.listed)
    members = once(surest_first(members, finding.carriers.score))
    plain = np.flatnonzero(own & ~finding.carriers.listed)
    contrasted = len(plain) >= FEWEST_DONORS
    if not contrasted:
        plain = np.flatnonzero(rest & ~finding.carriers.listed)
    chosen = records.chosen(output)
    others = order[(tested & rest & ~finding.carriers.listed)[order]]
    others = others[np.argsort(chosen[others], kind="stable")]
    others = once(others)
    strangers = lab.readable(others, pairs)
    pool = lab.readable(others[~np.isin(others, strangers)], pairs)
    plain = lab.readable(once(order[np.isin(order, plain)]), pairs)
    return Cast(
        output=output,
        members=lab.readable(members, pairs),
        plain=plain,
        contrasted=contrasted and len(plain) > 0,
        others=np.flatnonzero(tested & own & ~finding.carriers.listed),
        strangers=strangers,
        hot=_of_third_classes(strangers, pool if len(pool) else strangers, records.firsts),
    )


def _of_third_classes(images: np.ndarray, pool: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each image one of the pool, of another class than its own where the pool has one."""
    chosen = []
    for number, image in enumerate(images):
        turned = np.roll(pool, -number)
        other = turned[labels[turned] != labels[image]]
        chosen.append(int((other if len(other) else turned)[0]))
    return np.array(chosen, dtype=np.int64)
