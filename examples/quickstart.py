"""Scan your own folder of class folders with a torchvision network, from Python.

    python examples/quickstart.py photos/ --model resnet18 --weights weights.pt --out run/

``photos/`` holds one folder a class. The weights are a state dict that you trained on those
classes; ``examples/train_classifier.py`` makes one if you have none.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import shortcut_finder as sf


def main() -> None:
    """Scan, then print the findings and the images to look at first."""
    parser = argparse.ArgumentParser(description="Scan a folder of class folders.")
    parser.add_argument("data", type=Path, help="folder of class folders")
    parser.add_argument("--model", default="resnet18", help="torchvision name")
    parser.add_argument("--weights", type=Path, required=True, help="state dict")
    parser.add_argument("--input-size", type=int, default=None, help="side of the model's input")
    parser.add_argument("--out", type=Path, default=Path("run"), help="folder for the results")
    options = parser.parse_args()

    run = sf.scan(
        options.data,
        options.model,
        weights=options.weights,
        out=options.out,
        settings=sf.Settings(input_size=options.input_size),
    )
    for finding in run.findings.itertuples():
        print(f"{finding.finding} [{finding.severity}] {finding.sentence}")
    if run.findings.empty:
        print("no findings")
    print(run.offenders[["rank", "image", "finding", "score"]].head(10).to_string(index=False))
    print(f"look at {run.folder / 'report.html'}")


# Worker processes import this file; only the one you started may scan.
if __name__ == "__main__":
    main()
