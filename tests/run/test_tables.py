"""Tables: what a row of the findings says of both tiers, and that nothing known is no number."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from findings import a_finding, changed
from networks import classifier_of
from torch import nn

from shortcut_finder.detect.finding import Finding
from shortcut_finder.run.tables import detail_of, finding_table

IMAGES = pd.DataFrame(
    {
        "image": ["a/1.png", "a/2.png", "a/3.png", "b/1.png"],
        "label": ["a", "a", "a", "b"],
        "width": 48,
        "height": 48,
    }
)
CARRIES = np.array([True, True, False, True])
FOUND = a_finding(CARRIES, share=0.6, boxes=lambda _: (0.0, 0.0, 0.5, 0.5), typical=np.array([0]))


def detail(found: Finding) -> dict[str, Any]:
    maps = np.zeros((4, 2, 2))
    records: Any = SimpleNamespace(labels=np.zeros(4, int), maps_of=lambda number: maps)
    return detail_of(found, records, IMAGES, classifier_of(nn.Identity(), 48))


def test_a_finding_says_how_sure_its_list_and_its_share_are() -> None:
    cut = changed(
        FOUND, sure=np.array([True, False, True, True]), wrong=(0.04, 0.11), share_range=(0.4, 0.8)
    )
    row = finding_table([cut], IMAGES).iloc[0]
    assert (row["images"], row["artifact"]) == (2, 0.9)
    assert (row["share"], row["share_low"], row["share_high"]) == (0.6, 0.4, 0.8)
    told = detail(cut)
    assert (told["images"], told["sure_images"]) == (2, 1)
    assert (told["sure_wrong"], told["listed_wrong"]) == (0.04, 0.11)
    assert told["artifact"] == 0.9


def test_where_nothing_is_known_all_are_sure_and_the_rest_is_no_number() -> None:
    told = detail(FOUND)
    assert (told["images"], told["sure_images"]) == (2, 2)
    for name in ("sure_wrong", "listed_wrong", "share_low", "share_high"):
        assert told[name] == pytest.approx(np.nan, nan_ok=True)
