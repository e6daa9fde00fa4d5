"""Weights: state dicts, read from files as data and loaded into a module key by key."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from shortcut_finder.errors import ModelError

# Where training scripts put the state dict inside a checkpoint.
NESTS = ("state_dict", "model_state_dict", "model")
# What wrappers (DataParallel, Lightning, torch.compile) put before every key.
PREFIXES = ("module.", "model.", "_orig_mod.")

StateDict = Mapping[str, Tensor]


def read_state_dict(path: Path) -> StateDict:
    """The state dict in a file, found also where a checkpoint nests it.

    The file is read as data: whatever in it would run code is refused, never run.

    Raises:
        ModelError: the file is missing, is damaged, holds code, or holds no state dict.
    """
    if not path.is_file():
        raise ModelError(
            f"{path}: no such file; expected a state dict (torch.save of state_dict())"
        )
    _refuse_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" in str(error).lower() or "Unsupported" in str(error):
            raise ModelError(
                f"{path}: holds Python objects, which could run code, so it is not opened; "
                "save model.state_dict() alone"
            ) from error
        raise ModelError(f"{path}: not a PyTorch state dict, or damaged") from error
    # A hostile or damaged file can make the reader fail in any way.
    except Exception as error:
        raise ModelError(f"{path}: not a PyTorch state dict, or damaged") from error
    for nest in NESTS:
        if isinstance(content, Mapping) and isinstance(content.get(nest), Mapping):
            content = content[nest]
    if not isinstance(content, Mapping):
        raise ModelError(f"{path}: holds a {type(content).__name__}; save model.state_dict()")
    state = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not state or not all(isinstance(key, str) for key in state):
        raise ModelError(f"{path}: holds no state dict; save model.state_dict()")
    return state


def archived_names(path: Path) -> set[str]:
    """Names of the files in a ZIP archive, without their folders; none where it is no archive.

    Raises:
        ModelError: the archive is damaged.
    """
    if not zipfile.is_zipfile(path):
        return set()
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.rpartition("/")[2] for name in archive.namelist()}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: not a PyTorch state dict, or damaged") from error


def _refuse_archive(path: Path) -> None:
    if archived_names(path) & {
        "constants.pkl",
        "archive_format",
        "serialized_exported_program.json",
    }:
        raise ModelError(
            f"{path}: holds a whole program (TorchScript or exported), which is code; "
            "save model.state_dict() of the eager model"
        )


def fit_prefix(state: StateDict, module: nn.Module) -> StateDict:
    """The state dict with the wrappers' prefixes removed that fits the module's keys best."""
    wanted = module.state_dict().keys()
    return max(_without_prefixes(state), key=lambda keys: len(wanted & keys.keys()))


def _without_prefixes(state: StateDict, deepest: int = 4) -> Iterator[StateDict]:
    yield state
    for prefix in PREFIXES if deepest else ():
        if all(key.startswith(prefix) for key in state):
            shorter = {key[len(prefix) :]: value for key, value in state.items()}
            yield from _without_prefixes(shorter, deepest - 1)


def load_weights(module: nn.Module, state: StateDict, source: str) -> None:
    """Load a state dict that fits the module exactly.

    Args:
        module: receives the values.
        state: one value for every parameter and buffer of the module, and no other.
        source: where the state dict came from, for the message.

    Raises:
        ModelError: keys are missing, unexpected or of another shape; the message names them.
    """
    state = fit_prefix(state, module)
    target = module.state_dict()
    # Files from before PyTorch 0.4.1 lack this counter, which changes nothing in eval mode.
    missing = [k for k in target if k not in state and not k.endswith(".num_batches_tracked")]
    unexpected = [key for key in state if key not in target]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, the model has {tuple(value.shape)}"
        for key, value in target.items()
        if key in state and isinstance(value, Tensor) and state[key].shape != value.shape
    ]
    problems = [
        f"{name} {_first_few(items)}"
        for name, items in (("missing", missing), ("unexpected", unexpected), ("shape:", shapes))
        if items
    ]
    if problems:
        raise ModelError(f"{source}: does not fit the model: {'; '.join(problems)}")
    try:
        module.load_state_dict(dict(state), strict=False)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{source}: does not fit the model: {one_line(error)}") from error


def _first_few(items: list[str], limit: int = 3) -> str:
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def fingerprint(module: nn.Module) -> str:
    """Hash of every parameter and buffer: name, type, shape and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for key, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def one_line(error: BaseException, limit: int = 200) -> str:
    """An error's name and text on one line, cut short."""
    text = " ".join(str(error).split())
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
