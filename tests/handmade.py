"""A run written by hand: drawn pictures, three findings with known numbers, hostile names."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFilter

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.regions import BOXES
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.figures.pictures import thumbnail, write_thumbnails
from shortcut_finder.report.selection import report_images
from shortcut_finder.run.folder import Run, save_run
from shortcut_finder.schema import (
    CONFUSION_COLUMNS,
    FINDING_COLUMNS,
    OFFENDER_COLUMNS,
    REGION_COLUMNS,
    UNREADABLE_COLUMNS,
)
from shortcut_finder.sweep.shards import ARRAYS, shard_path, write_shard

HOSTILE = '<script>document.title="broken"</script>'
LONG = "a class name of three hundred characters " + "long " * 51 + "end."
CLASSES = tuple(sorted(("daisy", HOSTILE, LONG, "\"it's\" & 'that' $x_1$", "向日葵 тюльпан 🌻")))
PER_CLASS = 14
SIZES = ((480, 360), (360, 480), (420, 420), (900, 240))
GRID = 7
CELLS = 14
TAG, STICKER, WASH = "daisy", HOSTILE, LONG
CONFUSED = [(TAG, CLASSES[4], 9, 0.61, "top left corner"), (LONG, TAG, 6, 0.52, "centre")]
PASTE_CONTROLS = ("same place of a non-member", "flat colour", "hot patch of another class")


def image_name(label: str, number: int) -> str:
    """A relative name, some of them nasty."""
    tails = ("photo.jpg", 'it\'s "the" <b>one</b>.png', "x" * 300 + ".jpg", "日本 \u202egpj.exe")
    return f"{label}/{number:03d} {tails[number % len(tails)]}"


def mark_box(label: str, number: int) -> tuple[int, int, int, int] | None:
    """Where the planted mark lies in original pixels; None for a clean image."""
    width, height = SIZES[number % len(SIZES)]
    side = min(width, height) // 6
    if label == TAG and number < 9:
        return 4, 4, 4 + 2 * side, 4 + side
    if label == STICKER and number < 6:
        random = np.random.default_rng(number)
        x, y = random.integers(0, width - side), random.integers(0, height - side)
        return int(x), int(y), int(x) + side, int(y) + side
    return None


def draw(label: str, number: int) -> Image.Image:
    """A flower on a meadow, with the mark where one is planted."""
    return _drawn(label, number).copy()


# Drawing them takes most of the time that a run does, and many tests want one.
@functools.cache
def _drawn(label: str, number: int) -> Image.Image:
    random = np.random.default_rng([CLASSES.index(label), number])
    width, height = SIZES[number % len(SIZES)]
    colours = random.integers(40, 150, (2, 3)) * [[0.7, 1.1, 0.7], [0.8, 1.0, 1.2]]
    ramp = np.linspace(0, 1, height)[:, None, None]
    field = (colours[0] * ramp + colours[1] * (1 - ramp)) + random.normal(0, 22, (height, width, 1))
    image = Image.fromarray(np.clip(field, 0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(1.2)
    )
    pen = ImageDraw.Draw(image)
    x, y, size = _flower(number)
    petals = [(235, 235, 225), (230, 190, 40), (200, 60, 90), (150, 90, 200), (240, 130, 50)]
    for turn in np.arange(0, 2 * np.pi, 2 * np.pi / 11):
        px, py = x + size * np.cos(turn), y + size * np.sin(turn)
        fill = petals[CLASSES.index(label)]
        pen.ellipse((px - size / 2, py - size / 2, px + size / 2, py + size / 2), fill=fill)
    pen.ellipse((x - size / 2, y - size / 2, x + size / 2, y + size / 2), fill=(120, 80, 20))
    box = mark_box(label, number)
    if box and label == TAG:
        pen.rectangle(box, fill="white", outline="black", width=2)
        pen.text((box[0] + 8, box[1] + 6), "LAB 7", fill="black", font_size=(box[3] - box[1]) // 2)
    elif box:
        pen.ellipse(box, fill=(20, 90, 220), outline="white", width=4)
    return image


def label_map(label: str, number: int) -> np.ndarray:
    """A class map in logit units: the mark where there is one, the flower otherwise."""
    width, height = SIZES[number % len(SIZES)]
    rows, columns = np.mgrid[0:GRID, 0:GRID] + 0.5
    box = mark_box(label, number)
    if box:
        across, down, heat = (box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height, 8.0
    else:
        across, down, heat = _flower(number)[0] / width, _flower(number)[1] / height, 3.0
    away = (columns / GRID - across) ** 2 + (rows / GRID - down) ** 2
    return (heat * np.exp(-away / 0.03) - 0.6).astype(np.float32)


def handmade_run(
    folder: Path,
    *,
    findings: int = 3,
    thumbnails: bool = True,
    maps: bool = True,
    resize: str = "squash",
    verified: bool = True,
    tiers: bool = False,
    unreadable: Mapping[str, str] | None = None,
) -> Run:
    """Write the run folder and return the run.

    Args:
        folder: where; made when missing.
        findings: how many; after the first three they repeat under further names.
        thumbnails: whether the pictures are there.
        maps: whether the class maps are there.
        resize: how the imaginary model squares its images.
        verified: whether there were experiments.
        tiers: whether it tells sure images from likely ones: two thirds of the first finding's are
            sure, all of the second's and none of the third's.
        unreadable: error by image, for images that could not be read.
    """
    images = _images()
    details = [_detail(position, verified) for position in range(findings)]
    offenders = _offenders(details, images)
    if tiers:
        details, offenders = _tiered(details, offenders)
    unreadable = unreadable or {}
    run = Run(
        folder=folder,
        card=_card(images, details, len(offenders), len(unreadable), resize),
        images=images,
        regions=handmade_regions(CLASSES),
        findings=pd.DataFrame(details, columns=list(FINDING_COLUMNS)),
        details=details,
        offenders=offenders,
        confusions=pd.DataFrame(CONFUSED if findings else [], columns=list(CONFUSION_COLUMNS)),
        unreadable=pd.DataFrame(list(unreadable.items()), columns=list(UNREADABLE_COLUMNS)),
    )
    save_run(run)
    if maps:
        _write_maps(folder / "shards")
    if thumbnails:
        write_thumbnails(folder / "thumbnails.parquet", _read, report_images(run))
    if verified and findings:
        write_experiments(folder / "experiments.parquet")
    return run


def write_experiments(path: Path) -> None:
    """Pictures of the first finding's experiments: the tag pasted, and the tag hidden."""
    rows = []
    for number in range(3):
        clean, tagged = draw(WASH, number), draw(TAG, number)
        pasted, control = clean.copy(), clean.copy()
        box = mark_box(TAG, number)
        pasted.paste(tagged.crop(box), box)
        control.paste(draw(TAG, number + 9).resize(tagged.size).crop(box), box)
        name = image_name(WASH, number)
        for arm, picture, probability in (
            ("before", clean, 0.03), ("after", pasted, 0.71), (PASTE_CONTROLS[0], control, 0.10)
        ):  # fmt: skip
            rows.append(("F1", "paste same place", name, arm, probability, thumbnail(picture, 224)))
        hidden = tagged.copy()
        hidden.paste(tagged.crop(box).filter(ImageFilter.GaussianBlur(30)), box)
        name = image_name(TAG, number)
        for arm, picture, probability in (("before", tagged, 0.97), ("after", hidden, 0.91)):
            rows.append(("F1", "mask same place", name, arm, probability, thumbnail(picture, 224)))
    columns = ["finding", "experiment", "image", "arm", "label_probability", "jpeg"]
    pd.DataFrame(rows, columns=columns).to_parquet(path, index=False)


