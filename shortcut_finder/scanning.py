"""Scanning: from the first image to the page; the story of a scan."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.loading import open_dataset, with_outputs
from shortcut_finder.data.objects import Outlines, take_outlines
from shortcut_finder.detect.columns import metadata_columns
from shortcut_finder.detect.confusions import find_confusions
from shortcut_finder.detect.detection import channels_of, detect
from shortcut_finder.detect.finding import Finding, Judged, ranked, with_colabels, worth_listing
from shortcut_finder.detect.halves import discovery_half
from shortcut_finder.detect.placing import to_the_pixel
from shortcut_finder.detect.proposals import Channel
from shortcut_finder.detect.view import View
from shortcut_finder.detect.weighing import Weighed, weighed
from shortcut_finder.detect.wording import readable, with_words
from shortcut_finder.maps.blanks import Explain
from shortcut_finder.pixels.words import reader
from shortcut_finder.run.card import card_of
from shortcut_finder.run.folder import Run, save_card, save_run
from shortcut_finder.run.offenders import rank_offenders
from shortcut_finder.run.stages import Stages
from shortcut_finder.run.tables import detail_of, finding_table, shots_of, table_of_images
from shortcut_finder.run.workspace import forget, run_folder
from shortcut_finder.settings import Settings
from shortcut_finder.sweep.lab import Predict
from shortcut_finder.sweep.lately import Lately
from shortcut_finder.sweep.records import read_records
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.sweep.spreading import spread_by
from shortcut_finder.sweep.together import Together, kept_together
from shortcut_finder.verify.protocol import verify

# Bytes of pictures that are kept from stage to stage.
PICTURES = 256 * 2**20

if TYPE_CHECKING:
    from torch import nn

    from shortcut_finder.model.classifier import Classifier
    from shortcut_finder.sweep.batches import Spread, Sweep


def scan(
    dataset: Any,
    model: str | nn.Module,
    *,
    out: str | Path,
    weights: str | Path | None = None,
    classes: str | Path | Sequence[str] | None = None,
    metadata: str | Path | None = None,
    settings: Settings | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> Run:
    """Scan a labelled dataset with a trained classifier.

    Args:
        dataset: a folder of class folders, a CSV or Parquet manifest, ``FILE.py:FUNCTION``, a
            DataFrame or a map-style torch dataset of (image, label).
        model: a torchvision name, ``FILE.py:FUNCTION`` or a module.
        out: the run folder; a scan that was stopped goes on where it was.
        weights: a state dict.
        classes: names of the model's outputs, or a file with them.
        metadata: a table to join on ``image``.
        settings: the options of the scan.
        fresh: forget what an earlier scan left in ``out``.
        progress: show bars on stderr.

    Returns:
        The run, as written to ``out``.

    Raises:
        ShortcutFinderError: the input cannot be used; one line says what, where and what to do.
    """
    from shortcut_finder.sweep.batches import sweep

    stages = Stages()
    stages.begin("start")
    settings = settings or Settings()
    channels = channels_of(settings.channels)
    folder = run_folder(Path(out))
    given = _opened(dataset, model, weights, classes, metadata, settings)
    if fresh:
        forget(folder)
    stages.begin("sweep")
    with stages.passes(given.classifier.module):
        swept = sweep(
            given.images,
            given.classifier,
            settings,
            folder / "shards",
            progress=progress,
            spread=given.spread,
        )
    stages.decoded(swept.swept)
    given = replace(given, images=stages.counted(given.images))
    stages.begin("analysis")
    started = time.perf_counter()
    with stages.passes(given.classifier.module):
        analysed = _analysed(given, swept, folder, channels, stages, progress=progress)
    seconds = time.perf_counter() - started
    stages.begin("page")
    command = {
        "data": given.images.name,
        "model": given.classifier.name,
        "weights": None if weights is None else str(weights),
        "metadata": None if metadata is None else str(metadata),
    }
    run = _run_of(given, swept, analysed, folder, seconds)
    card = {"command": command, **run.card, "stages": stages.as_dict()}
    return _written(replace(run, card=card), given, analysed, stages, progress=progress)


@dataclass(frozen=True, eq=False)
class _Given:
    """What is scanned.

    Attributes:
        images: the dataset.
        outlines: boxes or masks of objects; ``None`` where there are none.
        classifier: the model.
        settings: the options of the scan.
        spread: what sweeps in other processes; ``None`` where this one does it alone.
    """

    images: ImageDataset
    outlines: Outlines | None
    classifier: Classifier
    settings: Settings
    spread: Spread | None


def _opened(
    dataset: Any,
    model: str | nn.Module,
    weights: str | Path | None,
    classes: str | Path | Sequence[str] | None,
    metadata: str | Path | None,
    settings: Settings,
) -> _Given:
    """The dataset and the model, fitted to each other."""
    from shortcut_finder.model.classifier import load_classifier

    images, outlines = take_outlines(
        open_dataset(
            dataset,
            metadata=Path(metadata) if metadata else None,
            label_columns=settings.label_columns,
            window=settings.window,
            frames=settings.frames,
            group=settings.group,
        )
    )
    load = partial(
        load_classifier,
        model,
        weights=Path(weights) if weights else None,
        classes=classes,
        labels=images.classes,
        several=images.several,
    )
    classifier = load(settings=settings)
    images = with_outputs(images, classifier.classes)
    spread = spread_by(settings, load, classifier.fingerprint)
    return _Given(images, outlines, classifier, settings, spread)


@dataclass(frozen=True, eq=False)
class _Analysed:
    """What the analysis and the experiments say.

    Attributes:
        scene: what the sweep kept, and the pictures behind it.
        judged: findings, the strongest first, and notes.
        weighed: where evidence lies.
        together: which images stay together.
    """

    scene: Scene
    judged: Judged
    weighed: Weighed
    together: Together


def _analysed(
    given: _Given,
    swept: Sweep,
    folder: Path,
    channels: dict[str, Channel],
    stages: Stages,
    *,
    progress: bool,
) -> _Analysed:
    """Findings, with what experiments say of them if these are wanted."""
    images, settings, shards = given.images, given.settings, folder / "shards"
    scene = _scene(given, swept, shards)
    together = kept_together(scene, images.groups, settings.group, shards, settings.seed)
    scene = replace(scene, records=together.records)
    records = scene.records
    with _asking(given, swept) as (explain, predict):
        where = weighed(
            scene,
            images.classes,
            given.classifier.class_index(images.classes),
            given.outlines,
            explain,
            settings.seed,
        )
        view = View(
            shards,
            scene,
            discovery_half(records.labels, settings.seed, records.groups),
            images.classes,
            metadata_columns(images.metadata.iloc[records.table["index"].to_numpy()]),
            where.spread,
            explain,
            settings.seed,
            given.classifier.device,
            progress,
        )
        judged = detect(view, channels)
        placed = [to_the_pixel(one, scene) for one in judged.findings]
        findings = ranked(with_colabels(placed, records.labels, images.classes))
        if settings.verify:
            stages.begin("experiments")
            findings = _verified(findings, given, scene, predict, progress=progress)
    listed = worth_listing(findings)
    read = reader() if any(readable(one) for one in listed) else None
    judged = replace(
        judged,
        findings=with_words(listed, scene, read),
        notes=(*together.notes, *where.notes, *judged.notes),
    )
    return _Analysed(scene, judged, where, together)


def _verified(
    findings: Sequence[Finding], given: _Given, scene: Scene, predict: Predict, *, progress: bool
) -> tuple[Finding, ...]:
    """The findings with what experiments say of them, the strongest first."""
    from shortcut_finder.sweep.batches import batch_size

    batch, seed = batch_size(given.classifier, given.settings), given.settings.seed
    return ranked(verify(findings, scene, predict, batch=batch, seed=seed, progress=progress))


def _scene(given: _Given, swept: Sweep, shards: Path) -> Scene:
    """What the sweep kept, and the pictures behind it."""
    images, classifier = given.images, given.classifier
    grid = tuple(swept.plan.get("cell_grid", (1, 1)))
    records = read_records(shards, images.labels, grid, sigmoid=classifier.outputs.sigmoid)
    positions = records.table["index"].to_numpy()
    read = Lately(
        lambda number: images.read(int(positions[number])).picture,
        lambda picture: picture.width * picture.height * len(picture.getbands()),
        PICTURES,
    )
    return Scene(records, read, classifier.preprocessing)


def _run_of(given: _Given, swept: Sweep, analysed: _Analysed, folder: Path, seconds: float) -> Run:
    """The run: its tables, and its card."""
    classifier, judged, records = given.classifier, analysed.judged, analysed.scene.records
    table = table_of_images(
        records, given.images, classifier, analysed.weighed.shares, judged.findings
    )
    run = Run(
        folder=folder,
        card={},
        images=table,
        regions=analysed.weighed.table,
        findings=finding_table(judged.findings, table),
        details=[detail_of(one, records, table, classifier) for one in judged.findings],
        offenders=rank_offenders(judged.findings, table, classifier.preprocessing),
        confusions=find_confusions(records, classifier.classes),
        unreadable=swept.unreadable,
    )
    card = card_of(
        run, given.images, classifier, given.settings, swept, judged, records.counted, seconds
    )
    return replace(run, card={**card, **analysed.together.card})


def _written(
    run: Run, given: _Given, analysed: _Analysed, stages: Stages, *, progress: bool
) -> Run:
    """The run, with its pictures, in its folder."""
    # What only the page needs is loaded after the images were looked at, which people wait for.
    from shortcut_finder.figures.pictures import write_shots, write_thumbnails
    from shortcut_finder.report.page import write_report
    from shortcut_finder.report.selection import report_images

    scene, images, folder = analysed.scene, given.images, run.folder
    seen = scene.records.table["index"].to_numpy().tolist()
    numbers = {images.images[position]: number for number, position in enumerate(seen)}
    write_thumbnails(
        folder / "thumbnails.parquet",
        lambda name: scene.read(numbers[name]),
        report_images(run),
        progress=progress,
    )
    if given.settings.verify:
        shots = shots_of(analysed.judged.findings, run.images)
        write_shots(folder / "experiments.parquet", shots)
    else:
        (folder / "experiments.parquet").unlink(missing_ok=True)
    save_run(run)
    with tqdm(total=1, desc="page", unit=" page", disable=not progress) as bar:
        write_report(run)
        bar.update()
    # Once more, with what the page took.
    run = replace(run, card={**run.card, "stages": stages.as_dict()})
    save_card(run)
    return run


@contextmanager
def _asking(given: _Given, swept: Sweep) -> Iterator[tuple[Explain, Predict]]:
    """Maps and logits of further pixels, the way the sweep made them."""
    import torch

    from shortcut_finder.maps.engine import MapEngine

    classifier, settings = given.classifier, given.settings
    precision = swept.plan.get("precision", settings.precision)
    with MapEngine(classifier, replace(settings, precision=precision)) as engine:

        def explain(pixels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
            size = settings.batch_size or len(pixels)
            parts = torch.split(torch.from_numpy(pixels), size)
            return np.concatenate([engine.maps(p, torch.from_numpy(outputs)) for p in parts])

        yield explain, lambda pixels: engine.predict(torch.from_numpy(pixels)).numpy()
