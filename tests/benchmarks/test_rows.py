"""Rows: one for each thing that was measured, with the code that measured it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from rows import add_row, commit, read_rows


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", *who, *arguments]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("no git")
    folder = tmp_path / "checkout"
    (folder / "tests" / "benchmarks" / "results").mkdir(parents=True)
    for name in ("code.py", "BENCHMARKS.md", "tests/benchmarks/results/kills.jsonl"):
        (folder / name).write_text("first\n", encoding="utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def test_the_commit_is_that_of_the_code(checkout: Path) -> None:
    assert commit(checkout) == git(checkout, "rev-parse", "--short", "HEAD")
    (checkout / "out.txt").write_text("of a benchmark", encoding="utf-8")
    assert not commit(checkout).endswith("+")


def test_changed_code_is_marked_and_what_was_recorded_is_no_code(checkout: Path) -> None:
    for name in ("BENCHMARKS.md", "tests/benchmarks/results/kills.jsonl"):
        (checkout / name).write_text("second\n", encoding="utf-8")
    assert not commit(checkout).endswith("+")
    (checkout / "code.py").write_text("second\n", encoding="utf-8")
    assert commit(checkout) == git(checkout, "rev-parse", "--short", "HEAD") + "+"


def test_what_lies_in_no_checkout_of_its_own_has_no_commit(checkout: Path, tmp_path: Path) -> None:
    inside = checkout / "unpacked"
    inside.mkdir()
    assert commit(inside) == commit(tmp_path) == ""


def test_a_row_replaces_the_one_with_its_key_and_no_other(tmp_path: Path) -> None:
    for killed, n in (("scan", 1), ("clean", 2), ("scan", 3)):
        add_row("kills", folder=tmp_path, killed=killed, n=n, note=f"of {n}")
    assert [(row["killed"], row["n"], row["note"]) for row in read_rows("kills", tmp_path)] == [
        ("scan", 3, "of 3"),
        ("clean", 2, "of 2"),
    ]


def test_the_commit_is_filled_in_where_it_is_not_given(tmp_path: Path) -> None:
    assert add_row("kills", folder=tmp_path, killed="scan", n=1)["commit"] == commit()
    assert add_row("kills", folder=tmp_path, killed="clean", n=1, commit="")["commit"] == ""


def test_numbers_of_numpy_are_written_as_plain_ones(tmp_path: Path) -> None:
    add_row("kills", folder=tmp_path, killed="scan", n=np.int64(3), share=np.float64(1) / 3)
    (row,) = read_rows("kills", tmp_path)
    assert (row["n"], row["share"]) == (3, 0.3333)


def test_a_row_without_its_key_or_of_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="killed"):
        add_row("kills", folder=tmp_path, n=3)
    with pytest.raises(KeyError, match="kils"):
        add_row("kils", folder=tmp_path, killed="scan", n=3)
    assert list(tmp_path.iterdir()) == []