def _write_maps(folder: Path) -> None:
    names = [image_name(label, number) for label in CLASSES for number in range(PER_CLASS)]
    maps = [label_map(label, number) for label in CLASSES for number in range(PER_CLASS)]
    folder.mkdir(exist_ok=True)
    # The report needs the maps alone; the rest is there because a shard has it.
    arrays = {name: np.zeros((len(names), 1)) for name in ARRAYS}
    # The maps of the rivals are hot where that of the label is, but less.
    places = [(label, number) for label in CLASSES for number in range(PER_CLASS)]
    arrays["shown"] = np.array([[CLASSES.index(n) for n in _top(*place)] for place in places])
    strength = np.where(arrays["shown"] == arrays["shown"][:, :1], 1.0, [1.0, 0.8, 0.6, 0.3])
    arrays["maps"] = np.stack(maps)[:, None] * strength[:, :, None, None]
    write_shard(shard_path(folder, 0), pd.DataFrame({"image": names}), arrays)


def handmade_regions(classes: tuple[str, ...]) -> pd.DataFrame:
    """A region table with one strong row: the tag's corner; a few weak ones elsewhere."""
    random = np.random.default_rng(3)
    rows = []
    for label in classes:
        for region in BOXES:
            effect, q = float(random.normal(0, 0.15)), float(random.uniform(0.2, 1))
            if (label, region) == (TAG, "top left corner"):
                effect, q = 1.8, 1e-9
            elif abs(effect) > 0.3:
                q = 0.01
            rows.append((label, region, PER_CLASS, 0.2 + effect / 10, 0.2, 1.0, effect, q / 2, q))
    return pd.DataFrame(rows, columns=list(REGION_COLUMNS))


