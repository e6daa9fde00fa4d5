"""Claims and channels of one's own: found by name, tested like any other, and quiet on nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import SIDE, World, make_world
from views import found_by

from shortcut_finder.detect.channels import CHANNELS
from shortcut_finder.detect.claims import Claim, claimed
from shortcut_finder.detect.detection import channels_of, detect
from shortcut_finder.detect.view import View
from shortcut_finder.errors import SettingsError

OWN = Path(__file__).parents[2] / "examples" / "corner_colours.py"


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, set[int]]:
    """Nothing in the cells; a dark red corner in half of the bees."""
    world = make_world(tmp_path_factory.mktemp("corners"), [], counts=(60, 60, 60))
    carriers = set(np.flatnonzero(world.labels == 1)[::2].tolist())
    return replace(world, pictures=[with_corner(world, n, carriers) for n in range(180)]), carriers


def with_corner(world: World, number: int, carriers: set[int]) -> Image.Image:
    picture = world.pictures[number].copy()
    if number in carriers:
        picture.paste((120, 10, 20), (SIDE - 12, 0, SIDE, 12))
    return picture


def test_a_channel_of_ones_own_in_one_file(marked: tuple[World, set[int]]) -> None:
    world, carriers = marked
    name = f"{OWN}:propose"
    found = detect(world.view(), channels_of(("cells", name))).findings
    (finding,) = [one for one in found if one.decided.severity != "low"]
    assert (finding.label, finding.place.kind, finding.place.region) == (
        "bee", "corner", "top right corner",
    )  # fmt: skip
    listed = world.named(finding.carriers.listed)
    assert len(listed & carriers) >= 0.9 * len(carriers)
    assert listed <= set(np.flatnonzero(world.labels == 1).tolist())
    low, high = finding.measured.share_range
    assert low < 0.5 < high
    assert "carry a corner of one colour (top right corner)" in finding.sentence
    assert "Mask it in the listed images" in finding.advice


def test_it_is_silent_where_labels_are_dealt_anew(marked: tuple[World, set[int]]) -> None:
    world, _ = marked
    (propose,) = channels_of((f"{OWN}:propose",)).values()
    labels = np.random.default_rng(3).permutation(world.records.labels)
    scene = replace(world.scene(), records=replace(world.records, labels=labels))
    assert found_by(propose, View(world.folder, scene, world.half(), world.classes)) == []


def claim(world: World, carries: np.ndarray) -> Claim:
    cells = np.zeros(world.records.cell_grid, dtype=bool)
    cells[3:5, 3:5] = True
    return Claim(1, world.half(), np.where(carries, 1.0, -1.0), cells, 0.6, "a thing")


def test_what_a_channel_before_has_found_is_not_found_again(
    marked: tuple[World, set[int]],
) -> None:
    world, carriers = marked
    carries = np.isin(world.order, list(carriers))
    (first,) = found_by(lambda view: claimed([claim(world, carries)] * 2, view), world.view())
    assert (first.place.kind, first.decided.severity) == ("patch", "medium")
    again = found_by(lambda view: claimed([claim(world, carries)], view), world.view(), [first])
    assert again == []


def test_too_few_carriers_are_an_anecdote(marked: tuple[World, set[int]]) -> None:
    world, _ = marked
    tested = np.flatnonzero(~world.half() & (world.records.labels == 1))
    for count, findings in ((3, 0), (4, 1)):
        carries = np.isin(np.arange(180), tested[:count])
        made = found_by(lambda view, c=carries: claimed([claim(world, c)], view), world.view())
        assert len(made) == findings


def test_channels_are_chosen_by_name_in_their_own_order() -> None:
    assert tuple(channels_of(())) == tuple(CHANNELS)
    assert tuple(channels_of(("looks", "cells"))) == ("cells", "looks")
    with pytest.raises(SettingsError, match=r"--channels colour: choose of cells, border, .*FILE"):
        channels_of(("colour",))


def test_the_rate_is_over_the_tests_of_all_channels(marked: tuple[World, set[int]]) -> None:
    """A hundred tests of nothing make what one test shows less sure."""
    world, carriers = marked
    carries = np.isin(world.order, list(carriers))
    alone = {"one": lambda view: claimed([claim(world, carries)], view)}
    nothing = np.zeros(180, dtype=bool)
    many = {"many": lambda view: claimed([claim(world, nothing)] * 99, view)} | alone
    (sure,), (less,) = (detect(world.view(), channels).findings for channels in (alone, many))
    assert less.measured.q == pytest.approx(100 * sure.measured.q)
    assert detect(world.view(), many).tested == 100
