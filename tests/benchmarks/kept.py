"""Kept: rows of a benchmark, a file each, so that the same command goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def kept(file: Path, make: Callable[[], Any], *, only_read: bool) -> Any:
    """What a file holds, made first where it is missing.

    Args:
        file: JSON; its folder need not exist.
        make: what is to be kept.
        only_read: make nothing.

    Returns:
        The value; None where there is none and nothing was to be made.
    """
    if not file.exists():
        if only_read:
            return None
        made = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(made, indent=1), encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))
