"""The command ``scan``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    names_of,
    one_of,
    three_numbers,
    two_numbers,
)
from shortcut_finder.cli.output import findings_json, findings_table, log
from shortcut_finder.settings import ENGINES, FRAMES, SEVERITIES, Settings


def scan(
    data: Data,
    model: Model,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder for the results.")],
    weights: Weights = None,
    classes: Classes = None,
    metadata: Annotated[
        Path | None,
        typer.Option("--metadata", metavar="FILE", help="CSV or Parquet, joined on `image`."),
    ] = None,
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
    frames: Annotated[
        str, one_of("--frames", FRAMES, "Frames of DICOM files with several: the first, or all.")
    ] = "first",
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="COLUMN",
            help="Images with one value of it stay together; of DICOM files also patient, study "
            "or series.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", metavar="N", help="Images a forward pass.")
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="Processes that decode images.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="Scan at most N images, at random.")
    ] = None,
    engine: Annotated[str, one_of("--engine", ENGINES, "Where the sweep runs.")] = "local",
    actors: Annotated[
        int | None,
        typer.Option("--actors", metavar="N", help="Ray: processes that hold the model."),
    ] = None,
    gpus_per_actor: Annotated[
        float | None,
        typer.Option("--gpus-per-actor", metavar="X", help="Ray: GPUs of each, such as 1 or 0.5."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address", metavar="ADDRESS", help="Ray: cluster to join; by default one of its own."
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over instead of continuing in RUN.")
    ] = False,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Leave out the test by masking and pasting.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="The one source of randomness.")] = 0,
    fail_on: Annotated[
        str | None,
        one_of("--fail-on", SEVERITIES, "Exit 3 if a finding is at least this severe."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no progress and no table.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of the table.")
    ] = False,
) -> None:
    """Look at every image once and say which classes rest on a shortcut.

    RUN/report.html shows the findings; RUN/offenders.csv lists the images, worst first.

    \b
    Example:
      shortcut-finder scan photos/ --model resnet18 --weights model.pt --out run/
    """
    with told_errors("interrupted; what is done is kept, the same command continues"):
        settings = Settings(
            method=method,
            layer=layer,
            outputs=outputs,
            positive=positive,
            label_columns=names_of(label_columns),
            input_size=input_size,
            resize=resize,
            mean=three_numbers("--mean", mean),
            std=three_numbers("--std", std),
            window=two_numbers("--window", window),
            frames=frames,
            group=group,
            batch_size=batch_size,
            device=device,
            precision=precision,
            workers=workers,
            limit=limit,
            engine=engine,
            actors=actors,
            gpus_per_actor=gpus_per_actor,
            address=address,
            verify=not no_verify,
            seed=seed,
        )
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
        if not quiet:
            log(f"warning: {warning}" for warning in run.card["warnings"])
        if as_json:
            typer.echo(findings_json(run))
        elif not quiet:
            typer.echo(findings_table(run))
        check_gate(run, fail_on)
