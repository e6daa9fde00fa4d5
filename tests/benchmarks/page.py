"""Page: writes BENCHMARKS.md from the rows in `results/` and the text in `page.md.jinja`.

    python tests/benchmarks/page.py

What all rows of a table share (how many, seeds, setting, commit, command) stands once, below it; so
do the notes of its rows. What is known of no row gets no column.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jinja2
from rows import RESULTS, ROOT, read_rows
from tables import ORIGIN, TABLES, Column, Row

PAGE = ROOT / "BENCHMARKS.md"
TEMPLATE = Path(__file__).resolve().parent / "page.md.jinja"
NOT_KEPT = "not kept"


def origin(row: Row, field: str, *, named: bool = False) -> str:
    """How a row came about, as text.

    Args:
        row: of any table.
        field: one of `ORIGIN`.
        named: with the name of the field before it, where it does not speak for itself.
    """
    value = row.get(field, "")
    name = f"{field} " if named else ""
    if field == "setting":
        return str(value)
    if value == "":
        return f"{name}{NOT_KEPT}"
    if field == "command":
        return f"`{value}`"
    if field == "commit":
        return f"{name}up to `{value}`" if row.get("typed") else f"{name}`{value}`"
    return f"{name}{value:,}" if isinstance(value, int) else f"{name}{value}"


def tables(*names: str, folder: Path = RESULTS) -> str:
    """Tables in Markdown, with what all of their rows share and the notes of rows below.

    Args:
        *names: of `TABLES`.
        folder: of the rows.

    Returns:
        Empty text where there is no row.
    """
    rows = {name: read_rows(name, folder) for name in names}
    every = [row for name in names for row in rows[name]]
    if not every:
        return ""
    columns = [column for name in names for column in TABLES[name].columns]
    shown = {field for column in columns for field in column.fields}
    told = [field for field in ORIGIN if field not in shown]
    differing = [field for field in told if len({origin(row, field) for row in every}) > 1]
    shared = [origin(every[0], field, named=True) for field in told if field not in differing]
    below = "; ".join(text for text in shared if text)
    said = [f"{'This row' if len(every) == 1 else 'All rows'}: {below}."] if below else []
    said += [row["note"] for row in every if row.get("note")]
    grids = [grid(rows[name], TABLES[name].columns, differing) for name in names if rows[name]]
    return "\n\n".join([*grids, " ".join(said)] if said else grids)


def grid(rows: Sequence[Row], columns: Sequence[Column], differing: Sequence[str]) -> str:
    """The lines of one table.

    Args:
        rows: at least one.
        columns: those that show nothing of any row are left out.
        differing: fields of `ORIGIN` that get a column.
    """
    columns = [column for column in columns if any(column.cell(row) != "-" for row in rows)]
    lines = [[column.title for column in columns] + [*differing]]
    for row in rows:
        texts = [column.cell(row) for column in columns]
        texts += [origin(row, field) or "-" for field in differing]
        lines.append([text.replace("|", r"\|") for text in texts])
    head, *body = ["| " + " | ".join(line) + " |" for line in lines]
    rights = [column.right for column in columns] + [False] * len(differing)
    rule = "|" + "|".join("---:" if right else "---" for right in rights) + "|"
    return "\n".join([head, rule, *body])


def targets() -> list[str]:
    """What `make` can do, in the order of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE)


def without_rows(folder: Path = RESULTS) -> list[str]:
    """Benchmarks of the Makefile that made none of the rows."""
    commands = " ".join(row["command"] for name in TABLES for row in read_rows(name, folder))
    made = set(re.findall(r"make ([a-z-]+)", commands))
    return [one for one in targets() if one.startswith("bench-") and one not in made]


def written(folder: Path = RESULTS) -> str:
    """The whole page."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(tables=partial(tables, folder=folder), without_rows=without_rows(folder))


def main() -> None:
    """Write the page."""
    PAGE.write_text(written(), encoding="utf-8")


if __name__ == "__main__":
    main()
