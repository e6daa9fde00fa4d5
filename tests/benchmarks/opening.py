"""How large the page of a made-up run is, and how long a headless browser takes to open it.

By default of 1,000 classes, 2,000 findings and 100,000 images, with pictures and experiments for
every finding. Prints what writing the page takes, its size, what opening it takes by the browser's
own clock and of the processor, and searches as a person would make them, at two widths.

Usage: python tests/benchmarks/opening.py [--out FOLDER] [--classes 1000] [--findings 2000] ...
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser import chromium, reloaded, visiting
from large import large_run
from rows import add_row, recording

from shortcut_finder.report.page import write_report
from shortcut_finder.run.folder import load_run

WIDTHS = (1280, 360)
SIZES = {"classes": 1000, "findings": 2000, "images": 100_000, "carriers": 25}
# Seconds from the letter to the next picture of the page.
SEARCH = """([field, text]) => new Promise((done) => {
    const input = document.querySelector(field);
    const started = performance.now();
    input.value = text;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    requestAnimationFrame(() => setTimeout(() => done((performance.now() - started) / 1000)));
})"""
SEARCHES = {
    "findings": ('#filters [data-filter="text"]', "#matching", "kind 0042"),
    "offenders": ("#needle", "#found", "IMG_000042"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="keeps the run folder, and pictures of the page")
    for name, count in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    recording(parser)
    options = parser.parse_args()
    sizes = {name: getattr(options, name) for name in SIZES}
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        page = written(out / "run", sizes)
        with chromium() as browser:
            times = [opened(browser, page, width, out / f"page-{width}.png") for width in WIDTHS]
        if options.record:
            record(page, times[0], sizes)
    print(f"load of the last minute: {os.getloadavg()[0]:.1f}")


def written(folder: Path, sizes: Mapping[str, int]) -> Path:
    """The page of a made-up run; a run that is there is taken."""
    if not (folder / "experiments.parquet").exists():
        classes = [f"kind {number:04d}" for number in range(sizes["classes"])]
        large_run(folder, **{**sizes, "classes": classes})
    run = load_run(folder)
    worked = time.process_time()
    page = write_report(run)
    print(
        f"{len(run.details):,} findings, {len(run.offenders):,} offenders: written in "
        f"{time.process_time() - worked:.0f} s of the processor; {page.stat().st_size / 1e6:.1f} MB"
    )
    return page


def opened(browser: Any, page: Path, width: int, picture: Path) -> dict[str, float]:
    """What opening and searching it takes, in seconds; leaves a picture of its top."""
    with visiting(browser, page, width=width) as visit:
        times = reloaded(visit)
        wide = visit.page.evaluate("document.documentElement.scrollWidth")
        print(
            f"{width} pixels wide ({wide} scrolled): interactive after {times['interactive']:.2f} "
            f"s, loaded after {times['loaded']:.2f} s, {times['busy']:.2f} s of them busy"
        )
        for what, (field, told, text) in SEARCHES.items():
            times[what] = visit.page.evaluate(SEARCH, [field, text])
            print(f"search of {what}: {times[what]:.2f} s, {visit.page.inner_text(told)}")
            visit.page.fill(field, "")
        visit.page.evaluate("scrollTo(0, 0)")
        visit.page.screenshot(path=str(picture))
        assert (visit.requests, visit.complaints) == ([], []), (visit.requests, visit.complaints)
        return times


def record(page: Path, times: Mapping[str, float], sizes: Mapping[str, int]) -> None:
    """Write what the page of such a run took."""
    add_row(
        "scale",
        question="the one-file page of a large run: size; opened; searches of its findings and "
        "offenders",
        result=f"{page.stat().st_size / 1e6:.1f} MB; {times['loaded']:.1f} s, {times['busy']:.1f} "
        f"of them busy; {times['findings']:.2f} s and {times['offenders']:.2f} s",
        n=f"{sizes['findings']:,} findings",
        seeds="0",
        setting=f"{sizes['classes']:,} classes, {sizes['images']:,} images, "
        f"headless Chromium, load of {os.getloadavg()[0]:.0f}",
        command="make bench-page",
    )


if __name__ == "__main__":
    main()