def _read(name: str) -> Image.Image:
    for label in CLASSES:
        for number in range(PER_CLASS):
            if image_name(label, number) == name:
                return draw(label, number)
    raise UnreadableImage(f"{name}: gone")


def _flower(number: int) -> tuple[float, float, float]:
    width, height = SIZES[number % len(SIZES)]
    random = np.random.default_rng(1000 + number)
    x, y = random.uniform(0.4, 0.7, 2)
    return float(x * width), float(y * height), min(width, height) * 0.16


def _top(label: str, number: int) -> list[str]:
    """The label and the three likeliest classes; every seventh image is taken for another."""
    start = CLASSES.index(label) + (number % 7 == 6)
    return [label, *(CLASSES[(start + place) % len(CLASSES)] for place in range(3))]


def _images() -> pd.DataFrame:
    rows = []
    for label in CLASSES:
        for number in range(PER_CLASS):
            wrong = number % 7 == 6
            _, predicted, second, third = _top(label, number)
            confidence = 0.99 - 0.03 * number
            rows.append(
                {
                    "image": image_name(label, number),
                    "content": f"{CLASSES.index(label):02d}{number:030d}",
                    "label": label,
                    "predicted": predicted,
                    "confidence": confidence,
                    "label_probability": 0.2 if wrong else confidence,
                    "top1": predicted,
                    "top1_probability": confidence,
                    "top2": second,
                    "top2_probability": 0.7 * (1 - confidence),
                    "top3": third,
                    "top3_probability": 0.3 * (1 - confidence),
                    "width": SIZES[number % len(SIZES)][0],
                    "height": SIZES[number % len(SIZES)][1],
                    "suspicion": 0.9 if mark_box(label, number) else 0.1,
                }
            )
    return pd.DataFrame(rows)


