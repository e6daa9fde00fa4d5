"""Golden: what the page of the run written by hand shows, word for word.

After a change that is meant, this writes the file again:

    PYTHONPATH=tests python tests/report/test_golden.py
"""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from handmade import handmade_run

from shortcut_finder.report.page import report_page

GOLDEN = Path(__file__).parents[1] / "golden" / "page.json"


def shown_data(folder: Path) -> str:
    """Everything on the page as JSON; of pictures only that they are there and their kind."""
    run = handmade_run(folder, unreadable={"a<b>.jpg": "truncated"})
    text = json.dumps(_plain(dataclasses.asdict(report_page(run))), indent=1, ensure_ascii=False)
    return text + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        # Their bytes differ with the version of the library that compresses or draws them.
        value = re.sub(r"^data:(image/\w+);base64,.*", r"\1", value)
        return "svg" if value.startswith("<svg") else value
    return value


def test_the_page_shows_what_it_showed_before(tmp_path: Path) -> None:
    assert json.loads(shown_data(tmp_path)) == json.loads(GOLDEN.read_text(encoding="utf-8"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        GOLDEN.write_text(shown_data(Path(folder)), encoding="utf-8")
