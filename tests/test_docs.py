"""Docs: what the README names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shortcut_finder.cli import app as cli
from shortcut_finder.comparison.changes import COMPARISON_COLUMNS
from shortcut_finder.run.folder import (
    CONFUSION_COLUMNS,
    FINDING_COLUMNS,
    OFFENDER_COLUMNS,
    REGION_COLUMNS,
    UNREADABLE_COLUMNS,
)

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
}


def help_of(command: str) -> str:
    return CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "200"}).output


@pytest.mark.parametrize(
    "columns",
    [
        FINDING_COLUMNS,
        OFFENDER_COLUMNS,
        REGION_COLUMNS,
        CONFUSION_COLUMNS,
        UNREADABLE_COLUMNS,
        COMPARISON_COLUMNS,
    ],
)
def test_the_readme_lists_the_columns_of_every_table(columns: tuple[str, ...]) -> None:
    assert f"`{','.join(columns)}`" in README


def test_every_option_in_the_readme_exists() -> None:
    commands = {command.callback.__name__ for command in cli.app.registered_commands}  # type: ignore[union-attr]
    known = set(re.findall(r"--[a-z][a-z-]+", "".join(help_of(name) for name in commands)))
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert used - known == set()


def test_every_command_is_in_the_readme() -> None:
    for command in cli.app.registered_commands:
        name = command.callback.__name__  # type: ignore[union-attr]
        assert re.search(rf"shortcut-finder {name}\b|make {name}\b", README), name


@pytest.mark.parametrize("name", TEXTS)
def test_every_make_target_in_the_docs_exists(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", TEXTS[name], flags=re.MULTILINE)) <= targets


@pytest.mark.parametrize("name", TEXTS)
def test_every_file_of_the_repository_in_the_docs_exists(name: str) -> None:
    named = set(re.findall(r"`((?:examples|tests|templates)/[\w./]+)`", TEXTS[name]))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_example_is_in_the_readme() -> None:
    names = [path.name for path in (ROOT / "examples").glob("*.py")]
    assert [name for name in names if name not in README] == []
