"""A way to find of your own: a class of which many pictures have the same colour in a corner.

    shortcut-finder scan photos/ --model resnet18 --weights model.pt --out run/ \
        --channels cells,border,looks,evidence,surroundings,examples/corner_colours.py:propose

A channel is a function that looks at a view and says what it tried. This one measures one number an
image, learns on each half what is usual for a class, and claims that the others lack it; tests,
lists, experiments and the page are made from the claims. Inside the package the same file would be
`shortcut_finder/detect/channels/corner_colours.py`, and one line in `channels/__init__.py`.
"""

from __future__ import annotations

import numpy as np

from shortcut_finder.data.membership import having, lacking
from shortcut_finder.detect.claims import Claim, claimed
from shortcut_finder.detect.proposals import Proposals
from shortcut_finder.detect.view import View

# Side of a corner, as part of the picture's; and the share of other classes' images that may have
# as much of a class's colour as its carriers.
SIDE, STRANGERS = 0.15, 0.01


def propose(view: View) -> Proposals:
    """A claim for every class, corner and half."""
    colours = corner_colours(view)
    claims = []
    for found_on in view.halves:
        for label in view.numbers:
            own, rest = (side(view.labels, label) & found_on for side in (having, lacking))
            for corner in range(4):
                score = likeness(colours[:, corner], own, rest)
                cells = cells_of(corner, view.records.cell_grid)
                claims.append(Claim(label, found_on, score, cells, 0.9, "a corner of one colour"))
    return claimed(claims, view)


def corner_colours(view: View) -> np.ndarray:
    """Mean and spread of red, green and blue in each corner, (image, corner, 6); NaN if unread."""
    colours = np.full((len(view.labels), 4, 6), np.nan)
    for number in range(len(colours)):
        pixels = view.scene.pixels(number)
        if pixels is None:
            continue
        down, across = (max(1, round(SIDE * size)) for size in pixels.shape[:2])
        corners = (
            pixels[rows, columns].reshape(-1, 3)
            for rows in (slice(down), slice(-down, None))
            for columns in (slice(across), slice(-across, None))
        )
        colours[number] = [np.append(part.mean(axis=0), part.std(axis=0)) for part in corners]
    return colours


def likeness(colours: np.ndarray, own: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """How near each image is to the densest colour of a class: 0 at the limit, 1 in the middle."""
    inside = colours[own]
    apart = np.linalg.norm(inside[:, None] - inside[None], axis=2)
    # The image that most others of the class are close to.
    middle = inside[np.nanargmin(np.nanquantile(apart, 0.2, axis=1))]
    distance = np.linalg.norm(colours - middle, axis=1)
    limit = max(float(np.nanquantile(distance[rest], STRANGERS)), 1e-6)
    return np.nan_to_num(1 - distance / limit, nan=-1.0)


def cells_of(corner: int, grid: tuple[int, int]) -> np.ndarray:
    """The cells of a corner, (row, column) of bool."""
    cells = np.zeros(grid, dtype=bool)
    down, across = (max(1, round(SIDE * size)) for size in grid)
    rows = slice(down) if corner < 2 else slice(-down, None)
    columns = slice(across) if corner % 2 == 0 else slice(-across, None)
    cells[rows, columns] = True
    return cells
