"""Ablation: what is found without each channel and each rule, on sets that are swept once.

The planted cases of the golden scans and the demo, and real folders of class folders that a network
was trained on with `make bench-real`. Every set is scanned with all channels and rules; then again
from its kept shards with one of them off, each in turn. What a half learned and what an experiment
showed is kept in memory, so that only what the rule changes is made anew.

    python tests/benchmarks/ablation.py --out DIR --golden DIR [--real DIR --sets FOLDER ...]
    python tests/benchmarks/ablation.py --out DIR --golden DIR --real DIR --sets ... --table
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import golden
import pandas as pd
import torch
from kept import kept
from real import scan_set
from rows import add_row, recording

import shortcut_finder as sf
from shortcut_finder.detect import motifs, study
from shortcut_finder.detect.channels import CHANNELS
from shortcut_finder.detect.finding import Finding
from shortcut_finder.detect.likeness import WEIGHTS
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.verify import protocol

ALL = "all"
# Findings that a row names.
NAMED = 6
# What may become of findings above low, and of confirmed ones, where something is off.
CHANGES = ("lost", "new", "confirmed_lost", "confirmed_new")
# What decides how many experiments are made of a finding.
HOW_MUCH = ("IDLE", "BEYOND_OWN")
Scan = Callable[[Path, tuple[str, ...]], sf.Run]
Change = Callable[[], Any]


def policy(**values: float) -> Change:
    """Other thresholds."""

    @contextmanager
    def changed() -> Iterator[None]:
        before = {name: getattr(POLICY, name) for name in values}
        try:
            for name, value in values.items():
                object.__setattr__(POLICY, name, value)
            yield
        finally:
            for name, value in before.items():
                object.__setattr__(POLICY, name, value)

    return changed


def instead(name: str, value: Any) -> Change:
    """Another value of a name in a module of the package."""
    module, attribute = name.rsplit(".", 1)

    def changed() -> Any:
        return mock.patch.object(
            importlib.import_module(f"shortcut_finder.{module}"), attribute, value
        )

    return changed


def without_weight(name: str) -> Change:
    """Likeness to an artifact that knows nothing of a quantity."""

    def changed() -> Any:
        return mock.patch.dict(WEIGHTS, {name: 0.0})

    return changed


# Each rule, switched off. Those that only choose words are left out.
RULES: dict[str, Change] = {
    "lift": policy(lift=1.0),
    "fewest": policy(fewest=2),
    "floor of evidence": policy(evidence=0.0),
    "same": policy(same=1.1),
    "ordinary": policy(ordinary=1000),
    "tried": policy(tried=1000),
    "experiment": policy(experiment=0.0),
    "plain": policy(plain=POLICY.artifact),
    "outdo": policy(outdo=-1.0),
    "nearly_all": policy(nearly_all=2.0),
    "likeness: evidence": without_weight("evidence"),
    "likeness: shift": without_weight("shift"),
    "likeness: border": without_weight("border"),
    "likeness: exact": without_weight("exact"),
    "pieces of a thing": instead("detect.things.PIECE", 2.0),
    "refined by both halves": instead("detect.things.WORTH", 1e9),
    "by its motif": instead("detect.judge.by_motif", lambda *_: None),
    "copies": instead("detect.judge.DUPLICATES", 2.0),
    "pilot": instead("verify.protocol.IDLE", 1.0),
    "own parts": instead("verify.protocol.BEYOND_OWN", -1e9),
}


def scans_of(golden_out: Path | None, real_out: Path | None, sets: list[Path]) -> dict[str, Scan]:
    """Ways to scan each set into a folder with some channels, by the name of the set."""
    found: dict[str, Scan] = {}
    if golden_out is not None:
        for name in golden.PLANTED:
            found[name] = partial(golden.scan_planted, name, golden_out)
        found["demo"] = partial(golden.scan_demo, golden_out)
    if real_out is not None:
        for place in sets:
            found[place.name] = partial(_scan_real, place, real_out / place.name)
    return found


def _scan_real(place: Path, out: Path, folder: Path, channels: tuple[str, ...]) -> sf.Run:
    return scan_set(place, out, run=folder, channels=channels)


class Memory:
    """What was learned and tried of one set, whatever rule is off."""

    def __init__(self) -> None:
        self.studies: dict[Any, study.Study] = {}
        self.found: dict[Any, Any] = {}

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Scans within remember; they write no page."""
        with ExitStack() as stack:
            for name, value in (
                ("detect.study.Study", self._study),
                ("verify.protocol.tried", self._tried),
                ("detect.judge.repetition_of", self._repetition),
                ("scanning.reader", lambda: None),
                ("figures.pictures.write_thumbnails", lambda *_, **__: None),
                ("report.page.write_report", lambda *_: None),
            ):
                stack.enter_context(instead(name, value)())
            yield

    def _study(self, folder: Path, labels: Any, half: Any, *rest: Any) -> study.Study:
        key = (folder, labels.tobytes(), half.tobytes())
        if key not in self.studies:
            self.studies[key] = _Remembering(folder, labels, half, *rest)
        return self.studies[key]

    def _repetition(self, carriers: Any, others: Any, centres: Any, *rest: Any) -> Any:
        key = (carriers.tobytes(), others.tobytes(), centres[carriers].tobytes())
        if key not in self.found:
            self.found[key] = motifs.repetition_of(carriers, others, centres, *rest)
        return self.found[key]

    def _tried(self, finding: Finding, *rest: Any) -> Any:
        carriers = finding.carriers
        key = (
            finding.number, finding.place.kind, finding.place.region, carriers.listed.tobytes(),
            bytes(carriers.sure if carriers.sure is not None else ()),
            finding.decided.severity == "low", finding.measured.artifact < POLICY.experiment,
            *(getattr(protocol, name) for name in HOW_MUCH),
        )  # fmt: skip
        if key not in self.found:
            self.found[key] = TRIED(finding, *rest)
        return self.found[key]


