"""Scan a validation set while a network is trained, with whatever trains it.

A shortcut grows while the loss falls. `ShortcutWatch` scans every few epochs and logs what it finds
beside the loss; it needs no training library and fits into any that calls functions:

    watch = ShortcutWatch("photos/validation", out="watch/", to="mlflow")
    watch(network, epoch)                                      # a loop of your own, as below
    # Lightning: a Callback whose on_train_epoch_end(self, trainer, module) calls
    #     watch(module.network, trainer.current_epoch)
    # transformers: a TrainerCallback whose on_epoch_end(self, args, state, control, model, **_)
    #     calls watch(model, round(state.epoch))

    python training_callback.py --out watch/
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

import shortcut_finder as sf
from shortcut_finder.demo.dataset import make_dataset
from shortcut_finder.demo.network import INPUT_SIZE, normalised, small_network


class ShortcutWatch:
    """Scans a labelled folder every few epochs, and logs where it is told to."""

    def __init__(
        self,
        images: str | Path,
        *,
        out: str | Path,
        every: int = 5,
        to: str | None = None,
        settings: sf.Settings | None = None,
    ) -> None:
        self.images, self.out, self.every, self.to = images, Path(out), every, to
        # Experiments can wait for the network that is kept.
        self.settings = settings or sf.Settings(verify=False)
        self.findings: dict[int, int] = {}

    def __call__(self, network: nn.Module, epoch: int) -> sf.Run | None:
        """Scan after this epoch, if it is its turn; the network is left as it was."""
        if epoch % self.every:
            return None
        run = sf.scan(
            self.images,
            network,
            out=self.out / f"epoch-{epoch}",
            settings=self.settings,
            fresh=True,
            progress=False,
        )
        loud = run.findings["severity"].isin(["high", "medium"])
        self.findings[epoch] = int(loud.sum())
        if self.to is not None:
            sf.log_run(run, to=self.to, step=epoch)
        return run


def main() -> None:
    """Train the demo's network on the demo's pictures, and watch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("watch"))
    parser.add_argument("--per-class", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--to", choices=["mlflow", "wandb"])
    options = parser.parse_args()
    make_dataset(options.out / "data", per_class=options.per_class, progress=False)
    images = options.out / "data" / "images"
    dataset = sf.load_dataset(images)
    pixels = normalised([dataset.read(n).picture for n in range(len(dataset))])
    labels = torch.from_numpy(dataset.labels)
    torch.manual_seed(0)
    network = small_network(len(dataset.classes))
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    watch = ShortcutWatch(
        images,
        out=options.out / "scans",
        every=options.every,
        to=options.to,
        settings=sf.Settings(input_size=INPUT_SIZE, verify=False),
    )
    for epoch in range(1, options.epochs + 1):
        for batch in torch.split(torch.randperm(len(labels)), 32):
            loss = nn.functional.cross_entropy(network(pixels[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        watch(network, epoch)
        said = f", loud findings: {watch.findings[epoch]}" if epoch in watch.findings else ""
        print(f"epoch {epoch}: loss {loss.item():.3f}{said}")


if __name__ == "__main__":
    main()
