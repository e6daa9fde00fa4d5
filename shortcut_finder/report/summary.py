"""Summary: what a run comes to, as texts for the top and the end of a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from shortcut_finder.run.folder import Run
from shortcut_finder.texts import clipped, count, listed, named_numbers, percent, shown

# What each kind is called in a sentence.
KINDS = {
    "corner": "a corner mark",
    "edge": "an edge mark",
    "frame": "a frame",
    "patch": "a repeated patch",
    "overlay": "a translucent overlay",
    "background": "a background",
    "property": "a property of the whole image",
    "metadata": "the source",
    "region": "a region",
}
VERDICT_NOUNS = {
    "confirmed": ("is confirmed", "are confirmed"),
    "suspect": ("is suspected", "are suspected"),
    "present": ("is there but hardly used", "are there but hardly used"),
}
TIERS = {
    "linear": "read off the linear head, exact",
    "pooled": "gradients through the pooled head, exact",
    "class token": "gradients through what the class token reads, exact",
    "generic": "gradients through the head",
}
NAMED = 3
MAX_NAME = 32
# Below this number of cells a side, a small mark and its surroundings share one cell.
COARSE = 10
Details = Sequence[Mapping[str, Any]]


def headline(details: Details) -> tuple[str, str]:
    """The verdict on a run in one sentence: its start, and what it is about."""
    confirmed = [detail for detail in details if detail["verdict"] == "confirmed"]
    likely = [
        detail
        for detail in details
        if detail["verdict"] == "suspect" and detail["severity"] in ("high", "medium")
    ]
    if confirmed:
        start = count(len(confirmed), "shortcut", "shortcuts")
        return f"The model relies on {start}", _named(confirmed)
    if likely:
        start = count(len(likely), "likely shortcut", "likely shortcuts")
        return f"{start}, none confirmed by an experiment", _named(likely)
    if details:
        return (
            "Nothing stands out",
            f"{count(len(details), 'minor thing', 'minor things')} to check",
        )
    return "Nothing suspicious found", ""


def _named(details: Details) -> str:
    """What was found in which class, the worst only."""
    names = (
        f"{KINDS.get(str(d['kind']), shown(d['kind']))} in {clipped(shown(d['label']), MAX_NAME)}"
        for d in details
    )
    different = list(dict.fromkeys(names))
    more = [f"{len(different) - NAMED:,} more"] if different[NAMED:] else []
    return listed(different[:NAMED] + more)


def tone(details: Details) -> str:
    """How alarming it is: the severity of the worst finding that the headline names."""
    loud = [d["severity"] for d in details if d["verdict"] != "present"]
    return next((severity for severity in ("high", "medium") if severity in loud), "calm")


def lead(run: Run) -> str:
    """The second sentence: how many findings of which verdict, and how far they reach."""
    counts = run.card["counts"]
    seen = count(counts["scanned"], "image was looked at", "images were looked at")
    if not run.details:
        return (
            f"{seen}, and no class seems to be recognised by the wrong thing. That is no proof: a "
            "cue in fewer images than the testable share below, or one that the model's input "
            "cuts off, can hide from a scan."
        )
    worth = [detail for detail in run.details if detail["severity"] != "low"]
    minor = len(run.details) - len(worth)
    if not worth:
        return f"{seen}. {_minor(minor)}; nothing else was found."
    verdicts = Counter(str(detail["verdict"]) for detail in worth)
    said = [
        f"{verdicts[verdict]} {nouns[verdicts[verdict] > 1]}"
        for verdict, nouns in VERDICT_NOUNS.items()
        if verdicts[verdict]
    ]
    keys = {detail["finding"] for detail in worth}
    offenders = run.offenders
    carriers = offenders.loc[offenders["finding"].isin(keys), "image"].nunique()
    return (
        f"{seen}, and {count(len(worth), 'thing was found', 'things were found')}: "
        f"{listed(said)}. {count(carriers, 'image carries', 'images carry')} at least one of them."
        + (f" {_minor(minor)}." if minor else "")
    )


def _minor(things: int) -> str:
    """What is to be thought of findings of low severity."""
    if things == 1:
        return "1 minor thing may well be a true part of its class"
    return f"{things:,} minor things may well be true parts of their classes"


def facts(run: Run) -> tuple[tuple[str, str], ...]:
    """Dataset, model, and how they were looked at."""
    card, counts = run.card, run.card["counts"]
    preprocessing, maps, timings = run.preprocessing, card["maps"], card["timings"]
    images = f"{counts['scanned']:,} scanned"
    if counts["unreadable"]:
        images += f", {counts['unreadable']:,} unreadable"
    seconds = sum(value for name, value in timings.items() if name.endswith("_seconds"))
    rows = (
        ("Dataset", card["dataset"]["name"]),
        ("Images", images),
        ("Classes", f"{len(card['dataset']['classes']):,}"),
        ("Model", card["model"]["name"]),
        ("Accuracy", f"{percent(card['accuracy'])} of the scanned images"),
        ("Input", f"{preprocessing.width} × {preprocessing.height} pixels, {preprocessing.resize}"),
        ("Class maps", f"{maps['method']}, {TIERS.get(maps['tier'], maps['tier'])}; "
                       f"{_grid(maps['grid'])} cells"),
        ("Time taken", _duration(seconds)),
    )  # fmt: skip
    return tuple((name, shown(value)) for name, value in rows)


def warnings(run: Run, *, cropped: bool, thumbnails: bool, maps: bool) -> tuple[str, ...]:
    """What the reader must know before believing the rest.

    Args:
        run: the run.
        cropped: whether the model sees less than the whole image.
        thumbnails: whether there are pictures.
        maps: whether there are class maps.
    """
    card, grid = run.card, run.card["maps"]["grid"]
    said = [shown(warning) for warning in card["warnings"]]
    if cropped:
        said.append(
            f"The model sees {percent(card['visible'])} of an image on average: its centre crop "
            "cuts off the border (the shaded part of the pictures), and a mark there cannot be "
            "found."
        )
    if min(grid) < COARSE:
        said.append(
            f"Class maps have {_grid(grid)} cells, so one cell covers {percent(1 / min(grid))} of "
            "the side and heat spreads around a small mark; --layer or --input-size makes it finer."
        )
    if run.details and not thumbnails:
        said.append("Pictures are missing: the run folder has no thumbnails.parquet.")
    if run.details and not maps:
        said.append("Class maps are missing: the run folder has no shards.")
    return tuple(said)


def tables(card: Mapping[str, Any]) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """What the end of the page lists: every setting, version and time."""
    dataset = {key: card["dataset"][key] for key in ("root", "fingerprint", "metadata")}
    model = {key: card["model"][key] for key in ("fingerprint",)}
    maps = {key: value for key, value in card["maps"].items() if key != "notes"}
    named = {
        "Command": card["command"],
        "Settings": card["settings"],
        "Dataset": dataset,
        "Model": {**model, **card["model"]["preprocessing"]},
        "Class maps": maps,
        "Timings": card["timings"],
        "Versions": {"shortcut-finder": card["version"], **card["versions"]},
    }
    return tuple((name, named_numbers(values)) for name, values in named.items())


def _duration(seconds: float) -> str:
    """Seconds as a person says them.

    Example:
        >>> [_duration(seconds) for seconds in (3.21, 75.4, 8000)]
        ['3.2 s', '1 min 15 s', '2 h 13 min']
    """
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _grid(grid: Sequence[int]) -> str:
    return " × ".join(str(cells) for cells in grid)