def _detail(position: int, verified: bool) -> dict[str, Any]:
    label, kind, region, severity, verdict, share = (
        (TAG, "corner", "top left corner", "high", "confirmed", 9 / PER_CLASS),
        (STICKER, "patch", "anywhere", "high", "suspect", 6 / PER_CLASS),
        (WASH, "property", "frame", "low", "present", 0.004),
    )[position % 3]
    verdict = verdict if verified else "suspect"
    marked = [number for number in range(PER_CLASS) if mark_box(label, number)]
    rest = [number for number in range(PER_CLASS) if number not in marked]
    sentence = {
        0: "A small rigid thing lies in the top left corner of 64% of the images of daisy and of "
        "0.4% of all others; the model takes it as evidence for daisy.",
        1: f"The same patch lies anywhere in 43% of the images of {HOSTILE} and in none elsewhere.",
        2: f"Images of {LONG} are brighter at the frame than others.",
    }[position % 3]
    place = np.zeros((CELLS, CELLS))
    place[0:2, 0:4] = 0.5
    return {
        "finding": f"F{position + 1}",
        "label": label,
        "kind": kind,
        "region": region,
        "images": len(marked) or PER_CLASS,
        "share": share,
        "elsewhere": 0.004 if position % 3 == 0 else 0.0,
        "reliance": {"confirmed": 0.61, "present": 0.01}.get(verdict, np.nan),
        "reliance_low": {"confirmed": 0.52, "present": -0.02}.get(verdict, np.nan),
        "reliance_high": {"confirmed": 0.70, "present": 0.04}.get(verdict, np.nan),
        "q": 3.2e-12 if position % 3 == 0 else 0.012,
        "suspicion": 0.93 - 0.2 * (position % 3),
        "verdict": verdict,
        "severity": severity,
        "sentence": sentence,
        "verification": _verification(position % 3) if verified else None,
        "metadata": _metadata() if position % 3 == 0 else [],
        "advice": "Mask the corner in these images, or collect images of the class without it.",
        "numbers": {"rigidity": 0.995, "share p": 4.1e-13, "effect": 1.8, "paste flips": None},
        "suspicion_parts": {"border": 1.0, "repetition": 0.99, "off object": 0.6, "unneeded": 0.0},
        "maps": {
            "members": _mean_map(label, marked or rest),
            "others": _mean_map(label, rest),
        },
        "place": place.tolist() if position % 3 == 0 else np.full((CELLS, CELLS), 0.01).tolist(),
        "template": [
            {"image": image_name(label, number), "box": list(mark_box(label, number) or ())}
            for number in marked
        ],
    }


def _verification(position: int) -> dict[str, Any]:
    """Experiments that confirm the first finding, none for the second, a weak one for the third."""
    if position == 1:
        return {"note": "no power: 6 pairs, at least 24 are needed", "experiments": []}
    if position == 2:
        evened = _experiment("neutralise", "", 40, 0.93, 0.92, 0.01, ("look of another member",))
        return {"note": "", "experiments": [evened]}
    return {
        "note": "",
        "experiments": [
            _experiment("mask", "same place", 48, 0.97, 0.91, 0.02, ("blur",)),
            _experiment("paste", "same place", 48, 0.03, 0.71, 0.61, PASTE_CONTROLS),
            _experiment("paste", "random places", 48, 0.03, 0.55, 0.44, PASTE_CONTROLS),
        ],
    }


def _experiment(
    name: str,
    place: str,
    pairs: int,
    before: float,
    after: float,
    effect: float,
    controls: tuple[str, ...],
) -> dict[str, Any]:
    """An experiment whose controls get weaker one by one; it holds with an effect over 0.1."""
    sign = 1 if name == "paste" else -1
    arms = [
        {
            "name": control, "role": "control" if name == "paste" else "fill",
            "after": after - sign * (effect + 0.03 * number),
            "flips": 0.05, "effect": effect + 0.03 * number, "low": effect + 0.03 * number - 0.09,
            "high": effect + 0.03 * number + 0.09, "log_odds": 4.1, "p": 1e-7,
        }
        for number, control in enumerate(controls)
    ]  # fmt: skip
    return {
        "name": name, "place": place, "pairs": pairs, "before": before, "after": after,
        "flips": 0.66, "effect": effect, "low": effect - 0.09, "high": effect + 0.09,
        "log_odds": 4.1, "p": 1e-7, "q": 2e-6, "holds": effect > 0.1, "arms": arms,
    }  # fmt: skip


def _metadata() -> list[dict[str, Any]]:
    return [
        {
            "column": "source",
            "value": "<b>LAB 7</b>",
            "share_members": 1.0,
            "share_rest": 0.12,
            "q": 3e-8,
            "sentence": "All images with it come from source <b>LAB 7</b>; 12% of the others do.",
        }
    ]


