"""Layers: where in a network the maps are drawn and the cells are read.

Nothing is known about the network but what one probing pass shows: the output of every module, in
the order they ran, and the gradient of the logits at each. A layer is chosen by these numbers,
never by the name of the architecture.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from shortcut_finder.errors import ModelError
from shortcut_finder.maps.probe import Layout, Output, Probe, Recorder, kind_of, run_module

# Relative difference under which two gradients are the same but for rounding.
SAME = 1e-4
# How much more wrong quarters of the cells may change than the right ones (geometric mean). Deep
# layers on small images see everything everywhere, which brings the ratio to 1; rows taken for
# columns bring it far above.
MOST_SWAPPED = 1.5
# How much of the right quarter's change the others may have on average in a layer read for cells;
# tokens in another order come close to 1.
MOST_SHUFFLED = 0.85
# A cell grid about this fine shows things of a stride-16 block at 224 pixels.
CELL_SIDE = 14.0
FINEST_CELLS, COARSEST_CELLS = 20.0, 10.0
# Much finer than the maps is too early in the network: edges and colours, not things.
MOST_FINER = 4.5
# The grid of fine cells may be so many times as fine as that of the cells; it is averaged to twice.
FINER = (1.6, 2.6)

ADAPTIVE_POOLS = (
    "AdaptiveAvgPool1d",
    "AdaptiveMaxPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
)


def map_layer(found: Probe, name: str) -> Output:
    """The output the maps are drawn on: the last with a grid that moves the logits everywhere.

    Args:
        found: a probing pass.
        name: the network's, for the message.

    Raises:
        ModelError: no layer has both a grid and a gradient at its patches.
    """
    widths = Counter(
        (o.layout.grid, o.layout.prefix, o.tensor.shape[2])
        for o in found.outputs
        if o.layout and o.layout.axes == "tokens"
    )
    bypassed = False
    for output in reversed(found.outputs):
        layout = output.layout
        # An adaptive pool may stretch a small map: its cells are not the image's any more.
        if layout is None or kind_of(output.module) in ADAPTIVE_POOLS or not _moves(output):
            continue
        if layout.axes != "tokens":
            return _after_relu(output)
        if output.tensor.shape[2] != _stream_width(widths, layout):
            continue
        bypassed = bypassed or _is_bypassed(output)
        if not bypassed or _feeds_attention(found, output):
            return _before_attention(found, output)
    raise ModelError(
        f"{name}: no layer has a spatial grid whose gradient reaches the outputs, so no map can be "
        "drawn; is the network trained, and does it look at images?"
    )


def _after_relu(output: Output) -> Output:
    """The output after a ReLU that is no module, where the gradient shows that one follows."""
    assert output.layout is not None
    assert output.gradient is not None
    gradient = output.layout.arranged(output.gradient)
    on = output.layout.arranged(output.tensor) > 0
    even = gradient.sum((2, 3), keepdim=True) / on.sum((2, 3), keepdim=True).clamp(min=1)
    differs = (gradient - even * on).abs().amax() > SAME * gradient.abs().amax()
    if bool(differs) or is_even(gradient):
        return output
    return dataclasses.replace(output, layout=dataclasses.replace(output.layout, rectified=True))


def _stream_width(widths: Counter[Any], layout: Layout) -> int:
    """The commonest number of channels among outputs with these tokens: the residual stream's."""
    same = {
        width: count
        for (grid, prefix, width), count in widths.items()
        if (grid, prefix) == (layout.grid, layout.prefix)
    }
    return max(same, key=lambda width: (same[width], -width))


def _moves(output: Output) -> bool:
    gradient = patch_gradient(output)
    return gradient is not None and bool(gradient.abs().amax() > 0)


def patch_gradient(output: Output) -> Tensor | None:
    """The gradient at the output's patches, (image, channel, row, column); None where none is."""
    if output.gradient is None or output.layout is None:
        return None
    gradient = output.layout.arranged(output.gradient)
    return gradient if bool(torch.isfinite(gradient).all()) else None


def _is_bypassed(output: Output) -> bool:
    """Whether prefix tokens speak for themselves here while the patches are only averaged.

    A head that reads the class token beside the patches' mean has half its evidence in the former;
    a map shows both only where the class token still gathers from the patches.
    """
    assert output.gradient is not None
    assert output.layout is not None
    gradient = output.layout.arranged(output.gradient)
    prefix = output.gradient[:, : output.layout.prefix] - gradient[:, None, :, 0, 0]
    alone = prefix.abs().amax((0, 2)) > SAME * gradient.abs().amax()
    silent = output.gradient[:, : output.layout.prefix].abs().amax((0, 2)) == 0
    return bool((alone & ~silent).any()) and is_even(gradient)


