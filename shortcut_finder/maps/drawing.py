"""Drawing: a network that is listened to, and the maps that its passes give."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from shortcut_finder.maps.class_token import LastBlock
from shortcut_finder.maps.methods import GRADIENT_FREE, METHODS, eigencam
from shortcut_finder.maps.methods import draw as drawn
from shortcut_finder.maps.plan import MapPlan
from shortcut_finder.maps.probe import run_module
from shortcut_finder.maps.taps import LinearHead, Pass, Tap, averaged
from shortcut_finder.model.classifier import Classifier

TOP = 3
# Channels left out in one pass of ablationcam.
ABLATED = 64


class Drawing:
    """A network with taps at its layers, and the plan that its maps are drawn by.

    Attributes:
        classifier: the network.
        known: the plan, once it is made.
        target: tap at the layer that maps are drawn on.
        cells: tap at the layer of the cells.
        fine: tap at the layer of the fine cells; ``None`` where there is none.
        head: rows and bias of a linear head.
        last: the last block, where it runs for the class token alone.
        shares_body: whether what follows the map layer takes more images than what precedes it.
        together: whether all classes share one backward pass.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.module = classifier.module
        self.known: MapPlan | None = None
        self.target: Tap | None = None
        self.cells: Tap | None = None
        self.fine: Tap | None = None
        self.head: LinearHead | None = None
        self.last: LastBlock | None = None
        self.shares_body = False
        self.together = False

    @property
    def plan(self) -> MapPlan:
        """How the maps are made; known once a batch was prepared."""
        if self.known is None:
            raise RuntimeError("call prepare() or run() first, inside the context")
        return self.known

    def change(self, **parts: Any) -> None:
        """Change parts of the plan."""
        self.known = dataclasses.replace(self.plan, **parts)

    @contextlib.contextmanager
    def trying(self, **parts: Any) -> Iterator[None]:
        """Another plan for a while."""
        plan = self.plan
        self.change(**parts)
        try:
            yield
        finally:
            self.known = plan

    def note(self, text: str) -> None:
        """Add a note to the plan."""
        self.change(notes=(*self.plan.notes, text))

    def leave_linear(self, reason: str) -> None:
        """Take the head for one on pooled features from now on."""
        self.head = None
        self.change(tier="pooled")
        self.note(reason)

    def forget(self) -> None:
        """Leave the network as it was, without a plan."""
        for tap in (self.target, self.cells, self.fine):
            if tap is not None:
                tap.remove()
        if self.last is not None:
            self.last.remove()
        self.target = self.cells = self.fine = self.head = self.last = self.known = None
        self.together = False

    @property
    def needs_graph(self) -> bool:
        """Whether maps are made from gradients of each pass."""
        return self.plan.tier != "linear" and self.plan.method not in GRADIENT_FREE

    def grad_mode(self) -> contextlib.AbstractContextManager[Any]:
        """Gradients on where maps need them."""
        # The parameters are frozen, so with gradients on only the head behind the tap is recorded.
        return torch.enable_grad() if self.needs_graph else torch.no_grad()

    def autocast(self) -> torch.autocast:
        """The precision of the plan."""
        low = self.known is not None and self.known.precision == "bf16"
        return torch.autocast(self.classifier.device.type, dtype=torch.bfloat16, enabled=low)

    def start_taps(self, *, graph: bool) -> None:
        """Forget what the taps hold."""
        for tap in (self.target, self.cells, self.fine):
            if tap is not None:
                tap.start(graph=graph)

    def forward(self, pixels: Tensor, *, graph: bool) -> Pass:
        """One pass, with what the taps took."""
        assert self.target is not None
        assert self.cells is not None
        self.start_taps(graph=graph)
        with self.autocast():
            logits = run_module(self.module, self.classifier.normalise(pixels))
        output, cells = self.target.take(), self.cells.take()
        fine = None if self.fine is None else self.fine.take()
        activations = self.target.layer.layout.features(output.detach()).float()
        return Pass(pixels, logits.float(), output, activations, cells, fine)

    def cell_features(self, done: Pass) -> Tensor:
        """Cells of a pass, (image, channel, row, column)."""
        assert self.cells is not None
        return averaged(self.cells.layer.layout.features(done.cells.detach())).float()

    def fine_features(self, done: Pass, cells: torch.Size) -> Tensor:
        """Fine cells, two a side for each cell of the given shape; of no channels without any."""
        images, _, rows, columns = cells
        if self.fine is None or done.fine is None:
            return done.activations.new_zeros(images, 0, 2 * rows, 2 * columns)
        features = self.fine.layer.layout.features(done.fine.detach()).float()
        if features.shape[2:] == (2 * rows, 2 * columns):
            return features
        return F.adaptive_avg_pool2d(features, (2 * rows, 2 * columns))

    def draw(self, done: Pass, shown: Tensor) -> Tensor:
        """Maps of the classes shown, (image, shown, row, column)."""
        if self.plan.method == "eigencam":
            return eigencam(done.activations)[:, None].expand(-1, shown.shape[1], -1, -1)
        if self.plan.method == "ablationcam":
            rows = zip(done.pixels, done.logits, done.activations, shown, strict=True)
            return torch.stack([self._ablated(*row) for row in rows])
        method = METHODS[self.plan.method]
        if self.plan.tier == "linear":
            assert self.head is not None
            places = done.activations.shape[2] * done.activations.shape[3]
            gradient = self.head.rows[shown][..., None, None] / places
            return drawn(method, done.activations, gradient)

        classes = _once(shown)
        maps = torch.stack(
            [
                drawn(method, done.activations, gradient[:, None])[:, 0]
                for gradient in self._gradients(done, classes)
            ],
            1,
        )
        place = (shown[:, :, None] == classes[:, None]).int().argmax(2)
        return maps[torch.arange(len(shown), device=shown.device)[:, None], place]

    def _ablated(
        self, pixels: Tensor, logits: Tensor, activations: Tensor, shown: Tensor
    ) -> Tensor:
        """Desai and Ramaswamy 2020: a channel weighs what its absence takes from the logit.

        The network runs on one image up to the map layer, which then passes on as many copies as
        channels are tried; a network that will not have that runs on copies of the image.
        """
        image = self.classifier.normalise(pixels[None])
        drops = [
            logits[shown] - self.logits_without(image, channels)[:, shown]
            for channels in torch.split(torch.arange(len(activations)), ABLATED)
        ]
        return torch.einsum("ck,chw->khw", torch.cat(drops), activations)

    def logits_without(self, image: Tensor, channels: Tensor) -> Tensor:
        """Logits of an image, (channel, class), each without one channel of the map layer."""
        assert self.target is not None
        images = image if self.shares_body else image.expand(len(channels), -1, -1, -1)
        self.start_taps(graph=False)
        self.target.without = channels
        try:
            with torch.no_grad(), self.autocast():
                return run_module(self.module, images, len(channels)).float()
        finally:
            self.target.without = None
            self.start_taps(graph=False)

    def _gradients(self, done: Pass, classes: Tensor) -> Iterator[Tensor]:
        """For each column of classes the gradient of these logits, one an image.

        Args:
            done: a pass with a graph.
            classes: (image, class).

        Yields:
            (image, channel, row, column); one row and column where the head is pooled.
        """
        if self.together:
            rows = F.one_hot(classes.T, done.logits.shape[1]).to(done.logits.dtype)
            (gradients,) = torch.autograd.grad(
                done.logits, done.output, rows, retain_graph=True, is_grads_batched=True
            )
            yield from (self._arranged(done, gradient) for gradient in gradients)
            return
        for column in classes.T:
            chosen = done.logits.gather(1, column[:, None]).sum()
            (gradient,) = torch.autograd.grad(chosen, done.output, retain_graph=True)
            yield self._arranged(done, gradient)

    def _arranged(self, done: Pass, gradient: Tensor) -> Tensor:
        """A gradient of the map layer's output, laid out as `_gradients` gives it."""
        assert self.target is not None
        layout = self.target.layer.layout
        gradient = layout.arranged(gradient).float()
        if self.plan.tier != "pooled":
            return gradient
        if not layout.rectified:
            return gradient[:, :, :1, :1]
        on = layout.arranged(done.output.detach()) > 0
        return gradient.sum((2, 3), keepdim=True) / on.sum((2, 3), keepdim=True).clamp(min=1)


def shown_outputs(logits: Tensor, labels: Tensor | None) -> Tensor:
    """Outputs to show: labels, top 1, top 2, top 3, (image, label + 3); the last is repeated."""
    count = min(TOP, logits.shape[1])
    top = logits.detach().topk(count, dim=1).indices
    first = top[:, :1]
    if labels is not None:
        own = labels.to(logits.device).reshape(len(logits), -1)
        first = torch.where(own < 0, first, own)
    return torch.cat([first, top, top[:, -1:].expand(-1, TOP - count)], 1)


def _once(shown: Tensor) -> Tensor:
    """The columns of outputs that say something beyond those after them, (image, class)."""
    kept: list[Tensor] = []
    for column in reversed(shown.unbind(1)):
        known = bool(kept) and bool((torch.stack(kept, 1) == column[:, None]).any(1).all())
        if not known:
            kept.insert(0, column)
    return torch.stack(kept, 1)
