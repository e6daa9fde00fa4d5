"""Golden: what scans of five data sets find, to the fourth digit, so that a change is seen.

Three planted cases of the development split (a corner, a random place, the whole picture), the
demo's data set, and photographs of your own. Sets and networks are kept in OUT, so that a second
call only scans. Sentences are left out: how a finding is worded is no matter of these.

    python tests/benchmarks/golden.py --out DIR --photos FOLDER --check
    python tests/benchmarks/golden.py --out DIR --photos FOLDER --write

Networks are trained here, so the digests hold for one kind of machine and one version of torch: on
another, write them from the code before a change, then check the code after it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from cases import Case, build
from fine_tuning import LITE0, fine_tuned, preprocessing
from fine_tuning import build as build_network
from photographs import EPOCHS, INPUT
from splits import DEVELOPMENT

import shortcut_finder as sf
from shortcut_finder.demo.dataset import make_dataset
from shortcut_finder.demo.network import INPUT_SIZE, MODEL, train

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
PLANTED = {
    "corner": ("logo", "corner"),
    "random": ("logo", "random"),
    "whole": ("tint", "whole"),
}
# Parts of a finding that are no numbers to compare: texts, and what the page draws.
WORDS = {"sentence", "sentences", "advice", "note", "reason"}
PICTURES = {"maps", "place", "template"}
SEED = 0


def scan_planted(
    name: str, out: Path, run: Path | None = None, channels: tuple[str, ...] = ()
) -> sf.Run:
    """The first development case with that artifact at that place.

    Args:
        name: of the case.
        out: networks are kept in ``out/networks``.
        run: folder of a run that goes on with its shards; ``out/name``, from the start, if None.
        channels: ways to find; all if empty.
    """
    case = next(case for case in DEVELOPMENT if _is(case, *PLANTED[name]))
    built = build(case, out / "networks")
    settings = replace(case.settings, channels=channels)
    if run is not None:
        return sf.scan(built.dataset, built.model, out=run, settings=settings, progress=False)
    return scan(built.dataset, built.model, out / name, settings)


def _is(case: Case, kind: str, place: str) -> bool:
    return [(plant.kind, plant.place) for plant in case.plants] == [(kind, place)]


def scan_demo(out: Path, run: Path | None = None, channels: tuple[str, ...] = ()) -> sf.Run:
    """The demo's pictures and network, scanned as the demo does it; arguments as above."""
    folder = out / "demo-set"
    if not (folder / "weights.pt").exists():
        folder.mkdir(parents=True, exist_ok=True)
        make_dataset(folder, progress=False)
        train(folder, progress=False)
    settings = sf.Settings(input_size=INPUT_SIZE, channels=channels)
    weights = folder / "weights.pt"
    if run is not None:
        return sf.scan(
            folder / "images", MODEL, weights=weights, out=run, settings=settings, progress=False
        )
    return scan(folder / "images", MODEL, out / "demo", settings, weights=weights)


def scan_photographs(out: Path, photos: Path) -> sf.Run:
    """A folder of class folders, with a network fine-tuned on it."""
    images, how = sf.load_dataset(photos), preprocessing(LITE0, INPUT)
    file = out / "networks" / f"photographs-{images.fingerprint[:12]}.pt"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        trained = fine_tuned(images, how, epochs=EPOCHS, seed=SEED)
        torch.save(trained.state_dict(), file)
    network = build_network(LITE0, len(images.classes), pretrained=False)
    network.load_state_dict(torch.load(file, weights_only=True))
    settings = sf.Settings(input_size=INPUT, resize=how.resize, mean=how.mean, std=how.std)
    return scan(photos, network.eval(), out / "photographs", settings)


def scan(data: Any, model: Any, out: Path, settings: sf.Settings, **options: Any) -> sf.Run:
    """A scan from the start, whatever an earlier call left."""
    return sf.scan(data, model, out=out, settings=settings, fresh=True, progress=False, **options)


# --- digests -------------------------------------------------------------------------------------


def digest(run: sf.Run) -> dict[str, Any]:
    """Findings with their experiments, and one hash of all offenders; no sentences, no paths."""
    offenders = rounded(run.offenders.drop(columns="reason").to_dict("records"))
    return {
        "dataset": run.card["dataset"]["fingerprint"],
        "network": run.card["model"]["fingerprint"],
        "counts": rounded(run.card["counts"]),
        "offenders": hashlib.sha256(json.dumps(offenders).encode()).hexdigest(),
        "findings": {
            detail["finding"]: rounded(
                {key: value for key, value in detail.items() if key not in PICTURES}
            )
            for detail in run.details
        },
    }


def rounded(value: Any) -> Any:
    """The same with four significant digits, without what is said in words."""
    if isinstance(value, Mapping):
        return {str(k): rounded(v) for k, v in sorted(value.items()) if k not in WORDS}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    if isinstance(value, bool) or value is None or value is pd.NA:
        return value
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value if isinstance(value, (int, str)) else str(value)


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """A line for every field that is not the same."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, pair in enumerate(zip(old, new, strict=True)):
            yield from differences(*pair, f"{place}[{number}]")
    elif old != new:
        yield f"{place}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    """A finding that is there on one side alone is named, not told."""
    if isinstance(value, Mapping) and "kind" in value:
        return f"{value['label']} {value['kind']} @{value['region']} {value['verdict']}"
    return json.dumps(value)


# --- the command ---------------------------------------------------------------------------------


def main() -> None:
    """Scan, then write the digests or say what differs from them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="sets, networks, runs; may exist")
    parser.add_argument("--photos", type=Path, help="folder of class folders")
    parser.add_argument("--only", default="", help="scans whose name holds this")
    parser.add_argument("--golden", type=Path, default=GOLDEN, help="folder of the digests")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="compare; exit code 1 if they differ")
    mode.add_argument("--write", action="store_true", help="write what the scans find")
    options = parser.parse_args()
    torch.set_num_threads(1)
    scans: dict[str, Callable[[], sf.Run]] = {
        name: lambda name=name: scan_planted(name, options.out) for name in PLANTED
    }
    scans["demo"] = lambda: scan_demo(options.out)
    if options.photos:
        scans["photographs"] = lambda: scan_photographs(options.out, options.photos)
    else:
        print("photographs: skipped, no folder given (PHOTOS=FOLDER)")
    changed = False
    for name in [name for name in scans if options.only in name]:
        found, file = digest(scans[name]()), options.golden / f"{name}.json"
        if options.write:
            file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(f"{name}: {len(found['findings'])} findings written", flush=True)
            continue
        lines = list(differences(json.loads(file.read_text(encoding="utf-8")), found))
        changed |= bool(lines)
        print(f"{name}: {f'{len(lines)} fields differ' if lines else 'same'}", flush=True)
        print(*(f"  {line}\n" for line in lines), sep="", end="", flush=True)
    sys.exit(changed)


if __name__ == "__main__":
    main()
