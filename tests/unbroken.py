"""Unbroken: what a scan that was stopped and continued shares with one that was not."""

from __future__ import annotations

import json
import re
from pathlib import Path


def whole(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def masked(folder: Path) -> dict[str, bytes]:
    """The files of a run without its timings."""
    content = whole(folder)
    # When it was, and how long it took.
    assert content.pop("run.log")
    card = json.loads(content["run.json"])
    timings = card.pop("timings")
    # Also different where nothing was left to sweep.
    card.pop("stages")
    content["run.json"] = json.dumps(card).encode()
    page = content["report.html"].decode()
    page = page.replace(folder.name, "RUN")
    assert all(value >= 0 for value in timings.values())
    # In the page they stand in a section of their own, and their sum at the top.
    page = re.sub(r"(<dt>Time taken</dt>\s*<dd[^>]*>).*?</dd>", r"\1</dd>", page)
    page = re.sub(r"(>Timings<.*?)<dl.*?</dl>", r"\1", page, count=1, flags=re.DOTALL)
    content["report.html"] = page.encode()
    return content
