"""Model: a trained classifier with its class names and the preprocessing it expects."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import difflib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shortcut_finder.data.imports import is_function_name, load_function
from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.errors import ModelError, SettingsError
from shortcut_finder.model.huggingface import is_pretrained_name, load_pretrained
from shortcut_finder.model.surgery import adapted, read_head
from shortcut_finder.model.weights import (
    StateDict,
    archived_names,
    fingerprint,
    fit_prefix,
    load_weights,
    one_line,
    read_state_dict,
)
from shortcut_finder.settings import Settings


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
    """

    module: nn.Module
    name: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    device: torch.device
    fingerprint: str

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
        return images.mul_(scale).sub_(shift)

    @cached_property
    def _scale_and_shift(self) -> tuple[Tensor, Tensor]:
        mean = torch.tensor(self.preprocessing.mean, dtype=torch.float64)[:, None, None]
        std = torch.tensor(self.preprocessing.std, dtype=torch.float64)[:, None, None]
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


@dataclass(frozen=True, eq=False)
class _Built:
    """A network with what its source says about classes and preprocessing."""

    module: nn.Module
    name: str
    classes: tuple[str, ...] | None
    preprocessing: Preprocessing


def load_classifier(
    model: str | nn.Module,
    *,
    weights: Path | str | None,
    classes: Path | str | Sequence[str] | None,
    labels: tuple[str, ...],
    settings: Settings,
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
        settings: input size, resize, mean, std and device.

    Raises:
        ModelError: the model, its weights or its class names cannot be used.
    """
    given = _class_names(classes)
    device = _device(settings.device)
    built = _adapted(_build(model, weights, len(given or labels)), weights)
    names = given or built.classes or tuple(labels)
    preprocessing = _override(built.preprocessing, settings)
    module = _unwrapped(built.module).to(device).to(memory_format=torch.channels_last).eval()
    outputs = _count_outputs(module, built.name, preprocessing, device)
    if outputs != len(names):
        raise ModelError(
            f"{built.name}: the model has {outputs} outputs but there are {len(names)} class names "
            f"({_few(names)}); pass the outputs' names with --classes FILE"
        )
    return Classifier(module, built.name, names, preprocessing, device, fingerprint(module))


def logits_of(output: Any) -> Tensor | None:
    """The logits, (image, class), in whatever a network returns; None where there are none.

    A tensor is taken as it is; an object or mapping by its ``logits``; a tuple or mapping by its
    first value that holds some (the main output comes before the auxiliary ones).
    """
    if isinstance(output, Tensor):
        return output if output.dim() == 2 else None
    if getattr(output, "logits", None) is not None:
        return logits_of(output.logits)
    if isinstance(output, Mapping):
        output = [output["logits"]] if "logits" in output else list(output.values())
    if isinstance(output, (tuple, list)):
        return next((found for found in map(logits_of, output) if found is not None), None)
    return None


def _adapted(built: _Built, weights: Path | str | None) -> _Built:
    head = read_head(Path(weights)) if weights is not None and Path(weights).is_file() else None
    if head is None:
        return built
    return dataclasses.replace(built, module=adapted(built.module, head, str(weights)))


def _build(model: str | nn.Module, weights: Path | str | None, count: int) -> _Built:
    if isinstance(model, nn.Module):
        return _with_file(_copied(model), type(model).__name__, weights)
    if model.startswith("timm:"):
        return _from_timm(model, weights, count)
    if is_pretrained_name(model):
        module, classes, preset = load_pretrained(model, weights)
        return _Built(module, model, classes, preset)
    if Path(model).is_file():
        return _from_program(Path(model), weights)
    if is_function_name(model):
        return _with_file(_call(model, count), model, weights)
    return _from_torchvision(model, weights)


def _with_file(module: nn.Module, name: str, weights: Path | str | None) -> _Built:
    if weights is not None:
        load_weights(module, read_state_dict(Path(weights)), str(weights))
    return _Built(module, name, None, Preprocessing())


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    # Whatever a module of the user's raises when copied.
    except Exception as error:
        raise ModelError(
            f"{type(module).__name__}: cannot be copied ({one_line(error)}); "
            "pass FILE.py:FUNCTION that builds it"
        ) from error


def _call(spec: str, count: int) -> nn.Module:
    try:
        function = load_function(spec)
    except SettingsError as error:
        raise ModelError(str(error)) from error
    try:
        wants_count = "num_classes" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        wants_count = False
    try:
        module = function(num_classes=count) if wants_count else function()
    # Whatever a function of the user's raises.
    except Exception as error:
        raise ModelError(f"{spec}: failed with {one_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{spec}: returned a {type(module).__name__}; expected an nn.Module")
    return module


def _from_program(path: Path, weights: Path | str | None) -> _Built:
    """A network that torch.export wrote, its modules apart again so that layers can be seen."""
    if "constants.pkl" in archived_names(path):
        raise ModelError(
            f"--model {path}: TorchScript does not let its layers be seen, so no map can be drawn; "
            "export the network with torch.export (.pt2), or pass FILE.py:FUNCTION"
        )
    if path.suffix != ".pt2":
        raise ModelError(
            f"--model {path}: a file, but not a .pt2 program; a state dict is for --weights, and "
            "--model says which network it is for"
        )
    try:
        program = torch.export.load(path)
        module = torch.export.unflatten(program)
        entry = program.graph_signature.user_inputs[0]
        (node,) = (node for node in program.graph.nodes if node.name == entry)
        _, _, *sides = node.meta["val"].shape
    # Whatever a damaged file, or one of another version, makes the reader raise.
    except Exception as error:
        raise ModelError(
            f"--model {path}: not a program that torch.export wrote, or of another version of "
            f"PyTorch ({one_line(error)})"
        ) from error
    built = _with_file(module, str(path), weights)
    if len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        return built
    preset = dataclasses.replace(built.preprocessing, height=sides[0], width=sides[1])
    return dataclasses.replace(built, preprocessing=preset)


def _from_torchvision(name: str, weights: Path | str | None) -> _Built:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "see torchvision.models"
        raise ModelError(
            f"--model {name}: no torchvision classifier of that name; {hint} "
            "Your own is FILE.py:FUNCTION, others timm:NAME or hf:NAME"
        )
    state: StateDict
    published = models.get_model_weights(name)
    preset = Preprocessing.from_transform(next(iter(published)).transforms())
    if weights is None:
        raise ModelError(
            f"--model {name}: has no weights; pass --weights FILE or --weights DEFAULT"
        )
    if not Path(weights).exists() and str(weights).rpartition(".")[2] in published.__members__:
        chosen = published[str(weights).rpartition(".")[2]]
        preset = Preprocessing.from_transform(chosen.transforms())
        with _downloading(name):
            state = torch.hub.load_state_dict_from_url(
                chosen.url, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
        classes, transform_input = tuple(chosen.meta["categories"]), True
    else:
        # These were trained elsewhere, most likely on whole images: take the network's usual input
        # size and statistics, and crop nothing away.
        preset = dataclasses.replace(preset, resize="squash")
        state, classes, transform_input = read_state_dict(Path(weights)), None, False

    def build(**options: Any) -> nn.Module:
        return models.get_model(name, weights=None, **options)

    options = _torchvision_options(name, build, state, transform_input)
    if "image_size" in options:
        size = options["image_size"]
        preset = dataclasses.replace(preset, height=size, width=size)
    module = build(**options)
    load_weights(module, state, str(weights))
    return _Built(module, name, classes, preset)


def _torchvision_options(
    name: str, build: Callable[..., nn.Module], state: StateDict, transform_input: bool
) -> dict[str, Any]:
    """The builder's options that make the network fit the state dict."""
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        aux = any("AuxLogits." in key or "aux1." in key for key in state)
        options = {"aux_logits": aux, "init_weights": False, "transform_input": transform_input}
    with torch.device("meta"):
        outline = build(**options)
    state = fit_prefix(state, outline)
    patch = getattr(outline, "patch_size", None)
    if isinstance(patch, int):
        side = _vit_side(state.get("encoder.pos_embedding"), patch)
        options |= {"image_size": side} if side else {}
    # The final layer is the last one of the network itself; auxiliary ones are built before it.
    final = [key for key, value in outline.named_parameters() if value.shape[0] == 1000][-1]
    if final in state and state[final].dim() > 0:
        options["num_classes"] = state[final].shape[0]
    return options


def _vit_side(positions: Tensor | None, patch: int) -> int | None:
    """The image side, in pixels, that a vision transformer's position embedding was made for."""
    if positions is None or positions.dim() != 3:
        return None
    side = round((positions.shape[1] - 1) ** 0.5)
    return side * patch if side * side == positions.shape[1] - 1 else None


def _from_timm(spec: str, weights: Path | str | None, count: int) -> _Built:
    name = spec.removeprefix("timm:")
    try:
        import timm
    except ImportError as error:
        raise ModelError(
            f"--model {spec}: timm is not installed; pip install 'shortcut-finder[timm]'"
        ) from error
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "see timm.list_models()"
        raise ModelError(f"--model {spec}: no timm model of that name; {hint}")
    if weights is None:
        raise ModelError(
            f"--model {spec}: has no weights; pass --weights FILE or --weights DEFAULT"
        )
    if str(weights) == "DEFAULT" and not Path(weights).exists():
        with _downloading(spec):
            module = timm.create_model(name, pretrained=True)
        return _Built(module, spec, None, _timm_preset(module, squash=False))
    module = timm.create_model(name, pretrained=False, num_classes=count)
    load_weights(module, read_state_dict(Path(weights)), str(weights))
    return _Built(module, spec, None, _timm_preset(module, squash=True))


def _timm_preset(module: nn.Module, *, squash: bool) -> Preprocessing:
    config: Mapping[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    _, height, width = config.get("input_size", (3, 224, 224))
    interpolation = config.get("interpolation", "bicubic")
    return Preprocessing(
        height=height,
        width=width,
        resize="squash" if squash else "crop",
        resize_to=int(min(height, width) / config.get("crop_pct", 0.875)),
        mean=tuple(config.get("mean", Preprocessing.mean)),
        std=tuple(config.get("std", Preprocessing.std)),
        interpolation=interpolation if interpolation in ("bilinear", "bicubic") else "bicubic",
    )


@contextlib.contextmanager
def _downloading(name: str) -> Iterator[None]:
    try:
        yield
    # urllib, the hash check and other packages' clients have no error in common.
    except Exception as error:
        raise ModelError(
            f"--model {name}: its weights cannot be downloaded ({one_line(error)}); "
            "without a network, pass --weights FILE"
        ) from error


def _unwrapped(module: nn.Module) -> nn.Module:
    """The network inside DataParallel or torch.compile, where layers can be looked at."""
    if isinstance(module, nn.DataParallel):
        return _unwrapped(module.module)
    inner = getattr(module, "_orig_mod", None)
    return _unwrapped(inner) if isinstance(inner, nn.Module) else module


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


def _count_outputs(
    module: nn.Module, name: str, preprocessing: Preprocessing, device: torch.device
) -> int:
    """How many classes the network tells apart, from one blank image."""
    size = (1, 3, preprocessing.height, preprocessing.width)
    try:
        with torch.no_grad():
            output = module(torch.zeros(size, device=device))
    # Whatever a network raises on an input it cannot take.
    except Exception as error:
        raise ModelError(
            f"{name}: fails on a {size[3]}x{size[2]} RGB image ({one_line(error)}); "
            "set --input-size to what it was trained on"
        ) from error
    logits = logits_of(output)
    if logits is None or logits.shape[0] != 1:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(f"{name}: returns {shape} for one image; expected logits (1, classes)")
    return logits.shape[1]


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
