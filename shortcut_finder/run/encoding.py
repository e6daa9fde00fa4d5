"""Encoding: values as bytes and back; decoding runs nothing that the bytes say."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

HEAD = "head"


class DamagedError(Exception):
    """The bytes are not what was written."""


def encode(value: Any) -> bytes:
    """A value as bytes that begin with their own checksum.

    Args:
        value: of plain values, tuples, lists, mappings, arrays, tables and dataclasses.

    Raises:
        TypeError: there is something else in it.
    """
    arrays: list[np.ndarray] = []
    head = json.dumps(_plain(value, arrays)).encode()
    named = {f"a{number}": array for number, array in enumerate(arrays)}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, allow_pickle=False, **{HEAD: np.frombuffer(head, dtype=np.uint8)}, **named
    )
    content = buffer.getvalue()
    return hashlib.sha256(content).digest() + content


def decode(data: bytes, kinds: Sequence[type]) -> Any:
    """The value again.

    Args:
        data: from `encode`.
        kinds: dataclasses that may be in it; no others are made.

    Raises:
        DamagedError: the checksum does not fit, or there is something else in it.

    Example:
        >>> decode(encode({"shares": (0.5, None)}), ())
        {'shares': (0.5, None)}
    """
    digest, content = data[:32], data[32:]
    if hashlib.sha256(content).digest() != digest:
        raise DamagedError("the checksum does not fit")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            head = json.loads(arrays[HEAD].tobytes())
            return _value(head, arrays, {kind.__name__: kind for kind in kinds})
    except (
        OSError, ValueError, KeyError, TypeError, IndexError, EOFError, RecursionError,
        BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise DamagedError(f"{type(error).__name__}: {error}") from error


def _plain(value: Any, arrays: list[np.ndarray]) -> Any:
    """JSON of a value; its arrays are put aside. A list is always a pair of kind and content."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return ["scalar", _put(np.asarray(value), arrays)]
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return ["objects", [_plain(item, arrays) for item in value.tolist()]]
        return ["array", _put(value, arrays)]
    if isinstance(value, pd.DataFrame):
        return ["table", [[str(n), _plain(value[n].to_numpy(), arrays)] for n in value.columns]]
    if isinstance(value, tuple):
        return ["tuple", [_plain(item, arrays) for item in value]]
    if isinstance(value, list):
        return ["list", [_plain(item, arrays) for item in value]]
    if isinstance(value, Mapping):
        return ["dict", [[_plain(k, arrays), _plain(v, arrays)] for k, v in value.items()]]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {
            one.name: _plain(getattr(value, one.name), arrays) for one in dataclasses.fields(value)
        }
        return ["value", type(value).__name__, parts]
    raise TypeError(f"a {type(value).__name__} cannot be kept")


def _put(array: np.ndarray, arrays: list[np.ndarray]) -> int:
    arrays.append(array)
    return len(arrays) - 1


def _value(plain: Any, arrays: Mapping[str, np.ndarray], kinds: Mapping[str, type]) -> Any:
    if not isinstance(plain, list):
        return plain
    kind, content, *more = plain

    def each(items: list[Any]) -> list[Any]:
        return [_value(item, arrays, kinds) for item in items]

    if kind == "array":
        return arrays[f"a{content}"]
    if kind == "scalar":
        return arrays[f"a{content}"][()]
    if kind == "objects":
        objects = np.empty(len(content), dtype=object)
        objects[:] = each(content)
        return objects
    if kind == "table":
        return pd.DataFrame({name: _value(column, arrays, kinds) for name, column in content})
    if kind == "tuple":
        return tuple(each(content))
    if kind == "list":
        return each(content)
    if kind == "dict":
        return {_value(k, arrays, kinds): _value(v, arrays, kinds) for k, v in content}
    if kind == "value":
        (parts,) = more
        return kinds[content](**{name: _value(part, arrays, kinds) for name, part in parts.items()})
    raise ValueError(f"unknown kind {str(kind)[:40]!r}")
