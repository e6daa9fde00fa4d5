"""Page: BENCHMARKS.md is what the rows say, and every row says where it is from."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from page import PAGE, grid, origin, tables, targets, without_rows, written
from rows import RESULTS, ROOT, add_row, read_rows
from tables import ORIGIN, TABLES

from shortcut_finder.cli import app as cli

ROWS = [(name, row) for name in TABLES for row in read_rows(name)]
# Measured by hand, before rows had to name a command.
BY_HAND = {
    ("scale", "memory of records and of the table of images"),
    ("cleaning", "does a killed cleaning leave anything behind?"),
    ("engine_facts", "time in bf16 over fp32 without AMX: one processor"),
    ("engine_facts", "another processor without AMX"),
    (
        "engine_facts",
        "correlation of maps in bf16 with fp32: ResNet-50, ConvNeXt-T, DenseNet-121, Swin-T, "
        "ViT-B/16",
    ),
    ("engine_facts", "memory that one batch frees is kept for the next (Linux, ResNet-50)"),
}
COUNTED: dict[str, Any] = {
    "seeds": "0",
    "setting": "drawn",
    "command": "make bench-kills",
    "commit": "abc1234",
}


def exists(command: str) -> bool:
    """Whether a command names a make target, a command of the package or a script."""
    first, *others = shlex.split(command)
    if first == "make":
        return others[0] in targets()
    if first == "shortcut-finder":
        names = {one.callback.__name__ for one in cli.app.registered_commands}  # type: ignore[union-attr]
        return others[0] in names
    return any((ROOT / other).is_file() for other in others if other.endswith(".py"))


def test_the_page_is_what_the_generator_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == written()


def test_every_file_of_rows_is_a_table_of_the_page() -> None:
    files = {path.stem for path in RESULTS.iterdir()}
    assert files
    assert files <= set(TABLES)
    template = (Path(__file__).parent / "page.md.jinja").read_text(encoding="utf-8")
    assert [name for name in TABLES if f'"{name}"' not in template] == []


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_every_row_says_where_it_is_from(name: str, row: dict[str, Any]) -> None:
    assert {*ORIGIN} - {"setting"} <= set(row)
    assert re.fullmatch(r"([0-9a-f]{7,40}\+?)?", row["commit"])
    assert not re.search(r"\b\d{4}-\d\d-\d\d\b", str(row))
    if (name, row[TABLES[name].key[0]]) in BY_HAND:
        assert row["command"] == ""
    else:
        assert exists(row["command"])


def test_make_and_the_page_name_the_scripts_that_record() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    told = re.findall(r"^([a-z-]+):.*\n\t.*benchmarks/(\w+)\.py.*RECORD", makefile, re.MULTILINE)
    scripts = [path for path in Path(__file__).parent.glob("*.py") if path.stem != "rows"]
    texts = {path.stem: path.read_text(encoding="utf-8") for path in scripts}
    assert {script for _, script in told} == {
        name for name, text in texts.items() if re.search(r"^    recording\(", text, re.MULTILINE)
    }
    named = PAGE.read_text(encoding="utf-8").split("With `RECORD=1`", 1)[1].split("write", 1)[0]
    assert set(re.findall(r"bench-[a-z-]+", named)) == {target for target, _ in told}


@pytest.mark.parametrize("name", TABLES)
def test_no_two_rows_of_a_table_have_the_same_key(name: str) -> None:
    keys = [tuple(row[field] for field in TABLES[name].key) for row in read_rows(name)]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "command", ["make bench-none", "python tests/none.py", "shortcut-finder none", "none"]
)
def test_a_command_that_is_not_there_is_noticed(command: str) -> None:
    assert not exists(command)


def test_counts_become_shares_with_exact_intervals(tmp_path: Path) -> None:
    add_row("kills", folder=tmp_path, killed="scan", n=20, differing=3, **COUNTED)
    text = tables("kills", folder=tmp_path)
    # Of 3 in 20, by a table of Clopper and Pearson's intervals.
    assert "| scan | 20 | .15 (.03 to .38), 3 of 20 |" in text


def test_what_rows_share_stands_below_and_what_differs_in_a_column(tmp_path: Path) -> None:
    add_row("kills", folder=tmp_path, killed="scan", n=20, differing=0, **COUNTED)
    add_row(
        "kills", folder=tmp_path, killed="clean", n=9, differing=0, note="Slow.", typed=True,
        **{**COUNTED, "commit": "def5678"},
    )  # fmt: skip
    head, rule, scan, clean, _, below = tables("kills", folder=tmp_path).splitlines()
    assert head.endswith("| commit |")
    assert rule.count("|") == head.count("|")
    assert scan.endswith("| `abc1234` |")
    assert clean.endswith("| up to `def5678` |")
    assert below == "All rows: seeds 0; drawn; `make bench-kills`. Slow."


def test_what_is_known_of_no_row_gets_no_column(tmp_path: Path) -> None:
    add_row("memory", folder=tmp_path, n=5, peak_mib=100, **COUNTED)
    assert "most open files" not in tables("memory", folder=tmp_path)
    add_row("memory", folder=tmp_path, n=6, peak_mib=100, most_open_files=3, **COUNTED)
    assert "| 5 | 100 | - |\n| 6 | 100 | 3 |" in tables("memory", folder=tmp_path)


def test_a_table_without_rows_is_no_text(tmp_path: Path) -> None:
    assert tables("kills", "memory", folder=tmp_path) == ""


def test_a_bar_in_a_text_ends_no_cell() -> None:
    row = {"question": "a|b", "result": "c"}
    assert r"| a\|b | c |" in grid([row], TABLES["scale"].columns, [])


@pytest.mark.parametrize(
    ("field", "text"),
    [("commit", "commit not kept"), ("n", "n 1,500"), ("command", "not kept"), ("setting", "")],
)
def test_what_was_not_kept_is_said(field: str, text: str) -> None:
    assert origin({"n": 1500, "commit": ""}, field, named=True).endswith(text)


def test_a_benchmark_without_a_row_is_named_until_it_has_one(tmp_path: Path) -> None:
    assert "bench-kills" in without_rows(tmp_path)
    add_row("kills", folder=tmp_path, killed="scan", n=20, differing=0, **COUNTED)
    assert "bench-kills" not in without_rows(tmp_path)
    assert "bench-memory" in without_rows(tmp_path)
