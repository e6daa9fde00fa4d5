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
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shortcut_finder.errors import ModelError
from shortcut_finder.maps import layers
from shortcut_finder.maps.class_token import LastBlock, last_block
from shortcut_finder.maps.memory import kept_memory
from shortcut_finder.maps.methods import GRADIENT_FREE, METHODS, draw, eigencam
from shortcut_finder.maps.plan import MapBatch, MapPlan
from shortcut_finder.maps.probe import Layer, Output, Probe, probe, run_module
from shortcut_finder.maps.taps import LinearHead, Pass, Tap, averaged
from shortcut_finder.maps.transfer import to_cpu
from shortcut_finder.model.classifier import Classifier
from shortcut_finder.settings import Settings

# What is made of cells and fine cells before they leave the device.
Stored = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

TOP = 3
# Images of the first batch that the self-check looks at; more would cost and show nothing new.
CHECKED = 8
# Relative difference allowed between a fast map and the generic one, in fp32.
EXACT = 1e-4
# bf16 keeps 8 bits: maps may differ a little, but must rank the same places and the same class.
ALIKE = 0.99
# How far a logit may be from its map's mean plus bias in bf16, relative to what is added up.
ROUGH = 1e-2
# Networks with tokens that are no places of the image, or with logits that add up streams which no
# single layer carries. No probe can tell.
UNMAPPED = {
    "CrossVit": "reads its classes from several token streams at once, and one map shows one",
    "VOLO": "reads its classes from several token streams at once, and one map shows one",
    "Perceiver": "has tokens that are no places of the image",
}
# Channels left out in one pass of ablationcam.
ABLATED = 64


