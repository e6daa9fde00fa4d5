"""Options: what several commands take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from shortcut_finder.settings import METHODS, OUTPUTS, PRECISIONS, RESIZES, Settings


def _choice(values: Sequence[str]) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is not None and value not in values:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(values)}")
        return value

    return check


def one_of(name: str, values: Sequence[str], words: str) -> Any:
    """An option that takes one of these values."""
    return typer.Option(name, metavar="|".join(values), callback=_choice(values), help=words)


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Folder of class folders, CSV or Parquet manifest (image and label or labels), tar, "
        "zip or Parquet with images, a URL of these, or FILE.py:FUNCTION.",
        show_default=False,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="torchvision name, timm:NAME, hf:NAME, FILE.pt2, or FILE.py:FUNCTION.",
        show_default=False,
    ),
]
Weights = Annotated[
    Path | None, typer.Option("--weights", metavar="FILE", help="State dict of the model.")
]
Classes = Annotated[
    Path | None,
    typer.Option(
        "--classes", metavar="FILE", help="Class names of the model's outputs, one a line."
    ),
]
OutputsAs = Annotated[
    str, one_of("--outputs", OUTPUTS, "One softmax or a sigmoid a class; auto: by the labels.")
]
Positive = Annotated[
    str | None,
    typer.Option(
        "--positive", metavar="NAME", help="Class of a single logit; by default the second of two."
    ),
]
LabelColumns = Annotated[
    str | None,
    typer.Option(
        "--label-columns",
        metavar="A,B,C",
        help="Manifest columns that hold a label each: 1, 0, blank or -1 if unknown.",
    ),
]
InputSize = Annotated[
    int | None,
    typer.Option("--input-size", metavar="N", help="Side of the square the model sees, in pixels."),
]
Resize = Annotated[str | None, one_of("--resize", RESIZES, "How an image becomes that square.")]
Mean = Annotated[
    str | None,
    typer.Option("--mean", metavar="R,G,B", help="Mean of the model's input, of pixels in [0, 1]."),
]
Std = Annotated[
    str | None,
    typer.Option("--std", metavar="R,G,B", help="Standard deviation of the model's input."),
]
Method = Annotated[str, one_of("--method", METHODS, "Class activation map method.")]
Layer = Annotated[
    str | None,
    typer.Option("--layer", metavar="PATH", help="Module to draw the maps on, as layer4.1.conv2."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:0,cuda:1...")]
Precision = Annotated[
    str, one_of("--precision", PRECISIONS, "Numbers the model runs in; auto: by the device.")
]


Window = Annotated[
    str | None,
    typer.Option(
        "--window",
        metavar="LOW,HIGH",
        help="Numbers that become black and white in 16-bit grey and DICOM.",
    ),
]


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The settings among what a command was given, by the names of its parameters.

    Args:
        given: values as typed; what is no setting is passed over.

    Raises:
        typer.BadParameter: a list of numbers is none.
        SettingsError: a value is out of its range.
    """
    known = {one.name for one in fields(Settings)} & set(given)
    values = {name: given[name] for name in known}
    read = {name: _READ[name](values[name]) for name in known & set(_READ)}
    return Settings(**values | read)


def _names_of(text: str | None) -> tuple[str, ...]:
    """The names of ``A,B,C``; none where the option was left out."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _numbers_of(name: str, wanted: str, count: int, text: str | None) -> tuple[float, ...] | None:
    """The numbers of ``0.5,0.5,0.5``; none where the option was left out."""
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise typer.BadParameter(f"{text!r} is not {wanted}", param_hint=name)
    return numbers


_COLOUR = "three numbers such as 0.5,0.5,0.5", 3
# What is typed as a list, by name of the setting.
_READ: Mapping[str, Callable[[str | None], Any]] = {
    "label_columns": _names_of,
    "channels": _names_of,
    "mean": partial(_numbers_of, "--mean", *_COLOUR),
    "std": partial(_numbers_of, "--std", *_COLOUR),
    "window": partial(_numbers_of, "--window", "two numbers such as 0,4095", 2),
}
