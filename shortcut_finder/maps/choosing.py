"""Choosing: the layers, the tier and the precision that maps are drawn with, on the first batch.

Every fast tier is checked against the generic one before it is used.
"""

from __future__ import annotations

import torch
from torch import Tensor

from shortcut_finder.errors import ModelError
from shortcut_finder.maps import layers
from shortcut_finder.maps.agreement import EXACT, close, correlation
from shortcut_finder.maps.class_token import last_block
from shortcut_finder.maps.drawing import Drawing, shown_outputs
from shortcut_finder.maps.methods import GRADIENT_FREE
from shortcut_finder.maps.probe import Output, Probe, probe, run_module
from shortcut_finder.maps.taps import LinearHead, Pass
from shortcut_finder.model.classifier import Classifier

# bf16 keeps 8 bits: maps may differ a little, but must rank the same places and the same class.
ALIKE = 0.99
# Networks with tokens that are no places of the image, or with logits that add up streams which no
# single layer carries. No probe can tell.
UNMAPPED = {
    "CrossVit": "reads its classes from several token streams at once, and one map shows one",
    "VOLO": "reads its classes from several token streams at once, and one map shows one",
    "Perceiver": "has tokens that are no places of the image",
}


def find_layers(
    classifier: Classifier, layer: str | None, pixels: Tensor
) -> tuple[Probe, Output, Output, Output | None]:
    """What a probe shows, and the layers of the maps, of the cells and of the fine cells.

    Args:
        classifier: the network.
        layer: dotted path of the layer that the user wants maps of; ``None`` to find one.
        pixels: the first images, uint8 (image, row, column, channel).
    """
    module = classifier.module
    images = classifier.normalise(_probing_pixels(pixels))
    found = probe(module, images)
    kind = type(module).__name__
    if layer is not None:
        target = layers.named_layer(found, layer)
    elif reason := next((UNMAPPED[name] for name in UNMAPPED if kind.startswith(name)), None):
        raise ModelError(f"{classifier.name}: {kind} {reason}; choose a layer with --layer")
    else:
        target = layers.map_layer(found, classifier.name)
    layers.check_places(module, found, target)
    cells = layers.cell_layer(found, target)
    if layers.is_shuffled(module, found, cells):
        cells = target
    fine = layers.fine_layer(found, cells)
    if fine is not None and layers.is_shuffled(module, found, fine):
        fine = None
    return found, target, cells, fine


def check_head(drawing: Drawing, found: Probe, target: Output) -> None:
    """The head's own graph must give the gradient that the whole network's graph gave."""
    assert drawing.target is not None
    assert target.gradient is not None
    with torch.enable_grad():
        drawing.start_taps(graph=True)
        logits = run_module(drawing.module, found.images)
        mixed = (logits.float() * found.mixture).sum()
        (gradient,) = torch.autograd.grad(mixed, drawing.target.take())
        drawing.start_taps(graph=False)
    if not close(logits.detach().float(), found.logits):
        drawing.note("the model gives the same images different logits: is dropout left on?")
    elif not close(gradient, target.gradient):
        raise ModelError(
            f"{drawing.classifier.name}: layer {target.name} is used in more ways than a hook can "
            "follow, so its maps would be wrong; choose another with --layer"
        )


def choose_tier(drawing: Drawing, first: Tensor, probed: Probe, target: Output) -> None:
    """Take the cheapest tier that the probe allows and the self-check confirms."""
    if drawing.plan.method in GRADIENT_FREE:
        drawing.note(GRADIENT_FREE[drawing.plan.method])
        if drawing.plan.method == "ablationcam":
            _try_sharing(drawing, first[0])
        return
    gradient = layers.patch_gradient(target)
    assert gradient is not None
    assert target.layout is not None
    even = target.layout.rectified or layers.is_even(gradient)
    with torch.enable_grad():
        done = drawing.forward(first, graph=True)
    if even and (target.layout.rectified or layers.is_shared(gradient)):
        drawing.head = _fit_head(drawing, first, done)
    expected = draw_as(drawing, done, "generic", "hirescam")
    if drawing.head is not None and not _is_linear(drawing, done, expected):
        drawing.head = None
        drawing.note("the head looked linear but failed the self-check")
    if even and drawing.head is None and not close(draw_as(drawing, done, "pooled"), expected):
        even = False
        drawing.note("the head looked like one on pooled features but failed the self-check")
    tier = "linear" if drawing.head is not None else "pooled" if even else "generic"
    if tier == "generic" and _trim_last_block(drawing, first, target, done, expected):
        tier = "class token"
    drawing.change(tier=tier)
    if tier == "generic" and layers.is_dense(probed, target):
        _try_together(drawing, done, expected)
    if drawing.plan.method == "cam" and tier != "linear":
        raise ModelError(
            f"--method cam: needs a linear head after global average pooling, and what follows "
            f"{target.name} is none; use --method gradcam"
        )
    if drawing.plan.method == "gradcam++":
        drawing.note("gradcam++ maps compare places and images, but are not in logit units")


def _is_linear(drawing: Drawing, done: Pass, expected: Tensor) -> bool:
    assert drawing.head is not None
    shown = shown_outputs(done.logits, None)
    misfit = drawing.head.misfit(done.activations.mean((2, 3)), done.logits.detach(), shown)
    return bool((misfit <= EXACT).all()) and close(draw_as(drawing, done, "linear"), expected)


