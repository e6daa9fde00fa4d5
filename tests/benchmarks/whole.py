"""A whole scan over a bare forward loop: from the command to the page, start-up included in both.

Photographs from the class folders of PHOTOS, cut a little differently wherever more are wanted than
there are, with a tag in a third of every second class; a network fine-tuned on some of them. Then,
each in a process of its own and in turn, so that a busy machine slows both down:

    bare    decode, resize and normalise in as many processes, one forward pass, nothing kept
    scan    sweep, analysis, experiments and page

Sets and networks are kept in OUT. The seconds of a stage are by the clock; `passes` are images
through the network and `files` images decoded, both over the number of images.

Usage: python tests/benchmarks/whole.py PHOTOS [PHOTOS ...] --out DIR [--images 500,1500]
           [--classes 2,10] [--rounds N] [--network NAME] [--input N] [--epochs N] [--workers N]
           [--record]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rows import add_row, recording

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("start", "sweep", "analysis", "experiments", "page")
# Images of a forward pass, in both.
BATCH = 32
# Images that the network learns from; what it knows matters to what is found, not to the clock.
LEARNED = 1000
# Every second class has a tag in this part of its images.
TAGGED = 0.35
MEAN, STD = 127 / 255, 128 / 255


# --- one process each ----------------------------------------------------------------------------


def network_of(name: str, classes: int, weights: Path | None) -> Any:
    """The network alone, with nothing loaded that a bare loop does without."""
    import torch

    if name == "efficientnet-lite0":
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name(name, num_classes=classes)
    else:
        from torchvision import models

        network = models.get_model(name, weights=None, num_classes=classes)
    if weights is not None:
        network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()


def bare_loop(folder: Path, network: Any, side: int, workers: int) -> int:
    """Every image of a folder through the network; how many there were."""
    import numpy as np
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    class Pictures(Dataset[Any]):
        def __init__(self, files: Sequence[Path]) -> None:
            self.files = files

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, index: int) -> Any:
            with Image.open(self.files[index]) as image:
                picture = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
            return torch.from_numpy(np.array(picture))

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    network = network.to(memory_format=torch.channels_last)
    done = 0
    with torch.inference_mode():
        for pixels in DataLoader(Pictures(files), BATCH, num_workers=workers):
            images = pixels.permute(0, 3, 1, 2).float().div(255).sub(MEAN).div(STD)
            done += len(network(images))
    return done


def whole_scan(folder: Path, network: Any, side: int, workers: int, out: Path) -> None:
    """The same images scanned, to a page."""
    import shortcut_finder as sf

    settings = sf.Settings(
        input_size=side, mean=(MEAN,) * 3, std=(STD,) * 3, resize="squash", precision="fp32",
        batch_size=BATCH, workers=workers,
    )  # fmt: skip
    sf.scan(folder, network, out=out, settings=settings, fresh=True, progress=False)


# --- what is scanned -----------------------------------------------------------------------------


def make_set(photos: Sequence[Path], out: Path, images: int, classes: int) -> None:
    """Write ``out/<class>/<image>.jpg``: so many images of so many classes, half of them tagged."""
    import numpy as np
    from PIL import Image

    sys.path.insert(0, str(ROOT / "tests"))
    from planted import PLANTERS, SUFFIXES

    folders = sorted(path for root in photos for path in root.iterdir() if path.is_dir())
    for number in range(classes):
        rng = np.random.default_rng([images, classes, number])
        # More classes than folders: a folder is parted among them.
        source, turn = folders[number % len(folders)], number // len(folders)
        turns = len(range(number % len(folders), classes, len(folders)))
        found = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES)[turn::turns]
        place = out / f"{number:03d}-{source.name}"
        place.mkdir(parents=True)
        for image in range(images // classes + (number < images % classes)):
            with Image.open(found[image % len(found)]) as opened:
                picture = opened.convert("RGB")
            if image >= len(found):
                picture = cut(picture, rng)
            if number % 2 == 0 and rng.random() < TAGGED:
                picture = PLANTERS["tag"](picture, rng, number)[0]
            picture.save(place / f"{image:05d}.jpg", quality=92)


def cut(picture: Any, rng: Any) -> Any:
    """A part of a picture, mirrored or not: a version of it, as augmented sets hold several."""
    from PIL import ImageOps

    width, height = (round(length * rng.uniform(0.75, 0.95)) for length in picture.size)
    left = int(rng.integers(picture.width - width + 1))
    top = int(rng.integers(picture.height - height + 1))
    part = picture.crop((left, top, left + width, top + height))
    return ImageOps.mirror(part) if rng.random() < 0.5 else part


def learn(folder: Path, name: str, side: int, epochs: int, weights: Path) -> None:
    """Fine-tune a network on some of the images; ``weights`` is written."""
    import numpy as np
    import torch

    sys.path.insert(0, str(ROOT / "examples"))
    from train_classifier import build, train

    from shortcut_finder.data.dataset import load_dataset
    from shortcut_finder.data.preprocessing import Preprocessing

    images = load_dataset(str(folder))
    order = np.random.default_rng(0).permutation(len(images))[:LEARNED]
    torch.manual_seed(0)
    network = build(name, len(images.classes), pretrained=False)
    if epochs:
        how = Preprocessing(side, side, mean=(MEAN,) * 3, std=(STD,) * 3)
        train(network, images.subset(np.sort(order)), how, epochs)
    torch.save(network.state_dict(), weights)


# --- the table -----------------------------------------------------------------------------------


def timed(command: Sequence[str]) -> tuple[float, float]:
    """Seconds by the clock from the start of a process to its end, and its peak in MiB."""
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, usage.ru_maxrss / 1024


def figures(
    images: int, bare: Sequence[float], scans: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """What a scan costs; of several rounds the medians, ratios within a round.

    Args:
        images: of the set.
        bare: seconds of the bare loop in each round.
        scans: of each round the ``seconds``, the ``memory`` in MiB, the ``findings`` and the
            ``stages`` of its card.
    """
    middle = statistics.median
    ratio = middle(scan["seconds"] / loop for scan, loop in zip(scans, bare, strict=True))

    def stage(name: str, what: str) -> float:
        return middle(scan["stages"].get(name, {}).get(what, 0) for scan in scans)

    passes, files = (
        sum(stage(name, what) for name in STAGES) / images
        for what in ("forward_passes", "decoded_files")
    )
    return {
        "bare": middle(bare),
        "scan": middle(scan["seconds"] for scan in scans),
        "over_bare": ratio,
        **{name: stage(name, "seconds") for name in STAGES},
        "passes": passes,
        "files": files,
        "findings": middle(scan["findings"] for scan in scans),
        "peak_mib": middle(scan["memory"] for scan in scans),
    }


def compare(folder: Path, weights: Path, options: argparse.Namespace) -> dict[str, float]:
    """What a scan of one set costs."""
    bare, scans = [], []
    same = ["--network", options.network, "--input", str(options.input)]
    same += ["--workers", str(options.workers), "--weights", str(weights)]
    command = [sys.executable, str(Path(__file__).resolve()), str(folder), *same]
    for _ in range(options.rounds):
        bare.append(timed([*command, "--process", "bare"])[0])
        with tempfile.TemporaryDirectory(dir=options.out) as run:
            seconds, memory = timed([*command, "--process", "scan", "--out", run])
            card = json.loads((Path(run) / "run.json").read_text(encoding="utf-8"))
        found = card["counts"]["findings"]
        scans.append(
            {"seconds": seconds, "memory": memory, "stages": card["stages"], "findings": found}
        )
    return figures(sum(card["dataset"]["images"].values()), bare, scans)


def cells(row: Mapping[str, float]) -> list[str]:
    """A line of the table as it is printed."""
    digits = {"passes": 2, "files": 2, "findings": 0, "peak_mib": 0}
    return [f"{value:,.{digits.get(name, 1)}f}" for name, value in row.items()]


def measure(options: argparse.Namespace) -> None:
    """Make each set, compare, print and perhaps write a row."""
    where = f"{os.cpu_count()} cores, {options.workers} decode processes, "
    where += f"{options.network} at {options.input} pixels, batches of {BATCH}, "
    where += f"{options.rounds} rounds; load {os.getloadavg()[0]:.1f}"
    print(f"{platform.processor() or platform.machine()}, {where}; seconds\n")
    titles = ["images", "classes", "bare", "scan", "over bare", *STAGES]
    titles += ["passes", "files", "findings", "peak, MiB"]
    print("| " + " | ".join(titles) + " |\n" + "|---:" * len(titles) + "|", flush=True)
    for images in options.images:
        for classes in options.classes:
            name = f"{images}-{classes}"
            folder = options.out / f"set-{name}"
            weights = options.out / f"{options.network}-{options.input}-{options.epochs}-{name}.pt"
            if not folder.exists():
                make_set(options.photos, folder, images, classes)
            if not weights.exists():
                learn(folder, options.network, options.input, options.epochs, weights)
            row = compare(folder, weights, options)
            print(f"| {images:,} | {classes} | {' | '.join(cells(row))} |", flush=True)
            if options.record:
                add_row(
                    "whole", network=options.network, n=images, classes=classes, **row, seeds="0",
                    setting=where, command="make bench-whole PHOTOS=FOLDER OUT=FOLDER",
                )  # fmt: skip


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--images", type=numbers, default=[500, 1500])
    parser.add_argument("--classes", type=numbers, default=[2, 10])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--network", default="efficientnet-lite0")
    parser.add_argument("--input", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 1) // 2))
    recording(parser)
    # How the script calls itself.
    parser.add_argument("--process", choices=("bare", "scan"), help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        if options.process == "scan":
            # As at the top of a script, before the first tensor is made.
            importlib.import_module("shortcut_finder")
        folder = options.photos[0]
        classes = sum(path.is_dir() for path in folder.iterdir())
        network = network_of(options.network, classes, options.weights)
        if options.process == "bare":
            bare_loop(folder, network, options.input, options.workers)
        else:
            whole_scan(folder, network, options.input, options.workers, options.out)
        return
    if options.out is None:
        parser.error("--out is missing")
    options.out.mkdir(parents=True, exist_ok=True)
    measure(options)


if __name__ == "__main__":
    main()
