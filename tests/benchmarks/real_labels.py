"""Real images of two classes: a softmax, one logit, and sigmoids of further labels find the same.

FOLDER holds ``train/`` with two class folders, and ``metadata.csv`` with a column ``image`` or
``path``. Three networks are fine-tuned as in `real.py`: with an output for each class; with one
logit, which speaks for the first class; and with one for the first class and one for each of
COLUMN=VALUE, of which the metadata says whether an image has it, and where it is blank nobody
knows. Each is scanned without the metadata, and what its scan lists is printed, with how far the
lists of the same class agree with those of the softmax (correlation over the images).

Usage: python tests/benchmarks/real_labels.py FOLDER --out DIR [--labels view=PA sex=M]
           [--input 160] [--epochs 3]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fine_tuning import LITE0, fine_tuned, preprocessing
from real import ROOT, metadata_of
from torch import Tensor, nn

import shortcut_finder as sf
from shortcut_finder.stats.evidence import phi

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Reading:
    """One way to read the task.

    Attributes:
        name: of its folder.
        data: what is scanned.
        outputs: of the network.
        loss_of: of logits and labels of a batch.
        positive: the class that a single logit speaks for.
    """

    name: str
    data: Path
    outputs: int
    loss_of: Loss
    positive: str | None = None


def of_the_first(logits: Tensor, labels: Tensor) -> Tensor:
    """Loss of one logit that speaks for the first of two classes."""
    return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], (labels == 0).float())


def of_the_known(logits: Tensor, states: Tensor) -> Tensor:
    """Loss of sigmoids, each of its own label, where it is known."""
    return nn.functional.binary_cross_entropy_with_logits(
        logits, states.clamp(min=0).float(), weight=(states >= 0).float()
    )


def manifest(folder: Path, wanted: list[str], path: Path) -> Path:
    """A manifest with a column for the first class and one for each COLUMN=VALUE."""
    images, facts = sf.load_dataset(folder / "train"), metadata_of(folder)
    facts = facts.reindex(images.images)
    table = pd.DataFrame({"image": [str(images.root / name) for name in images.images]})
    table[f"label:{images.classes[0]}"] = (images.labels == 0).astype(int)
    for column, value in (one.split("=", 1) for one in wanted):
        known = facts[column].notna().to_numpy()
        has = (facts[column].astype(str) == value).to_numpy()
        table[f"label:{column} {value}"] = np.where(known, has.astype(int), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    return path


def scanned(reading: Reading, out: Path, options: argparse.Namespace) -> sf.Run:
    """Train, once, and scan."""
    how = preprocessing(LITE0, options.input)
    out.mkdir(parents=True, exist_ok=True)
    weights = out / f"{options.input}-{options.epochs}.pt"
    if not weights.exists():
        network = fine_tuned(
            sf.load_dataset(reading.data), how, epochs=options.epochs, seed=0,
            outputs=reading.outputs, loss_of=reading.loss_of,
        )  # fmt: skip
        torch.save(network.state_dict(), weights)
    settings = sf.Settings(
        input_size=options.input, resize=how.resize, mean=how.mean, std=how.std,
        positive=reading.positive,
    )  # fmt: skip
    model = f"{ROOT}/examples/train_classifier.py:efficientnet_lite0"
    if reading.positive is not None:
        model = f"{Path(__file__).resolve()}:one_logit"
    return sf.scan(
        reading.data, model, weights=weights, out=out / "run", settings=settings, progress=False
    )


def one_logit() -> nn.Module:
    """The network with one output."""
    from train_classifier import efficientnet_lite0

    return efficientnet_lite0(1)


def listed(run: sf.Run, finding: str, names: list[str]) -> np.ndarray:
    """Which images a finding lists, by file name, (image,) of float."""
    rows = run.offenders.loc[run.offenders["finding"] == finding, "image"]
    return np.isin(names, [Path(name).name for name in rows]).astype(float)


def main() -> None:
    """Train and scan each reading, and print its findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", nargs="*", default=["view=PA", "sex=M"])
    parser.add_argument("--input", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    train = options.folder / "train"
    if not train.is_dir():
        print(f"{options.folder}: no train/, skipped")
        return
    table = manifest(options.folder, options.labels, options.out / "labels.csv")
    first = sf.load_dataset(train).classes[0]
    readings = (
        Reading("softmax", train, 2, nn.functional.cross_entropy),
        Reading("one logit", train, 1, of_the_first, first),
        Reading("sigmoids", table, 1 + len(options.labels), of_the_known),
    )
    reference: sf.Run | None = None
    for reading in readings:
        run = scanned(reading, options.out / reading.name.replace(" ", "-"), options)
        reference = reference or run
        names = [Path(name).name for name in run.images["image"]]
        print(f"\n{reading.name}: {len(run.images)} images, accuracy {run.card['accuracy']:.3f}")
        for row in run.findings.itertuples():
            own = listed(run, row.finding, names)
            same = [
                (round(phi(own, listed(reference, other.finding, names)), 2), other.finding)
                for other in reference.findings.itertuples()
                if (other.label, other.kind) == (row.label, row.kind)
            ]
            found = "" if reference is run else f" like {max(same, default=('-', 'none'))}"
            print(
                f"  {row.finding} {row.label:12s} {row.kind} @{row.region} "
                f"{row.severity}/{row.verdict} {row.artifact:.2f} n={row.images}{found}"
            )
            for one in run.details[row.Index].get("colabels") or ():
                print(f"      goes with {one}")


if __name__ == "__main__":
    main()