def _is_norm(output: Output) -> bool:
    return "norm" in kind_of(output.module).lower()


def _feeds_attention(found: Probe, output: Output) -> bool:
    """Whether an output is a norm whose next reader is an attention."""
    if not _is_norm(output):
        return False
    for later in found.outputs[output.order + 1 :]:
        if "att" in later.name.rpartition(".")[2].lower():
            return True
        if _is_norm(later) and later.tensor.shape == output.tensor.shape:
            return False
    return False


def is_even(gradient: Tensor) -> bool:
    """Whether a gradient, (image, channel, row, column), is the same at every place."""
    spread = (gradient - gradient.mean((2, 3), keepdim=True)).abs().amax()
    return bool(spread <= SAME * gradient.abs().amax())


def is_shared(gradient: Tensor) -> bool:
    """Whether a gradient, (image, channel, row, column), is the same for every image."""
    spread = (gradient - gradient[:1]).abs().amax()
    return bool(spread <= SAME * gradient.abs().amax())


def is_dense(found: Probe, target: Output) -> bool:
    """Whether all weights behind a layer are those of dense layers."""
    weighted = [o.module for o in found.outputs[target.order + 1 :] if o.module._parameters]
    return all(isinstance(module, nn.Linear) for module in weighted)


def _before_attention(found: Probe, output: Output) -> Output:
    """The norm before an attention rather than its keys or values."""
    if kind_of(output.module) != "Linear":
        return output
    before = found.outputs[: output.order]
    for earlier in reversed(before):
        same = earlier.layout == output.layout and earlier.tensor.shape == output.tensor.shape
        if same and _is_norm(earlier) and _moves(earlier):
            return earlier
    return output


def named_layer(found: Probe, name: str) -> Output:
    """The output of the layer a user asked for.

    Raises:
        ModelError: no such layer, or it has no spatial grid or no gradient at its patches.
    """
    calls = [output for output in found.outputs if output.name == name]
    usable = [o for o in found.outputs if o.layout is not None and _moves(o)]
    if not calls:
        names = list(dict.fromkeys(output.name for output in usable))
        close = difflib.get_close_matches(name, names, n=3) or names[-3:]
        raise ModelError(f"--layer {name}: no such layer; try {', '.join(close)}")
    output = calls[-1]
    if output.layout is None:
        shape = tuple(output.tensor.shape[1:])
        raise ModelError(f"--layer {name}: has no spatial grid (its output is {shape} an image)")
    if not _moves(output):
        hint = f"; try {usable[-1].name}" if usable else ""
        raise ModelError(
            f"--layer {name}: the outputs do not depend on its patches, so its maps would be "
            f"empty{hint}"
        )
    return output


def check_places(module: nn.Module, found: Probe, output: Output) -> None:
    """Make sure that the map layer's rows and columns are the image's.

    Raises:
        ModelError: they are not, so the maps would point at the wrong places.
    """
    assert output.layout is not None
    if _is_clear(output):
        return
    pairs = [[0, -1], [-1, 0], [0, 1]]
    changes = [quarter_changes(module, found.images[pair], output) for pair in pairs]
    if is_swapped(torch.stack(changes)):
        rows, columns = output.layout.grid
        raise ModelError(
            f"layer {output.name}: its {rows}x{columns} cells do not lie where the parts of the "
            "image are, so its maps would mislead; choose another with --layer"
        )


def is_swapped(changes: Tensor) -> bool:
    """Whether quarters of the cells answer to other quarters of the image than their own.

    Where attention carries a change everywhere, some quarters of an image change more than others,
    and some of the cells are changed more; that is the same however they are matched.

    Args:
        changes: from `quarter_changes`, (pair, quarter of the image, quarter of the cells).
    """
    size = changes.cpu().clamp_min(SAME * float(changes.max())).log().mean(0)
    excess = (size - size.diagonal()[:, None] - math.log(MOST_SWAPPED)).fill_diagonal_(0)
    quarters = range(len(excess))
    return any(
        sum(float(excess[quarter, order[quarter]]) for quarter in quarters) > 0
        for order in itertools.permutations(quarters)
    )


def is_shuffled(module: nn.Module, found: Probe, output: Output) -> bool:
    """Whether a layer's cells may be in another order than the image's parts.

    Some networks keep the tokens of a window together in memory until their last stage.
    """
    if _is_clear(output):
        return False
    change = quarter_changes(module, found.images[[0, -1]], output)
    right = change.diagonal().mean()
    return bool((change.sum() - 4 * right) / 12 > MOST_SHUFFLED * right)


def _is_clear(output: Output) -> bool:
    """Whether the shape alone tells channels, rows and columns apart."""
    assert output.layout is not None
    first = output.layout.axes == "channels first"
    grid = output.layout.grid
    return min(grid) < 2 or (first and output.tensor.shape[1] > max(grid))


