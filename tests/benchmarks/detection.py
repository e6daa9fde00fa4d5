"""Detection: scans planted data sets as a user would, and scores what is found.

    python tests/benchmarks/detection.py --split development --out DIR
    python tests/benchmarks/detection.py --split held-out --out DIR --budget 60
    python tests/benchmarks/detection.py --table --out DIR [--record]

One case is a data set with a network trained on it; it gives one row, DIR/rows/<case>.json, and
DIR/rows.csv gathers all rows; DIR/details has the findings.json of each. A case that has its row is
not run again, so that a run that was stopped, by --budget MINUTES or otherwise, goes on where it
was. Networks are kept in DIR/networks.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from baselines import baselines
from cases import Built, Case, build
from detection_tables import case_table, pair_table, record, tables
from rows import commit, recording
from scoring import LEVELS, finding_counts, hits, image_scores, ranking
from splits import SPLITS, pairs, split

import shortcut_finder as sf
from shortcut_finder import scanning

CLEAN_SETS = 100


def run_case(case: Case, out: Path, *, keep: bool = False) -> dict[str, Any]:
    """Build one case, scan it and score the run.

    Args:
        case: what to build.
        out: networks are kept in ``out/networks``, the run in ``out/runs`` while it is needed.
        keep: leave the run folder.
    """
    started = time.process_time()
    built = build(case, out / "networks")
    trained = time.process_time()
    folder = out / "runs" / case.name
    with counted_passes() as passes:
        run = sf.scan(
            built.dataset,
            built.model,
            out=folder,
            settings=case.settings,
            fresh=True,
            progress=False,
        )
    scanned = time.process_time()
    row = {
        **describe(built),
        **score(built, run),
        "passes": passes,
        "commit": commit(),
        "seconds_built": trained - started,
        "seconds_scanned": scanned - trained,
    }
    # The numbers behind every verdict, so that rules can be held against them without a new scan.
    details = out / "details" / f"{case.name}.json"
    details.parent.mkdir(exist_ok=True)
    shutil.copyfile(folder / "findings.json", details)
    if not keep:
        shutil.rmtree(folder)
    return row


@contextmanager
def counted_passes() -> Iterator[dict[str, int]]:
    """Images that scans within send through the model besides the sweep, by what they are for."""
    passes = {"verify": 0, "findings": 0}
    functions = {"verify": scanning.verify}

    def counted(name: str) -> Callable[..., Any]:
        def function(*given: Any, **options: Any) -> Any:
            *others, predict = given
            if name == "verify":
                passes["findings"] += len(others[0])

            def counting(pixels: np.ndarray) -> np.ndarray:
                passes[name] += len(pixels)
                return predict(pixels)

            return functions[name](*others, counting, **options)

        return function

    try:
        for name in functions:
            setattr(scanning, name, counted(name))
        yield passes
    finally:
        for name, function in functions.items():
            setattr(scanning, name, function)


def describe(built: Built) -> dict[str, Any]:
    """What a case is, and what its network learned."""
    case = built.case
    return {
        "case": case.name,
        "kind": "+".join(plant.kind for plant in case.plants),
        "place": "+".join(plant.place for plant in case.plants),
        "share": max((plant.share for plant in case.plants), default=0.0),
        "model": case.model,
        "difficulty": case.difficulty,
        "control": case.control or ("" if case.plants else "clean"),
        "seed": case.seed,
        "accuracy": built.accuracy,
        "spurious_score": [float(value) for value in built.scores],
        "status": list(built.status),
    }


def score(built: Built, run: sf.Run) -> dict[str, Any]:
    """Everything the tables are made of, for one scan."""
    found = hits(built, run)
    row: dict[str, Any] = {
        f"{name}_{level}": value
        for level in LEVELS
        for name, value in finding_counts(built, found, level).items()
    }
    wrong = found if must_be_silent(built.case) else []
    row["wrong_loud"] = sum(hit.loud for hit in wrong)
    row["wrong_confirmed"] = sum(hit.confirmed for hit in wrong)
    row["top_suspicion"] = float(run.findings["suspicion"].max()) if len(found) else 0.0
    reliance = run.findings["reliance"].max()
    row["top_reliance"] = 0.0 if pd.isna(reliance) else float(reliance)
    row["right"] = [hit.plant >= 0 for hit in found]
    row["findings"] = [
        f"{one.label} {one.kind} @{one.region} {one.severity}/{one.verdict} "
        f"{one.suspicion:.2f} r={one.reliance:.2f} n={one.images}"
        + ("" if hit.plant < 0 else " [right]")
        for one, hit in zip(run.findings.itertuples(), found, strict=True)
    ]
    return row | _ranked(built, run)


def must_be_silent(case: Case) -> bool:
    """Whether every finding is wrong: of a control, and of a set that nothing was planted in."""
    return bool(case.control) or not case.plants


def _ranked(built: Built, run: sf.Run) -> dict[str, Any]:
    """Ranking of images within the first planted class, where it has carriers and others."""
    case = built.case
    if not case.plants or case.control in ("equal", "ignored"):
        return {}
    label = case.plants[0].classes[0]
    carries = built.members.any(axis=0)
    own = built.labels == label
    if carries[own].all():
        return {}
    scores = image_scores(built, run)
    row: dict[str, Any] = dict(ranking(scores[own], carries[own]))
    row["ap_all"] = ranking(scores, carries)["ap"]
    row["baselines"] = baselines(built, run, label, carries)
    return row


def read_rows(out: Path) -> pd.DataFrame:
    """All rows there are, in the order of their names."""
    files = sorted((out / "rows").glob("*.json"))
    return pd.DataFrame([json.loads(file.read_text(encoding="utf-8")) for file in files])


# --- the command ---------------------------------------------------------------------------------


def run_cases(cases: Iterable[Case], out: Path, *, minutes: float, keep: bool = False) -> None:
    """Run those cases that have no row yet, until the time is up."""
    (out / "rows").mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    for case in cases:
        file = out / "rows" / f"{case.name}.json"
        if file.exists():
            continue
        if time.monotonic() - started > 60 * minutes:
            print("the time is up; the same command goes on here")
            return
        row = run_case(case, out, keep=keep)
        file.write_text(json.dumps(row, indent=1), encoding="utf-8")
        print(case_table(pd.DataFrame([row])), flush=True)


def save_table(out: Path, names: Sequence[str]) -> str:
    """Gather the rows of these cases into ``out/rows.csv`` and return their tables."""
    rows = read_rows(out)
    rows.to_csv(out / "rows.csv", index=False)
    chosen = rows[rows["case"].isin(names)]
    text = tables(chosen)
    if set(names) & {case.name for pair in pairs() for case in pair}:
        text += "\n\n" + pair_table(chosen)
    return text


def main() -> None:
    """Run a split, or as much of it as there is time for, and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=SPLITS, default="development")
    parser.add_argument("--out", type=Path, required=True, help="rows and networks; may exist")
    parser.add_argument(
        "--budget", type=float, default=np.inf, help="minutes; no limit if left out"
    )
    parser.add_argument("--table", action="store_true", help="only print what there is")
    parser.add_argument("--keep", action="store_true", help="leave the run folders")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    recording(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    whole = list(islice(split(options.split), CLEAN_SETS))
    cases = [case for case in whole if options.only in case.name]
    if not options.table:
        run_cases(cases, options.out, minutes=options.budget, keep=options.keep)
    names = [case.name for case in cases]
    print(save_table(options.out, names))
    if options.record:
        rows = read_rows(options.out)
        record(options.split, rows[rows["case"].isin(names)], len(whole))


if __name__ == "__main__":
    main()
