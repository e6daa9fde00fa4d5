"""Hugging Face: image classifiers of the `transformers` package, from a folder or by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.errors import ModelError
from shortcut_finder.model.weights import load_weights, one_line, read_state_dict

PREFIX = "hf:"
# Pillow's number of the only other interpolation we have.
BICUBIC = 3


def is_pretrained_name(model: str) -> bool:
    """Whether this is ``hf:NAME``, or a folder that ``save_pretrained`` wrote."""
    return model.startswith(PREFIX) or (Path(model) / "config.json").is_file()


def load_pretrained(
    model: str, weights: Path | str | None
) -> tuple[nn.Module, tuple[str, ...] | None, Preprocessing]:
    """An image classifier with its class names, if it has any, and its preprocessing.

    Code that comes with a model is never run, whatever its files ask for.

    Args:
        model: ``hf:NAME``, ``hf:FOLDER`` or ``FOLDER``. What is no folder is looked up in the
            local cache of `transformers` and downloaded if it is not there.
        weights: file with a state dict in place of the model's own weights.

    Raises:
        ModelError: it cannot be had, or it is no image classifier of `transformers`.
    """
    try:
        import transformers
    except ImportError as error:
        raise ModelError(
            f"--model {model}: transformers is not installed; pip install 'shortcut-finder[hf]'"
        ) from error
    name = model.removeprefix(PREFIX)
    # Never code of the model's, and nothing from elsewhere where a folder was named.
    plain: dict[str, Any] = {
        "trust_remote_code": False,
        "local_files_only": Path(name).is_dir(),
    }
    with _loading(model):
        config = transformers.AutoConfig.from_pretrained(name, **plain)
    kind = _classifier_of(transformers, config, model)
    if weights is not None and str(weights) != "DEFAULT":
        with _loading(model):
            module = _with_attention(kind._from_config, config)
        load_weights(module, read_state_dict(Path(weights)), str(weights))
    else:
        module = _own_weights(kind, config, name, model, plain)
    names = [config.id2label[index] for index in range(config.num_labels)]
    unnamed = all(label == f"LABEL_{index}" for index, label in enumerate(names))
    return module, None if unnamed else tuple(names), _preprocessing(config, name, model, plain)


def _classifier_of(transformers: Any, config: Any, model: str) -> Any:
    """The class of `transformers` that classifies images with such a configuration."""
    if getattr(config, "quantization_config", None) is not None:
        raise ModelError(f"--model {model}: is quantised; save it with its full weights")
    try:
        kinds = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)]
    except KeyError as error:
        raise ModelError(
            f"--model {model}: a {config.model_type} is no image classifier of transformers"
        ) from error
    kinds = kinds if isinstance(kinds, (tuple, list)) else (kinds,)
    wanted = config.architectures or ()
    return next((kind for kind in kinds if kind.__name__ in wanted), kinds[0])


def _own_weights(kind: Any, config: Any, name: str, model: str, plain: dict[str, Any]) -> nn.Module:
    with _loading(model):
        module, facts = _with_attention(
            kind.from_pretrained,
            name,
            config=config,
            dtype=torch.float32,
            weights_only=True,
            output_loading_info=True,
            **plain,
        )
    missing = sorted([*facts["missing_keys"], *(key[0] for key in facts["mismatched_keys"])])
    if missing:
        raise ModelError(
            f"--model {model}: its weights lack {missing[0]} ({len(missing)} missing); "
            "is it fine-tuned as a classifier?"
        )
    return module


def _with_attention(build: Any, *args: Any, **options: Any) -> Any:
    """Build with PyTorch's own attention; a configuration could ask for code from elsewhere."""
    try:
        return build(*args, attn_implementation="sdpa", **options)
    except ValueError:
        return build(*args, attn_implementation="eager", **options)


def _preprocessing(config: Any, name: str, model: str, plain: dict[str, Any]) -> Preprocessing:
    """What the model's image processor does, as far as it can be said in ours."""
    from transformers import AutoImageProcessor

    try:
        processor: Any = AutoImageProcessor.from_pretrained(name, **plain)
    # A folder may hold none, or one for another version of the package.
    except Exception:
        side = getattr(config, "image_size", None)
        height, width = side if isinstance(side, (tuple, list)) else (side, side)
        return Preprocessing(height=height or 224, width=width or 224)
    if getattr(processor, "do_flip_channel_order", False):
        raise ModelError(
            f"--model {model}: expects blue, green, red; pass FILE.py:FUNCTION that reverses them"
        )
    size = processor.size
    crop = processor.crop_size if getattr(processor, "do_center_crop", False) else None
    side = size.shortest_edge or size.height
    if getattr(processor, "crop_pct", None) and size.shortest_edge and size.shortest_edge < 384:
        # ConvNeXt's: the size is what is left after the crop.
        crop, side = {"height": side, "width": side}, int(side / processor.crop_pct)
    height, width = (crop[key] if crop else size[key] or side for key in ("height", "width"))
    squashed = crop is None and size.shortest_edge is None
    scale = 255 * (processor.rescale_factor if processor.do_rescale is not False else 1.0)
    mean, std = processor.image_mean, processor.image_std
    if not processor.do_normalize:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    offset = 1.0 if getattr(processor, "rescale_offset", False) else 0.0
    return Preprocessing(
        height=height,
        width=width,
        resize="squash" if squashed else "crop",
        resize_to=max(side, height, width),
        mean=tuple((value + offset) / scale for value in mean),
        std=tuple(value / scale for value in std),
        interpolation="bicubic" if int(processor.resample) == BICUBIC else "bilinear",
    )


@contextlib.contextmanager
def _loading(model: str) -> Iterator[None]:
    """Say in one line why a model cannot be had; `transformers` keeps silent meanwhile."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    # Whatever the package, its downloads and a damaged folder raise.
    except Exception as error:
        raise ModelError(
            f"--model {model}: cannot be loaded ({one_line(error)}); expected a folder written by "
            "save_pretrained, or the name of a published image classifier"
        ) from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
