"""Sources: where a network comes from, by how the user names it."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shortcut_finder.data.imports import is_function_name, load_function
from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.errors import ModelError, SettingsError
from shortcut_finder.model.huggingface import is_pretrained_name, load_pretrained
from shortcut_finder.model.weights import (
    StateDict,
    archived_names,
    fit_prefix,
    load_weights,
    one_line,
    read_state_dict,
)


@dataclass(frozen=True, eq=False)
class Built:
    """A network with what its source says about classes and preprocessing."""

    module: nn.Module
    name: str
    classes: tuple[str, ...] | None
    preprocessing: Preprocessing


def built_from(model: str | nn.Module, weights: Path | str | None, count: int) -> Built:
    """The network that a user names, with its weights, as `load_classifier` takes it."""
    if isinstance(model, nn.Module):
        return _with_file(_copied(model), type(model).__name__, weights)
    if model.startswith("timm:"):
        return _from_timm(model, weights, count)
    if is_pretrained_name(model):
        module, classes, preset = load_pretrained(model, weights)
        return Built(module, model, classes, preset)
    if Path(model).is_file():
        return _from_program(Path(model), weights)
    if is_function_name(model):
        return _with_file(_call(model, count), model, weights)
    return _from_torchvision(model, weights)


def _with_file(module: nn.Module, name: str, weights: Path | str | None) -> Built:
    if weights is not None:
        load_weights(module, read_state_dict(Path(weights)), str(weights))
    return Built(module, name, None, Preprocessing())


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


def _from_program(path: Path, weights: Path | str | None) -> Built:
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


def _from_torchvision(name: str, weights: Path | str | None) -> Built:
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
    return Built(module, name, classes, preset)


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


def _from_timm(spec: str, weights: Path | str | None, count: int) -> Built:
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
        return Built(module, spec, None, _timm_preset(module, squash=False))
    module = timm.create_model(name, pretrained=False, num_classes=count)
    load_weights(module, read_state_dict(Path(weights)), str(weights))
    return Built(module, spec, None, _timm_preset(module, squash=True))


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


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside DataParallel or torch.compile, where layers can be looked at."""
    if isinstance(module, nn.DataParallel):
        return unwrapped(module.module)
    inner = getattr(module, "_orig_mod", None)
    return unwrapped(inner) if isinstance(inner, nn.Module) else module