def quarter_changes(module: nn.Module, images: Tensor, output: Output) -> Tensor:
    """How much each quarter of a layer's cells changes with each quarter of the image.

    Args:
        module: the network.
        images: two different inputs, (image, channel, row, column).
        output: the layer's, from a probe of the network.

    Returns:
        Mean change, (quarter of the image, quarter of the cells).
    """
    assert output.layout is not None
    rows, columns = (size // 2 for size in images.shape[2:])
    quarters = [(row, column) for row in (0, 1) for column in (0, 1)]
    changed = images[:1].repeat(5, 1, 1, 1)
    for index, (row, column) in enumerate(quarters):
        place = (slice(None), _half(row, rows), _half(column, columns))
        changed[index][place] = images[1][place]
    recorder = Recorder(only=output.name)
    with recorder.attached(module), torch.no_grad():
        run_module(module, changed)
    features = output.layout.arranged(recorder.outputs[output.call].tensor)
    change = (features[:4] - features[4:]).norm(dim=1)
    rows, columns = (size // 2 for size in output.layout.grid)
    parts = [change[:, _half(row, rows), _half(column, columns)] for row, column in quarters]
    return torch.stack([part.mean((1, 2)) for part in parts], 1)


def _half(second: int, size: int) -> slice:
    """The first ``size`` places or the last."""
    return slice(-size, None) if second else slice(0, size)


def cell_layer(found: Probe, target: Output) -> Output:
    """The output whose cells are compared between images: mid-level, finer than a coarse map.

    Where the maps are coarse, the last block before them with 10 to 20 cells a side; where they
    are fine already, a block about three quarters of the way to them.
    """
    before = found.outputs[: target.order]
    blocks = [o for o in before if o.layout is not None and not _inside_block(o, found.outputs)]
    assert target.layout is not None
    side = target.layout.side
    alike = [o for o in blocks if _same_kind(o, target)] or [target]
    finer = [o for o in alike if o.layout and 1.6 <= o.layout.side / side <= MOST_FINER]
    if not finer and target.layout.axes == "tokens":
        # Some networks turn from convolutions to tokens late; a stem of a few is no middle block.
        late = [o for o in blocks if o.order >= len(found.outputs) / 3]
        finer = [o for o in late if o.layout and 1.6 <= o.layout.side / side <= MOST_FINER]
    if side >= COARSEST_CELLS or not finer:
        level = [o for o in alike if o.layout and o.layout.side >= side - 0.5] or [target]
        return min(level, key=lambda o: abs(o.order / len(found.outputs) - 0.75))
    middle = [o for o in finer if o.layout and COARSEST_CELLS <= o.layout.side <= FINEST_CELLS]
    if middle:
        return middle[-1]
    return min(reversed(finer), key=_distance_from_cell_side)


def fine_layer(found: Probe, cells: Output) -> Output | None:
    """The last block before the cells whose grid is about twice as fine; ``None`` without one.

    Small marks and thin strips fill a cell of it, but only part of a coarser one.
    """
    if cells.layout is None or cells.layout.axes == "tokens":
        return None
    side = cells.layout.side
    finer = [
        o
        for o in found.outputs[: cells.order]
        if o.layout is not None
        and o.layout.axes != "tokens"
        and FINER[0] <= o.layout.side / side <= FINER[1]
        and not _inside_block(o, found.outputs)
    ]
    return finer[-1] if finer else None


def _distance_from_cell_side(output: Output) -> float:
    assert output.layout is not None
    return round(abs(math.log(output.layout.side / CELL_SIDE)), 6)


def _same_kind(output: Output, target: Output) -> bool:
    """Tokens follow tokens of the same stream; anything may precede a convolutional map."""
    if target.layout is None or target.layout.axes != "tokens":
        return output.layout is not None and output.layout.axes != "tokens"
    if output.layout is None or output.layout.axes != "tokens":
        return False
    finer = output.layout.side > target.layout.side
    same_grid = output.layout.grid == target.layout.grid
    return finer or (same_grid and output.tensor.shape[2] == target.tensor.shape[2])


def _inside_block(output: Output, others: Sequence[Output]) -> bool:
    """Whether an output is a step inside a residual or downsampling block, not the block's own."""
    assert output.layout is not None
    for other in others:
        if not output.name.startswith(other.name + ".") or other.received_grid is None:
            continue
        grid = other.layout.grid if other.layout else None
        coarsens = other.received_grid == output.layout.grid != grid
        rows = other.received_grid[0]
        listed = other.name.rpartition(".")[2].lstrip("abcdefghijklmnopqrstuvwxyz_").isdigit()
        if coarsens or (listed and rows <= 2 * output.layout.grid[0]):
            return True
    return False
