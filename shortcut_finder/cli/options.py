"""Options: what several commands take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from shortcut_finder.settings import METHODS, OUTPUTS, PRECISIONS, RESIZES


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


def names_of(text: str | None) -> tuple[str, ...]:
    """The names of ``A,B,C``; none where the option was left out."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def three_numbers(name: str, text: str | None) -> tuple[float, float, float] | None:
    """The numbers of ``R,G,B``; none where the option was left out."""
    if text is None:
        return None
    red, green, blue = _numbers(name, text, "three numbers such as 0.5,0.5,0.5", 3)
    return red, green, blue


def two_numbers(name: str, text: str | None) -> tuple[float, float] | None:
    """The numbers of ``LOW,HIGH``; none where the option was left out."""
    if text is None:
        return None
    low, high = _numbers(name, text, "two numbers such as 0,4095", 2)
    return low, high


def _numbers(name: str, text: str, wanted: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise typer.BadParameter(f"{text!r} is not {wanted}", param_hint=name)
    return numbers
