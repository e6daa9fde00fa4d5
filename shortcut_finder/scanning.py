"""Scanning: from the first image to the page; the story of a scan."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.loading import open_dataset, with_outputs
from shortcut_finder.data.objects import Outlines, take_outlines
from shortcut_finder.detect.columns import metadata_columns
from shortcut_finder.detect.confusions import find_confusions
from shortcut_finder.detect.detection import channels_of, detect
from shortcut_finder.detect.finding import Judged, ranked, with_colabels, worth_listing
from shortcut_finder.detect.halves import discovery_half
from shortcut_finder.detect.placing import to_the_pixel
from shortcut_finder.detect.proposals import Channel
from shortcut_finder.detect.view import View
from shortcut_finder.detect.weighing import weighed
from shortcut_finder.detect.wording import readable, with_words
from shortcut_finder.maps.blanks import Explain
from shortcut_finder.pixels.words import reader
from shortcut_finder.run.card import card_of, versions
from shortcut_finder.run.folder import Run, save_card, save_run
from shortcut_finder.run.journal import journal
from shortcut_finder.run.kept import Analysed, Kept
from shortcut_finder.run.lock import held
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
from shortcut_finder.sweep.together import kept_together
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
    stages = Stages()
    stages.begin("start")
    settings = settings or Settings()
    channels = channels_of(settings.channels)
    folder = run_folder(Path(out))
    given = _opened(dataset, model, weights, classes, metadata, settings)
    command = {
        "data": given.images.name,
        "model": given.classifier.name,
        "weights": None if weights is None else str(weights),
        "metadata": None if metadata is None else str(metadata),
    }
    job = _Job(given, channels, folder, stages, command, progress)
    with held(folder):
        if fresh:
            forget(folder)
        with journal(folder) as log:
            log.info("scan of %s by %s, %s", command["data"], command["model"], versions())
            run = _carried_out(job)
            for warning in run.card["warnings"]:
                log.warning("%s", warning)
            log.info("done: %s", json.dumps(run.card["counts"]))
    return run


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

    def origin(self, shards: Path) -> dict[str, Any]:
        """All that the analysis of its shards depends on, ready for JSON."""
        images, outlines = self.images, self.outlines
        facts = [path.stat() for path in sorted(shards.glob("shard-*.parquet"))]
        columns = pd.util.hash_pandas_object(images.metadata.astype(str), index=False)
        return {
            "versions": versions(),
            "settings": self.settings.as_dict(),
            "device": str(self.classifier.device),
            "dataset": images.fingerprint,
            "metadata": [*images.metadata.columns, _digest(columns)],
            "groups": _digest(images.groups),
            "boxes": _digest(None if outlines is None else outlines.boxes),
            "masks": None if outlines is None else list(map(str, outlines.masks)),
            "model": self.classifier.fingerprint,
            "shards": [[one.st_size, str(one.st_mtime_ns)] for one in facts],
        }


def _digest(values: Any) -> str | None:
    """Hash of an array; ``None`` of none."""
    return None if values is None else hashlib.sha256(np.asarray(values).tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class _Job:
    """A scan that is carried out.

    Attributes:
        given: what is scanned.
        channels: ways to find, by name.
        folder: of the run.
        stages: the account.
        command: what the user named, for ``run.json``.
        progress: show bars on stderr.
    """

    given: _Given
    channels: Mapping[str, Channel]
    folder: Path
    stages: Stages
    command: Mapping[str, Any]
    progress: bool

    @property
    def shards(self) -> Path:
        """What the sweep kept."""
        return self.folder / "shards"


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


def _carried_out(job: _Job) -> Run:
    """The scan, from the sweep to the page."""
    from shortcut_finder.sweep.asking import asking
    from shortcut_finder.sweep.batches import sweep

    given, stages = job.given, job.stages
    network, settings = given.classifier.module, given.settings
    stages.begin("sweep")
    with stages.passes(network):
        swept = sweep(
            given.images,
            given.classifier,
            settings,
            job.shards,
            progress=job.progress,
            spread=given.spread,
        )
    stages.decoded(swept.swept)
    job = replace(job, given=replace(given, images=stages.counted(given.images)))
    stages.begin("analysis")
    started = time.perf_counter()
    scene = _scene(job, swept)
    kept = Kept(job.shards, given.origin(job.shards))
    precision = swept.plan.get("precision", settings.precision)
    asked = asking(given.classifier, replace(settings, precision=precision))
    with stages.passes(network), asked as (explain, predict):
        found = kept.result("analysis", lambda: _analysed(job, scene, explain))
        scene = replace(scene, records=scene.records.grouped(found.groups, settings.seed))
        if settings.verify:
            stages.begin("experiments")
            judged = kept.result(
                "experiments", lambda: _verified(job, found.judged, scene, predict)
            )
            found = replace(found, judged=judged)
    seconds = time.perf_counter() - started
    stages.begin("page")
    run = _written(job, _run_of(job, swept, found, scene, seconds), found.judged, scene)
    kept.forget()
    return run


def _scene(job: _Job, swept: Sweep) -> Scene:
    """What the sweep kept, and the pictures behind it."""
    images, classifier = job.given.images, job.given.classifier
    grid = tuple(swept.plan.get("cell_grid", (1, 1)))
    records = read_records(job.shards, images.labels, grid, sigmoid=classifier.outputs.sigmoid)
    positions = records.table["index"].to_numpy()
    read = Lately(
        lambda number: images.read(int(positions[number])).picture,
        lambda picture: picture.width * picture.height * len(picture.getbands()),
        PICTURES,
    )
    return Scene(records, read, classifier.preprocessing)


def _analysed(job: _Job, scene: Scene, explain: Explain) -> Analysed:
    """What the maps, the cells and the pictures say, without experiments."""
    images, settings = job.given.images, job.given.settings
    together = kept_together(scene, images.groups, settings.group, job.shards, settings.seed)
    scene, records = replace(scene, records=together.records), together.records
    where = weighed(
        scene,
        images.classes,
        job.given.classifier.class_index(images.classes),
        job.given.outlines,
        explain,
        settings.seed,
    )
    view = View(
        job.shards,
        scene,
        discovery_half(records.labels, settings.seed, records.groups),
        images.classes,
        metadata_columns(images.metadata.iloc[records.table["index"].to_numpy()]),
        where.spread,
        explain,
        settings.seed,
        job.given.classifier.device,
        job.progress,
    )
    judged = detect(view, job.channels)
    placed = [to_the_pixel(one, scene) for one in judged.findings]
    judged = replace(
        judged,
        findings=ranked(with_colabels(placed, records.labels, images.classes)),
        notes=(*together.notes, *where.notes, *judged.notes),
    )
    return Analysed(records.groups, together.card, where.shares, where.table, judged)


def _verified(job: _Job, judged: Judged, scene: Scene, predict: Predict) -> Judged:
    """The findings with what experiments say of them, the strongest first."""
    from shortcut_finder.sweep.decoding import batch_size

    found = verify(
        judged.findings,
        scene,
        predict,
        batch=batch_size(job.given.classifier, job.given.settings),
        seed=job.given.settings.seed,
        progress=job.progress,
    )
    return replace(judged, findings=ranked(found))


def _run_of(job: _Job, swept: Sweep, found: Analysed, scene: Scene, seconds: float) -> Run:
    """The run: its tables, and its card."""
    given, records = job.given, scene.records
    listed = worth_listing(found.judged.findings)
    read = reader() if any(readable(one) for one in listed) else None
    judged = replace(found.judged, findings=with_words(listed, scene, read))
    table = table_of_images(records, given.images, given.classifier, found.shares, judged.findings)
    run = Run(
        folder=job.folder,
        card={},
        images=table,
        regions=found.regions,
        findings=finding_table(judged.findings, table),
        details=[detail_of(one, records, table, given.classifier) for one in judged.findings],
        offenders=rank_offenders(judged.findings, table, given.classifier.preprocessing),
        confusions=find_confusions(records, given.classifier.classes),
        unreadable=swept.unreadable,
    )
    card = {
        "command": job.command,
        **card_of(
            run,
            given.images,
            given.classifier,
            given.settings,
            swept,
            judged,
            records.counted,
            seconds,
        ),
        **found.card,
        "stages": job.stages.as_dict(),
    }
    return replace(run, card=card)


def _written(job: _Job, run: Run, judged: Judged, scene: Scene) -> Run:
    """The run, with its pictures, in its folder."""
    # What only the page needs is loaded after the images were looked at, which people wait for.
    from shortcut_finder.figures.pictures import write_shots, write_thumbnails
    from shortcut_finder.report.page import write_report
    from shortcut_finder.report.selection import report_images

    images, folder = job.given.images, job.folder
    seen = scene.records.table["index"].to_numpy().tolist()
    numbers = {images.images[position]: number for number, position in enumerate(seen)}
    write_thumbnails(
        folder / "thumbnails.parquet",
        lambda name: scene.read(numbers[name]),
        report_images(run),
        progress=job.progress,
    )
    if job.given.settings.verify:
        shots = shots_of(worth_listing(judged.findings), run.images)
        write_shots(folder / "experiments.parquet", shots)
    else:
        (folder / "experiments.parquet").unlink(missing_ok=True)
    save_run(run)
    with tqdm(total=1, desc="page", unit=" page", disable=not job.progress) as bar:
        write_report(run)
        bar.update()
    # Once more, with what the page took.
    job.stages.end()
    run = replace(run, card={**run.card, "stages": job.stages.as_dict()})
    save_card(run)
    return run