TRIED = protocol.tried


class _Remembering(study.Study):
    """A study that learns each class once."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._learned: dict[tuple[int, int], list[study.Candidate]] = {}

    def candidates(self, label: int, half: int) -> list[study.Candidate]:
        if (label, half) not in self._learned:
            self._learned[label, half] = super().candidates(label, half)
        return self._learned[label, half]


def told(run: sf.Run) -> list[dict[str, Any]]:
    """What stands out in a run: findings above low severity."""
    loud = run.findings[run.findings["severity"] != "low"]
    names = ("finding", "label", "kind", "region", "images", "severity", "verdict")
    rows = [{name: _plain(row[name]) for name in names} for _, row in loud.iterrows()]
    listed = run.offenders.groupby("finding")["image"].agg(list)
    return [row | {"listed": sorted(listed.get(row["finding"], []))} for row in rows]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def unmatched(some: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those of some findings that no other lists the images of, in words."""
    return [
        f"{one['label']}: {one['region']}, {one['images']}"
        for one in some
        if not any(_same(one, other) for other in others)
    ]


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two findings of a class share half of the images that either lists."""
    mine, theirs = set(one["listed"]), set(other["listed"])
    return one["label"] == other["label"] and 2 * len(mine & theirs) >= len(mine | theirs)


def changes(full: list[dict[str, Any]], found: list[dict[str, Any]]) -> dict[str, list[str]]:
    """What is above low, and what confirmed, only with a rule and only without it."""
    sure, found_sure = (
        [one for one in part if one["verdict"] == "confirmed"] for part in (full, found)
    )
    sides = {"": (full, found), "confirmed_": (sure, found_sure)}
    return {
        f"{name}{what}": unmatched(*pair)
        for name, (mine, theirs) in sides.items()
        for what, pair in (("lost", (mine, theirs)), ("new", (theirs, mine)))
    }


def table(rows: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> pd.DataFrame:
    """One row a channel or rule, summed over the sets."""
    sums = []
    for off in (*CHANNELS, *RULES):
        each = {name: changes(part[ALL], part[off]) for name, part in rows.items() if off in part}
        sums.append(
            {
                "without": off,
                **{name: sum(len(one[name]) for one in each.values()) for name in CHANGES},
                "sets": len(each),
                "which": in_short(
                    [
                        f"{'-' if name.endswith('lost') else '+'} {place} {what}"
                        for place, one in each.items()
                        for name in CHANGES[2:]
                        for what in one[name]
                    ]
                ),
            }
        )
    return pd.DataFrame(sums)


def in_short(told: Sequence[str]) -> str:
    """The first few.

    Example:
        >>> in_short(["a", "b"]), in_short([])
        ('a; b', '')
    """
    more = [f"{len(told) - NAMED} more"] if len(told) > NAMED else []
    return "; ".join([*told[:NAMED], *more])


def main() -> None:
    """Scan every set with everything, then without each channel and each rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--golden", type=Path, help="OUT of make golden, with its networks")
    parser.add_argument("--sets", type=Path, nargs="*", default=[], help="real sets, with train/")
    parser.add_argument("--real", type=Path, help="OUT of make bench-real, for their networks")
    parser.add_argument("--table", action="store_true", help="print what there is")
    recording(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    golden.build = cache(golden.build)
    every = tuple(CHANNELS)
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name, scan in scans_of(options.golden, options.real, options.sets).items():
        memory, run = Memory(), options.out / "runs" / name
        for off in (ALL, *CHANNELS, *RULES):
            channels = tuple(one for one in every if one != off)

            def made(scan: Scan = scan, memory: Memory = memory, run: Path = run,
                     off: str = off, channels: tuple[str, ...] = channels) -> Any:  # fmt: skip
                with RULES[off]() if off in RULES else ExitStack(), memory.at_hand():
                    return told(scan(run, channels))

            file = options.out / "rows" / f"{name}-{off.replace(': ', '-').replace(' ', '-')}.json"
            found = kept(file, made, only_read=options.table)
            if found is not None:
                rows.setdefault(name, {})[off] = found
                print(name, off, len(found), flush=True)
    # A set that is still under way says nothing of what it was not scanned without.
    whole = {name: part for name, part in rows.items() if {ALL, *CHANNELS, *RULES} <= part.keys()}
    found = table(whole)
    print(found.to_string(index=False, max_colwidth=200))
    if options.record:
        for row in found.to_dict("records"):
            add_row(
                "ablation",
                **{str(name): value for name, value in row.items() if name != "sets"},
                n=f"{row['sets']} sets",
                seeds="0",
                setting=f"{', '.join(whole)}; "
                f"{sum(len(part[ALL]) for part in whole.values())} findings above low with all",
                command='make bench-ablation SETS="FOLDER ..." REAL=FOLDER GOLDEN=FOLDER',
            )


if __name__ == "__main__":
    main()
