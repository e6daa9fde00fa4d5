"""Analysis: a scan from the first image to the page; the story in one function."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.loading import open_dataset, with_outputs
from shortcut_finder.data.objects import Outlines, take_outlines
from shortcut_finder.detect.channels.metadata import Column, metadata_columns
from shortcut_finder.detect.channels.regions import (
    find_regions,
)
from shortcut_finder.detect.channels.surroundings import find_surroundings
from shortcut_finder.detect.channels.traits import with_companions
from shortcut_finder.detect.confusions import find_confusions
from shortcut_finder.detect.detection import discovery_half, find_shortcuts
from shortcut_finder.detect.finding import Judged, ranked, with_colabels, worth_listing
from shortcut_finder.detect.placing import to_the_pixel
from shortcut_finder.detect.where import Where, look_where
from shortcut_finder.detect.wording import readable, with_words
from shortcut_finder.errors import SettingsError
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
from shortcut_finder.sweep.records import Records, read_records
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.sweep.together import kept_together
from shortcut_finder.verify.protocol import verify

# Bytes of pictures that are kept from stage to stage.
PICTURES = 256 * 2**20

if TYPE_CHECKING:
    from torch import nn

    from shortcut_finder.model.classifier import Classifier
    from shortcut_finder.sweep.batches import Sweep


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
    from shortcut_finder.model.classifier import load_classifier

    stages = Stages()
    stages.begin("start")
    settings = settings or Settings()
    if settings.engine != "local":
        raise SettingsError(f"--engine {settings.engine}: this version sweeps on one machine only")
    folder = run_folder(Path(out))
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
    classifier = load_classifier(
        model,
        weights=Path(weights) if weights else None,
        classes=classes,
        labels=images.classes,
        settings=settings,
        several=images.several,
    )
    images = with_outputs(images, classifier.classes)
    with held(folder):
        if fresh:
            forget(folder)
        with journal(folder) as log:
            log.info("scan of %s by %s, %s", images.name, classifier.name, versions())
            command = {
                "data": images.name,
                "model": classifier.name,
                "weights": None if weights is None else str(weights),
                "metadata": None if metadata is None else str(metadata),
            }
            job = _Job(images, outlines, classifier, settings, folder, stages, command, progress)
            run = _carried_out(job)
            for warning in run.card["warnings"]:
                log.warning("%s", warning)
            log.info("done: %s", json.dumps(run.card["counts"]))
    return run


@dataclass(frozen=True, eq=False)
class _Job:
    """What a scan works on.

    Attributes:
        images: the dataset.
        outlines: where its objects are, as far as the user says.
        classifier: the model.
        settings: the options.
        folder: of the run.
        stages: the account.
        command: what the user named, for ``run.json``.
        progress: show bars on stderr.
    """

    images: ImageDataset
    outlines: Outlines | None
    classifier: Classifier
    settings: Settings
    folder: Path
    stages: Stages
    command: Mapping[str, Any]
    progress: bool

    @property
    def shards(self) -> Path:
        """What the sweep kept."""
        return self.folder / "shards"

    def kept(self) -> Kept:
        """What stages of the same scan have found already."""
        images, outlines = self.images, self.outlines
        facts = [path.stat() for path in sorted(self.shards.glob("shard-*.parquet"))]
        columns = pd.util.hash_pandas_object(images.metadata.astype(str), index=False)
        origin = {
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
        return Kept(self.shards, origin)


def _digest(values: Any) -> str | None:
    """Hash of an array; ``None`` of none."""
    return None if values is None else hashlib.sha256(np.asarray(values).tobytes()).hexdigest()


def _carried_out(job: _Job) -> Run:
    """The scan, from the sweep to the page."""
    from shortcut_finder.sweep.batches import sweep

    classifier, settings, stages = job.classifier, job.settings, job.stages
    stages.begin("sweep")
    with stages.passes(classifier.module):
        swept = sweep(job.images, classifier, settings, job.shards, progress=job.progress)
    stages.decoded(swept.swept)
    job = replace(job, images=stages.counted(job.images))
    stages.begin("analysis")
    started = time.perf_counter()
    records = read_records(
        job.shards,
        job.images.labels,
        tuple(swept.plan.get("cell_grid", (1, 1))),
        sigmoid=classifier.outputs.sigmoid,
    )
    scene = _scene(records, job.images, classifier)
    kept = job.kept()
    with (
        stages.passes(classifier.module),
        _asking(classifier, settings, swept) as (explain, predict),
    ):
        found = kept.result("analysis", lambda: _analysed(job, scene, explain))
        scene = replace(scene, records=records.grouped(found.groups, settings.seed))
        if settings.verify:
            stages.begin("experiments")
            judged = kept.result(
                "experiments", lambda: _experimented(job, found.judged, scene, predict)
            )
            found = replace(found, judged=judged)
    stages.begin("page")
    run = _written(job, swept, found, scene, started)
    kept.forget()
    return run


def _columns(job: _Job, records: Records) -> list[Column]:
    return metadata_columns(job.images.metadata.iloc[records.table["index"].to_numpy()])


def _analysed(job: _Job, scene: Scene, explain: Explain) -> Analysed:
    """What the maps and the pictures say, without experiments."""
    images, settings = job.images, job.settings
    together = kept_together(scene, images.groups, settings.group, job.shards, settings.seed)
    records = together.records
    scene = replace(scene, records=records)
    half = discovery_half(records.labels, settings.seed, records.groups)
    columns = _columns(job, records)
    where = look_where(scene, images, job.outlines, job.classifier, explain, settings.seed)
    judged = find_shortcuts(
        job.shards,
        scene,
        half,
        images.classes,
        columns,
        seed=settings.seed,
        device=job.classifier.device,
        progress=job.progress,
    )
    judged = _with_regions(
        judged, where, scene, half, images.classes, columns, explain, settings.seed
    )
    exact = [to_the_pixel(one, scene) for one in judged.findings]
    exact = with_colabels(exact, records.labels, images.classes)
    judged = replace(
        judged,
        findings=ranked(exact) if images.several else tuple(exact),
        notes=(*together.notes, *judged.notes),
    )
    return Analysed(records.groups, together.card, where.shares, where.table, judged)


def _experimented(job: _Job, judged: Judged, scene: Scene, predict: Predict) -> Judged:
    """The findings with what experiments say of them, and of the surroundings of classes."""
    from shortcut_finder.sweep.batches import batch_size

    settings, classes, records = job.settings, job.images.classes, scene.records
    half = discovery_half(records.labels, settings.seed, records.groups)
    around = find_surroundings(job.shards, records, half, classes)
    around = with_companions(
        around, records.labels, classes, _columns(job, records), records.counted
    )
    around = with_colabels(around, records.labels, classes)
    found = verify(
        ranked([*judged.findings, *around]),
        scene,
        predict,
        batch=batch_size(job.classifier, settings),
        seed=settings.seed,
        progress=job.progress,
    )
    return replace(judged, findings=ranked(found))


def _written(job: _Job, swept: Sweep, found: Analysed, scene: Scene, started: float) -> Run:
    """The run, in memory and in its folder."""
    # What only the page needs is loaded after the images were looked at, which people wait for.
    from shortcut_finder.figures.pictures import write_shots, write_thumbnails
    from shortcut_finder.report.page import write_report
    from shortcut_finder.report.selection import report_images

    images, classifier, settings, folder = job.images, job.classifier, job.settings, job.folder
    records = scene.records
    listed = worth_listing(found.judged.findings)
    read = reader() if any(readable(one) for one in listed) else None
    judged = replace(found.judged, findings=with_words(listed, scene, read))
    image_table = table_of_images(records, images, classifier, found.shares, judged.findings)
    run = Run(
        folder=folder,
        card={},
        images=image_table,
        regions=found.regions,
        findings=finding_table(judged.findings, image_table),
        details=[detail_of(f, records, image_table, classifier) for f in judged.findings],
        offenders=rank_offenders(judged.findings, image_table, classifier.preprocessing),
        confusions=find_confusions(records, classifier.classes),
        unreadable=swept.unreadable,
    )
    card = {
        "command": job.command,
        **card_of(
            run,
            images,
            classifier,
            settings,
            swept,
            judged,
            records.counted,
            time.perf_counter() - started,
        ),
        **found.card,
        "stages": job.stages.as_dict(),
    }
    run = replace(run, card=card)
    seen = records.table["index"].to_numpy().tolist()
    numbers = {images.images[position]: number for number, position in enumerate(seen)}
    write_thumbnails(
        folder / "thumbnails.parquet",
        lambda name: scene.read(numbers[name]),
        report_images(run),
        progress=job.progress,
    )
    if settings.verify:
        write_shots(folder / "experiments.parquet", shots_of(judged.findings, image_table))
    else:
        (folder / "experiments.parquet").unlink(missing_ok=True)
    save_run(run)
    with tqdm(total=1, desc="page", unit=" page", disable=not job.progress) as bar:
        write_report(run)
        bar.update()
    # Once more, with what the page took.
    job.stages.end()
    run = replace(run, card={**card, "stages": job.stages.as_dict()})
    save_card(run)
    return run


@contextmanager
def _asking(
    classifier: Classifier, settings: Settings, swept: Sweep
) -> Iterator[tuple[Explain, Predict]]:
    """Maps and logits of further pixels, the way the sweep made them."""
    import torch

    from shortcut_finder.maps.engine import MapEngine

    precision = swept.plan.get("precision", settings.precision)
    with MapEngine(classifier, replace(settings, precision=precision)) as engine:

        def explain(pixels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
            size = settings.batch_size or len(pixels)
            parts = torch.split(torch.from_numpy(pixels), size)
            return np.concatenate([engine.maps(p, torch.from_numpy(outputs)) for p in parts])

        yield explain, lambda pixels: engine.predict(torch.from_numpy(pixels)).numpy()


def _with_regions(
    judged: Judged,
    where: Where,
    scene: Scene,
    half: np.ndarray,
    classes: tuple[str, ...],
    columns: Sequence[Column],
    explain: Explain,
    seed: int,
) -> Judged:
    """What was judged, and what stands out in where evidence lies and is not explained by it."""
    found = find_regions(where.spread, judged.findings, scene, half, classes, explain, seed)
    records = scene.records
    found = with_companions(found, records.labels, classes, columns, records.counted)
    return replace(
        judged,
        findings=ranked([*judged.findings, *found]),
        notes=(*where.notes, *judged.notes),
    )


def _scene(records: Records, images: ImageDataset, classifier: Classifier) -> Scene:
    positions = records.table["index"].to_numpy()
    read = Lately(
        lambda number: images.read(int(positions[number])).picture,
        lambda picture: picture.width * picture.height * len(picture.getbands()),
        PICTURES,
    )
    return Scene(records, read, classifier.preprocessing)
