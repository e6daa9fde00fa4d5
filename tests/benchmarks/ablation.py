"""Ablation: what each channel finds that no other does, on sets that are scanned without it.

The planted cases of the golden scans and the demo, and real folders of class folders that a network
was trained on with `make bench-real`. Every set is swept once; then the scan is made again from
the kept shards with one channel left out, each in turn.

    python tests/benchmarks/ablation.py --out DIR --golden DIR [--real DIR --sets FOLDER ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import golden
import pandas as pd
import torch
from kept import kept
from real import scan_set

import shortcut_finder as sf
from shortcut_finder.detect.channels import CHANNELS

ALL = "all"
Scan = Callable[[Path, tuple[str, ...]], sf.Run]


def scans_of(golden_out: Path | None, real_out: Path | None, sets: list[Path]) -> dict[str, Scan]:
    """Ways to scan each set into a folder with some channels, by the name of the set."""
    found: dict[str, Scan] = {}
    if golden_out is not None:
        for name in golden.PLANTED:
            found[name] = lambda folder, channels, name=name: golden.scan_planted(
                name, golden_out, folder, channels
            )
        found["demo"] = lambda folder, channels: golden.scan_demo(golden_out, folder, channels)
    for place in sets if real_out else []:
        found[place.name] = lambda folder, channels, place=place: scan_set(
            place, real_out / place.name, run=folder, channels=channels
        )
    return found


def told(run: sf.Run) -> list[dict[str, Any]]:
    """What stands out in a run: findings above low severity."""
    loud = run.findings[run.findings["severity"] != "low"]
    names = ("label", "kind", "region", "images", "severity", "verdict")
    return [{name: _plain(row[name]) for name in names} for _, row in loud.iterrows()]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def lost(all_found: list[dict[str, Any]], found: list[dict[str, Any]]) -> dict[str, int]:
    """How many findings there are only with the channel, and only without it."""
    key = ("label", "region")
    full, some = ({tuple(one[k] for k in key) for one in part} for part in (all_found, found))
    confirmed = {tuple(one[k] for k in key) for one in all_found if one["verdict"] == "confirmed"}
    return {
        "lost": len(full - some),
        "lost confirmed": len(confirmed - some),
        "new": len(some - full),
    }


def table(rows: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> pd.DataFrame:
    """One row a channel, summed over the sets."""
    sums = []
    for channel in CHANNELS:
        each = [lost(of_set[ALL], of_set[channel]) for of_set in rows.values() if channel in of_set]
        sums.append({"without": channel, **pd.DataFrame(each).sum().to_dict(), "sets": len(each)})
    return pd.DataFrame(sums)


def main() -> None:
    """Scan every set with all channels, then without each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--golden", type=Path, help="OUT of make golden, with its networks")
    parser.add_argument("--sets", type=Path, nargs="*", default=[], help="real sets, with train/")
    parser.add_argument("--real", type=Path, help="OUT of make bench-real, for their networks")
    parser.add_argument("--table", action="store_true", help="print what there is")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name, scan in scans_of(options.golden, options.real, options.sets).items():
        for left_out in (ALL, *CHANNELS):
            channels = tuple(one for one in CHANNELS if one != left_out)
            found = kept(
                options.out / "rows" / f"{name}-{left_out}.json",
                lambda scan=scan, name=name, channels=channels: told(
                    scan(options.out / "runs" / name, channels)
                ),
                only_read=options.table,
            )
            if found is not None:
                rows.setdefault(name, {})[left_out] = found
                print(name, left_out, len(found), flush=True)
    print(table({name: part for name, part in rows.items() if ALL in part}).to_string(index=False))


if __name__ == "__main__":
    main()
