"""Imports: the user's own functions, named ``FILE.py:FUNCTION`` or ``package.module:function``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from shortcut_finder.errors import SettingsError


def is_function_name(spec: str) -> bool:
    """Whether the text names a function of the user's: ``FILE.py:FUNCTION`` or ``module:function``.

    Example:
        >>> is_function_name("models.py:build"), is_function_name("C:/photos")
        (True, False)
    """
    place, colon, function = spec.rpartition(":")
    return bool(colon and place and function.isidentifier())


def load_function(spec: str) -> Callable[..., Any]:
    """The function that ``FILE.py:FUNCTION`` or ``package.module:function`` names.

    A file is run as a module under its own name, with its folder at the end of the search path, so
    that it can import its neighbours and worker processes can unpickle what it defines.

    Args:
        spec: the file or module, a colon, and the function's name.

    Raises:
        SettingsError: the file, module or function is missing, or importing it fails.

    Example:
        >>> load_function("math:sqrt")(9.0)
        3.0
    """
    place, _, name = spec.rpartition(":")
    if not is_function_name(spec):
        raise SettingsError(f"{spec}: write FILE.py:FUNCTION or package.module:function")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    function = getattr(module, name, None)
    if not callable(function):
        problem = "is not a function" if hasattr(module, name) else "is missing"
        raise SettingsError(f"{spec}: {name} {problem} in {place}")
    return function


def _load_file(path: Path) -> ModuleType:
    path = path.expanduser().resolve()
    if not path.is_file():
        raise SettingsError(f"{path}: no such file; expected FILE.py:FUNCTION")
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    # A file may be called like an installed module; it must neither hide it nor be hidden by it.
    taken = known is not None or importlib.util.find_spec(path.stem) is not None
    name = f"{path.stem}_{path.parent.name}" if taken else path.stem
    description = importlib.util.spec_from_file_location(name, path)
    if description is None or description.loader is None:
        raise SettingsError(f"{path}: cannot be imported as Python code")
    module = importlib.util.module_from_spec(description)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module
    try:
        description.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise SettingsError(f"{path}: importing it fails ({_reason(error)})") from error
    return module


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise SettingsError(f"{name}: importing it fails ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
