"""The command ``adapt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortcut_finder.cli.exits import told_errors
from shortcut_finder.cli.options import (
    Classes,
    Data,
    Device,
    InputSize,
    Layer,
    Mean,
    Model,
    Positive,
    Precision,
    Resize,
    Std,
    Weights,
    Window,
    settings_of,
)
from shortcut_finder.cli.output import printable
from shortcut_finder.texts import percent


def adapt(
    data: Data,
    model: Model,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File for the weights.")],
    weights: Weights = None,
    classes: Classes = None,
    positive: Positive = None,
    input_size: InputSize = None,
    resize: Resize = None,
    mean: Mean = None,
    std: Std = None,
    window: Window = None,
    layer: Layer = None,
    device: Device = "auto",
    precision: Precision = "auto",
    seed: Annotated[int, typer.Option("--seed", help="The one source of randomness.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no progress.")] = False,
) -> None:
    """Replace a network's dense head by average pooling and one linear layer, and refit that.

    The maps of the result are exact. Its accuracy is measured on images held out, before and after.

    \b
    Example:
      shortcut-finder adapt photos/ --model vgg16 --weights vgg.pt --out pooled.pt
      shortcut-finder scan photos/ --model vgg16 --weights pooled.pt --out run/
    """
    given = locals()
    with told_errors():
        settings = settings_of(given)
        from shortcut_finder.adapt import adapt as operate

        done = operate(
            data,
            model,
            out=out,
            weights=weights,
            classes=classes,
            settings=settings,
            progress=not quiet,
        )
        typer.echo(
            f"accuracy on {done.held_out} images held out: {percent(done.before)} before, "
            f"{percent(done.after)} after; {done.fitted} fitted on"
        )
        typer.echo(printable(str(done.path)))
