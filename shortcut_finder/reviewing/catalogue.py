"""Catalogue: every offender of a run, searched and filtered by Arrow, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from shortcut_finder.run.decisions import Decisions
from shortcut_finder.run.folder import Run

# Rows of a page: what a window shows in some screens, so that scrolling rarely waits.
ROWS = 60
OPEN = "open"


@dataclass(frozen=True)
class Query:
    """What is asked for; empty texts ask for everything.

    Attributes:
        text: part of an image's name, in any case.
        finding: name of a finding.
        label: a class.
        predicted: a class.
        tier: sure or likely.
        decision: one of `DECISIONS`, or ``open`` for none.
        start: how many rows to pass over.
    """

    text: str = ""
    finding: str = ""
    label: str = ""
    predicted: str = ""
    tier: str = ""
    decision: str = ""
    start: int = 0


class Catalogue:
    """The offenders of a run, worst first; a row is known by its number.

    Args:
        run: as loaded from its folder.
    """

    def __init__(self, run: Run) -> None:
        table = run.offenders.reset_index(drop=True)
        columns = ["image", "finding", "label", "predicted", "tier", "reason", "kind", "region"]
        self.texts = pa.table({name: pa.array(table[name].astype(str)) for name in columns})
        for name in ("finding", "label", "predicted", "tier"):
            place = self.texts.schema.get_field_index(name)
            coded = self.texts[name].dictionary_encode()
            self.texts = self.texts.set_column(place, name, coded)
        self.numbers = table[["rank", "confidence", "score", "x0", "y0", "x1", "y1"]]
        self.sizes = run.sizes

    def __len__(self) -> int:
        return int(self.texts.num_rows)

    def image(self, number: int) -> str | None:
        """The image of a row; None where there is no such row."""
        return self.texts["image"][number].as_py() if 0 <= number < len(self) else None

    def search(self, query: Query, decisions: Decisions) -> dict[str, Any]:
        """The rows that a query asks for.

        Returns:
            ``total``, how many there are in all; ``rows``, `ROWS` of them from ``start`` on.
        """
        wanted = np.ones(len(self), dtype=bool)
        for name in ("finding", "label", "predicted", "tier"):
            value = getattr(query, name)
            if value:
                wanted &= pc.equal(self.texts[name], value).to_numpy(zero_copy_only=False)
        if query.text:
            found = pc.match_substring(self.texts["image"], query.text, ignore_case=True)
            wanted &= found.to_numpy(zero_copy_only=False)
        if query.decision:
            wanted &= self._decided(query.decision, decisions)
        places = np.flatnonzero(wanted)
        shown = places[query.start : query.start + ROWS]
        return {"total": len(places), "rows": [self._row(int(n), decisions) for n in shown]}

    def _decided(self, decision: str, decisions: Decisions) -> np.ndarray:
        """Rows with that decision, (row,); only the few that anyone decided are looked at."""
        names = pa.array(list(decisions.images), self.texts["image"].type)
        touched = pc.is_in(self.texts["image"], value_set=names)
        rows = np.flatnonzero(touched.to_numpy(zero_copy_only=False))
        has = np.zeros(len(self), dtype=bool)
        for number in rows.tolist():
            marks = decisions.images.get(self.texts["image"][number].as_py(), {})
            mark = marks.get(self.texts["finding"][number].as_py())
            has[number] = mark is not None if decision == OPEN else mark == decision
        return ~has if decision == OPEN else has

    def _row(self, number: int, decisions: Decisions) -> dict[str, Any]:
        texts = {name: self.texts[name][number].as_py() for name in self.texts.column_names}
        numbers = self.numbers.iloc[number]
        box = [None if pd.isna(numbers[side]) else int(numbers[side]) for side in numbers.index[3:]]
        marks = decisions.images.get(texts["image"], {})
        return {
            "number": number,
            **texts,
            "rank": int(numbers["rank"]),
            "score": round(float(numbers["score"]), 3),
            "box": box if None not in box else None,
            "size": list(self.sizes.get(texts["image"], (0, 0))),
            "decision": marks.get(texts["finding"], ""),
        }
