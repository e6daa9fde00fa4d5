"""The command ``scan``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from shortcut_finder.cli.exits import check_gate, told_errors
from shortcut_finder.cli.options import (
    Classes,
    Data,
    Device,
    InputSize,
    LabelColumns,
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
from shortcut_finder.cli.output import findings_json, findings_table, log
from shortcut_finder.cli.scan_options import (
    Actors,
    Address,
    AsJson,
    BatchSize,
    Channels,
    Engine,
    FailOn,
    Frames,
    Fresh,
    GpusPerActor,
    Group,
    Limit,
    Metadata,
    NoVerify,
    Out,
    Quiet,
    Seed,
    Workers,
)

if TYPE_CHECKING:
    from shortcut_finder.run.folder import Run


def scan(
    data: Data,
    model: Model,
    out: Out,
    weights: Weights = None,
    classes: Classes = None,
    metadata: Metadata = None,
    outputs: OutputsAs = "auto",
    positive: Positive = None,
    label_columns: LabelColumns = None,
    input_size: InputSize = None,
    resize: Resize = None,
    mean: Mean = None,
    std: Std = None,
    window: Window = None,
    method: Method = "auto",
    layer: Layer = None,
    frames: Frames = "first",
    group: Group = None,
    channels: Channels = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = None,
    limit: Limit = None,
    engine: Engine = "local",
    actors: Actors = None,
    gpus_per_actor: GpusPerActor = None,
    address: Address = None,
    fresh: Fresh = False,
    no_verify: NoVerify = False,
    seed: Seed = 0,
    fail_on: FailOn = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Look at every image once and say which classes rest on a shortcut.

    RUN/report.html shows the findings; RUN/offenders.csv lists the images, worst first.

    \b
    Example:
      shortcut-finder scan photos/ --model resnet18 --weights model.pt --out run/
    """
    given = locals()
    with told_errors("interrupted; what is done is kept, the same command continues"):
        settings = settings_of(given | {"verify": not no_verify})
        from shortcut_finder import scanning

        run = scanning.scan(
            data,
            model,
            out=out,
            weights=weights,
            classes=classes,
            metadata=metadata,
            settings=settings,
            fresh=fresh,
            progress=not quiet,
        )
        _tell(run, as_json=as_json, quiet=quiet)
        check_gate(run, fail_on)


def _tell(run: Run, *, as_json: bool, quiet: bool) -> None:
    if not quiet:
        log(f"warning: {warning}" for warning in run.card["warnings"])
    if as_json:
        typer.echo(findings_json(run))
    elif not quiet:
        typer.echo(findings_table(run))