class MapEngine:
    """Draws the maps of batches; a context manager that leaves the model as it found it.

    Inside ``with MapEngine(classifier, settings) as engine:``, call `run` for each batch.
    """

    def __init__(self, classifier: Classifier, settings: Settings) -> None:
        self.classifier = classifier
        self.settings = settings
        self._module = classifier.module
        self._restore = contextlib.ExitStack()
        self._plan: MapPlan | None = None
        self._target: Tap | None = None
        self._cells: Tap | None = None
        self._fine: Tap | None = None
        self._head: LinearHead | None = None
        self._last: LastBlock | None = None
        self._shares_body = False
        self._together = False
        # What fits into the memory, once a batch did not.
        self._most: int | None = None

    def __enter__(self) -> MapEngine:
        if self.classifier.device.type == "cpu":
            self._restore.enter_context(kept_memory())
        self._restore.enter_context(frozen(self._module))
        self._restore.callback(self._forget)
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
        if self._plan is None:
            raise RuntimeError("call prepare() or run() first, inside the context")
        return self._plan

    @property
    def layer(self) -> Layer:
        """The layer the maps are drawn on; known once a batch was prepared."""
        if self._target is None:
            raise RuntimeError("call prepare() or run() first, inside the context")
        return self._target.layer

    def prepare(self, pixels: Tensor) -> MapPlan:
        """Find the layers, the tier and the precision, and check them on the first batch.

        Args:
            pixels: uint8, (image, row, column, channel).

        Raises:
            ModelError: no map can be drawn, or not with the method or layer asked for.
        """
        self._forget()
        first = pixels[:CHECKED]
        probed, target, cells, fine = self._find_layers(first)
        assert target.layout is not None
        self._target = Tap(self._module, target.layer, cuts=True)
        self._cells = Tap(self._module, cells.layer, cuts=False)
        self._fine = None if fine is None else Tap(self._module, fine.layer, cuts=False)
        with torch.no_grad():
            tried = self._forward(first[:1], graph=False)
            shape = self._cell_features(tried).shape
            fine_shape = self._fine_features(tried, shape).shape
        self._plan = MapPlan(
            method=self.settings.method if self.settings.method != "auto" else "gradcam",
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
        self._check_head(probed, target)
        self._choose_tier(first, probed, target)
        self._choose_precision(first)
        return self._plan

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
        if self._plan is None:
            self.prepare(pixels)
        if self._most is None or len(pixels) <= self._most:
            try:
                return self._run(pixels, labels, stored)
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

    def _run(self, pixels: Tensor, labels: Tensor | None, stored: Stored | None) -> MapBatch:
        with self._grad_mode():
            done = self._forward(pixels, graph=self._needs_graph)
            shown = _shown(done.logits, labels)
            maps = self._draw(done, shown)
        features = done.activations.mean((2, 3))
        logits = done.logits.detach()
        cells = self._cell_features(done)
        both = cells, self._fine_features(done, cells.shape)
        results = [logits, shown, maps, features, *(both if stored is None else stored(*both))]
        if self._head is not None:
            results.append(self._head.misfit(features, logits, shown))
        results = to_cpu(results)
        if self._head is not None and bool((results.pop() > self._tolerance).any()):
            self._leave_linear("a later batch showed that the head is not linear")
            return self._run(pixels, labels, stored)
        return MapBatch(*results)

    def maps(self, pixels: Tensor, outputs: Tensor) -> Tensor:
        """Maps of the same outputs for every image, (image, output, row, column), from one pass.

        Args:
            pixels: uint8, (image, row, column, channel).
            outputs: indices among the model's outputs, (output,) int64.
        """
        if self._plan is None:
            self.prepare(pixels)
        shown = torch.cat([outputs[:1], outputs]).to(self.classifier.device)
        with self._grad_mode():
            done = self._forward(pixels, graph=self._needs_graph)
            maps = self._draw(done, shown.expand(len(pixels), -1))
        return maps[:, 1:].detach().cpu()

    def predict(self, pixels: Tensor) -> Tensor:
        """The logits alone, (image, class) float32 on the CPU, at the precision of the maps.

        Args:
            pixels: uint8, (image, row, column, channel).
        """
        with torch.no_grad(), self._autocast():
            self._start_taps(graph=False)
            logits = run_module(self._module, self.classifier.normalise(pixels))
            self._start_taps(graph=False)
        return logits.float().cpu()

    # One pass

    @property
    def _needs_graph(self) -> bool:
        return self.plan.tier != "linear" and self.plan.method not in GRADIENT_FREE

    @property
    def _tolerance(self) -> float:
        return EXACT if self.plan.precision == "fp32" else ROUGH

    def _grad_mode(self) -> contextlib.AbstractContextManager[Any]:
        # The parameters are frozen, so with gradients on only the head behind the tap is recorded.
        return torch.enable_grad() if self._needs_graph else torch.no_grad()

    def _autocast(self) -> torch.autocast:
        low = self._plan is not None and self._plan.precision == "bf16"
        return torch.autocast(self.classifier.device.type, dtype=torch.bfloat16, enabled=low)

    def _start_taps(self, *, graph: bool) -> None:
        for tap in (self._target, self._cells, self._fine):
            if tap is not None:
                tap.start(graph=graph)

    def _forward(self, pixels: Tensor, *, graph: bool) -> Pass:
        assert self._target is not None
        assert self._cells is not None
        self._start_taps(graph=graph)
        with self._autocast():
            logits = run_module(self._module, self.classifier.normalise(pixels))
        output, cells = self._target.take(), self._cells.take()
        fine = None if self._fine is None else self._fine.take()
        activations = self._target.layer.layout.features(output.detach()).float()
        return Pass(pixels, logits.float(), output, activations, cells, fine)

    def _cell_features(self, done: Pass) -> Tensor:
        assert self._cells is not None
        return averaged(self._cells.layer.layout.features(done.cells.detach())).float()

    def _fine_features(self, done: Pass, cells: torch.Size) -> Tensor:
        """Fine cells, two a side for each cell of the given shape; of no channels without any."""
        images, _, rows, columns = cells
        if self._fine is None or done.fine is None:
            return done.activations.new_zeros(images, 0, 2 * rows, 2 * columns)
        features = self._fine.layer.layout.features(done.fine.detach()).float()
        if features.shape[2:] == (2 * rows, 2 * columns):
            return features
        return F.adaptive_avg_pool2d(features, (2 * rows, 2 * columns))

    def _draw(self, done: Pass, shown: Tensor) -> Tensor:
        """Maps of the classes shown, (image, shown, row, column)."""
        if self.plan.method == "eigencam":
            return eigencam(done.activations)[:, None].expand(-1, shown.shape[1], -1, -1)
        if self.plan.method == "ablationcam":
            rows = zip(done.pixels, done.logits, done.activations, shown, strict=True)
            return torch.stack([self._ablated(*row) for row in rows])
        method = METHODS[self.plan.method]
        if self.plan.tier == "linear":
            assert self._head is not None
            places = done.activations.shape[2] * done.activations.shape[3]
            gradient = self._head.rows[shown][..., None, None] / places
            return draw(method, done.activations, gradient)

        classes = _once(shown)
        maps = torch.stack(
            [
                draw(method, done.activations, gradient[:, None])[:, 0]
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
            logits[shown] - self._logits_without(image, channels)[:, shown]
            for channels in torch.split(torch.arange(len(activations)), ABLATED)
        ]
        return torch.einsum("ck,chw->khw", torch.cat(drops), activations)

    def _logits_without(self, image: Tensor, channels: Tensor) -> Tensor:
        """Logits of an image, (channel, class), each without one channel of the map layer."""
        assert self._target is not None
        images = image if self._shares_body else image.expand(len(channels), -1, -1, -1)
        self._start_taps(graph=False)
        self._target.without = channels
        try:
            with torch.no_grad(), self._autocast():
                return run_module(self._module, images, len(channels)).float()
        finally:
            self._target.without = None
            self._start_taps(graph=False)

    def _try_sharing(self, pixels: Tensor) -> None:
        """Whether what follows the map layer takes more images than what precedes it had."""
        image, channels = self.classifier.normalise(pixels[None]), torch.arange(2)
        self._shares_body = False
        expected = self._logits_without(image, channels)
        self._shares_body = True
        try:
            self._shares_body = _close(self._logits_without(image, channels), expected)
        except ModelError:
            self._shares_body = False

    def _gradients(self, done: Pass, classes: Tensor) -> Iterator[Tensor]:
        """For each column of classes the gradient of these logits, one an image.

        Args:
            done: a pass with a graph.
            classes: (image, class).

        Yields:
            (image, channel, row, column); one row and column where the head is pooled.
        """
        if self._together:
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
        assert self._target is not None
        layout = self._target.layer.layout
        gradient = layout.arranged(gradient).float()
        if self.plan.tier != "pooled":
            return gradient
        if not layout.rectified:
            return gradient[:, :, :1, :1]
        on = layout.arranged(done.output.detach()) > 0
        return gradient.sum((2, 3), keepdim=True) / on.sum((2, 3), keepdim=True).clamp(min=1)

    # The plan

    def _find_layers(self, pixels: Tensor) -> tuple[Probe, Output, Output, Output | None]:
        images = self.classifier.normalise(_probing_pixels(pixels))
        found = probe(self._module, images)
        kind = type(self._module).__name__
        if self.settings.layer is not None:
            target = layers.named_layer(found, self.settings.layer)
        elif reason := next((UNMAPPED[name] for name in UNMAPPED if kind.startswith(name)), None):
            raise ModelError(
                f"{self.classifier.name}: {kind} {reason}; choose a layer with --layer"
            )
        else:
            target = layers.map_layer(found, self.classifier.name)
        layers.check_places(self._module, found, target)
        cells = layers.cell_layer(found, target)
        if layers.is_shuffled(self._module, found, cells):
            cells = target
        fine = layers.fine_layer(found, cells)
        if fine is not None and layers.is_shuffled(self._module, found, fine):
            fine = None
        return found, target, cells, fine

    def _check_head(self, found: Probe, target: Output) -> None:
        """The head's own graph must give the gradient that the whole network's graph gave."""
        assert self._target is not None
        assert target.gradient is not None
        with torch.enable_grad():
            self._start_taps(graph=True)
            logits = run_module(self._module, found.images)
            mixed = (logits.float() * found.mixture).sum()
            (gradient,) = torch.autograd.grad(mixed, self._target.take())
            self._start_taps(graph=False)
        if not _close(logits.detach().float(), found.logits):
            self._note("the model gives the same images different logits: is dropout left on?")
        elif not _close(gradient, target.gradient):
            raise ModelError(
                f"{self.classifier.name}: layer {target.name} is used in more ways than a hook can "
                "follow, so its maps would be wrong; choose another with --layer"
            )

    def _choose_tier(self, first: Tensor, probed: Probe, target: Output) -> None:
        """Take the cheapest tier that the probe allows and the self-check confirms."""
        if self.plan.method in GRADIENT_FREE:
            self._note(GRADIENT_FREE[self.plan.method])
            if self.plan.method == "ablationcam":
                self._try_sharing(first[0])
            return
        gradient = layers.patch_gradient(target)
        assert gradient is not None
        assert target.layout is not None
        even = target.layout.rectified or layers.is_even(gradient)
        with torch.enable_grad():
            done = self._forward(first, graph=True)
        if even and (target.layout.rectified or layers.is_shared(gradient)):
            self._head = self._fit_head(first, done)
        expected = self._draw_as(done, "generic", "hirescam")
        if self._head is not None and not self._is_linear(done, expected):
            self._head = None
            self._note("the head looked linear but failed the self-check")
        if even and self._head is None and not _close(self._draw_as(done, "pooled"), expected):
            even = False
            self._note("the head looked like one on pooled features but failed the self-check")
        tier = "linear" if self._head is not None else "pooled" if even else "generic"
        if tier == "generic" and self._trim_last_block(first, target, done, expected):
            tier = "class token"
        self._plan = dataclasses.replace(self.plan, tier=tier)
        if tier == "generic" and layers.is_dense(probed, target):
            self._try_together(done, expected)
        if self.plan.method == "cam" and tier != "linear":
            raise ModelError(
                f"--method cam: needs a linear head after global average pooling, and what follows "
                f"{target.name} is none; use --method gradcam"
            )
        if self.plan.method == "gradcam++":
            self._note("gradcam++ maps compare places and images, but are not in logit units")

    def _is_linear(self, done: Pass, expected: Tensor) -> bool:
        assert self._head is not None
        shown = _shown(done.logits, None)
        misfit = self._head.misfit(done.activations.mean((2, 3)), done.logits.detach(), shown)
        return bool((misfit <= EXACT).all()) and _close(self._draw_as(done, "linear"), expected)

    def _trim_last_block(self, first: Tensor, target: Output, done: Pass, expected: Tensor) -> bool:
        """Whether the last block may run for the class token alone; from then on it does."""
        last = last_block(self._module, target.layer)
        if last is None:
            return False
        last.attach()
        self._last = last
        try:
            with torch.enable_grad():
                trimmed = self._forward(first, graph=True)
            same = _close(trimmed.logits.detach(), done.logits.detach())
            same = same and _close(self._draw_as(trimmed, "generic", "hirescam"), expected)
        except ModelError:
            # What follows the block needs all of its tokens.
            same = False
        if not same:
            last.remove()
            self._last = None
        return same

    def _try_together(self, done: Pass, expected: Tensor) -> None:
        """Whether the classes of a dense head may share one backward pass.

        Its weights are far larger than what they are multiplied with, so that reading them is what
        a backward pass takes.
        """
        self._together = True
        try:
            self._together = _close(self._draw_as(done, "generic", "hirescam"), expected)
        except RuntimeError:
            # Of operations that cannot take several gradients at once.
            self._together = False

    def _draw_as(self, done: Pass, tier: str, method: str = "gradcam") -> Tensor:
        """Maps of the top classes from a pass with a graph, by another tier and method."""
        plan = self.plan
        self._plan = dataclasses.replace(plan, tier=tier, method=method)
        try:
            return self._draw(done, _shown(done.logits, None)).detach()
        finally:
            self._plan = plan

    def _fit_head(self, first: Tensor, done: Pass) -> LinearHead:
        """Read the rows and bias of a linear head off its gradients, one class an image."""
        assert self._target is not None
        layout = self._target.layer.layout
        if layout.rectified:
            # After a ReLU of no module, cells that are off have no gradient: turn all of them on.
            self._target.fills = True
            with torch.enable_grad():
                done = self._forward(first, graph=True)
            self._target.fills = False
        rows = []
        for classes in torch.split(torch.arange(done.logits.shape[1]), len(first)):
            score = done.logits[torch.arange(len(classes)), classes].sum()
            (gradient,) = torch.autograd.grad(score, done.output, retain_graph=True)
            rows.append(layout.arranged(gradient)[: len(classes)].sum((2, 3)).float())
        weights = torch.cat(rows)
        bias = done.logits[0].detach() - weights @ done.activations[0].mean((1, 2))
        return LinearHead(weights, bias)

    def _trial(
        self, pixels: Tensor, precision: str, shown: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits and maps of some classes, or of the top ones, at another precision."""
        plan = self.plan
        self._plan = dataclasses.replace(plan, precision=precision)
        try:
            with self._grad_mode():
                done = self._forward(pixels, graph=self._needs_graph)
                maps = self._draw(done, _shown(done.logits, None) if shown is None else shown)
            return done.logits.detach(), maps.detach()
        finally:
            self._plan = plan

    def _leave_linear(self, reason: str) -> None:
        self._head = None
        self._plan = dataclasses.replace(self.plan, tier="pooled")
        self._note(reason)

    def _choose_precision(self, first: Tensor) -> None:
        """Take bf16 where it changes nothing that matters and the device has arithmetic for it.

        By what the device is, not by trying which is faster: the same seed gives the same maps.
        """
        wanted, kind = self.settings.precision, self.classifier.device.type
        slow = self.plan.method == "ablationcam"
        if wanted == "fp32" or kind not in ("cpu", "cuda") or slow:
            return
        if wanted == "auto" and not _has_bf16(self.classifier.device):
            self._note("fp32: this device has no matrix arithmetic in bf16; see --precision")
            return
        logits, maps = self._trial(first, "fp32")
        # Where the second and third class change places, the maps of either are still the same.
        low_logits, low_maps = self._trial(first, "bf16", _shown(logits, None))
        alike = _correlation(maps[:, 1:], low_maps[:, 1:])
        agree = bool((logits.argmax(1) == low_logits.argmax(1)).all())
        if agree and alike > ALIKE:
            self._plan = dataclasses.replace(self.plan, precision="bf16")
            return
        reason = f"maps correlate {alike:.3f} with fp32" if agree else "the top class changes"
        self._note(f"fp32: in bf16 {reason} on the first images")

    def _note(self, text: str) -> None:
        self._plan = dataclasses.replace(self.plan, notes=(*self.plan.notes, text))

    def _forget(self) -> None:
        for tap in (self._target, self._cells, self._fine):
            if tap is not None:
                tap.remove()
        if self._last is not None:
            self._last.remove()
        self._target = self._cells = self._fine = self._head = self._last = self._plan = None
        self._together = False


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


def _probing_pixels(pixels: Tensor) -> Tensor:
    """Two images of the batch and one of noise: never all the same."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, tuple(pixels.shape[1:]), generator=generator).to(torch.uint8)
    return torch.cat([pixels[:2], noise[None].to(pixels.device)])


def _shown(logits: Tensor, labels: Tensor | None) -> Tensor:
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


def _close(values: Tensor, expected: Tensor) -> bool:
    """Whether two results agree but for rounding, relative to the largest value of an image."""
    gap = (values - expected).flatten(1).abs().amax(1)
    return bool((gap <= EXACT * expected.flatten(1).abs().amax(1)).all())


def _correlation(maps: Tensor, others: Tensor) -> float:
    """The lowest correlation between the maps, (image, class, row, column), of two passes."""
    first, second = maps.flatten(2), others.flatten(2)
    first, second = first - first.mean(2, keepdim=True), second - second.mean(2, keepdim=True)
    return float(F.cosine_similarity(first, second, dim=2).min())


def _has_bf16(device: torch.device) -> bool:
    """Whether a device gains by bf16: GPUs from Ampere on, and processors with AMX.

    Other processors with bf16 instructions run networks in .4 to 2.2 times the time of fp32.
    """
    if device.type == "cpu":
        return torch.cpu._is_amx_tile_supported()
    return torch.cuda.get_device_capability(device) >= (8, 0)


def _fields(batch: MapBatch) -> list[Tensor]:
    return [getattr(batch, field.name) for field in dataclasses.fields(batch)]
