"""Page size: 20 findings on 10,000 photos make a page that can be mailed and opens at once."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import chromium, visiting
from handmade import CLASSES, handmade_run
from PIL import Image

from shortcut_finder.figures.pictures import SHOT_COLUMNS, thumbnail, write_thumbnails
from shortcut_finder.report.page import write_report
from shortcut_finder.report.selection import report_images
from shortcut_finder.run.folder import Run, save_run
from shortcut_finder.sweep.shards import ARRAYS, shard_path, write_shard

IMAGES = 10_000
FINDINGS = 20
CARRIERS = 300
# A thumbnail then takes 18 kB, as much as the largest tenth of photographs of flowers do.
FALL = 1.6


def photo(random: np.random.Generator, size: int) -> Image.Image:
    """Noise whose amplitude falls with frequency; as large a JPEG as most photographs make."""
    across, down = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size))
    fall = 1 / np.maximum(np.hypot(across, down), 1 / size)
    grey = np.fft.ifft2(np.fft.fft2(random.normal(size=(size, size))) * fall**FALL).real
    tint = np.fft.ifft2(np.fft.fft2(random.normal(size=(size, size))) * fall**1.8).real
    parts = [grey / grey.std() + weight * tint / tint.std() for weight in (0.5, 0.0, -0.5)]
    return Image.fromarray(np.clip(np.stack(parts, -1) * 45 + 120, 0, 255).astype(np.uint8))


def large_run(folder: Path) -> Run:
    """The run written by hand with many more images, findings and experiments, all of photos."""
    small = handmade_run(folder, findings=FINDINGS, thumbnails=False, maps=False)
    random = np.random.default_rng(0)
    names = [f"photographs/camera {n % 7}/IMG_{n:06d}.jpg" for n in range(IMAGES)]
    images = pd.concat([small.images] * (IMAGES // len(small.images) + 1), ignore_index=True)
    images = images.head(IMAGES).assign(image=names, width=640, height=640)
    starts = itertools.cycle(range(0, IMAGES - CARRIERS, 450))
    rows, details = [], []
    for detail, start in zip(small.details, starts, strict=False):
        some = names[start : start + CARRIERS]
        row = small.offenders.iloc[0].to_dict()
        rows += [{**row, "image": name, "finding": detail["finding"]} for name in some]
        template = [{"image": name, "box": [10, 10, 200, 150]} for name in some[20:32]]
        details.append(
            {
                **detail,
                "template": template,
                "verification": small.details[0]["verification"],
                "label": CLASSES[len(details) % len(CLASSES)],
            }
        )
    offenders = pd.DataFrame(rows).assign(rank=np.arange(1, len(rows) + 1))
    run = dataclasses.replace(small, images=images, offenders=offenders, details=details)
    save_run(run)
    arrays = {name: np.zeros((IMAGES, 1)) for name in ARRAYS}
    arrays["maps"] = random.normal(1, 2, (IMAGES, 4, 7, 7))
    arrays["shown"] = random.integers(0, len(CLASSES), (IMAGES, 4))
    (folder / "shards").mkdir()
    write_shard(shard_path(folder / "shards", 0), pd.DataFrame({"image": names}), arrays)
    photos = [photo(random, 640) for _ in range(12)]
    wanted = report_images(run)
    places = {name: number for number, name in enumerate(wanted)}
    write_thumbnails(
        folder / "thumbnails.parquet", lambda name: photos[places[name] % len(photos)], wanted
    )
    shots = [thumbnail(picture, 224) for picture in photos]
    arms = ("before", "after", "flat colour")
    titles = ("paste same place", "paste random places", "mask same place")
    combinations = itertools.product(details, titles, names[:3], arms)
    rows_of_shots = [
        (detail["finding"], title, name, arm, 0.5, shots[number % len(shots)])
        for number, (detail, title, name, arm) in enumerate(combinations)
    ]
    table = pd.DataFrame(rows_of_shots, columns=list(SHOT_COLUMNS))
    table.to_parquet(folder / "experiments.parquet", index=False)
    return run


@pytest.mark.slow
def test_page_of_many_images_and_findings_is_small_and_opens_at_once(tmp_path: Path) -> None:
    page = write_report(large_run(tmp_path))
    assert page.stat().st_size < 15e6
    with chromium() as browser, visiting(browser, page) as visit:
        session = visit.page.context.new_cdp_session(visit.page)
        # Time of the processor, so that a busy machine does not count.
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        visit.page.reload(wait_until="load")
        entry = "performance.getEntriesByType('navigation')[0]"
        opened = visit.page.evaluate(f"{entry}.loadEventEnd - {entry}.startTime") / 1000
        metrics = session.send("Performance.getMetrics")["metrics"]
        busy = next(metric["value"] for metric in metrics if metric["name"] == "ThreadTime")
        size = page.stat().st_size / 1e6
        print(f"{size:.1f} MB, opened in {opened:.2f} s, {busy:.2f} s of them busy")  # noqa: T201
        assert busy < 2
        assert visit.page.locator("article.finding").count() == FINDINGS
        assert visit.complaints == []
