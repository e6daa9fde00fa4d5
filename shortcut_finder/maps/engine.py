"""Class activation maps of a batch: label and top 3 classes from one forward pass.

A head that only averages the last map makes its gradient the same at every place, so a map is one
small matrix product. What kind of head a network has is measured once, on the first batch:

    linear       the gradient is the same at every place and for every image: no backward pass, ever
    pooled       the same at every place: its value at one cell is enough
    class token  the head reads one token of the last block: that block runs for this token alone
    generic      neither: one backward pass through the head for each class

All give raw signed maps in logit units: where the head is linear, the mean of a map plus the
class's bias is the logit. Every fast tier is checked against the generic one before it is used.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from types import TracebackType

import torch
from torch import Tensor, nn

from shortcut_finder.errors import ModelError
from shortcut_finder.maps.agreement import EXACT
from shortcut_finder.maps.choosing import check_head, choose_precision, choose_tier, find_layers
from shortcut_finder.maps.drawing import Drawing, shown_outputs
from shortcut_finder.maps.memory import kept_memory
from shortcut_finder.maps.plan import MapBatch, MapPlan
from shortcut_finder.maps.probe import Layer, run_module
from shortcut_finder.maps.taps import Tap
from shortcut_finder.maps.transfer import to_cpu
from shortcut_finder.model.classifier import Classifier
from shortcut_finder.settings import Settings

# What is made of cells and fine cells before they leave the device.
Stored = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
# Images of the first batch that the self-check looks at; more would cost and show nothing new.
CHECKED = 8
# How far a logit may be from its map's mean plus bias in bf16, relative to what is added up.
ROUGH = 1e-2


class MapEngine:
    """Draws the maps of batches; a context manager that leaves the model as it found it.

    Inside ``with MapEngine(classifier, settings) as engine:``, call `run` for each batch.
    """

    def __init__(self, classifier: Classifier, settings: Settings) -> None:
        self.classifier = classifier
        self.settings = settings
        self.drawing = Drawing(classifier)
        self._restore = contextlib.ExitStack()
        # What fits into the memory, once a batch did not.
        self._most: int | None = None

    def __enter__(self) -> MapEngine:
        if self.classifier.device.type == "cpu":
            self._restore.enter_context(kept_memory())
        self._restore.enter_context(frozen(self.classifier.module))
        self._restore.callback(self.drawing.forget)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore.close()

    @property
    def plan(self) -> MapPlan:
        """How the maps are made; known once a batch was prepared."""
        return self.drawing.plan

    @property
    def layer(self) -> Layer:
        """The layer the maps are drawn on; known once a batch was prepared."""
        if self.drawing.target is None:
            raise RuntimeError("call prepare() or run() first, inside the context")
        return self.drawing.target.layer

    def prepare(self, pixels: Tensor) -> MapPlan:
        """Find the layers, the tier and the precision, and check them on the first batch.

        Args:
            pixels: uint8, (image, row, column, channel).

        Raises:
            ModelError: no map can be drawn, or not with the method or layer asked for.
        """
        drawing, settings, first = self.drawing, self.settings, pixels[:CHECKED]
        drawing.forget()
        probed, target, cells, fine = find_layers(self.classifier, settings.layer, first)
        assert target.layout is not None
        module = self.classifier.module
        drawing.target = Tap(module, target.layer, cuts=True)
        drawing.cells = Tap(module, cells.layer, cuts=False)
        drawing.fine = None if fine is None else Tap(module, fine.layer, cuts=False)
        with torch.no_grad():
            tried = drawing.forward(first[:1], graph=False)
            shape = drawing.cell_features(tried).shape
            fine_shape = drawing.fine_features(tried, shape).shape
        drawing.known = MapPlan(
            method=settings.method if settings.method != "auto" else "gradcam",
            tier="generic",
            layer=target.name,
            grid=target.layout.grid,
            precision="fp32",
            cell_layer=cells.name,
            cell_grid=(shape[2], shape[3]),
            cell_channels=shape[1],
            fine_layer=None if fine is None else fine.name,
            fine_channels=fine_shape[1],
            notes=(),
        )
        check_head(drawing, probed, target)
        choose_tier(drawing, first, probed, target)
        choose_precision(drawing, settings.precision, first)
        return drawing.plan

    def run(
        self,
        pixels: Tensor,
        labels: Tensor | None,
        stored: Stored | None = None,
    ) -> MapBatch:
        """Maps of the labels and the top 3 classes of a batch, from one forward pass.

        Args:
            pixels: uint8, (image, row, column, channel).
            labels: index of each image's label among the model's outputs, (image,) int64, or of
                its labels, (image, label), with -1 where it has fewer; None to take the top class,
                as is done in place of -1.
            stored: makes less of the cells and the fine cells, one row an image each, before they
                leave the device, which takes longer than the pass where they are large.

        Raises:
            ModelError: the model cannot take these images.
        """
        if self.drawing.known is None:
            self.prepare(pixels)
        if self._most is None or len(pixels) <= self._most:
            try:
                return self.whole(pixels, labels, stored)
            except torch.OutOfMemoryError as error:
                if len(pixels) == 1:
                    raise ModelError(
                        f"{self.classifier.name}: one image is too much for the memory of "
                        f"{self.classifier.device}; use --device cpu, or a smaller --input-size"
                    ) from error
            # Outside of the handler, which would keep what the failed pass had taken.
            self._most = (len(pixels) + 1) // 2
        parts = [slice(None, len(pixels) // 2), slice(len(pixels) // 2, None)]
        halves = [self.run(pixels[p], None if labels is None else labels[p], stored) for p in parts]
        return MapBatch(*(torch.cat(pair) for pair in zip(*map(_fields, halves), strict=True)))

    def whole(self, pixels: Tensor, labels: Tensor | None, stored: Stored | None) -> MapBatch:
        """As `run`, of as many images as fit into the memory."""
        drawing = self.drawing
        with drawing.grad_mode():
            done = drawing.forward(pixels, graph=drawing.needs_graph)
            shown = shown_outputs(done.logits, labels)
            maps = drawing.draw(done, shown)
        features = done.activations.mean((2, 3))
        logits = done.logits.detach()
        cells = drawing.cell_features(done)
        both = cells, drawing.fine_features(done, cells.shape)
        results = [logits, shown, maps, features, *(both if stored is None else stored(*both))]
        if drawing.head is not None:
            results.append(drawing.head.misfit(features, logits, shown))
        results = to_cpu(results)
        tolerance = EXACT if drawing.plan.precision == "fp32" else ROUGH
        if drawing.head is not None and bool((results.pop() > tolerance).any()):
            drawing.leave_linear("a later batch showed that the head is not linear")
            return self.whole(pixels, labels, stored)
        return MapBatch(*results)

    def maps(self, pixels: Tensor, outputs: Tensor) -> Tensor:
        """Maps of the same outputs for every image, (image, output, row, column), from one pass.

        Args:
            pixels: uint8, (image, row, column, channel).
            outputs: indices among the model's outputs, (output,) int64.
        """
        if self.drawing.known is None:
            self.prepare(pixels)
        shown = torch.cat([outputs[:1], outputs]).to(self.classifier.device)
        drawing = self.drawing
        with drawing.grad_mode():
            done = drawing.forward(pixels, graph=drawing.needs_graph)
            maps = drawing.draw(done, shown.expand(len(pixels), -1))
        return maps[:, 1:].detach().cpu()

    def predict(self, pixels: Tensor) -> Tensor:
        """The logits alone, (image, class) float32 on the CPU, at the precision of the maps.

        Args:
            pixels: uint8, (image, row, column, channel).
        """
        drawing = self.drawing
        with torch.no_grad(), drawing.autocast():
            drawing.start_taps(graph=False)
            logits = run_module(drawing.module, self.classifier.normalise(pixels))
            drawing.start_taps(graph=False)
        return logits.float().cpu()


@contextlib.contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Put a module in eval mode without gradients for its parameters, and back as it was."""
    modes = {child: child.training for child in module.modules()}
    flags = {parameter: parameter.requires_grad for parameter in module.parameters()}
    try:
        module.eval()
        for parameter in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for child, training in modes.items():
            child.training = training
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)


def _fields(batch: MapBatch) -> list[Tensor]:
    return [getattr(batch, field.name) for field in dataclasses.fields(batch)]
