"""Analysis: a scan from the first image to the page; the story in one function."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.loading import open_dataset, with_outputs
from shortcut_finder.data.membership import occurring
from shortcut_finder.data.objects import Outlines, cover_cells, take_outlines
from shortcut_finder.data.regions import OBJECT, OUTSIDE, Regions, frame_regions, region_shares
from shortcut_finder.detect.channels.metadata import Column, metadata_columns
from shortcut_finder.detect.channels.regions import (
    Spread,
    evidence_for,
    find_regions,
    readable_pixels,
    spread_of,
    without,
)
from shortcut_finder.detect.channels.surroundings import find_surroundings
from shortcut_finder.detect.channels.traits import with_companions
from shortcut_finder.detect.confusions import find_confusions
from shortcut_finder.detect.detection import discovery_half, find_shortcuts
from shortcut_finder.detect.finding import Judged, ranked, with_colabels, worth_listing
from shortcut_finder.detect.placing import to_the_pixel
from shortcut_finder.detect.wording import readable, with_words
from shortcut_finder.maps.blanks import SCRAMBLED, Explain, blank_notes, blank_pixels, standing_heat
from shortcut_finder.pixels.words import reader
from shortcut_finder.run.card import card_of
from shortcut_finder.run.folder import Run, save_card, save_run
from shortcut_finder.run.offenders import rank_offenders
from shortcut_finder.run.stages import Stages
from shortcut_finder.run.tables import detail_of, finding_table, shots_of, table_of_images
from shortcut_finder.run.workspace import forget, run_folder
from shortcut_finder.settings import Settings
from shortcut_finder.stats.evidence import ObjectShares, divide, weigh_regions
from shortcut_finder.sweep.lab import Predict
from shortcut_finder.sweep.lately import Lately
from shortcut_finder.sweep.records import Records, read_records
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.sweep.spreading import spread_by
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
    from shortcut_finder.sweep.batches import batch_size, sweep

    stages = Stages()
    stages.begin("start")
    settings = settings or Settings()
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
    if fresh:
        forget(folder)
    stages.begin("sweep")
    with stages.passes(classifier.module):
        swept = sweep(
            images,
            classifier,
            settings,
            folder / "shards",
            progress=progress,
            spread=spread_by(settings, load, classifier.fingerprint),
        )
    stages.decoded(swept.swept)
    images = stages.counted(images)
    stages.begin("analysis")
    # What only the page needs is loaded after the images were looked at, which people wait for.
    from shortcut_finder.figures.pictures import write_shots, write_thumbnails
    from shortcut_finder.report.page import write_report
    from shortcut_finder.report.selection import report_images

    started = time.perf_counter()
    records = read_records(
        folder / "shards",
        images.labels,
        tuple(swept.plan.get("cell_grid", (1, 1))),
        sigmoid=classifier.outputs.sigmoid,
    )
    scene = _scene(records, images, classifier)
    together = kept_together(scene, images.groups, settings.group, folder / "shards", settings.seed)
    records = together.records
    scene = replace(scene, records=records)
    half = discovery_half(records.labels, settings.seed, records.groups)
    columns = metadata_columns(images.metadata.iloc[records.table["index"].to_numpy()])
    with (
        stages.passes(classifier.module),
        _asking(classifier, settings, swept) as (explain, predict),
    ):
        where = _look_where(scene, images, outlines, classifier, explain, settings.seed)
        judged = find_shortcuts(
            folder / "shards",
            scene,
            half,
            images.classes,
            columns,
            seed=settings.seed,
            device=classifier.device,
            progress=progress,
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
        if settings.verify:
            stages.begin("experiments")
            around = find_surroundings(folder / "shards", records, half, images.classes)
            around = with_companions(
                around, records.labels, images.classes, columns, records.counted
            )
            around = with_colabels(around, records.labels, images.classes)
            found = verify(
                ranked([*judged.findings, *around]),
                scene,
                predict,
                batch=batch_size(classifier, settings),
                seed=settings.seed,
                progress=progress,
            )
            judged = replace(judged, findings=ranked(found))
    stages.begin("page")
    listed = worth_listing(judged.findings)
    read = reader() if any(readable(one) for one in listed) else None
    judged = replace(judged, findings=with_words(listed, scene, read))
    image_table = table_of_images(records, images, classifier, where.shares, judged.findings)
    run = Run(
        folder=folder,
        card={},
        images=image_table,
        regions=where.table,
        findings=finding_table(judged.findings, image_table),
        details=[detail_of(f, records, image_table, classifier) for f in judged.findings],
        offenders=rank_offenders(judged.findings, image_table, classifier.preprocessing),
        confusions=find_confusions(records, classifier.classes),
        unreadable=swept.unreadable,
    )
    command = {
        "data": images.name,
        "model": classifier.name,
        "weights": None if weights is None else str(weights),
        "metadata": None if metadata is None else str(metadata),
    }
    card = {
        "command": command,
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
        **together.card,
        "stages": stages.as_dict(),
    }
    run = Run(**{**_fields(run), "card": card})
    seen = records.table["index"].to_numpy().tolist()
    numbers = {images.images[position]: number for number, position in enumerate(seen)}
    write_thumbnails(
        folder / "thumbnails.parquet",
        lambda name: scene.read(numbers[name]),
        report_images(run),
        progress=progress,
    )
    if settings.verify:
        write_shots(folder / "experiments.parquet", shots_of(judged.findings, image_table))
    else:
        (folder / "experiments.parquet").unlink(missing_ok=True)
    save_run(run)
    with tqdm(total=1, desc="page", unit=" page", disable=not progress) as bar:
        write_report(run)
        bar.update()
    # Once more, with what the page took.
    run = Run(**{**_fields(run), "card": {**card, "stages": stages.as_dict()}})
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


@dataclass(frozen=True, eq=False)
class _Where:
    """Where the maps say that evidence lies.

    Attributes:
        shares: of each image's evidence in each region, by name of the region, (image,).
        table: the class x region table.
        spread: what region findings are made from.
        notes: sentences for the report.
    """

    shares: Mapping[str, np.ndarray]
    table: pd.DataFrame
    spread: Spread
    notes: tuple[str, ...]


def _look_where(
    scene: Scene,
    images: ImageDataset,
    outlines: Outlines | None,
    classifier: Classifier,
    explain: Explain,
    seed: int,
) -> _Where:
    """Weigh the regions, without what maps show on blank pictures, too."""
    records = scene.records
    heat = _standing_heat(scene, images, classifier, explain, seed)
    evidence = without(records.maps, heat, records.firsts)
    grid = (records.maps.shape[1], records.maps.shape[2])
    regions = frame_regions(*grid)
    shares = region_shares(evidence, regions)
    columns = {name: shares[:, place] for place, name in enumerate(regions.names)}
    notes = blank_notes(heat, records.maps, records.firsts, images.classes, regions)
    cover, objects = None, None
    if outlines is not None:
        found = cover_cells(outlines, records.table, scene.preprocessing, grid)
        known = np.isfinite(found.cover).all(axis=(1, 2))
        notes += (*found.notes, *_alone(occurring(records.labels[known]), images.classes))
        if known.any():
            cover, objects = found.cover, divide(evidence, found.cover)
            columns |= {OBJECT: objects.shares[:, 0], OUTSIDE: objects.shares[:, 1]}
    return _Where(
        columns,
        weigh_regions(
            shares,
            records.labels,
            images.classes,
            regions,
            objects,
            counted=records.counted,
            own=_by_label(records, heat, regions, cover),
        ),
        spread_of(records, heat, cover),
        notes,
    )


def _by_label(
    records: Records, heat: np.ndarray, regions: Regions, cover: np.ndarray | None
) -> dict[int, tuple[np.ndarray, ObjectShares | None]]:
    """Shares of regions and objects for each label against the others, with several an image."""
    if records.labels.ndim == 1:
        return {}
    found = {}
    for number in occurring(records.labels):
        evidence = evidence_for(number, records, heat)
        objects = None if cover is None else divide(evidence, cover)
        found[number] = region_shares(evidence, regions), objects
    return found


def _alone(with_objects: Sequence[int], classes: tuple[str, ...]) -> tuple[str, ...]:
    """A line where only one class has objects, so that there is nothing to compare them with."""
    if len(with_objects) != 1 or len(classes) == 1:
        return ()
    return (
        f"Only {classes[with_objects[0]]} images have object boxes or masks, so their share "
        "outside the object cannot be compared with that of other classes.",
    )


def _standing_heat(
    scene: Scene, images: ImageDataset, classifier: Classifier, explain: Explain, seed: int
) -> np.ndarray:
    """What the maps of each class show on blank pictures, (class, row, column)."""
    rng = np.random.default_rng([seed, 4])
    order = rng.permutation(len(scene.records.labels))
    pictures = readable_pixels(order, scene, SCRAMBLED)[1]
    size = scene.preprocessing
    blank = blank_pixels(pictures, size.height, size.width, size.mean, rng)
    return standing_heat(explain(blank, classifier.class_index(images.classes)))


def _with_regions(
    judged: Judged,
    where: _Where,
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


def _fields(run: Run) -> dict[str, Any]:
    return {name: getattr(run, name) for name in Run.__dataclass_fields__}
