"""Screenshots of a page for the README: its top, and why a finding was confirmed.

Example:
    PYTHONPATH=. python tests/screenshots.py demo-run/run --out examples
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

from browser import chromium, visiting
from PIL import Image

WIDTH = 1180
# Enough for drawings and photos of this size, and a third of the bytes.
COLOURS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="what `scan --out` wrote")
    parser.add_argument("--out", type=Path, default=Path("examples"))
    arguments = parser.parse_args()
    page = (arguments.run / "report.html").resolve()
    with chromium() as browser, visiting(browser, page, width=WIDTH) as visit:
        save(visit.page.locator(".top"), arguments.out / "report.png")
        # Findings off the screen are not laid out, and the navigation would lie over this one.
        visit.page.add_style_tag(
            content=".finding { content-visibility: visible } .bar-nav { display: none }"
        )
        save(visit.page.locator(".reliance:has(.holds)").first, arguments.out / "reliance.png")


def save(part: Any, path: Path) -> None:
    """A part of the page as a small PNG."""
    with Image.open(io.BytesIO(part.screenshot())) as picture:
        picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")  # noqa: T201


if __name__ == "__main__":
    main()