def _trim_last_block(
    drawing: Drawing, first: Tensor, target: Output, done: Pass, expected: Tensor
) -> bool:
    """Whether the last block may run for the class token alone; from then on it does."""
    last = last_block(drawing.module, target.layer)
    if last is None:
        return False
    last.attach()
    drawing.last = last
    try:
        with torch.enable_grad():
            trimmed = drawing.forward(first, graph=True)
        same = close(trimmed.logits.detach(), done.logits.detach())
        same = same and close(draw_as(drawing, trimmed, "generic", "hirescam"), expected)
    except ModelError:
        # What follows the block needs all of its tokens.
        same = False
    if not same:
        last.remove()
        drawing.last = None
    return same


def _try_together(drawing: Drawing, done: Pass, expected: Tensor) -> None:
    """Whether the classes of a dense head may share one backward pass.

    Its weights are far larger than what they are multiplied with, so that reading them is what
    a backward pass takes.
    """
    drawing.together = True
    try:
        drawing.together = close(draw_as(drawing, done, "generic", "hirescam"), expected)
    except RuntimeError:
        # Of operations that cannot take several gradients at once.
        drawing.together = False


def _try_sharing(drawing: Drawing, pixels: Tensor) -> None:
    """Whether what follows the map layer takes more images than what precedes it had."""
    image, channels = drawing.classifier.normalise(pixels[None]), torch.arange(2)
    drawing.shares_body = False
    expected = drawing.logits_without(image, channels)
    drawing.shares_body = True
    try:
        drawing.shares_body = close(drawing.logits_without(image, channels), expected)
    except ModelError:
        drawing.shares_body = False


def draw_as(drawing: Drawing, done: Pass, tier: str, method: str = "gradcam") -> Tensor:
    """Maps of the top classes from a pass with a graph, by another tier and method."""
    with drawing.trying(tier=tier, method=method):
        return drawing.draw(done, shown_outputs(done.logits, None)).detach()


def _fit_head(drawing: Drawing, first: Tensor, done: Pass) -> LinearHead:
    """Read the rows and bias of a linear head off its gradients, one class an image."""
    assert drawing.target is not None
    layout = drawing.target.layer.layout
    if layout.rectified:
        # After a ReLU of no module, cells that are off have no gradient: turn all of them on.
        drawing.target.fills = True
        with torch.enable_grad():
            done = drawing.forward(first, graph=True)
        drawing.target.fills = False
    rows = []
    for classes in torch.split(torch.arange(done.logits.shape[1]), len(first)):
        score = done.logits[torch.arange(len(classes)), classes].sum()
        (gradient,) = torch.autograd.grad(score, done.output, retain_graph=True)
        rows.append(layout.arranged(gradient)[: len(classes)].sum((2, 3)).float())
    weights = torch.cat(rows)
    bias = done.logits[0].detach() - weights @ done.activations[0].mean((1, 2))
    return LinearHead(weights, bias)


def choose_precision(drawing: Drawing, wanted: str, first: Tensor) -> None:
    """Take bf16 where it changes nothing that matters and the device has arithmetic for it.

    By what the device is, not by trying which is faster: the same seed gives the same maps.
    """
    kind = drawing.classifier.device.type
    slow = drawing.plan.method == "ablationcam"
    if wanted == "fp32" or kind not in ("cpu", "cuda") or slow:
        return
    if wanted == "auto" and not _has_bf16(drawing.classifier.device):
        drawing.note("fp32: this device has no matrix arithmetic in bf16; see --precision")
        return
    logits, maps = _trial(drawing, first, "fp32")
    # Where the second and third class change places, the maps of either are still the same.
    low_logits, low_maps = _trial(drawing, first, "bf16", shown_outputs(logits, None))
    alike = correlation(maps[:, 1:], low_maps[:, 1:])
    agree = bool((logits.argmax(1) == low_logits.argmax(1)).all())
    if agree and alike > ALIKE:
        drawing.change(precision="bf16")
        return
    reason = f"maps correlate {alike:.3f} with fp32" if agree else "the top class changes"
    drawing.note(f"fp32: in bf16 {reason} on the first images")


def _trial(
    drawing: Drawing, pixels: Tensor, precision: str, shown: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Logits and maps of some classes, or of the top ones, at another precision."""
    with drawing.trying(precision=precision):
        with drawing.grad_mode():
            done = drawing.forward(pixels, graph=drawing.needs_graph)
            maps = drawing.draw(done, shown_outputs(done.logits, None) if shown is None else shown)
        return done.logits.detach(), maps.detach()


def _probing_pixels(pixels: Tensor) -> Tensor:
    """Two images of the batch and one of noise: never all the same."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, tuple(pixels.shape[1:]), generator=generator).to(torch.uint8)
    return torch.cat([pixels[:2], noise[None].to(pixels.device)])


def _has_bf16(device: torch.device) -> bool:
    """Whether a device gains by bf16: GPUs from Ampere on, and processors with AMX.

    Other processors with bf16 instructions run networks in .4 to 2.2 times the time of fp32.
    """
    if device.type == "cpu":
        return torch.cpu._is_amx_tile_supported()
    return torch.cuda.get_device_capability(device) >= (8, 0)
