"""Windows: what recurs in a class is found by pixels alone, and what recurs everywhere is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageDraw
from sklearn.metrics import average_precision_score
from synthetic import SIDE, Thing, World, make_world

from shortcut_finder.detect.channels.windows import learn_whitening, recurring_windows
from shortcut_finder.errors import UnreadableImage

ANT = 0
COUNTS = (100, 100, 100)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), [Thing(ANT, 0.2)], counts=COUNTS)


def test_what_a_fifth_of_a_class_carries_anywhere_recurs_in_it_alone(moving: World) -> None:
    whitening, found = recurring_windows(moving.scene(), moving.half(), 0)
    assert whitening is not None
    assert [one.label for one in found] == [0, 1, 2]
    assert [len(one.vectors) > 0 for one in found] == [True, False, False]
    scene, vectors = moving.scene(), found[ANT].vectors[:1]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
    like = np.array(
        [
            whitening.match(vectors, view)[0][0]
            for view in map(scene.view, range(len(moving.labels)))
            if view is not None
        ]
    )
    own = moving.records.labels == ANT
    best = np.argsort(-np.where(own, like, -1))[: len(moving.carriers[0])]
    chosen = np.isin(np.arange(len(own)), best)
    assert len(moving.named(chosen) & moving.carriers[0]) >= 0.9 * len(moving.carriers[0])


def test_same_seed_same_windows(moving: World) -> None:
    one, other = (recurring_windows(moving.scene(), moving.half(), 3)[1] for _ in range(2))
    assert all(np.array_equal(a.vectors, b.vectors) for a, b in zip(one, other, strict=True))


def test_what_stands_in_all_classes_does_not_recur_in_one(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(None, 0.3)], counts=COUNTS)
    _, found = recurring_windows(world.scene(), world.half(), 0)
    assert [len(one.vectors) for one in found] == [0, 0, 0]


def test_a_number_that_changes_in_a_twentieth_of_a_class_recurs_in_it(tmp_path: Path) -> None:
    """Among shapes, large and strong, that pictures of all classes show."""
    world = make_world(tmp_path, [], counts=(200, 60, 60), seed=4)
    rng = np.random.default_rng(4)
    carriers = rng.choice(200, 10, replace=False)
    pictures = []
    for number, picture in enumerate(world.pictures):
        pen = ImageDraw.Draw(picture)
        for _ in range(8):
            x, y = rng.integers(0, SIDE, 2).tolist()
            width, height = rng.integers(4, 16, 2).tolist()
            colour = tuple(rng.integers(0, 256, 3).tolist())
            shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
            shape((x, y, x + width, y + height), fill=colour)
        if number in carriers:
            at = rng.integers(0, SIDE - 40), rng.integers(0, SIDE - 12)
            pen.text(at, f"12.0{rng.integers(10)}", fill="white")
        pictures.append(picture)
    scene = replace(world, pictures=pictures).scene()
    whitening, found = recurring_windows(scene, world.half(), 0)
    assert whitening is not None
    own = np.flatnonzero(world.records.labels == ANT)
    views = [scene.squashed_view(number) for number in own.tolist()]
    like = np.array([[one for one, _ in whitening.match(found[ANT].vectors, v)] for v in views])
    truth = np.isin(world.order[own], carriers)
    assert max(average_precision_score(truth, row) for row in like.T) > 0.9


def test_the_place_of_a_window_is_where_it_lies() -> None:
    rng = np.random.default_rng(0)
    views = [rng.integers(0, 256, (64, 64, 3)).astype(np.uint8) for _ in range(12)]
    whitening = learn_whitening(views, rng)
    windows = whitening.describe(views[0])
    row, column = divmod(7, windows.shape[1])
    vector = windows.white[7]
    ((like, (x, y)),) = whitening.match(vector[None] / np.linalg.norm(vector), views[0])
    assert (x * 64 - 4, y * 64 - 4) == pytest.approx((column, row))
    assert like > max(match[0] for v in views[1:] for match in whitening.match(vector[None], v))


@pytest.mark.parametrize("readable", [0, 3])
def test_hardly_any_readable_image_recurs_in_nothing(moving: World, readable: int) -> None:
    scene = moving.scene()

    def read(number: int) -> object:
        if number >= readable:
            raise UnreadableImage("gone")
        return scene.read(number)

    _, found = recurring_windows(replace(scene, read=read), moving.half(), 0)
    assert all(len(one.vectors) == 0 for one in found)


def test_flat_pictures_recur_in_nothing(moving: World) -> None:
    scene = moving.scene()
    flat = [image.point(lambda _value: 128) for image in map(scene.read, range(3))]
    _, found = recurring_windows(
        replace(scene, read=lambda number: flat[number % 3]), moving.half(), 0
    )
    assert all(len(one.vectors) == 0 for one in found)


def test_windows_of_a_part_are_those_whose_middle_lies_in_it() -> None:
    rng = np.random.default_rng(1)
    view = rng.integers(0, 256, (64, 48, 3)).astype(np.uint8)
    whitening = learn_whitening([view], rng)
    whole, part = whitening.describe(view), whitening.describe(view, (0.5, 0.25, 1.0, 0.5))
    every = whole.white.reshape(*whole.shape, -1)
    (row, column), (rows, columns) = part.start, part.shape
    inside = every[row : row + rows, column : column + columns]
    np.testing.assert_allclose(part.white, inside.reshape(rows * columns, -1), atol=1e-5)
    middles = np.array([[row + 4, column + 4], [row + rows + 3, column + columns + 3]])
    np.testing.assert_allclose(middles, [[16, 24], [32, 44]], atol=1)
    vector = inside[2, 3][None]
    ((_, (x, y)),) = whitening.match(vector, view, (0.5, 0.25, 1.0, 0.5))
    assert (y * 64 - 4, x * 48 - 4) == pytest.approx((row + 2, column + 3))
