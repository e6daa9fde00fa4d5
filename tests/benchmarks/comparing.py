"""Are changes between two versions of a dataset called by their names, and is chance left alone?

For each case a network that relies on the plant scans version 1 and version 2, which differ by one
known change; `compare` must give the finding that lists the planted images the right state. Null
changes (another seed, other names, a random half added or taken away) must bring nothing new or
worse above low severity. Scans are kept: the same command goes on where it was stopped.

Usage: python tests/benchmarks/comparing.py --out FOLDER [--no-verify] [--images 100] [--seeds 3]
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cases
import numpy as np
import pandas as pd
from cases import Built, Case, Plant, build
from PIL import Image
from shares import share_of

import shortcut_finder as sf

PLANTS = (Plant("logo", "corner", 0.4), Plant("logo", "random", 0.4), Plant("frame", "whole", 0.4))
OTHER = 2  # the class that carriers are relabelled to


@dataclass(frozen=True, eq=False)
class Version:
    """One version: pictures with their names and labels.

    Attributes:
        pixels: by name.
        labels: class index by name.
        suffix: of the files; JPEG for pictures that are saved again.
    """

    pixels: dict[str, np.ndarray]
    labels: dict[str, int]
    suffix: str = ".png"

    def only(self, names: set[str]) -> Version:
        """The version with these pictures only."""
        return replace(
            self, pixels={name: self.pixels[name] for name in self.pixels if name in names}
        )


@dataclass(frozen=True, eq=False)
class Subject:
    """A case to be changed.

    Attributes:
        whole: as it was built.
        clean: the same pictures without the plant.
        planted: names of those that carry it.
        rng: for random halves.
    """

    whole: Version
    clean: Version
    planted: tuple[str, ...]
    rng: np.random.Generator

    def half(self) -> Version:
        """A random half of the pictures."""
        names = self.rng.permutation(sorted(self.whole.pixels))
        return self.whole.only(set(names[: len(names) // 2]))


def with_plant(subject: Subject, carriers: tuple[str, ...]) -> Version:
    """The pictures with the plant in these only."""
    pixels = {**subject.clean.pixels, **{name: subject.whole.pixels[name] for name in carriers}}
    return replace(subject.whole, pixels=pixels)


def without(subject: Subject, names: tuple[str, ...]) -> Version:
    """The pictures but for these."""
    return subject.whole.only(set(subject.whole.pixels) - set(names))


def relabelled(subject: Subject) -> Version:
    """All carriers in another class."""
    return replace(
        subject.whole, labels={**subject.whole.labels, **dict.fromkeys(subject.planted, OTHER)}
    )


def renamed(subject: Subject) -> Version:
    """All pictures under other names."""
    pixels = {
        f"sub/{index:05d}": subject.whole.pixels[name]
        for index, name in enumerate(subject.whole.pixels)
    }
    labels = {
        f"sub/{index:05d}": subject.whole.labels[name]
        for index, name in enumerate(subject.whole.pixels)
    }
    return Version(pixels, labels)


def _half(subject: Subject) -> tuple[str, ...]:
    return subject.planted[::2]


VERSIONS: dict[str, Callable[[Subject], Version]] = {
    "planted": lambda s: s.whole,
    "clean": lambda s: s.clean,
    "half planted": lambda s: with_plant(s, _half(s)),
    "dropped": lambda s: without(s, s.planted),
    "half dropped": lambda s: without(s, _half(s)),
    "relabelled": relabelled,
    "renamed": renamed,
    "saved again": lambda s: replace(s.whole, suffix=".jpg"),
    "random half": lambda s: s.half(),
}
# Version 1, version 2, and the state that is right; none where nothing may be new or worse.
CHANGES = (
    ("clean", "planted", "new"),
    ("half planted", "planted", "worse"),
    ("planted", "dropped", "resolved"),
    ("planted", "clean", "resolved"),
    ("planted", "half dropped", "better"),
    ("planted", "relabelled", "resolved"),
    ("planted", "renamed", "persists"),
    ("planted", "saved again", "persists"),
    ("planted", "planted", ""),
    ("clean", "clean", ""),
    ("planted", "renamed", ""),
    ("random half", "planted", ""),
    ("random half", "random half", ""),
    ("planted", "random half", ""),
)


def subject_of(built: Built, drawn: np.ndarray) -> Subject:
    """The case as named pictures."""
    names = [f"{index:05d}" for index in range(len(built.labels))]
    labels = dict(zip(names, built.labels.tolist(), strict=True))
    whole = Version(dict(zip(names, built.images, strict=True)), labels)
    clean = Version(dict(zip(names, drawn, strict=True)), labels)
    planted = tuple(name for name, there in zip(names, built.members[0], strict=True) if there)
    return Subject(whole, clean, planted, np.random.default_rng(built.case.seed))


def scanned(version: Version, built: Built, folder: Path, seed: int, *, verify: bool) -> sf.Run:
    """Write a version and scan it, or take the scan that is there."""
    if (folder / "run" / "run.json").exists():
        return sf.load_run(folder / "run")
    shutil.rmtree(folder, ignore_errors=True)
    for name, pixels in version.pixels.items():
        path = folder / "images" / built.names[version.labels[name]] / f"{name}{version.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=92)
    settings = replace(built.case.settings, seed=seed, verify=verify)
    return sf.scan(
        folder / "images", built.model, out=folder / "run", classes=built.names,
        settings=settings, progress=False,
    )  # fmt: skip


def state_of_plant(one: sf.Run, other: sf.Run, subject: Subject, label: str) -> str:
    """State of the finding that lists the most planted pictures; empty where none lists any."""
    rows = sf.compare(one, other).findings
    digest = {subject.whole.pixels[name].tobytes() for name in subject.planted}
    listed = {}
    for number, row in rows[rows["label"] == label].iterrows():
        hits = 0
        for run, key in ((one, row["finding_a"]), (other, row["finding_b"])):
            images = set(run.offenders.loc[run.offenders["finding"] == key, "image"])
            carried = [name for name in images if _same(run, name, digest, subject)]
            hits = max(hits, len(carried) if 2 * len(carried) >= len(images) else 0)
        listed[number] = hits
    best = max(listed, key=lambda number: listed[number], default=None)
    return rows.loc[best, "state"] if best is not None and listed[best] else ""


def _same(run: sf.Run, image: str, digest: set[bytes], subject: Subject) -> bool:
    """Whether a file shows a planted picture; JPEG files are known by their names."""
    path = run.folder.parent / "images" / image
    if path.suffix == ".jpg":
        return path.stem in subject.planted
    with Image.open(path) as picture:
        return np.asarray(picture).tobytes() in digest


def main() -> None:
    """Every change of every case; a line each, and the shares that were right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for data, runs and results")
    parser.add_argument("--images", type=int, default=100, help="of each class")
    parser.add_argument("--seeds", type=int, default=3, help="data sets for each plant")
    parser.add_argument("--no-verify", action="store_true", help="leave out the interventions")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for seed in range(options.seeds):
        for plant in PLANTS:
            case = Case((plant,), seed=20 + seed, images=options.images)
            built = build(case, options.out / "networks")
            drawings, _ = cases.drawings_of(case, case.images, part=0)
            subject = subject_of(built, np.stack([drawing.pixels for drawing in drawings]))
            runs: dict[tuple[str, int], sf.Run] = {}
            for first, second, wanted in CHANGES:
                # Version 2 is always scanned with another seed.
                for key in ((first, 0), (second, 1)):
                    if key not in runs:
                        how = "" if options.no_verify else " verified"
                        folder = options.out / case.name / f"{key[0]} {key[1]}{how}"
                        version = VERSIONS[key[0]](subject)
                        runs[key] = scanned(
                            version, built, folder, key[1], verify=not options.no_verify
                        )
                one, other = runs[first, 0], runs[second, 1]
                if wanted:
                    found = state_of_plant(one, other, subject, built.names[cases.SPECIAL])
                else:
                    found = "; ".join(sf.compare(one, other).gating["sentence"])
                lines.append(
                    {
                        "case": case.name,
                        "from": first,
                        "to": second,
                        "wanted": wanted,
                        "found": found,
                    }
                )
                print(json.dumps(lines[-1]), flush=True)
    table = pd.DataFrame(lines)
    right, null = table["wanted"] == table["found"], table["wanted"] == ""
    for what, good in (("states right", right[~null]), ("nothing new on null", right[null])):
        print(f"{what}: {share_of(good.sum(), len(good))}")


if __name__ == "__main__":
    main()
