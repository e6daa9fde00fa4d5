"""Command line: parse, call one function, print. Results go to stdout, everything else to stderr.

Exit codes: 0 done, 1 the user's input is wrong, 2 usage, 3 the gate of ``--fail-on`` tripped,
130 interrupted.
"""

from __future__ import annotations

import json
import sys
import webbrowser
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shortcut_finder.errors import SettingsError, ShortcutFinderError
from shortcut_finder.settings import (
    ACTIONS,
    ENGINES,
    FILES,
    METHODS,
    PRECISIONS,
    RESIZES,
    SEVERITIES,
    Settings,
)
from shortcut_finder.texts import clipped, percent

if TYPE_CHECKING:
    from shortcut_finder.run.folder import Run

WRONG_INPUT = 1
GATE_TRIPPED = 3
INTERRUPTED = 130

TABLE_COLUMNS = ("finding", "label", "kind", "region", "images", "share", "severity", "verdict")
# Longer labels would push the other columns off a terminal of 100 characters.
WIDEST = 28

app = typer.Typer(
    name="shortcut-finder",
    help="Find classes that a model recognises by the wrong thing, and the images to blame.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """The ``shortcut-finder`` command."""
    for stream in (sys.stdout, sys.stderr):
        # A class called "向日葵" must not end a scan on a terminal that lacks its letters.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    app()


def _choice(values: Sequence[str]) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is not None and value not in values:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(values)}")
        return value

    return check


def _one_of(name: str, values: Sequence[str], words: str) -> Any:
    return typer.Option(name, metavar="|".join(values), callback=_choice(values), help=words)


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Folder of class folders, CSV or Parquet manifest (image,label), or FILE.py:FUNCTION.",
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
InputSize = Annotated[
    int | None,
    typer.Option("--input-size", metavar="N", help="Side of the square the model sees, in pixels."),
]
Resize = Annotated[str | None, _one_of("--resize", RESIZES, "How an image becomes that square.")]
Mean = Annotated[
    str | None,
    typer.Option("--mean", metavar="R,G,B", help="Mean of the model's input, of pixels in [0, 1]."),
]
Std = Annotated[
    str | None,
    typer.Option("--std", metavar="R,G,B", help="Standard deviation of the model's input."),
]
Method = Annotated[str, _one_of("--method", METHODS, "Class activation map method.")]
Layer = Annotated[
    str | None,
    typer.Option("--layer", metavar="PATH", help="Module to draw the maps on, as layer4.1.conv2."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, or any torch device.")]
Precision = Annotated[
    str, _one_of("--precision", PRECISIONS, "Numbers the model runs in; auto: by the device.")
]


@app.command()
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
    input_size: InputSize = None,
    resize: Resize = None,
    mean: Mean = None,
    std: Std = None,
    method: Method = "auto",
    layer: Layer = None,
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
    engine: Annotated[str, _one_of("--engine", ENGINES, "Where the sweep runs.")] = "local",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over instead of continuing in RUN.")
    ] = False,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Leave out the test by masking and pasting.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="The one source of randomness.")] = 0,
    fail_on: Annotated[
        str | None,
        _one_of("--fail-on", SEVERITIES, "Exit 3 if a finding is at least this severe."),
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
    with _errors("interrupted; what is done is kept, the same command continues"):
        settings = Settings(
            method=method,
            layer=layer,
            input_size=input_size,
            resize=resize,
            mean=_three_numbers("--mean", mean),
            std=_three_numbers("--std", std),
            batch_size=batch_size,
            device=device,
            precision=precision,
            workers=workers,
            limit=limit,
            engine=engine,
            verify=not no_verify,
            seed=seed,
        )
        if settings.engine != "local":
            raise SettingsError(
                f"--engine {engine}: this version runs on one machine; leave the option out"
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
            _log(f"warning: {warning}" for warning in run.card["warnings"])
        if as_json:
            typer.echo(_as_json(run))
        elif not quiet:
            typer.echo(_as_table(run))
        _check_gate(run, fail_on)


@app.command()
def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="What `scan --out` wrote.", show_default=False)
    ],
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    decisions: Annotated[
        Path | None,
        typer.Option("--decisions", metavar="FILE", help="Decisions downloaded from the page."),
    ] = None,
) -> None:
    """Build the page of a run again; the images and the model are not needed.

    \b
    Example:
      shortcut-finder report run/ --open
    """
    with _errors():
        from shortcut_finder.report.page import write_report
        from shortcut_finder.run.decisions import read_decisions
        from shortcut_finder.run.folder import load_run

        loaded = load_run(run)
        page = write_report(loaded, read_decisions(decisions, loaded) if decisions else None)
        typer.echo(printable(str(page)))
        if show:
            webbrowser.open(page.resolve().as_uri())


@app.command()
def explain(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Image files.", show_default=False)
    ],
    model: Model,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the pictures.")],
    top: Annotated[int, typer.Option("--top", metavar="N", help="Classes a picture, 1 to 3.")] = 3,
    weights: Weights = None,
    classes: Classes = None,
    input_size: InputSize = None,
    resize: Resize = None,
    mean: Mean = None,
    std: Std = None,
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
    with _errors():
        settings = Settings(
            method=method,
            layer=layer,
            input_size=input_size,
            resize=resize,
            mean=_three_numbers("--mean", mean),
            std=_three_numbers("--std", std),
            device=device,
            precision=precision,
        )
        from shortcut_finder.explanation import explain_images

        pictures = explain_images(
            images, model, weights=weights, classes=classes, top=top, out=out, settings=settings
        )
        for picture in pictures:
            typer.echo(printable(str(picture)))


@app.command()
def adapt(
    data: Data,
    model: Model,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File for the weights.")],
    weights: Weights = None,
    classes: Classes = None,
    input_size: InputSize = None,
    resize: Resize = None,
    mean: Mean = None,
    std: Std = None,
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
    with _errors():
        settings = Settings(
            layer=layer,
            input_size=input_size,
            resize=resize,
            mean=_three_numbers("--mean", mean),
            std=_three_numbers("--std", std),
            device=device,
            precision=precision,
            seed=seed,
        )
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


@app.command()
def clean(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="What `scan --out` wrote.", show_default=False)
    ],
    action: Annotated[str, _one_of("--action", ACTIONS, "What to do with the images.")] = "drop",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="A new folder for the result.")
    ] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(
            "--decisions", metavar="FILE", help="decisions.json from the page of the run."
        ),
    ] = None,
    expand: Annotated[
        bool, typer.Option("--expand", help="Look for the accepted things in all images again.")
    ] = False,
    files: Annotated[
        str | None,
        _one_of("--files", FILES, "How images that stay as they are get into DIR."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and write nothing.")
    ] = False,
) -> None:
    """Leave out, fill in or reweight the images that carry a shortcut; the source stays as it is.

    Without --decisions, findings are cleaned that are confirmed, or suspect and of high severity.
    DIR/manifest.csv lists the new dataset, ready to be scanned.

    \b
    Example:
      shortcut-finder clean run/ --action mask --out cleaned/
    """
    with _errors():
        if out is None and not dry_run:
            raise typer.BadParameter("give a new folder, or --dry-run", param_hint="--out")
        from shortcut_finder.cleaning import folder as cleaning

        plan = cleaning.clean(
            run,
            action,
            out=None if dry_run else out,
            decisions=decisions,
            expand=expand,
            files=files,
        )
        _log(f"warning: {warning}" for warning in plan.warnings)
        typer.echo("\n".join(printable(line) for line in cleaning.summary(plan).splitlines()))
        for advice in plan.advice:
            typer.echo(printable(f"advice: {advice}"))
        if not dry_run:
            typer.echo(printable(str(out)))


@app.command()
def compare(
    run_a: Annotated[
        Path, typer.Argument(metavar="RUN_A", help="The earlier run.", show_default=False)
    ],
    run_b: Annotated[
        Path, typer.Argument(metavar="RUN_B", help="The later run.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.")],
    decisions: Annotated[
        Path | None,
        typer.Option(
            "--decisions", metavar="FILE", help="decisions.json of a run: what it dismisses."
        ),
    ] = None,
    fail_on_new: Annotated[
        bool,
        typer.Option(
            "--fail-on-new", help="Exit 3 if a finding is new or worse, and not of low severity."
        ),
    ] = False,
) -> None:
    """Say what was resolved, persists, worsened or appeared between two scans.

    DIR/comparison.html shows it; DIR/comparison.csv and comparison.json are for programs.

    \b
    Example:
      shortcut-finder compare run-v1/ run-v2/ --out v1-v2/ --fail-on-new
    """
    with _errors():
        from shortcut_finder.comparison import folder as comparing

        comparison = comparing.compare(run_a, run_b, out=out, decisions=decisions)
        _log(f"note: {note}" for note in comparison.notes)
        rows = comparison.findings.to_dict("records")
        for row in rows:
            typer.echo(printable(f"{row['state']}: {row['sentence']}"))
        if not rows:
            typer.echo("no findings in either run")
        typer.echo(printable(str(out / "comparison.html")))
        gating = len(comparison.gating)
        if fail_on_new and gating:
            words = "finding is" if gating == 1 else "findings are"
            _log([f"gate: {gating} {words} new or worse"])
            raise typer.Exit(GATE_TRIPPED)


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the images and the run.")
    ] = Path("demo-run"),
) -> None:
    """Plant shortcuts in a generated dataset, train a small model on it, and find them.

    Needs no network and takes a few minutes.

    \b
    Example:
      shortcut-finder demo --out demo/
    """
    with _errors():
        from shortcut_finder.demo.story import run_demo

        # It prints a table of its own: what was planted next to what was found.
        typer.echo(_page(run_demo(out)))


@contextmanager
def _errors(interrupted: str = "interrupted") -> Iterator[None]:
    """Turn what a user can mend, or did, into one line and an exit code."""
    try:
        yield
    except ShortcutFinderError as error:
        _log([f"error: {error}"])
        raise typer.Exit(WRONG_INPUT) from error
    except OSError as error:
        # Of the user's machine: a full disk, a folder that may not be written to.
        if error.filename is None:
            raise
        _log([f"error: {error.filename}: {error.strerror}"])
        raise typer.Exit(WRONG_INPUT) from error
    except KeyboardInterrupt as error:
        _log([interrupted])
        raise typer.Exit(INTERRUPTED) from error


def _log(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(printable(line), err=True)


def _three_numbers(name: str, text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not three numbers such as 0.5,0.5,0.5", param_hint=name
        ) from error
    return red, green, blue


def _check_gate(run: Run, fail_on: str | None) -> None:
    if fail_on is None:
        return
    severe = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    count = int(run.findings["severity"].isin(severe).sum())
    if count:
        words = "finding is" if count == 1 else "findings are"
        _log([f"gate: {count} {words} of severity {' or '.join(severe)}"])
        raise typer.Exit(GATE_TRIPPED)


def _as_json(run: Run) -> str:
    from shortcut_finder.schema import FINDING_COLUMNS, to_json

    result = {
        "run": str(run.folder),
        "report": str(run.folder / "report.html"),
        "counts": run.card["counts"],
        "warnings": run.card["warnings"],
        "findings": run.findings[list(FINDING_COLUMNS)].to_dict("records"),
    }
    # ASCII, so that no name can drive a terminal or break a pipe.
    return json.dumps(json.loads(to_json(result)), indent=1)


def _as_table(run: Run) -> str:
    """The findings, strongest first, what was looked at, and where the page is."""
    counts = run.card["counts"]
    rows = [TABLE_COLUMNS, *(_row(finding) for finding in run.findings.to_dict("records"))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TABLE_COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    if len(rows) == 1:
        lines = ["no findings"]
    seen = f"{counts['scanned']} images scanned"
    if counts["unreadable"]:
        seen += f", {counts['unreadable']} unreadable (unreadable.csv)"
    return "\n".join([*lines, "", seen, _page(run)])


def _page(run: Run) -> str:
    return printable(str(run.folder / "report.html"))


def _row(finding: Mapping[Hashable, Any]) -> tuple[str, ...]:
    cells = {**finding, "share": percent(finding["share"])}
    return tuple(clipped(printable(str(cells[column])), WIDEST) for column in TABLE_COLUMNS)


def printable(text: str) -> str:
    r"""Text whose control characters are written out, so that no name can drive a terminal.

    Example:
        >>> printable("cat\x1b[2J.jpg")
        'cat\\x1b[2J.jpg'
    """
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )
