"""A set in which the label is the source: what the tool suggests, and what doing so is worth.

FOLDER holds ``train/``, ``test/`` and ``conflict/``, each with class folders, and ``metadata.csv``.
In ``train/`` and ``test/`` the classes come from different sources; in ``conflict/`` they come from
the other class's, so that a network that tells sources apart is wrong there. Trains on ``train/``,
scans it with the metadata, cleans it in each way, once without a hint and once with every thing
above low severity accepted, and trains again.

Usage: python tests/benchmarks/two_sources.py FOLDER --out NEW_FOLDER [--seeds 3]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd
from fine_tuning import LITE0, accuracy, fine_tuned, preprocessing, tests_of
from torch import nn

import shortcut_finder as sf
from shortcut_finder.run.decisions import Decisions
from shortcut_finder.settings import ACTIONS


def trained(
    data: Path, seed: int, options: argparse.Namespace, *, weighted: bool = False
) -> nn.Module:
    """A network fine-tuned on the images."""
    images = sf.load_dataset(data)
    weights = images.metadata["weight"].tolist() if weighted else None
    how = preprocessing(LITE0, options.input_size)
    return fine_tuned(images, how, epochs=options.epochs, seed=seed, weights=weights)


def scores(network: nn.Module, options: argparse.Namespace) -> dict[str, float]:
    """Accuracy on the images of known and of exchanged source."""
    how = preprocessing(LITE0, options.input_size)
    classes = sf.load_dataset(options.folder / "train").classes
    return {
        name: accuracy(network, tests_of(options.folder / name, classes), how)
        for name in ("test", "conflict")
    }


def scanned(network: nn.Module, options: argparse.Namespace) -> sf.Run:
    """A scan of the training images with the metadata."""
    how = preprocessing(LITE0, options.input_size)
    settings = sf.Settings(
        input_size=how.height, resize=how.resize, mean=how.mean, std=how.std, seed=0
    )
    return sf.scan(
        options.folder / "train", network, out=options.out / "run",
        metadata=options.folder / "metadata.csv", settings=settings, progress=False,
    )  # fmt: skip


def all_accepted(run: sf.Run, path: Path) -> Path:
    """Decisions of a person who accepts every thing above low severity; a column is no thing."""
    table = run.findings
    loud = table.loc[(table["severity"] != "low") & (table["kind"] != "metadata"), "finding"]
    decisions = Decisions(run.fingerprint, dict.fromkeys(loud, "accept"))
    path.write_text(json.dumps(decisions.as_dict()), encoding="utf-8")
    return path


def main() -> None:
    """Train, scan, clean, train again, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with train/, test/, conflict/, metadata.csv")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the runs")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each version")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the images")
    parser.add_argument("--input-size", type=int, default=160, help="side of the input, in pixels")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []

    def measure(version: str, data: Path, *, weighted: bool = False) -> nn.Module:
        networks = [
            trained(data, seed, options, weighted=weighted) for seed in range(options.seeds)
        ]
        for seed, network in enumerate(networks):
            rows.append({"version": version, "seed": seed, **scores(network, options)})
            print(json.dumps(rows[-1]), flush=True)
        return networks[0]

    run = scanned(measure("as it is", options.folder / "train"), options)
    columns = ["finding", "label", "kind", "region", "images", "severity", "verdict", "sentence"]
    print(run.findings[columns].to_string(index=False))
    everything = all_accepted(run, options.out / "decisions.json")
    for action in ACTIONS:
        done: list[pd.DataFrame] = []
        for hint, decisions in (("no hint", None), ("all accepted", everything)):
            version = f"{action}, {hint}"
            cleaned = options.out / version.replace(", ", " ")
            try:
                plan = sf.clean(run, action, out=cleaned, decisions=decisions)
            except sf.ShortcutFinderError as error:
                print(f"{version}: {error}", flush=True)
                continue
            changed = plan.counts.set_index("label")["changed"].to_dict()
            print(f"{version}: {' '.join(plan.findings)} in {changed}", flush=True)
            for warning in (*plan.warnings, *plan.advice):
                print(f"  {warning}")
            if not plan.counts["changed"].sum():
                print("  which changes nothing")
                continue
            changes = plan.images[["image", "change", "weight"]]
            if any(changes.equals(other) for other in done):
                print("  the same images as without a hint")
                continue
            done.append(changes)
            measure(version, cleaned / "manifest.csv", weighted=action == "reweight")
    table = pd.DataFrame(rows).groupby("version", sort=False)[["test", "conflict"]]
    print(table.agg(["mean", "min", "max"]).to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