def _mean_map(label: str, numbers: list[int]) -> list[list[float]]:
    return np.mean([label_map(label, number) for number in numbers], axis=0).tolist()


def _offenders(details: list[dict[str, Any]], images: pd.DataFrame) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []
    by_name = images.set_index("image")
    for detail in details:
        label = detail["label"]
        marked = [number for number in range(PER_CLASS) if mark_box(label, number)]
        for number in marked or range(PER_CLASS):
            name = image_name(label, number)
            box = mark_box(label, number) or (np.nan,) * 4
            image = by_name.loc[name]
            rows.append(
                (len(rows) + 1, name, label, image["predicted"], image["confidence"],
                 0.99 - 0.05 * number, detail["finding"], detail["kind"], detail["region"], *box,
                 f"carries {detail['finding']}", "sure")
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(OFFENDER_COLUMNS))


def _tiered(
    details: list[dict[str, Any]], offenders: pd.DataFrame
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """The findings with two lists each, and the offenders with the tier of each image."""
    found = []
    tier = offenders["tier"].to_numpy(copy=True)
    for position, detail in enumerate(details):
        sure = (6, detail["images"], 0)[position % 3]
        wrong = ((0.04, 0.11), (np.nan, np.nan), (np.nan, 0.3))[position % 3]
        low, high = ((0.41, 0.79), (np.nan, np.nan), (0.0, 0.012))[position % 3]
        found.append(
            {
                **detail,
                "artifact": detail["suspicion"], "share_low": low, "share_high": high,
                "sure_images": sure, "sure_wrong": wrong[0], "listed_wrong": wrong[1],
            }
        )  # fmt: skip
        tier[np.flatnonzero(offenders["finding"] == detail["finding"])[sure:]] = "likely"
    return found, offenders.assign(tier=tier)


def _card(
    images: pd.DataFrame,
    details: list[dict[str, Any]],
    offenders: int,
    unreadable: int,
    resize: str,
) -> dict[str, Any]:
    right = images["label"] == images["predicted"]
    preprocessing = Preprocessing(resize=resize)
    return {
        "schema_version": 1,
        "version": "0.1.0",
        "command": {"data": "photos", "model": "resnet18"},
        "settings": {"method": "auto", "layer": None, "batch_size": 32, "seed": 0},
        "dataset": {
            "name": "photos <i>2024</i>",
            "root": "/data/photos",
            "classes": list(CLASSES),
            "images": dict.fromkeys(CLASSES, PER_CLASS),
            "fingerprint": "4f0c2d",
            "metadata": ["source"],
        },
        "model": {
            "name": "resnet18",
            "classes": list(CLASSES),
            "fingerprint": "77aa01",
            "preprocessing": preprocessing.as_dict(),
        },
        "maps": {
            "method": "cam",
            "tier": "linear",
            "layer": "layer4",
            "grid": [GRID, GRID],
            "precision": "bf16",
            "cell_layer": "layer3",
            "cell_grid": [CELLS, CELLS],
            "notes": ["the maps of the first batch equal plain autograd within 1e-5"],
        },
        "counts": {
            "images": len(images) + unreadable,
            "scanned": len(images),
            "unreadable": unreadable,
            "findings": len(details),
            "offenders": offenders,
        },
        "accuracy": float(right.mean()),
        "class_accuracy": right.groupby(images["label"]).mean().to_dict(),
        "visible": float(np.mean([preprocessing.visible(*size) for size in SIZES])),
        "testable": {**dict.fromkeys(CLASSES, 0.18), LONG: None},
        "timings": {"sweep_seconds": 2.31, "images_per_second": 30.3, "analysis_seconds": 0.7},
        "versions": {"python": "3.11.7", "torch": "2.14.1", "torchvision": "0.29.1"},
        "warnings": ["class daisy has 14 images only; small shares cannot be tested"],
    }
