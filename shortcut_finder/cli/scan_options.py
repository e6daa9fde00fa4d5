"""Scan options: what only `scan` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortcut_finder.cli.options import one_of
from shortcut_finder.detect.channels import CHANNELS
from shortcut_finder.settings import ENGINES, FRAMES, SEVERITIES

Out = Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder for the results.")]
Metadata = Annotated[
    Path | None,
    typer.Option("--metadata", metavar="FILE", help="CSV or Parquet, joined on `image`."),
]
Frames = Annotated[
    str, one_of("--frames", FRAMES, "Frames of DICOM files with several: the first, or all.")
]
Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="COLUMN",
        help="Images with one value of it stay together; of DICOM files also patient, study "
        "or series.",
    ),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels",
        metavar="A,B,C",
        help=f"Ways to find that are tried, of {', '.join(CHANNELS)}; all by default. "
        "FILE.py:FUNCTION adds one of your own.",
    ),
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", metavar="N", help="Images a forward pass.")
]
Workers = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Processes that decode images.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", help="Scan at most N images, at random.")
]
Engine = Annotated[str, one_of("--engine", ENGINES, "Where the sweep runs.")]
Actors = Annotated[
    int | None,
    typer.Option("--actors", metavar="N", help="Ray: processes that hold the model."),
]
GpusPerActor = Annotated[
    float | None,
    typer.Option("--gpus-per-actor", metavar="X", help="Ray: GPUs of each, such as 1 or 0.5."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="ADDRESS", help="Ray: cluster to join; by default one of its own."
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over instead of continuing in RUN.")]
NoVerify = Annotated[
    bool, typer.Option("--no-verify", help="Leave out the test by masking and pasting.")
]
Seed = Annotated[int, typer.Option("--seed", help="The one source of randomness.")]
FailOn = Annotated[
    str | None,
    one_of("--fail-on", SEVERITIES, "Exit 3 if a finding is at least this severe."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no progress and no table.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")]
