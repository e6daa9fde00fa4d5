"""Columns: metadata that a label can be read off.

A column that tells the label is learned on one half and tested on the other; whatever else differs
between two hospitals, two scanners or two years then tells the label as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shortcut_finder.data.membership import having, lacking, two_classes
from shortcut_finder.detect.columns import Column
from shortcut_finder.detect.finding import Carriers, Decided, Finding, Measured
from shortcut_finder.detect.place import Place
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.detect.proposals import Concluded, Proposals
from shortcut_finder.detect.view import View
from shortcut_finder.stats.evidence import association_p, exclusivity
from shortcut_finder.texts import percent

# Values of fewer images than this are not looked at.
FEWEST = 3
# Share of the class beyond that of the others from which a column tells it.
EXCESS = 0.3
# Values and columns that a sentence names.
NAMED = 3


@dataclass(frozen=True, eq=False)
class Telling:
    """A column that tells a label.

    Attributes:
        label: index of the class.
        column: name of the column.
        values: that the class has more often than the others, most frequent first.
        share: of the class with one of these values, on the tested half, of the filled cells.
        elsewhere: the same for all other classes.
        p: exact, one-sided.
        q: false discovery rate over all classes and columns.
        carries: which images of the whole dataset have one of the values, (image,) of bool.
        also: other columns that tell the same class, the clearest first.
    """

    label: int
    column: str
    values: tuple[str, ...]
    share: float
    elsewhere: float
    p: float
    q: float
    carries: np.ndarray
    also: tuple[str, ...] = ()


def propose(view: View) -> Proposals:
    """Every column and every class: which values it has more often, learned on one half."""
    tried = tellings(view)

    def conclude(q: np.ndarray, found: Sequence[Finding]) -> Concluded:
        told = [replace(one, q=float(rate)) for one, rate in zip(tried, q, strict=True)]
        kept = clearest(told, two=two_classes(view.labels))
        return Concluded([_finding(one, view) for one in kept])

    return Proposals(np.array([one.p for one in tried]), conclude)


def tellings(view: View) -> list[Telling]:
    """What every column says of every class, q still 1."""
    return [_telling(column, view, label) for column in view.columns for label in view.numbers]


def clearest(tried: Sequence[Telling], *, two: bool) -> list[Telling]:
    """The column that tells each class best, the others named beside it; the clearest first.

    Args:
        tried: with the q of each.
        two: whether there are but two classes, of which one is named.
    """
    held = [
        one
        for one in tried
        if one.q <= POLICY.q and one.share >= POLICY.lift * one.elsewhere and _excess(one) >= EXCESS
    ]
    kept: dict[int, Telling] = {}
    for one in sorted(held, key=_simpler, reverse=True):
        # With two classes, "all of one are from here" and "the others are from there" are one.
        key = -1 if two else one.label
        best = kept.setdefault(key, one)
        if one.column not in (best.column, *best.also):
            kept[key] = replace(best, also=(*best.also, one.column))
    return sorted(kept.values(), key=_simpler, reverse=True)


def _excess(one: Telling) -> float:
    return one.share - one.elsewhere


def _simpler(one: Telling) -> tuple[float, int]:
    return round(_excess(one), 2), -len(one.values)


def _telling(column: Column, view: View, label: int) -> Telling:
    """Learn on the first half which values the class has, and count on the other."""
    labels, half, counted = view.labels, view.half, view.records.counted
    # That a cell is empty is bookkeeping, not something the pictures of a class share.
    known = counted & (column.codes >= 0)
    own, others = known & having(labels, label), known & lacking(labels, label)
    inside, outside = column.counts(half & own), column.counts(half & others)
    more = inside / max((half & own).sum(), 1) > outside / max((half & others).sum(), 1)
    chosen = np.flatnonzero(more & (inside >= FEWEST))
    carries = np.isin(column.codes, chosen)
    tested_own, tested_rest = ~half & own, ~half & others
    members, elsewhere = int(carries[tested_own].sum()), int(carries[tested_rest].sum())
    size, rest = int(tested_own.sum()), int(tested_rest.sum())
    return Telling(
        label=label,
        column=column.name,
        values=tuple(column.values[n] for n in chosen[np.argsort(-inside[chosen], kind="stable")]),
        share=members / max(size, 1),
        elsewhere=elsewhere / max(rest, 1),
        p=association_p(members, size, elsewhere, rest),
        q=1.0,
        carries=carries,
    )


def _finding(one: Telling, view: View) -> Finding:
    records, label = view.records, view.classes[one.label]
    exclusive = exclusivity(one.share, one.elsewhere)
    excess = one.share - one.elsewhere
    suspicion = exclusive * excess
    carries = one.carries & having(records.labels, one.label)
    also = [f"Other columns tell it too: {_listed(one.also)}."] if one.also else []
    return Finding(
        label=label,
        number=one.label,
        place=Place(
            kind="metadata",
            region=one.column,
            counts=np.zeros(records.cell_grid),
        ),
        carriers=Carriers(
            listed=carries,
            score=np.where(carries, suspicion, 0.0),
            found_on=view.half,
            typical=np.flatnonzero(carries),
            alike=one.carries,
        ),
        measured=Measured(
            share=one.share,
            elsewhere=one.elsewhere,
            q=one.q,
            artifact=suspicion,
            parts={"exclusivity": exclusive, "excess_share": max(excess, 0.0)},
            numbers={"p": one.p, "values": float(len(one.values))},
        ),
        decided=Decided(POLICY.severity(suspicion)),
        said=(
            f"The label can be read off column {one.column}: {percent(one.share)} of the {label} "
            f"images have {one.column} = {_listed(one.values, 'or')}; {percent(one.elsewhere)} of "
            "the others do.",
            "Unless the column is the label by another name, anything that differs between its "
            "values may stand for the class.",
            *also,
        ),
        advice=(
            f"Collect images of every class from every {one.column}, and measure accuracy within "
            f"each {one.column}."
        ),
    )


def _listed(names: Sequence[str], last: str = "and") -> str:
    """The first few names as text."""
    few = list(names[:NAMED])
    if len(names) > NAMED:
        few.append(f"{len(names) - NAMED} more")
    return few[0] if len(few) == 1 else f"{', '.join(few[:-1])} {last} {few[-1]}"
