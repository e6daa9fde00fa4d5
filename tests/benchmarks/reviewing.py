"""How long a review of many offenders takes to open and to answer, in a headless browser.

Makes a run of 200,000 offenders by hand, starts the server, and prints the seconds from the command
to the address, from there to the first rows, and of searches by name and class, as a person would
see them.

Usage: python tests/benchmarks/reviewing.py [--offenders 200000]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser import chromium
from handmade import handmade_run

from shortcut_finder.run.folder import save_run


def large_run(folder: Path, count: int) -> None:
    """The run written by hand, of as many images as offenders."""
    small = handmade_run(folder, thumbnails=False, maps=False, verified=False)
    rng = np.random.default_rng(0)
    names = [f"photographs/camera {n % 7}/IMG_{n:07d}.jpg" for n in range(count)]
    images = pd.concat([small.images] * (count // len(small.images) + 1), ignore_index=True)
    rows = small.offenders.sample(count, replace=True, random_state=0).reset_index(drop=True)
    rows = rows.assign(
        image=names, rank=range(1, count + 1), score=np.sort(rng.random(count))[::-1]
    )
    save_run(replace(small, images=images.head(count).assign(image=names), offenders=rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--offenders", type=int, default=200_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, chromium() as browser:
        folder = Path(temporary) / "run"
        large_run(folder, options.offenders)
        started = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, "-u", "-m", "shortcut_finder", "review", str(folder)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            print(f"command to address: {time.perf_counter() - started:.2f} s")
            look(browser, address)
        finally:
            server.kill()
            server.wait()


def look(browser: object, address: str) -> None:
    """Open the page and search, as a person would."""
    page = browser.new_page()  # type: ignore[attr-defined]
    started = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("#rows li")
    print(f"address to first rows: {time.perf_counter() - started:.2f} s")
    for name in ("text", "label"):
        before = page.inner_text("#count")
        started = time.perf_counter()
        if name == "text":
            page.fill("[name=text]", "img_0123")
        else:
            page.select_option(f"[name={name}]", index=1)
        while (now := page.inner_text("#count")) == before:
            page.wait_for_timeout(5)
        print(f"search by {name}: {time.perf_counter() - started:.2f} s, {now}")


if __name__ == "__main__":
    main()
