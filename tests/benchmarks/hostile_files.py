"""Malformed images, manifests, run folders and checkpoints, many of each.

Every one must be read or refused with a reason in one line, within ten seconds, and nothing in it
may run. Prints one line of JSON; exits with 1 where anything else happens.

    python tests/benchmarks/hostile_files.py --images 1200 --others 300
"""

from __future__ import annotations

import argparse
import io
import json
import pickle
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from handmade import handmade_run
from mutations import mutated, mutations, sound

import shortcut_finder as sf
from shortcut_finder.data.reading import read_bytes
from shortcut_finder.errors import ShortcutFinderError
from shortcut_finder.model.classifier import load_classifier
from shortcut_finder.model.weights import load_weights, read_state_dict
from shortcut_finder.report.page import write_report
from shortcut_finder.sweep.batches import sweep
from shortcut_finder.sweep.shards import read_shard

LONGEST = 10.0


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU())
        self.head = nn.Linear(8, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).mean((2, 3)))


class Account:
    """What became of the files."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.longest = 0.0

    def tried(self, what: str, work: Callable[[], Any]) -> None:
        # Of this process: on a busy machine a clock says little.
        started = time.process_time()
        try:
            work()
            self.counts[f"{what}: used"] += 1
        except ShortcutFinderError as error:
            self.counts[f"{what}: refused"] += 1
            if not str(error) or "\n" in str(error):
                self.faults.append(f"{what}: reason {str(error)!r}")
        except Exception as error:
            self.faults.append(f"{what}: {type(error).__name__}: {str(error)[:200]}")
        taken = time.process_time() - started
        self.longest = max(self.longest, taken)
        if taken > LONGEST:
            self.faults.append(f"{what}: {taken:.0f} seconds of a processor")


def images(account: Account, home: Path, count: int) -> None:
    """Each read by itself, and all in one sweep."""
    for label in ("ant", "bee"):
        (home / "images" / label).mkdir(parents=True)
        for end, content in sound().items():
            (home / "images" / label / f"sound.{end}").write_bytes(content)
    names = set()
    for number, (end, content) in enumerate(mutations(sound(), count)):
        name = f"{('ant', 'bee')[number % 2]}/{number:05d}.{end}"
        (home / "images" / name).write_bytes(content)
        names.add(name)
        account.tried("image", lambda content=content: read_bytes(content))
    settings = sf.Settings(input_size=32, precision="fp32", workers=1)
    dataset = sf.load_dataset(home / "images")
    classifier = load_classifier(
        Network(), weights=None, classes=None, labels=dataset.classes, settings=settings
    )
    swept = sweep(dataset, classifier, settings, home / "run" / "shards", progress=False)
    seen = {
        name
        for path in (home / "run" / "shards").glob("shard-*.parquet")
        for name in read_shard(path).table["image"]
    }
    listed = dict(zip(swept.unreadable["image"], swept.unreadable["error"], strict=True))
    account.counts["sweep: images seen"] = len(seen & names)
    account.counts["sweep: images listed with a reason"] = sum(
        bool(listed.get(name)) for name in names
    )
    if seen | set(listed) != set(dataset.images) or seen & set(listed):
        account.faults.append("sweep: an image is neither seen nor listed")
    for label in ("ant", "bee"):
        lost = [end for end in sound() if f"{label}/sound.{end}" not in seen]
        if lost:
            account.faults.append(f"sweep: sound images were lost: {lost}")


def manifests(account: Account, home: Path, count: int, rng: np.random.Generator) -> None:
    """Mutations of a manifest, and encodings, quotes and paths that are none."""
    folder = home / "manifests"
    folder.mkdir()
    (folder / "a.png").write_bytes(sound()["png"])
    plain = b"image,label,note\na.png,ant,x\nb.png,bee,y\n../a.png,ant,z\n/etc/passwd,bee,w\n"
    odd = [
        plain.decode().encode("utf-16"), b"\xff\xfe" + plain, plain.replace(b"x", b"\xe9"), b"",
        b"\0" * 100, b"image,label\n", b'image,label\n"a.png,ant\n', plain * 2,
        plain.replace(b"a.png", b"a" * 5000 + b".png"), b"image,image,label\na,b,c\n",
        plain.replace(b"ant", b"=cmd|'/c calc'!A0"), b"image,label\na.png,\n",
        plain.replace(b"a.png", b"new\0line.png"), "image,label\na.png,\u202eant\n".encode(),
        b"PAR1" + bytes(50), plain.replace(b",", b";"), b"\xef\xbb\xbf" + plain,
    ]  # fmt: skip
    for number in range(count):
        content = odd[number] if number < len(odd) else mutated(plain, rng)
        file = folder / f"{number}.csv"
        file.write_bytes(content)
        account.tried("manifest", lambda file=file: sf.load_dataset(file))


def runs(account: Account, home: Path, count: int, rng: np.random.Generator) -> None:
    """A run with one file mutated: loaded, shown, cleaned and compared."""
    sound_run = handmade_run(home / "handmade")
    other = home / "mutated"
    files = sorted(path for path in sound_run.folder.iterdir() if path.is_file())
    files = [path for path in files if path.suffix in (".json", ".csv", ".parquet")]
    for number in range(count):
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(sound_run.folder, other)
        file = other / files[number % len(files)].name
        file.write_bytes(mutated(file.read_bytes(), rng))

        def use() -> None:
            run = sf.load_run(other)
            write_report(run)
            sf.compare(sound_run, run)
            sf.clean(run, "drop")

        account.tried(f"run, {file.name}", use)


class Attack:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def checkpoints(account: Account, home: Path, count: int, rng: np.random.Generator) -> None:
    """Mutations of a state dict, and pickles that would run something."""
    marker, file = home / "ran", home / "weights.pt"
    buffer = io.BytesIO()
    torch.save(Network().state_dict(), buffer)
    attacks = [pickle.dumps(Attack(marker))]
    for hidden in ({"state_dict": Attack(marker)}, {"head.bias": Attack(marker)}):
        saved = io.BytesIO()
        torch.save(hidden, saved)
        attacks.append(saved.getvalue())
    nan = {name: value * float("nan") for name, value in Network().state_dict().items()}
    saved = io.BytesIO()
    torch.save(nan, saved)
    odd = [*attacks, saved.getvalue(), b"", b"\x80", pickle.dumps({"a": 1})]
    for number in range(count):
        content = odd[number] if number < len(odd) else mutated(buffer.getvalue(), rng)
        file.write_bytes(content)
        account.tried(
            "checkpoint", lambda: load_weights(Network(), read_state_dict(file), str(file))
        )
    if marker.exists():
        account.faults.append("checkpoint: code was run")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--images", type=int, default=1200)
    options.add_argument("--others", type=int, default=300)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    torch.set_num_threads(1)
    rng, account = np.random.default_rng(asked.seed), Account()
    with tempfile.TemporaryDirectory(prefix="hostile-") as place:
        for work in (manifests, runs, checkpoints):
            work(account, Path(place), asked.others // 3, rng)
        images(account, Path(place), asked.images)
    print(
        json.dumps(
            {
                "counts": dict(sorted(account.counts.items())),
                "longest_processor_seconds": round(account.longest, 2),
                "faults": sorted(set(account.faults)),
            },
            indent=1,
        )
    )
    return 1 if account.faults else 0


if __name__ == "__main__":
    sys.exit(main())
