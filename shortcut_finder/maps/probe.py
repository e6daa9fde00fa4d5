"""Probe: one pass of a network, forward and backward, and what every module gave."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from shortcut_finder.errors import ModelError
from shortcut_finder.model.outputs import logits_of
from shortcut_finder.model.weights import one_line

# A distillation token, a class token and up to a dozen registers stand before the patches.
MOST_PREFIX_TOKENS = 16


@dataclass(frozen=True)
class Layout:
    """Where channels, rows and columns lie in a layer's output.

    Attributes:
        axes: ``channels first`` (image, channel, row, column), ``channels last`` (image, row,
            column, channel) or ``tokens`` (image, token, channel).
        grid: rows and columns.
        prefix: tokens before those of the patches.
        rectified: whether a ReLU that is no module follows; the map is drawn after it.
    """

    axes: str
    grid: tuple[int, int]
    prefix: int = 0
    rectified: bool = False

    def features(self, output: Tensor) -> Tensor:
        """The output as (image, channel, row, column), without a copy."""
        features = self.arranged(output)
        return features.relu() if self.rectified else features

    def arranged(self, values: Tensor) -> Tensor:
        """Values laid out like the output (its gradient, say) as (image, channel, row, column)."""
        if self.axes == "tokens":
            patches = values[:, self.prefix :].transpose(1, 2)
            return patches.reshape(*patches.shape[:2], *self.grid)
        return values if self.axes == "channels first" else values.permute(0, 3, 1, 2)

    @property
    def side(self) -> float:
        """The side of a square grid with as many cells."""
        return math.sqrt(self.grid[0] * self.grid[1])


@dataclass(frozen=True)
class Layer:
    """One output of a network that has a spatial grid.

    Attributes:
        name: dotted path of the module.
        call: which of the module's calls in one forward pass, from 0.
        layout: where its cells lie.
    """

    name: str
    call: int
    layout: Layout


@dataclass(frozen=True, eq=False)
class Output:
    """What one call of a module returned while probing.

    Attributes:
        name: dotted path of the module.
        call: which of the module's calls, from 0.
        order: its place among all outputs.
        module: the module.
        tensor: what it returned, or the first of several.
        received: shape of its first argument, if that is a tensor.
        layout: where its cells lie; None where it has no spatial grid.
        received_grid: rows and columns of its first argument, if it has a spatial grid.
        gradient: of a random mixture of the logits, like the tensor; None where none arrives.
    """

    name: str
    call: int
    order: int
    module: nn.Module
    tensor: Tensor
    received: tuple[int, ...] | None
    layout: Layout | None = None
    received_grid: tuple[int, int] | None = None
    gradient: Tensor | None = None

    @property
    def layer(self) -> Layer:
        """The output's address; only for outputs with a spatial grid."""
        assert self.layout is not None
        return Layer(self.name, self.call, self.layout)


@dataclass(frozen=True, eq=False)
class Probe:
    """One pass through a network, seen module by module.

    Attributes:
        images: the network's input, (image, channel, row, column).
        outputs: every module's output in the order the modules finished.
        logits: (image, class).
        mixture: the weights of the random mixture of logits, (class,).
    """

    images: Tensor
    outputs: tuple[Output, ...]
    logits: Tensor
    mixture: Tensor


