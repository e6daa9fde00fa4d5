"""The command ``explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortcut_finder.cli.exits import told_errors
from shortcut_finder.cli.options import (
    Classes,
    Device,
    InputSize,
    Layer,
    Mean,
    Method,
    Model,
    OutputsAs,
    Positive,
    Precision,
    Resize,
    Std,
    Weights,
    Window,
    settings_of,
)
from shortcut_finder.cli.output import printable


def explain(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Image files.", show_default=False)
    ],
    model: Model,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the pictures.")],
    top: Annotated[int, typer.Option("--top", metavar="N", help="Classes a picture, 1 to 3.")] = 3,
    weights: Weights = None,
    classes: Classes = None,
    outputs: OutputsAs = "auto",
    positive: Positive = None,
    input_size: InputSize = None,
    resize: Resize = None,
    mean: Mean = None,
    std: Std = None,
    window: Window = None,
    method: Method = "auto",
    layer: Layer = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Show what in single images speaks for the likeliest classes, side by side.

    \b
    Example:
      shortcut-finder explain cat.jpg --model resnet18 --weights model.pt --out maps/
    """
    given = locals()
    with told_errors():
        settings = settings_of(given)
        from shortcut_finder.explanation import explain_images

        pictures = explain_images(
            images, model, weights=weights, classes=classes, top=top, out=out, settings=settings
        )
        for picture in pictures:
            typer.echo(printable(str(picture)))
