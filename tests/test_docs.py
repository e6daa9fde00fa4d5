"""Docs: what README and docs name is there, and what there is they name."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shortcut_finder.cleaning.exports import CHANGE_COLUMNS
from shortcut_finder.cli import app as cli
from shortcut_finder.comparison.changes import COMPARISON_COLUMNS
from shortcut_finder.comparison.changes import REGION_COLUMNS as COMPARED_REGION_COLUMNS
from shortcut_finder.comparison.pairing import PAIR_COLUMNS
from shortcut_finder.data.properties import PROPERTIES
from shortcut_finder.detect.policy import POLICY, Policy
from shortcut_finder.figures.pictures import SHOT_COLUMNS
from shortcut_finder.run.folder import (
    CONFUSION_COLUMNS,
    FINDING_COLUMNS,
    OFFENDER_COLUMNS,
    REGION_COLUMNS,
    UNREADABLE_COLUMNS,
)
from shortcut_finder.sweep.shards import ARRAYS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
TEXTS = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "BENCHMARKS.md",
        *(f"docs/{name}" for name in sorted(GUIDES)),
    )
}
# What a user reads; CONTRIBUTING and BENCHMARKS name options of other programs, too.
MANUAL = sorted({"README.md", "CHANGELOG.md", *(name for name in TEXTS if name.startswith("docs"))})
TABLES = (
    FINDING_COLUMNS,
    OFFENDER_COLUMNS,
    REGION_COLUMNS,
    CONFUSION_COLUMNS,
    UNREADABLE_COLUMNS,
    COMPARISON_COLUMNS,
)


def help_of(command: str) -> str:
    return CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "200"}).output


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one."""
    return re.split(r"^#", text.split(heading, 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def anchors(text: str) -> set[str]:
    """The anchors that a code host gives to headings."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one).strip().lower().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("columns", TABLES)
def test_the_readme_lists_the_columns_of_every_table(columns: tuple[str, ...]) -> None:
    assert f"`{','.join(columns)}`" in README


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("name", MANUAL)
def test_every_option_in_the_manual_exists(name: str) -> None:
    commands = {command.callback.__name__ for command in cli.app.registered_commands}  # type: ignore[union-attr]
    known = set(re.findall(r"--[a-z][a-z-]+", "".join(help_of(one) for one in commands)))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXTS[name])) - known == set()


def test_every_command_is_in_the_readme() -> None:
    for command in cli.app.registered_commands:
        name = command.callback.__name__  # type: ignore[union-attr]
        assert re.search(rf"shortcut-finder {name}\b|make {name}\b", README), name


@pytest.mark.parametrize("name", TEXTS)
def test_every_make_target_in_the_docs_exists(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    named = re.findall(r"(?:`|^ *)make ([a-z-]+)", TEXTS[name], flags=re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("name", TEXTS)
def test_every_file_of_the_repository_in_the_docs_exists(name: str) -> None:
    folders = "docs|examples|shortcut_finder|templates|tests"
    named = set(re.findall(rf"`((?:{folders})/[\w./]*)`", TEXTS[name]))
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_in_the_docs_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", TEXTS[name]):
        file, _, anchor = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), target


def test_every_example_is_in_the_readme() -> None:
    names = [path.name for path in (ROOT / "examples").glob("*.py")]
    assert [name for name in names if name not in README] == []


def test_every_guide_is_linked_from_the_readme() -> None:
    assert [name for name in GUIDES if f"(docs/{name})" not in README] == []


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("### `findings.csv`", FINDING_COLUMNS),
        ("### `offenders.csv`", OFFENDER_COLUMNS),
        ("### `images.parquet`", PROPERTIES),
        ("### `regions.csv`", REGION_COLUMNS),
        ("### `confusions.csv`", CONFUSION_COLUMNS),
        ("### `unreadable.csv`", UNREADABLE_COLUMNS),
        ("### `experiments.parquet`", SHOT_COLUMNS),
        ("### `shards/`", ARRAYS),
        ("## A cleaned dataset", CHANGE_COLUMNS),
        ("## A comparison", (*COMPARISON_COLUMNS, *COMPARED_REGION_COLUMNS, *PAIR_COLUMNS)),
    ],
)
def test_every_column_is_described_with_its_file(heading: str, names: tuple[str, ...]) -> None:
    text = section(GUIDES["files.md"], heading)
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_threshold_of_the_policy_is_described_with_its_value() -> None:
    rows = section(GUIDES["method.md"], "## Policy")
    values = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", rows, flags=re.MULTILINE))
    assert {name: float(value) for name, value in values.items()} == {
        one.name: getattr(POLICY, one.name) for one in fields(Policy)
    }