@dataclass
class Recorder:
    """Collects the outputs of all modules, or of one, while attached."""

    only: str | None = None
    outputs: list[Output] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    @contextlib.contextmanager
    def attached(self, module: nn.Module) -> Iterator[None]:
        """Listen to the modules in it, or to the one that is wanted."""
        handles = [
            child.register_forward_hook(self._hook(name))
            for name, child in module.named_modules()
            if name and self.only in (None, name)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, name: str) -> Any:
        def record(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            call = self.calls[name]
            self.calls[name] += 1
            tensor = tensor_of(output)
            if tensor is not None:
                first = args[0] if args and isinstance(args[0], Tensor) else None
                received = tuple(first.shape) if first is not None else None
                order = len(self.outputs)
                self.outputs.append(Output(name, call, order, module, tensor, received))

        return record


def kind_of(module: nn.Module) -> str:
    """The name of a module's class; of a module in an exported program, the class it was."""
    name = type(module).__name__
    if name == "InterpreterModule":
        was: Any = module.type_name
        name = was() or name
    return name.rpartition(".")[2]


def tensor_of(output: Any) -> Tensor | None:
    """The features in what a layer returns: a tensor, or the first of a tuple that starts so."""
    first = output[0] if isinstance(output, tuple) and output else output
    return first if isinstance(first, Tensor) else None


def probe(module: nn.Module, images: Tensor, seed: int = 0) -> Probe:
    """Run a network once, forward and backward, and look at every module's output.

    Args:
        module: in eval mode, with frozen parameters.
        images: the network's input, (image, channel, row, column).
        seed: for the random mixture of logits.

    Raises:
        ModelError: the network fails, or its logits do not depend on its input.
    """
    recorder = Recorder()
    # Some networks change their input in place, which a leaf does not allow.
    source = images.detach().requires_grad_().clone()
    with recorder.attached(module), torch.enable_grad():
        logits = run_module(module, source)
    mixture = torch.randn(logits.shape[1], generator=torch.Generator().manual_seed(seed))
    mixture = mixture.to(logits.device)
    if not logits.requires_grad:
        raise ModelError(
            f"{type(module).__name__}: no gradient reaches the outputs (does its forward use "
            "torch.no_grad or detach?); maps need one"
        )
    reached = [
        o for o in recorder.outputs if o.tensor.requires_grad and o.tensor.is_floating_point()
    ]
    gradients = torch.autograd.grad(
        (logits.float() * mixture).sum(), [o.tensor for o in reached], allow_unused=True
    )
    found = {id(output): gradient for output, gradient in zip(reached, gradients, strict=True)}
    reader = _GridReader(tuple(images.shape), recorder.outputs)
    outputs = tuple(
        Output(
            name=output.name,
            call=output.call,
            order=output.order,
            module=output.module,
            tensor=output.tensor.detach(),
            received=output.received,
            layout=reader.layout(tuple(output.tensor.shape)),
            received_grid=reader.grid(output.received),
            gradient=found.get(id(output)),
        )
        for output in recorder.outputs
    )
    return Probe(images, outputs, logits.detach().float(), mixture)


def run_module(module: nn.Module, images: Tensor, count: int | None = None) -> Tensor:
    """The logits of some images, (image, class).

    Args:
        module: the network.
        images: its input, (image, channel, row, column).
        count: how many logits are expected for each class, where a hook changes it.

    Raises:
        ModelError: the network fails on them, or returns no logits.
    """
    try:
        output = module(images)
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise ModelError(
            f"{type(module).__name__}: fails on {images.shape[0]} images of "
            f"{images.shape[3]}x{images.shape[2]} pixels ({one_line(error)}); check --input-size"
        ) from error
    logits = logits_of(output)
    if logits is None or logits.shape[0] != (count or images.shape[0]):
        raise ModelError(f"{type(module).__name__}: returns no logits of shape (image, class)")
    return logits


class _GridReader:
    """Reads grids out of shapes, knowing the input's shape and the other outputs' shapes."""

    def __init__(self, images: tuple[int, ...], outputs: Sequence[Output]) -> None:
        self.images, _, self.height, self.width = images
        shapes = [tuple(output.tensor.shape) for output in outputs]
        self.token_counts = {shape[1] for shape in shapes if len(shape) == 3}
        self.grids = {
            shape[2:] for shape in shapes if len(shape) == 4 and self._fits(shape[2], shape[3])
        }

    def _fits(self, rows: int, columns: int) -> bool:
        """Whether the image divided into that many rows has about that many columns."""
        inside = rows <= self.height and columns <= self.width and rows * columns > 1
        return inside and abs(rows * self.width / self.height - columns) <= 1

    def layout(self, shape: tuple[int, ...] | None) -> Layout | None:
        if shape is None or shape[0] != self.images:
            return None
        if len(shape) == 3:
            return self._tokens(shape[1])
        if len(shape) != 4:
            return None
        # Per-head queries, keys and attention: (image, head, token, channel or token).
        per_head = shape[2] in self.token_counts
        first = self._fits(shape[2], shape[3]) and not per_head
        last = self._fits(shape[1], shape[2]) and shape[1:3] in self._square_or_seen(shape)
        if first and last:
            # Rounding makes both possible; the true grid has the image's very proportions.
            last = abs(shape[1] * self.width - shape[2] * self.height) < abs(
                shape[2] * self.width - shape[3] * self.height
            )
            first = not last
        if first:
            return Layout("channels first", (shape[2], shape[3]))
        return Layout("channels last", (shape[1], shape[2])) if last else None

    def _square_or_seen(self, shape: tuple[int, ...]) -> set[tuple[int, ...]]:
        exact = shape[1] * self.width == shape[2] * self.height
        return {shape[1:3]} if exact or shape[1:3] in self.grids else set()

    def _tokens(self, tokens: int) -> Layout | None:
        counts = range(tokens, max(tokens - MOST_PREFIX_TOKENS, 1), -1)
        for patches in counts:
            grids = [grid for grid in self.grids if grid[0] * grid[1] == patches]
            if grids:
                return Layout("tokens", (grids[0][0], grids[0][1]), tokens - patches)
        for patches in counts:
            rows = round(math.sqrt(patches * self.height / self.width))
            if rows and patches % rows == 0 and self._fits(rows, patches // rows):
                return Layout("tokens", (rows, patches // rows), tokens - patches)
        return None

    def grid(self, shape: tuple[int, ...] | None) -> tuple[int, int] | None:
        layout = self.layout(shape)
        return layout.grid if layout else None
