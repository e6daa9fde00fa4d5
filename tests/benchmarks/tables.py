"""Tables: what the rows of each benchmark hold, what tells one from another, and how they look.

A row is a flat JSON object. Whatever its table, it says how it came about (`ORIGIN`); the rest are
the figures that the columns of its table show, and perhaps a `note` that holds for it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shares import decimals, share_of

Row = Mapping[str, Any]

# How a row came about: how many of what, the seeds or draws, machine and settings, the code that
# ran and the command. Empty text where it was not kept.
ORIGIN = ("n", "seeds", "setting", "commit", "command")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its head.
        fields: what of a row it shows; without the first there is nothing to show.
        write: makes text of them.
        right: whether it is set to the right, as numbers are.
    """

    title: str
    fields: tuple[str, ...]
    write: Callable[..., str]
    right: bool = True

    def cell(self, row: Row) -> str:
        """What it shows of a row; a dash for nothing."""
        values = [row.get(field) for field in self.fields]
        return "-" if values[0] in (None, "") else self.write(*values)


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        key: fields that tell its rows apart; a new row replaces the one with the same.
        columns: what is shown of its rows, besides where they are from.
    """

    key: tuple[str, ...]
    columns: tuple[Column, ...]


def words(title: str, field: str) -> Column:
    """A column of text."""
    return Column(title, (field,), str, right=False)


def number(title: str, field: str, digits: int = 0) -> Column:
    """A column of numbers with so many digits after the point; whole numbers have none."""
    return Column(title, (field,), lambda value: decimals(value, digits))


def share(title: str, part: str, whole: str) -> Column:
    """A column of shares, with the exact interval, from two counts."""
    return Column(title, (part, whole), share_of, right=False)


def ratio(title: str, field: str) -> Column:
    """A column of ratios, with the smallest and the largest where there are some."""
    return Column(title, (field, f"{field}_low", f"{field}_high"), spread)


def spread(middle: float, low: float | None, high: float | None) -> str:
    """A ratio and its range; the larger, the fewer digits.

    Example:
        >>> spread(1.03, 1.01, 1.09), spread(12.1, None, None), spread(35, 32, 36)
        ('1.03 (1.01 to 1.09)', '12.1', '35 (32 to 36)')
    """
    texts = [decimals(one, 2 if one < 2 else 1) for one in (middle, low, high) if one is not None]
    return texts[0] if len(texts) == 1 else f"{texts[0]} ({texts[1]} to {texts[2]})"


def chance(value: float) -> str:
    """A p, by its power of ten where it is small.

    Example:
        >>> chance(0.96), chance(1e-26)
        ('.96', '1e-26')
    """
    return decimals(value, 2) if value >= 0.001 else f"{value:.0e}"


def percent(value: float) -> str:
    """A share as a percentage, with as many digits as it was kept with.

    Example:
        >>> percent(0.0625), percent(0.08)
        ('6.25%', '8%')
    """
    return f"{100 * value:.3g}%"


# One-off measurements: a question and what came of it, with a share where things were counted.
FACTS = Table(
    ("question",),
    (words("what", "question"), share("share", "k", "of"), words("result", "result")),
)
P = Column("p", ("p",), chance)

TABLES: Mapping[str, Table] = {
    "detection": Table(
        ("split", "carriers", "level"),
        (
            words("split", "split"),
            words("carried by", "carriers"),
            words("findings", "level"),
            share("recall of learned cues", "found", "learned"),
            Column("precision", ("found", "wrong"), lambda f, w: share_of(f, f + w), right=False),
        ),
    ),
    "ranking": Table(
        ("split", "places"),
        (
            words("split", "split"),
            words("places", "places"),
            Column("median", ("median", "median_low", "median_high"), spread),
            number("least", "least", 2),
        ),
    ),
    "controls": Table(
        ("split", "control"),
        (
            words("split", "split"),
            words("control", "control"),
            share("sets with a finding above low", "loud", "n"),
            share("with a confirmed one", "confirmed", "n"),
        ),
    ),
    "pairs": Table(
        ("kind", "by"),
        (words("cue", "kind"), words("by", "by"), number("AUROC", "area", 2)),
    ),
    "golden": Table(
        ("set",),
        (
            words("set", "set"),
            words("planted", "what"),
            number("images that carry it", "planted"),
            number("findings above low", "loud"),
            number("confirmed", "confirmed"),
            number("images listed", "listed"),
        ),
    ),
    "real": Table(
        ("set",),
        (
            words("set", "what"),
            number("images", "n"),
            number("classes", "classes"),
            words("confirmed", "confirmed"),
            words("above low, not confirmed", "unconfirmed"),
        ),
    ),
    "ablation": Table(
        ("without",),
        (
            words("without", "without"),
            number("above low: lost", "lost"),
            number("new", "new"),
            number("confirmed: lost", "confirmed_lost"),
            number("new", "confirmed_new"),
            words("which confirmed", "which"),
        ),
    ),
    "likeness": FACTS,
    "varying": Table(
        ("kind", "share"),
        (
            words("what", "kind"),
            Column("part of the class", ("share",), percent),
            share("found", "found", "things"),
            number("confirmed", "confirmed"),
            number("average precision, median", "ap", 2),
            share("right of the sure images", "sure_right", "sure"),
            share("carriers among them", "sure_right", "carriers"),
            share("right of all listed", "listed_right", "listed"),
            share("carriers among them all", "listed_right", "carriers"),
        ),
    ),
    "calibration": Table(
        ("files", "of", "counted"),
        (
            words("p of", "of"),
            number("files a picture", "files"),
            words("counted", "counted"),
            number("rounds", "n"),
            number("Kolmogorov-Smirnov", "distance", 3),
            P,
            Column(
                "p at or below .05",
                ("share", "few", "tested"),
                lambda share, few, tested: share_of(few, tested) if tested else percent(share),
                right=False,
            ),
        ),
    ),
    "labels": Table(
        ("cue",),
        (
            words("mark of", "cue"),
            number("draws", "n"),
            share("marks and labels found", "found", "planted"),
            share("loud findings that are right", "right", "loud"),
            share("draws with a wrong loud finding", "draws_wrong", "n"),
            number("loud in the label that brings it along", "brought"),
        ),
    ),
    "real_labels": Table(
        ("network",),
        (
            words("network", "network"),
            words("surroundings of `covid`", "covid"),
            words("surroundings of the other class", "other"),
            words("R marker, at the left edge", "marker"),
            words("loud beside these", "loud"),
        ),
    ),
    "whole": Table(
        ("network", "n", "classes"),
        (
            number("images", "n"),
            number("classes", "classes"),
            *(
                number(title, field, 1)
                for title, field in (
                    ("bare", "bare"),
                    ("scan", "scan"),
                    ("over bare", "over_bare"),
                    ("sweep", "sweep"),
                    ("analysis", "analysis"),
                    ("experiments", "experiments"),
                    ("page", "page"),
                )
            ),
            number("passes", "passes", 2),
            number("files", "files", 2),
            number("findings", "findings"),
            number("peak, MiB", "peak_mib"),
        ),
    ),
    "demo": FACTS,
    "analysis": Table(
        ("n", "classes"),
        (
            number("images", "n"),
            number("classes", "classes"),
            number("seconds", "seconds"),
            number("of processor", "processor"),
            number("peak, GB", "gigabytes", 1),
            words("planted things found", "found"),
            words("slowest stages, seconds of processor", "slowest"),
        ),
    ),
    "scale": FACTS,
    "watermark": Table(
        ("control",),
        (
            words("control", "control"),
            number("carton after the control", "after", 4),
            number("log-odds", "log_odds", 2),
            Column(
                "effect [95%]",
                ("effect", "low", "high"),
                lambda *ends: "{} [{}, {}]".format(*(decimals(end, 2) for end in ends)),
            ),
            P,
        ),
    ),
    "cleaning": FACTS,
    "engine": Table(
        ("run",),
        (
            words("ResNet-50, from memory", "run"),
            number("images/s", "speed", 1),
            ratio("cost over bare", "cost"),
            ratio("slower than ours", "slower"),
            ratio("by the clock", "clock"),
            number("peak, MiB", "peak_mib"),
            number("bytes of maps an image", "bytes"),
        ),
    ),
    "engine_files": Table(
        ("run",),
        (
            words("ResNet-50, from JPEG files", "run"),
            number("images/s", "speed", 1),
            ratio("cost over bare", "cost"),
            ratio("slower than ours", "slower"),
            ratio("by the clock", "clock"),
        ),
    ),
    "engine_networks": Table(
        ("network",),
        (
            words("ours, label + top 3: cost over bare", "network"),
            ratio("from memory", "memory"),
            ratio("from JPEG files", "files"),
        ),
    ),
    "engine_others": Table(
        ("package",),
        (
            words("cost over bare, top 3", "package"),
            *(
                Column(
                    title,
                    (f"{field}_low", f"{field}_high"),
                    lambda low, high: f"{decimals(low, 1)} to {decimals(high, 1)}",
                )
                for title, field in (("as its README says", "plain"), ("on our terms", "terms"))
            ),
        ),
    ),
    "engine_gpu": Table(
        ("network",),
        (
            words("label + top 3", "network"),
            number("bare, images/s", "speed"),
            ratio("ours over bare", "ours"),
            ratio("torchcam over bare", "torchcam"),
            number("peak, MiB: bare", "peak_bare"),
            number("ours", "peak_ours"),
            number("torchcam", "peak_torchcam"),
        ),
    ),
    "engine_facts": FACTS,
    "decoding": Table(
        ("step", "package"),
        (
            words("step", "step"),
            words("package", "package"),
            number("ms", "milliseconds", 1),
            words("pixels", "pixels"),
        ),
    ),
    "kills": Table(
        ("killed",),
        (
            words("command", "killed"),
            number("kills", "n"),
            share("results that differ, or that no command finished", "differing", "n"),
        ),
    ),
    "memory": Table(
        ("n",),
        (
            number("images", "n"),
            number("peak of the process, MiB", "peak_mib"),
            number("most open files", "most_open_files"),
        ),
    ),
    "trust": FACTS,
    "repeating": Table(
        ("threads", "workers", "batch"),
        (
            number("threads", "threads"),
            words("decode processes", "workers"),
            words("batch", "batch"),
            number("logits", "logits"),
            number("maps", "maps"),
            number("cells", "cells"),
            words("findings, verdicts", "findings"),
            words("listed images", "listed"),
            Column("reliance", ("reliance",), lambda value: chance(value) if value else "0"),
        ),
    ),
}
