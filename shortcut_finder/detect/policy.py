"""Policy: every threshold that decides what is listed, how loud it is and what is confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """Thresholds, each with its quantity, unit, range and source.

    Attributes:
        q: false discovery rate over all candidates, in [0, 1]; the usual 5%.
        lift: least share of the class, in shares of the other classes.
        fewest: least carriers in a class, in images; fewer are anecdotes.
        evidence: least gain times agreement of both halves of what is listed, in nats an image.
        same: correlation of the carriers of two things of a class from which they are one, in
            [0, 1].
        ordinary: things of a class that are listed though they look like parts of the object.
        tried: things of a class that are kept at most, the likeliest artifacts.
        experiment: likeness to an artifact from which a thing is tried in experiments, in [0, 1];
            below it no experiment changes the verdict.
        artifact: likeness to an artifact from which what the model relies on is confirmed, in
            [0, 1]; one in two.
        plain: likeness to an artifact from which a thing is of high severity untested, in [0, 1].
        border: share of the carriers that have a thing at the border from which it stands where
            objects seldom do, in [0, 1]; elsewhere it must outdo parts of the object.
        outdo: least effect of such a thing beyond the hottest parts of the class's other images, at
            the low end of its interval, in [-1, 1]; 1.9 of log-odds.
        nearly_all: share of a class from which a look of it may be the class's own, in [0, 1].
        usual: share of a class from which what stands inside the frame is its object, in [0, 1].
    """

    q: float = 0.05
    lift: float = 3.0
    fewest: int = 4
    evidence: float = 0.03
    same: float = 0.5
    ordinary: int = 2
    tried: int = 3
    experiment: float = 0.3
    artifact: float = 0.5
    plain: float = 0.75
    border: float = 0.5
    outdo: float = 0.45
    nearly_all: float = 0.8
    usual: float = 0.6

    def holds(self, test: Mapping[str, float]) -> bool:
        """Whether a class has something so much more often that it is worth a look.

        Args:
            test: ``q``, and the ``share`` of the class and ``elsewhere``, on images that it was not
                found on.
        """
        return test["q"] <= self.q and test["share"] >= self.lift * test["elsewhere"]

    def severity(self, artifact: float) -> str:
        """Severity of what no experiment was made of: ``high``, ``medium`` or ``low``."""
        if artifact >= self.plain:
            return "high"
        return "medium" if artifact >= self.artifact else "low"


POLICY = Policy()
