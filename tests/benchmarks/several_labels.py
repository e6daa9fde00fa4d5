"""Several labels an image: what is found of drawn cues, and what is not made up.

Each draw has 1 to 3 of 6 labels an image, of which one in twenty is unknown, and one label that
often brings another. A cue is tied to one label (the one that is brought along), to a pair, or to
none, or there is no cue. A small network learns the labels, and is scanned. Loud findings, above
low severity or confirmed, are right where they are of a label of the cue and in its images; cues
are *listed* with such a finding of any severity.

Usage: python tests/benchmarks/several_labels.py --out NEW_FOLDER [--draws 5] [--clean 20]
           [--record]
The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from multilabel import SIDE, Cue, Drawn, draw_dataset, trained
from rows import add_row, commit, recording, same
from shares import share_of

import shortcut_finder as sf
from shortcut_finder.stats.evidence import phi

NAMES = ("ash", "birch", "cedar", "elm", "fir", "oak")
# A cedar often brings a birch, so what birches have is in cedars, too; an elm brings a fir.
TOGETHER = {2: 1, 3: 4}
CUES = {"one label": (1,), "pair": (3, 4), "none": (), "clean": None}
# What they are called on the page.
CALLED = {"one label": "one label", "pair": "a pair", "none": "no label", "clean": "no mark"}
SHARE = 0.5
SETTINGS = sf.Settings(input_size=SIDE, workers=0)
# Correlation of the listed images with the planted ones from which they are the same.
SAME = 0.5


def measured(kind: str, seed: int, folder: Path, images: int) -> dict[str, Any]:
    """One draw: loud findings, how many of them are right, and what was planted and found."""
    labels = CUES[kind]
    corner = [(0, 0), (SIDE - 14, 0), (0, SIDE - 14), (SIDE - 14, SIDE - 14)][seed % 4]
    cues = [] if labels is None else [Cue(labels, SHARE, corner, seed)]
    drawn = draw_dataset(
        folder / "data", cues, images=images, names=NAMES, together=TOGETHER, seed=seed
    )
    network = trained(drawn, seed=seed)
    run = sf.scan(drawn.path, network, out=folder / "run", settings=SETTINGS, progress=False)
    loud = run.findings[
        (run.findings["severity"] != "low") | (run.findings["verdict"] == "confirmed")
    ]
    right = [row.label for row in loud.itertuples() if _right(row, run, drawn, labels)]
    listed = [row.label for row in run.findings.itertuples() if _right(row, run, drawn, labels)]
    cedar = int((loud["label"] == "cedar").sum())
    planted = len(labels or ())
    return {
        "planted": planted,
        "listed": len(set(listed)),
        "found": len(set(right)),
        "loud": len(loud),
        "right": len(right),
        "in the label that brings it": cedar,
        "commit": commit(),
    }


def _right(row: object, run: sf.Run, drawn: Drawn, labels: tuple[int, ...] | None) -> bool:
    """Whether a finding is of a label of the cue, and in its images."""
    name = str(row.label)  # type: ignore[attr-defined]
    if not labels or NAMES.index(name) not in labels:
        return False
    rows = run.offenders[run.offenders["finding"] == row.finding]  # type: ignore[attr-defined]
    own = drawn.states[:, NAMES.index(name)] == 1
    listed = drawn.table["image"].isin(set(rows["image"])).to_numpy()
    return phi(listed[own].astype(float), drawn.carriers[0][own].astype(float)) >= SAME


def figures(results: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What draws of one kind of cue come to."""

    def total(name: str) -> int:
        return sum(one[name] for one in results)

    return {
        "n": len(results),
        "planted": total("planted"),
        "listed": total("listed"),
        "found": total("found"),
        "loud": total("loud"),
        "right": total("right"),
        "draws_wrong": sum(one["loud"] > one["right"] for one in results),
        "brought": total("in the label that brings it"),
    }


def record(kind: str, results: Sequence[Mapping[str, Any]], images: int) -> None:
    """Write what draws of one kind of cue come to; draws of several versions are of none."""
    add_row(
        "labels", cue=CALLED[kind], **figures(results), seeds=f"0 to {len(results) - 1}",
        setting=f"{images} pictures of {SIDE} pixels a draw",
        commit=same(one.get("commit", "") for one in results),
        command="make bench-labels OUT=FOLDER",
    )  # fmt: skip


def main() -> None:
    """Draw, train, scan, and print recall and precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the draws")
    parser.add_argument("--draws", type=int, default=5, help="draws of each kind of cue")
    parser.add_argument("--clean", type=int, default=20, help="draws without any")
    parser.add_argument("--images", type=int, default=360, help="of a draw")
    recording(parser)
    options = parser.parse_args()
    for kind in CUES:
        results = []
        for seed in range(options.clean if kind == "clean" else options.draws):
            folder = options.out / kind.replace(" ", "-") / str(seed)
            done = folder / "result.json"
            if not done.exists():
                done.parent.mkdir(parents=True, exist_ok=True)
                done.write_text(json.dumps(measured(kind, seed, folder, options.images)))
            results.append(json.loads(done.read_text()))
        made = figures(results)
        print(
            f"{kind}: {made['n']} draws, listed {share_of(made['listed'], made['planted'])}; "
            f"recall {share_of(made['found'], made['planted'])}; "
            f"precision {share_of(made['right'], made['loud'])}; draws with a wrong loud finding "
            f"{share_of(made['draws_wrong'], made['n'])}; {made['brought']} loud in the label that "
            "brings the cue's",
            flush=True,
        )
        if options.record:
            record(kind, results, options.images)


if __name__ == "__main__":
    main()
