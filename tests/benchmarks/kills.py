"""Kills scan, clean and compare with SIGKILL at random moments and gives the same command again.

What comes of it in the end must be what comes of a command that nothing stopped, byte for byte but
for timings. One process loads the libraries and forks the others, so that a try takes seconds; most
of the commands that go on are killed once more. Prints one line of JSON; exits with 1 where
anything differs.

    python tests/benchmarks/kills.py --kills 200 [--record]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rows import add_row, recording
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from synthetic import paste, stamp, texture
from unbroken import masked, whole

import shortcut_finder as sf
from shortcut_finder import scanning
from shortcut_finder.report import page as _loaded_before_forking  # noqa: F401
from shortcut_finder.run.decisions import Decisions
from shortcut_finder.sweep import batches

SIDE, IMAGES, SHARD = 64, 40, 24
# Kills of each command; most of the time of users goes to scans.
SHARES = {"scan": 0.7, "clean": 0.15, "compare": 0.15}
# Part of the commands that go on which are killed once more.
AGAIN = 0.7
STAGES = ("start", "sweep", "analysis", "experiments", "page")


class Network(nn.Module):
    """Fixed random filters: what it sees is in its cells, whatever it makes of it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 5, 4, 2), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(24, 24, 1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(24, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).mean((2, 3)))


def draw(root: Path) -> None:
    """Textures in two class folders, a stamp in the corner of half of one, and a broken file."""
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True)
        for number in range(IMAGES):
            grey = texture(rng, SIDE)
            if name == "bee" and number % 2:
                grey = paste(grey, stamp(0, 16), 2, 2)
            colours = np.stack([grey, grey * 0.9, grey * 0.8], axis=2)
            picture = Image.fromarray(colours.clip(0, 255).astype(np.uint8))
            picture.save(root / name / f"{number:03d}.png")
    (root / "bee" / "broken.png").write_bytes(b"\x89PNG")


def scan(data: Path, out: Path) -> None:
    settings = sf.Settings(input_size=SIDE, precision="fp32", workers=1, batch_size=8)
    sf.scan(data, Network(), out=out, settings=settings, progress=False)


def forked(work: Callable[[], None]) -> int:
    """Work in a process of its own; its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def killed(work: Callable[[], None], after: float) -> bool:
    """Whether the work was killed so many seconds after its begin; it may be done before."""
    pid = forked(work)
    until = time.monotonic() + after
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, "the command failed by itself"
            return False
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def finished(work: Callable[[], None]) -> bool:
    _, status = os.waitpid(forked(work), 0)
    return status == 0


def stage_in(run: Path) -> str:
    """The stage that ran last, by ``run.log``."""
    try:
        lines = (run / "run.log").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return STAGES[0]
    since = max((n for n, line in enumerate(lines) if " scan of " in line), default=0)
    done = sum(" files decoded" in line for line in lines[since:])
    return STAGES[min(done, len(STAGES) - 1)]


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def prepared(home: Path) -> dict[str, Callable[[Path], None]]:
    """Draw the images, scan what cleaning and comparing need, and say what each command does."""
    draw(home / "data")
    shutil.copytree(home / "data", home / "later")
    for number in range(1, IMAGES, 4):
        (home / "later" / "bee" / f"{number:03d}.png").unlink()
    assert finished(lambda: scan(home / "data", home / "before"))
    assert finished(lambda: scan(home / "later", home / "after"))
    return {
        "scan": lambda out: scan(home / "data", out),
        "clean": lambda out: _clean(home / "before", out),
        "compare": lambda out: _compare(home / "before", home / "after", out),
    }


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--of", nargs="+", default=list(SHARES), choices=list(SHARES))
    options.add_argument("--seed", type=int, default=0)
    recording(options)
    asked = options.parse_args()
    torch.set_num_threads(1)
    batches.SHARD = SHARD
    # To load what reads words takes longer than all the rest.
    scanning.reader = lambda: None
    rng = np.random.default_rng(asked.seed)
    counts: Counter[str] = Counter()
    differing: list[str] = []
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        home = Path(place)
        works = prepared(home)
        all_shares = sum(SHARES[name] for name in asked.of)
        for name in asked.of:
            work = works[name]
            out = home / "out" / "result"
            read = masked if name == "scan" else whole
            shutil.rmtree(home / "out", ignore_errors=True)
            started = time.monotonic()
            assert finished(lambda work=work, out=out: work(out)), f"{name} failed unbroken"
            seconds = time.monotonic() - started
            wanted = read(out)
            while counts[name] < round(SHARES[name] / all_shares * asked.kills):
                shutil.rmtree(home / "out")

                def go(work=work, out=out) -> None:  # type: ignore[no-untyped-def]
                    work(out)

                # A cleaned folder that has its name is whole, and would be refused.
                done = False
                while not done and killed(go, rng.uniform(0, 1.1 * seconds)):
                    counts[name] += 1
                    stage = stage_in(out) if name == "scan" else "any"
                    counts[f"{name}: {stage}"] += 1
                    tell(f"{name}: {counts[name]} kills, the last in {stage}")
                    done = name == "clean" and out.exists()
                    if rng.random() >= AGAIN:
                        break
                if not done and not (name == "clean" and out.exists()) and not finished(go):
                    differing.append(f"{name}: the command given again failed")
                    continue
                found = read(out)
                strange = sorted(path.name for path in (home / "out").iterdir())
                if found != wanted or strange != ["result"]:
                    names = [n for n in {*found, *wanted} if found.get(n) != wanted.get(n)]
                    differing.append(f"{name}: {names} {strange}")
                    tell(f"differs: {differing[-1]}")
    stages = {key: value for key, value in sorted(counts.items()) if ": " in key}
    kills = sum(counts[name] for name in SHARES)
    print(json.dumps({"kills": kills, "of": stages, "differing": differing}))
    if asked.record:
        for name in asked.of:
            record(name, counts[name], differing, asked.seed)
    return 1 if differing else 0


def record(name: str, kills: int, differing: Sequence[str], seed: int) -> None:
    """Write how many kills of a command there were, and how many results differ."""
    add_row(
        "kills", killed=name, n=kills,
        differing=sum(one.startswith(f"{name}: ") for one in differing), seeds=str(seed),
        setting=f"{2 * IMAGES} drawn images, a small network", command="make bench-kills",
    )  # fmt: skip


def _clean(run: Path, out: Path) -> None:
    accepted = dict.fromkeys(sf.load_run(run).findings["finding"], "accept")
    assert accepted, "nothing was found, so there is nothing to clean"
    decisions = Decisions(sf.load_run(run).fingerprint, accepted)
    file = run.parent / "decisions.json"
    file.write_text(json.dumps(decisions.as_dict()), encoding="utf-8")
    sf.clean(run, "mask", out=out, decisions=file)


def _compare(a: Path, b: Path, out: Path) -> None:
    sf.compare(a, b, out=out)


if __name__ == "__main__":
    sys.exit(main())
