"""Model: a trained classifier with its class names and the preprocessing it expects."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.errors import ModelError, SettingsError
from shortcut_finder.model.outputs import (
    Outputs,
    give_columns,
    leave_sigmoid_out,
    listed_logits,
    logits_of,
    tell_both,
)
from shortcut_finder.model.sources import Built, built_from, unwrapped
from shortcut_finder.model.surgery import adapted, read_head
from shortcut_finder.model.weights import fingerprint, one_line
from shortcut_finder.settings import Settings, devices_of

# Rec. 601, as Pillow and torchvision turn colours grey.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained classifier, ready to look at images.

    Attributes:
        module: the network, in eval mode and on the device.
        name: what the user called it.
        classes: one name for each output, in the outputs' order.
        preprocessing: how an image becomes the network's input.
        device: where the network runs.
        fingerprint: hash of every parameter and buffer.
        channels: of the network's input: 3, or 1 where it sees grey levels.
        outputs: how the outputs are read.
    """

    module: nn.Module
    name: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    device: torch.device
    fingerprint: str
    channels: int = 3
    outputs: Outputs = field(default_factory=Outputs)

    def normalise(self, pixels: Tensor) -> Tensor:
        """The network's input from pixels.

        Args:
            pixels: uint8, (image, row, column, channel), on any device.

        Returns:
            float32, (image, channel, row, column) in channels-last memory, on the device.
        """
        scale, shift = self._scale_and_shift
        if self.device.type == "cuda" and pixels.device.type == "cpu":
            # Only from pinned memory does the copy not hold up the processor.
            pixels = pixels.pin_memory()
        images = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        images = images.to(torch.float32, memory_format=torch.channels_last)
        if self.channels == 1:
            # As the loaders that such networks are trained with turn colours grey.
            images = (images * self._luma).sum(1, keepdim=True)
        return images.mul_(scale).sub_(shift)

    @cached_property
    def _luma(self) -> Tensor:
        return torch.tensor(LUMA, device=self.device)[:, None, None]

    @cached_property
    def _scale_and_shift(self) -> tuple[Tensor, Tensor]:
        mean, std = (
            torch.tensor(values, dtype=torch.float64)[:, None, None]
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        if self.channels == 1:
            mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
        scale, shift = 1 / (255 * std), mean / std
        return scale.to(self.device, torch.float32), shift.to(self.device, torch.float32)

    def class_index(self, names: Sequence[str]) -> np.ndarray:
        """The output of each of some classes.

        Args:
            names: class names, say those of a dataset.

        Returns:
            Index into the outputs, (name,) int64.

        Raises:
            ModelError: the model has no class of that name.
        """
        index = {name: i for i, name in reversed(list(enumerate(self.classes)))}
        missing = [name for name in names if name not in index]
        if missing:
            raise ModelError(
                f"{self.name}: has no class {missing[0]!r} ({len(missing)} of {len(names)} dataset "
                f"classes are missing; it has {_few(self.classes)}); rename, or pass --classes FILE"
            )
        return np.array([index[name] for name in names], dtype=np.int64)


def load_classifier(
    model: str | nn.Module,
    *,
    weights: Path | str | None,
    classes: Path | str | Sequence[str] | None,
    labels: tuple[str, ...],
    settings: Settings,
    several: bool = False,
) -> Classifier:
    """Build a classifier and check it against the class names.

    Args:
        model: a torchvision name; ``timm:NAME``; ``hf:NAME`` or a folder that transformers wrote;
            a ``.pt2`` file that torch.export wrote, which is a program and is run as one;
            ``FILE.py:FUNCTION`` or ``package.module:function``, called with ``num_classes`` where
            it takes that; or a module, which is copied, never changed.
        weights: file with a state dict, or one that `adapt` wrote; for named models also the name
            of published weights (``DEFAULT``), which are downloaded.
        classes: names of the outputs in order: a sequence, or a file with one a line, a JSON list
            or a JSON object from index to name.
        labels: the dataset's class names, sorted; the outputs' names where nothing else gives any.
        settings: input size, resize, mean, std, device, outputs and positive.
        several: whether an image may have several of the labels, or none.

    Raises:
        ModelError: the model, its weights or its class names cannot be used.
        SettingsError: the positive class is none of the two.
    """
    given = _class_names(classes)
    device = _device(settings.device)
    built = _adapted(built_from(model, weights, len(given or labels)), weights)
    preprocessing = _override(built.preprocessing, settings)
    module = unwrapped(built.module).to(device).to(memory_format=torch.channels_last).eval()
    count, channels, sigmoid = _try_outputs(module, built.name, preprocessing, device)
    # A network with one output has no name for the class that it does not speak for.
    names = given or (None if count == 1 else built.classes) or tuple(labels)
    both = count == 1 and len(names) == 2 and not several
    if settings.positive is not None and not both:
        raise SettingsError(
            f"--positive {settings.positive}: is for a network with one output and two classes; "
            f"this one has {count} outputs for {len(names)} classes, so leave the option out"
        )
    if count != len(names) and not both:
        raise ModelError(
            f"{built.name}: the model has {count} outputs but there are {len(names)} class names "
            f"({_few(names)}); pass the outputs' names with --classes FILE"
        )
    outputs = Outputs(
        sigmoid=not both and _is_sigmoid(settings, several or (sigmoid and count > 1), count),
        positive=tell_both(module, names, settings.positive) if both else None,
    )
    return Classifier(
        module, built.name, names, preprocessing, device, fingerprint(module), channels, outputs
    )


def _is_sigmoid(settings: Settings, likely: bool, count: int) -> bool:
    # A softmax of one output says nothing.
    if settings.outputs == "auto" or (likely and count == 1):
        return likely
    return settings.outputs == "sigmoid"


def _adapted(built: Built, weights: Path | str | None) -> Built:
    head = read_head(Path(weights)) if weights is not None and Path(weights).is_file() else None
    if head is None:
        return built
    return dataclasses.replace(built, module=adapted(built.module, head, str(weights)))


def _override(preset: Preprocessing, settings: Settings) -> Preprocessing:
    """The preset with the user's options, which always win."""
    if settings.input_size is not None:
        ratio = preset.resize_to / min(preset.height, preset.width)
        side = settings.input_size
        preset = dataclasses.replace(
            preset, height=side, width=side, resize_to=max(side, round(side * ratio))
        )
    return dataclasses.replace(
        preset,
        resize=settings.resize or preset.resize,
        mean=settings.mean or preset.mean,
        std=settings.std or preset.std,
    )


def _try_outputs(
    module: nn.Module, name: str, preprocessing: Preprocessing, device: torch.device
) -> tuple[int, int, bool]:
    """How many classes the network tells apart, of how many channels, and if by a last sigmoid.

    What it returns of one blank image says so; from now on it returns logits, (image, class).
    """
    height, width = preprocessing.height, preprocessing.width
    failed: Exception | None = None
    for channels in (3, 1):
        blank = torch.zeros((1, channels, height, width), device=device)
        try:
            with torch.no_grad():
                output = module(blank)
            break
        # Whatever a network raises on an input it cannot take; what it says of colours is told.
        except Exception as error:
            failed = failed or error
    else:
        assert failed is not None
        raise ModelError(
            f"{name}: fails on a {width}x{height} RGB image ({one_line(failed)}), and on a grey "
            "one; set --input-size to what it was trained on"
        ) from failed
    logits = listed_logits(output)
    if logits is None or logits.shape[0] != 1:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(f"{name}: returns {shape} for one image; expected logits (1, classes)")
    probable = bool(((logits >= 0) & (logits <= 1)).all())
    sigmoid = probable and leave_sigmoid_out(module, blank, name)
    if logits_of(output) is None:
        give_columns(module)
    return logits.shape[1], channels, sigmoid


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Of several the first; the others sweep.
    name = (devices_of(name) or [name])[0]
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    # Backends raise whatever they like when they are not there.
    except Exception as error:
        raise ModelError(f"--device {name}: cannot be used ({one_line(error)})") from error
    return device


def _class_names(classes: Path | str | Sequence[str] | None) -> tuple[str, ...] | None:
    if classes is None:
        return None
    if isinstance(classes, (str, Path)):
        names, source = _read_names(Path(classes)), str(classes)
    else:
        names, source = list(classes), "classes"
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ModelError(f"{source}: expected one class name for each output of the model")
    return tuple(names)


def _read_names(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: class names cannot be read ({one_line(error)})") from error
    if not text.lstrip().startswith(("[", "{")):
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        content = json.loads(text)
        if isinstance(content, list):
            return content
        ordered = sorted((int(index), name) for index, name in content.items())
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelError(
            f"{path}: neither a JSON list of class names nor an object from index to name"
        ) from error
    if [index for index, _ in ordered] != list(range(len(ordered))):
        raise ModelError(f"{path}: the indices must run from 0 to {len(ordered) - 1}")
    return [name for _, name in ordered]


def _few(names: Sequence[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
