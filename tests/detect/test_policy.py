"""Policy: what is listed, how loud it is and what is confirmed, case by case.

Each case lies close to one threshold, and moving that threshold alone turns it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from findings import a_finding

from shortcut_finder.detect import finding, sentences
from shortcut_finder.detect.finding import Finding, worth_listing
from shortcut_finder.detect.policy import POLICY, Policy
from shortcut_finder.stats.experiments import FEWEST_PAIRS, Arm, Experiment, Verification
from shortcut_finder.verify import protocol, verdicts

LOOKS_AT_POLICY = (finding, protocol, sentences, verdicts)
CARRIES = np.arange(20) < 8


def finding_of(artifact: float = 0.9, **changes: Any) -> Finding:
    """A mark in a corner, as likely an artifact as said."""
    given = {"severity": POLICY.severity(artifact)} | changes
    return a_finding(CARRIES, artifact=artifact, **given)


def shown(effect: float, name: str = "paste") -> Verification:
    """An experiment with that effect; its interval is .1 wide to either side."""
    arm = Arm("flat colour", "control", 0.1, 0.0, effect, effect - 0.1, effect + 0.1, 4.0, 1e-9)
    return Verification("", (Experiment(name, "", FEWEST_PAIRS, 0.1, 0.9, 0.8, (arm,), 1e-9),))


RELIED_ON, UNSURE, IGNORED = shown(0.6), shown(0.1), shown(0.0)
UNTESTED = Verification("no power")


def decided(seen: Verification, artifact: float, **changes: Any) -> tuple[str, str]:
    found = verdicts.decided(finding_of(artifact, **changes), seen, SimpleNamespace())
    return found.decided.verdict, found.decided.severity


def experimented(artifact: float) -> bool:
    """Whether experiments are made of it if there are images for them."""
    cast, none = SimpleNamespace(members=np.array([])), SimpleNamespace()
    made = protocol.tried(finding_of(artifact), cast, none, np.random.default_rng(0), 0.01)
    return made.note.startswith("no power")


def holds(**changes: float) -> bool:
    test = {"q": 0.0, "share": 0.3, "elsewhere": 0.0}
    return policy_now().holds(test | changes)


def listed(plain: int) -> int:
    """How many of the things of a class that look like parts of the object are listed."""
    return len(worth_listing([finding_of(0.2) for _ in range(plain)]))


def policy_now() -> Policy:
    return verdicts.POLICY


LOOK = {"kind": "property", "region": "brightness"}


def advice(share: float, artifact: float = 0.9) -> str:
    """The first word of what to do about something at changing places."""
    return sentences.advice_for("anywhere", share, artifact).split()[0]


# What is asked, the answer, the constant that decides, and a value of it that changes the answer.
CASES: dict[str, tuple[Callable[[], object], object, str, float]] = {
    "used and an artifact": (
        lambda: decided(RELIED_ON, 0.51), ("confirmed", "high"), "artifact", 0.52
    ),
    "used, perhaps the object": (
        lambda: decided(RELIED_ON, 0.49), ("suspect", "medium"), "artifact", 0.48
    ),
    "used, hardly an artifact": (
        lambda: decided(RELIED_ON, 0.31), ("suspect", "medium"), "experiment", 0.32
    ),
    "used, no artifact": (
        lambda: decided(RELIED_ON, 0.29), ("suspect", "low"), "experiment", 0.28
    ),
    "ignored artifact": (
        lambda: decided(IGNORED, 0.51), ("present", "medium"), "artifact", 0.52
    ),
    "ignored, perhaps the object": (
        lambda: decided(IGNORED, 0.49), ("present", "low"), "artifact", 0.48
    ),
    "in doubt, an artifact": (
        lambda: decided(UNSURE, 0.51), ("suspect", "medium"), "artifact", 0.52
    ),
    "in doubt, perhaps the object": (
        lambda: decided(UNSURE, 0.49), ("suspect", "low"), "artifact", 0.48
    ),
    "a look of many": (
        lambda: decided(RELIED_ON, 0.6, share=0.79, **LOOK),
        ("confirmed", "high"), "nearly_all", 0.78,
    ),
    "the class's own look": (
        lambda: decided(RELIED_ON, 0.6, share=0.81, **LOOK),
        ("suspect", "medium"), "nearly_all", 0.82,
    ),
    "a plain look of all": (
        lambda: decided(RELIED_ON, 0.76, share=0.9, **LOOK), ("confirmed", "high"), "plain", 0.77
    ),
    "untested, plain": (lambda: policy_now().severity(0.76), "high", "plain", 0.77),
    "untested, likely": (lambda: policy_now().severity(0.74), "medium", "plain", 0.73),
    "untested, unlikely": (lambda: policy_now().severity(0.49), "low", "artifact", 0.48),
    "no experiment": (lambda: experimented(0.29), False, "experiment", 0.28),
    "an experiment": (lambda: experimented(0.31), True, "experiment", 0.32),
    "sure enough": (lambda: holds(q=0.049), True, "q", 0.048),
    "no surer than chance": (lambda: holds(q=0.051), False, "q", 0.052),
    "more often than elsewhere": (lambda: holds(elsewhere=0.099), True, "lift", 3.1),
    "nearly as often elsewhere": (lambda: holds(elsewhere=0.101), False, "lift", 2.9),
    "two ordinary things": (lambda: listed(2), 2, "ordinary", 1),
    "three ordinary things": (lambda: listed(3), 2, "ordinary", 3),
    "too many to drop": (lambda: advice(0.61), "Too", "usual", 0.62),
    "few enough to drop": (lambda: advice(0.59), "Mask", "usual", 0.58),
    "a look is asked for": (lambda: advice(0.3, 0.49), "Look", "artifact", 0.48),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "answer", "constant", "other"), CASES.values(), ids=CASES.keys())
def test_a_decision_and_the_threshold_it_hangs_on(
    ask: Callable[[], object],
    answer: object,
    constant: str,
    other: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ask() == answer
    moved = replace(POLICY, **{constant: other})
    for module in LOOKS_AT_POLICY:
        monkeypatch.setattr(module, "POLICY", moved)
    assert ask() != answer


def test_nothing_below_the_limit_is_ever_confirmed_or_above_medium() -> None:
    for artifact in np.linspace(0, POLICY.artifact - 0.001, 20):
        for seen in (RELIED_ON, UNSURE, IGNORED, UNTESTED):
            verdict, severity = decided(seen, float(artifact))
            assert verdict != "confirmed"
            assert severity != "high"


def test_what_may_be_the_object_asks_for_a_look() -> None:
    def sentence(seen: Verification, artifact: float) -> str:
        return verdicts.decided(finding_of(artifact), seen, SimpleNamespace()).sentence

    assert "only a look at the pictures can say" in sentence(RELIED_ON, 0.3)
    assert "only a look at the pictures can say" not in sentence(RELIED_ON, 0.9)
    assert "does not react" in sentence(IGNORED, 0.3)


def test_a_look_has_to_work_when_it_is_given() -> None:
    taken = shown(0.6, "neutralise")
    assert decided(taken, 0.9, **LOOK) == ("suspect", "medium")
    assert decided(RELIED_ON, 0.9, **LOOK) == ("confirmed", "high")


def test_images_of_what_is_confirmed_come_before_those_of_what_is_not() -> None:
    used, unused = (
        verdicts.decided(finding_of(artifact), seen, SimpleNamespace())
        for artifact, seen in ((0.55, RELIED_ON), (0.95, UNSURE))
    )
    assert used.carriers.score[CARRIES].min() >= unused.carriers.score[CARRIES].max()
    assert not used.carriers.score[~CARRIES].any()
