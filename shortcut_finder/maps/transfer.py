"""Transfer: tensors of a device copied to the main memory, all in one go."""

from __future__ import annotations

import torch
from torch import Tensor


def to_cpu(tensors: list[Tensor]) -> list[Tensor]:
    """Copies on the CPU; from an accelerator packed into one, which is waited for once."""
    if tensors[0].device.type == "cpu":
        return tensors
    return unpack(pack(tensors).to("cpu"), tensors)


def pack(tensors: list[Tensor]) -> Tensor:
    """The bytes of all tensors, those of the widest numbers first."""
    return torch.cat([t.contiguous().view(torch.uint8).flatten() for t in _widest_first(tensors)])


def unpack(packed: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """The tensors again, in their own order, as views of what `pack` made of them."""
    parts = torch.split(packed, [t.numel() * t.itemsize for t in _widest_first(tensors)])
    found = {
        id(tensor): part.view(tensor.dtype).reshape(tensor.shape)
        for tensor, part in zip(_widest_first(tensors), parts, strict=True)
    }
    return [found[id(tensor)] for tensor in tensors]


def _widest_first(tensors: list[Tensor]) -> list[Tensor]:
    # Numbers must start at a multiple of their width.
    return sorted(tensors, key=lambda tensor: -tensor.itemsize)
