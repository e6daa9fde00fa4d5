"""Splits: which cases a detector may be tuned on, and which are kept to judge it.

The held-out split has other types, places, networks and seeds than the development split. Both were
fixed before anything was tuned on either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cases import Case, Plant


def _numbered(cases: list[Case], first: int) -> tuple[Case, ...]:
    """Every case gets a seed of its own, so that no two share a picture."""
    return tuple(replace(case, seed=first + n) for n, case in enumerate(cases))


def _one(kind: str, place: str, share: float, **options: object) -> Case:
    return Case((Plant(kind, place, share),), **options)  # type: ignore[arg-type]


_LOGO, _TEXT = Plant("logo", "corner", 0.3), Plant("text", "random", 0.4)

DEVELOPMENT = _numbered(
    [
        _one("logo", "corner", 0.3),
        _one("logo", "random", 0.3),
        _one("blob", "random", 0.3, model="strided"),
        _one("tint", "whole", 0.6),
        _one("frame", "whole", 0.6),
        _one("text", "corner", 0.5),
        Case(),
        _one("logo", "corner", 0.5, control="equal"),
        _one("logo", "corner", 0.3, control="ignored"),
        Case(control="legit corner"),
        Case(control="rigid object"),
        _one("strip", "corner", 0.4, model="strided"),
        _one("logo", "corner", 0.1, model="strided", classes=10, images=200),
        _one("logo", "random", 0.15, model="strided"),
        _one("text", "random", 0.6),
        _one("logo", "corner", 1.0),
        _one("frame", "whole", 1.0, model="strided"),
        _one("tint", "whole", 1.0),
        Case((_LOGO, _TEXT)),
        Case((replace(_LOGO, classes=(1, 3)),)),
        Case((Plant("logo", "random", 0.8, elsewhere=0.1),)),
        _one("logo", "corner", 0.2, difficulty="hard"),
        _one("blob", "corner", 0.2, difficulty="hard", classes=10),
        Case(model="strided"),
        _one("blob", "random", 0.4, model="strided", control="ignored"),
        _one("text", "random", 0.5, control="equal"),
        Case(control="legit corner", model="strided"),
        Case(control="rigid object", model="strided"),
        Case(control="random labels"),
        Case(control="untrained"),
        _one("logo", "corner", 0.05, model="strided", images=200),
        _one("logo", "corner", 0.02, model="strided", images=200),
        Case(difficulty="hard"),
    ],
    first=1000,
)  # fmt: skip

HELD_OUT = _numbered(
    [
        _one("patch", "random", 0.4, model="residual"),
        _one("date", "edge", 0.4, model="reflect"),
        _one("faint", "random", 0.6),
        _one("noise", "edge", 0.4, model="reflect"),
        _one("blur", "whole", 0.6, model="reflect"),
        _one("background", "whole", 0.6, model="residual"),
        _one("logo", "object", 0.3, model="reflect"),
        _one("strip", "edge", 0.4, model="reflect"),
        _one("blob", "edge", 0.3, model="residual"),
        _one("text", "object", 0.5, model="reflect"),
        _one("logo", "edge", 0.2, model="vit"),
        _one("date", "random", 0.4, model="strided"),
        _one("patch", "edge", 0.4, model="strided"),
        _one("faint", "object", 0.6, model="reflect"),
        _one("noise", "random", 0.4, model="strided"),
        _one("blur", "whole", 0.9, model="strided"),
        _one("background", "whole", 0.5, model="strided"),
        _one("tint", "whole", 0.7, model="residual"),
        _one("frame", "whole", 0.5, model="reflect"),
        _one("blur", "whole", 1.0),
        _one("date", "edge", 1.0, model="reflect"),
        _one("logo", "random", 0.1, model="strided", classes=10, images=200),
        _one("date", "random", 0.2, model="strided", classes=10),
        _one("strip", "random", 0.3, model="strided", difficulty="hard"),
        _one("patch", "random", 0.2, model="strided", difficulty="hard"),
        _one("logo", "edge", 0.05, model="strided", images=200),
        _one("date", "edge", 0.05, model="strided", images=200),
        _one("logo", "random", 0.05, model="strided", images=200),
        Case((Plant("date", "edge", 0.3), Plant("patch", "random", 0.4)), model="strided"),
        Case((Plant("date", "random", 0.4, classes=(1, 4)),), model="strided"),
        Case((Plant("date", "edge", 0.8, elsewhere=0.1),), model="reflect"),
        _one("blob", "random", 0.3, model="vit"),
        _one("date", "edge", 0.5, model="reflect", control="equal"),
        _one("noise", "edge", 0.5, model="strided", control="equal"),
        _one("blur", "whole", 0.5, model="residual", control="equal"),
        _one("patch", "random", 0.4, model="residual", control="ignored"),
        _one("date", "edge", 0.4, model="reflect", control="ignored"),
        _one("noise", "random", 0.4, model="strided", control="ignored"),
        _one("background", "whole", 0.5, model="strided", control="ignored"),
        Case(control="legit corner", model="reflect"),
        Case(control="legit corner", model="residual"),
        Case(control="rigid object", model="reflect"),
        Case(control="rigid object", model="residual"),
        Case(control="random labels", model="reflect"),
        Case(control="untrained", model="residual"),
        *(
            _one(kind, place, 0.05, model="strided", images=200)
            for kind, place in (
                ("logo", "random"), ("date", "random"), ("strip", "edge"), ("date", "edge"),
                ("logo", "edge"), ("strip", "random"), ("patch", "edge"), ("logo", "random"),
                ("date", "random"),
            )
        ),
    ],
    first=12600,
)  # fmt: skip


def clean(first: int = 9000) -> Iterator[Case]:
    """Clean data sets, without end: every network and difficulty in turn, every one a new seed."""
    models = ("zero", "strided", "reflect", "residual")
    seed = first
    while True:
        number = seed - first
        difficulty = "hard" if number % 3 == 2 else "easy"
        images = 100 if number % 2 else 160
        yield Case((), models[number % 4], difficulty, images=images, seed=seed)
        seed += 1


def pairs(count: int = 3, first: int = 7000) -> tuple[tuple[Case, Case], ...]:
    """Pairs of a network that relies on a cue and one that never saw it, on the same pictures."""
    found = []
    cues = (("logo", "corner"), ("strip", "edge"), ("blur", "whole"))
    for number in range(count * len(cues)):
        kind, place = cues[number % len(cues)]
        case = _one(kind, place, 0.9, seed=first + number, images=120)
        found.append((case, replace(case, control="ignored")))
    return tuple(found)


SPLITS = ("development", "held-out", "clean", "pairs")


def split(name: str) -> Iterator[Case]:
    """The cases of a split, in the order in which they should be run."""
    if name == "clean":
        yield from clean()
    elif name == "pairs":
        for pair in pairs():
            yield from pair
    else:
        yield from DEVELOPMENT if name == "development" else HELD_OUT
