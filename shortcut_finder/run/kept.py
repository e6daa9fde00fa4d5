"""Kept: what finished stages of a scan found, until the whole run is written."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from shortcut_finder.data.preprocessing import Box
from shortcut_finder.detect.associations import Shift
from shortcut_finder.detect.colabels import Colabel
from shortcut_finder.detect.companions import Companion
from shortcut_finder.detect.finding import Carriers, Decided, Finding, Judged, Measured
from shortcut_finder.detect.place import Place
from shortcut_finder.run.encoding import DamagedError, decode, encode
from shortcut_finder.schema import to_json, write_whole
from shortcut_finder.stats.experiments import Arm, Experiment, Shot, Verification
from shortcut_finder.stats.surplus import Surplus

log = logging.getLogger(__name__)
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Analysed:
    """What the analysis found, before any experiment.

    Attributes:
        groups: number of the group that each image must stay with, (image,); None for none.
        card: what ``run.json`` says of these groups.
        shares: of each image's evidence in each region, by name of the region, (image,).
        regions: the class x region table.
        judged: findings and notes.
    """

    groups: np.ndarray | None
    card: Mapping[str, Any]
    shares: Mapping[str, np.ndarray]
    regions: pd.DataFrame
    judged: Judged


KINDS = (
    Analysed, Judged, Finding, Place, Carriers, Measured, Decided, Shift, Companion, Colabel,
    Verification, Experiment, Arm, Shot, Surplus,
)  # fmt: skip


class Kept:
    """Results of stages in the private part of a run folder.

    Args:
        folder: for the files, one a stage.
        origin: all that the results depend on, ready for JSON; those of another origin are not
            taken.
    """

    def __init__(self, folder: Path, origin: Mapping[str, Any]) -> None:
        self._folder = folder
        self._origin = hashlib.sha256(to_json(origin)).hexdigest()

    def result(self, stage: str, make: Callable[[], Value]) -> Value:
        """What a stage found: as it was kept, or made and kept now."""
        path = self._folder / f"stage-{stage}.bin"
        found = self._read(path)
        if found is not None:
            log.info("%s: taken from the scan that was stopped", stage)
            return found
        made = make()
        write_whole(path, encode({"origin": self._origin, "result": _tabled(made)}))
        return made

    def forget(self) -> None:
        """Remove what was kept."""
        for path in self._folder.glob("stage-*.bin"):
            path.unlink()

    def _read(self, path: Path) -> Any:
        try:
            found = decode(path.read_bytes(), KINDS)
            if found["origin"] == self._origin:
                return _called(found["result"])
            log.info("%s: made of other input, so it is made again", path.name)
        except FileNotFoundError:
            pass
        except (DamagedError, OSError, KeyError, TypeError) as error:
            log.warning("%s: damaged (%s), so it is made again", path.name, error)
        return None


def _tabled(result: Any) -> Any:
    """The result with the boxes of findings listed, of the images that they are asked of."""
    if isinstance(result, Analysed):
        return replace(result, judged=_tabled(result.judged))
    return replace(result, findings=tuple(_with_list(one) for one in result.findings))


def _with_list(finding: Finding) -> Finding:
    asked = np.union1d(np.flatnonzero(finding.carriers.listed), finding.carriers.typical)
    numbers = asked.astype(int).tolist()
    boxes: Any = {number: tuple(map(float, finding.place.boxes(number))) for number in numbers}
    return replace(finding, place=replace(finding.place, boxes=boxes))


def _called(result: Any) -> Any:
    if isinstance(result, Analysed):
        return replace(result, judged=_called(result.judged))
    return replace(result, findings=tuple(_with_function(one) for one in result.findings))


def _with_function(finding: Finding) -> Finding:
    listed: Any = finding.place.boxes

    def box(number: int) -> Box:
        return listed[number]

    return replace(finding, place=replace(finding.place, boxes=box))
