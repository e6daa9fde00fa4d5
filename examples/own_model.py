r"""Scan with a network of your own: a function that builds it, its weights, its class names.

From the command line this file is named as ``FILE.py:FUNCTION``:

    shortcut-finder scan photos/ --model examples/own_model.py:build --weights weights.pt \
        --classes classes.txt --input-size 128 --mean 0.5,0.5,0.5 --std 0.25,0.25,0.25 --out run/

and the same from Python:

    python examples/own_model.py photos/ weights.pt classes.txt run/

``classes.txt`` names the network's outputs, one a line, in their order. Without it the outputs are
taken to be the class folders in sorted order. The network is yours, so its preprocessing must be
given too: the scan cannot know it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch import nn

import shortcut_finder as sf

SETTINGS = sf.Settings(input_size=128, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def build(num_classes: int) -> nn.Module:
    """The network, untrained; the scan loads the weights into it.

    Args:
        num_classes: outputs; a function without this argument is called with none.
    """
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, num_classes),
    )


def main() -> None:
    """Scan and print the findings."""
    data, weights, classes, out = (Path(argument) for argument in sys.argv[1:5])
    run = sf.scan(
        data, f"{__file__}:build", weights=weights, classes=classes, out=out, settings=SETTINGS
    )
    print(run.findings[["finding", "label", "kind", "region", "severity"]].to_string(index=False))
    print(f"look at {run.folder / 'report.html'}")


if __name__ == "__main__":
    main()
