"""Groups: a planted look is found in its class at fixed and at random places, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import FIXED_CELL, GRID, Thing, World, make_world, unit

from shortcut_finder.detect.channels import groups
from shortcut_finder.detect.channels.groups import (
    Template,
    background_cells,
    cells_around,
    discovery_half,
    match_templates,
    matching_cells,
    place_concentration,
    place_likeness,
)
from shortcut_finder.sweep.shards import ARRAYS, read_shards, shard_path, unit_cells, write_shard


def members(world: World, template: Template) -> set[int]:
    similarity = world.matches([template]).similarity[:, 0]
    own = world.records.labels == template.label
    return world.named((similarity >= template.limit) & own)


def strongest(templates: list[Template]) -> Template:
    return max(templates, key=lambda template: template.strength)


@pytest.mark.parametrize(
    "thing",
    [Thing(1, 0.3, FIXED_CELL), Thing(1, 0.2), Thing(1, 1.0, FIXED_CELL), Thing(1, 1.0)],
    ids=["fixed place", "any place", "all of a class", "all of a class, any place"],
)
def test_the_strongest_template_is_the_planted_thing_and_finds_every_carrier(
    tmp_path: Path, thing: Thing
) -> None:
    world = make_world(tmp_path, [thing], counts=(100, 100, 100))
    found = strongest(world.templates())
    assert found.label == thing.label
    listed = members(world, found)
    assert listed >= world.carriers[0]
    assert len(listed - world.carriers[0]) <= 3
    assert (found.field is not None) == (thing.place is not None)
    if found.extent is not None:
        assert np.flatnonzero(found.extent).tolist() == [FIXED_CELL]
        assert found.centre == FIXED_CELL
    matches = world.matches([found])
    elsewhere = matches.similarity[world.records.labels != thing.label, 0]
    assert (elsewhere >= found.limit).mean() <= 0.05


def test_two_things_in_two_classes_are_each_the_strongest_of_theirs(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(0, 0.3, FIXED_CELL), Thing(2, 0.3)])
    templates = world.templates()
    for number, label in enumerate((0, 2)):
        best = strongest([template for template in templates if template.label == label])
        found = members(world, best)
        assert found >= world.carriers[number]
        # One image in a hundred of the other classes passes the limit, and so may a few here.
        assert len(found - world.carriers[number]) <= 3


def test_what_all_classes_carry_is_nobodys_template(tmp_path: Path) -> None:
    planted = make_world(tmp_path / "one", [Thing(1, 0.3)], seed=3)
    everywhere = make_world(tmp_path / "all", [Thing(None, 0.3)], seed=3)
    nothing = make_world(tmp_path / "none", [], seed=3)
    ordinary = max(template.strength for template in nothing.templates())
    assert strongest(planted.templates()).strength > 2 * ordinary
    assert strongest(everywhere.templates()).strength < 1.25 * ordinary


def test_the_closest_cell_is_where_the_thing_was_planted(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(1, 0.3)])
    carriers = np.isin(world.order, list(world.carriers[0]))
    closest = world.matches([strongest(world.templates())]).closest[carriers, 0]
    hottest = world.records.maps[carriers].reshape(carriers.sum(), -1).argmax(axis=1)
    np.testing.assert_array_equal(closest, hottest)


def test_matches_equal_a_plain_loop(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(1, 0.5, FIXED_CELL)], counts=(12, 12), shard=7)
    rng = np.random.default_rng(1)
    vector, field = unit(rng.normal(size=48)), rng.normal(size=(64, 48))
    anywhere = Template(0, vector, None, -1, 0.5, 0.8, 0.1)
    fixed = Template(1, vector, field, 5, 0.5, 0.8, 0.1)
    matches = world.matches([anywhere, fixed])
    image = 0
    for shard in read_shards(world.folder, ["cells"]):
        for stored in shard.arrays["cells"]:
            cells = unit_cells(stored).reshape(64, 48)
            cosines = [sum(a * b for a, b in zip(cell, vector, strict=True)) for cell in cells]
            answer = sum(float(cell @ row) for cell, row in zip(cells, field, strict=True))
            assert matches.similarity[image, 0] == pytest.approx(max(cosines), abs=1e-5)
            assert matches.closest[image, 0] == int(np.argmax(cosines))
            assert matches.similarity[image, 1] == pytest.approx(answer, abs=1e-4)
            assert matches.closest[image, 1] == 5
            image += 1
    assert image == 24


def test_the_cells_of_a_wide_thing_are_found_and_no_others(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(1, 0.5, wide=3)])
    best = max(world.templates(), key=lambda template: template.strength)
    wanted = np.isin(world.order, list(world.carriers[0]))[None]
    (found,) = matching_cells(tmp_path, [best], wanted, GRID)
    assert len(found) >= 0.9 * wanted.sum()
    widths = [int(cells.sum()) for cells in found.values()]
    assert np.median(widths) == 3
    assert max(widths) <= 4
    assert all(cells.any(axis=1).sum() <= 2 for cells in found.values())


def test_images_that_are_not_wanted_are_not_looked_at(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(1, 0.5)])
    none = np.zeros((1, len(world.labels)), dtype=bool)
    assert matching_cells(tmp_path, world.templates()[:1], none, GRID) == [{}]


def test_same_seed_same_templates(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(1, 0.3)])
    one, two = world.templates(5), world.templates(5)
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.vector, b.vector)
        assert (a.label, a.limit, a.typical, a.strength) == (
            b.label,
            b.limit,
            b.typical,
            b.strength,
        )


def test_order_of_images_within_shards_changes_no_member(tmp_path: Path) -> None:
    things = [Thing(1, 0.3, FIXED_CELL)]
    found = []
    for shuffle in (0, 1):
        world = make_world(tmp_path / str(shuffle), things, shuffle=shuffle, shard=70 + shuffle)
        found.append(members(world, strongest(world.templates())))
    assert found[0] == found[1] == world.carriers[0]


def test_only_the_discovery_half_is_looked_at(tmp_path: Path) -> None:
    world = make_world(tmp_path, [])
    half = world.half()
    numbers = np.flatnonzero(~half & (world.records.labels == 1))[:20]
    look = unit(np.random.default_rng(2).normal(size=48)).astype(np.float32)
    templates = world.templates()
    planted = make_world(tmp_path / "planted", [])
    original = groups.cell_blocks

    def with_a_thing(folder: Path):  # type: ignore[no-untyped-def]
        for start, cells in original(folder):
            cells = cells.copy()
            for number in numbers:
                if start <= number < start + len(cells):
                    cells[number - start, 7] = np.rint(look * 120)
            yield start, cells

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "cell_blocks", with_a_thing)
        again = planted.templates()
    assert len(again) == len(templates)
    for one, two in zip(templates, again, strict=True):
        np.testing.assert_allclose(one.vector, two.vector)


def test_a_class_with_one_image_and_a_single_class_are_no_trouble(tmp_path: Path) -> None:
    world = make_world(tmp_path / "small", [Thing(0, 0.3)], counts=(60, 1, 3))
    assert {template.label for template in world.templates()} <= {0}
    alone = make_world(tmp_path / "alone", [Thing(0, 0.3)], counts=(40,))
    assert alone.templates() == []
    matches = match_templates(alone.folder, [], 40, GRID)
    assert matches.similarity.shape == matches.closest.shape == (40, 0)


def test_half_of_every_class_is_for_discovery() -> None:
    labels = np.repeat([0, 1, 2, 3], [10, 7, 1, 2])
    half = discovery_half(labels, 0)
    assert [int(half[labels == label].sum()) for label in range(4)] == [5, 4, 1, 1]
    np.testing.assert_array_equal(half, discovery_half(labels, 0))
    assert any((discovery_half(labels, seed) != half).any() for seed in (1, 2, 3))


def test_likeness_at_a_place_equals_a_loop_over_pairs() -> None:
    cells = unit(np.random.default_rng(3).normal(size=(6, 5, 8)))
    likeness = place_likeness(cells)
    for place in range(5):
        cosines = [
            float(cells[i, place] @ cells[j, place]) for i in range(6) for j in range(6) if i != j
        ]
        assert likeness[place] == pytest.approx(np.mean(cosines))
    assert not place_likeness(cells[:1]).any()


def test_concentration_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        cells = rng.integers(0, 30, rng.integers(1, 12))
        best = 0.0
        for row in range(5):
            for column in range(6):
                near = [abs(c // 6 - row) <= 1 and abs(c % 6 - column) <= 1 for c in cells.tolist()]
                best = max(best, float(np.mean(near)))
        assert place_concentration(cells, (5, 6)) == pytest.approx(best)


def test_the_cells_of_a_background_are_those_that_other_images_have_not(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(1, 0.5, place=24, wide=8)])
    carriers = np.flatnonzero(np.isin(world.order, list(world.carriers[0])))
    others = np.flatnonzero(world.records.labels != 1)
    found = background_cells(world.folder, carriers, others, GRID)
    assert list(found) == carriers.tolist()
    covered = np.mean(list(found.values()), axis=0)
    # The fourth row, and the usual tenth of everything else.
    assert covered[3].min() > 0.95
    assert np.delete(covered, 3, axis=0).max() < 0.4


def test_cells_beside_a_thing_do_not_belong_to_it(tmp_path: Path) -> None:
    """They see a little of it: more than nearly all cells of other images do, but not half."""
    rng, places = np.random.default_rng(0), GRID[0] * GRID[1]
    look, cells = unit(rng.normal(size=48)), unit(rng.normal(size=(80, places, 48)))
    carriers, others, middle = np.arange(40), np.arange(40, 80), 27
    for beside, like in ((0, 1.0), (1, 1.0), (-1, 0.4)):
        noise = rng.normal(size=(40, 48))
        noise = unit(noise - (noise @ look)[:, None] * look)
        cells[:40, middle + beside] = like * look + np.sqrt(1 - like**2) * noise
    table = pd.DataFrame({"index": np.arange(80), "image": [f"{n}.png" for n in range(80)]})
    stored = np.round(cells * 127).astype(np.int8).reshape(80, *GRID, 48)
    arrays = dict.fromkeys(ARRAYS, np.zeros((80, 1)))
    write_shard(shard_path(tmp_path, 0), table, {**arrays, "cells": stored})
    found = cells_around(tmp_path, carriers, np.full(40, middle), others, GRID)
    assert list(found) == carriers.tolist()
    share = np.mean([covered.ravel() for covered in found.values()], axis=0)
    assert share[[middle, middle + 1]].min() == 1
    assert share[middle - 1] < 0.2
