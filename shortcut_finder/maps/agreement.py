"""Agreement: whether two ways to the same logits and maps give the same."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

# Relative difference allowed between a fast map and the generic one, in fp32.
EXACT = 1e-4


def close(values: Tensor, expected: Tensor) -> bool:
    """Whether two results agree but for rounding, relative to the largest value of an image."""
    gap = (values - expected).flatten(1).abs().amax(1)
    return bool((gap <= EXACT * expected.flatten(1).abs().amax(1)).all())


def correlation(maps: Tensor, others: Tensor) -> float:
    """The lowest correlation between the maps, (image, class, row, column), of two passes."""
    first, second = maps.flatten(2), others.flatten(2)
    first, second = first - first.mean(2, keepdim=True), second - second.mean(2, keepdim=True)
    return float(F.cosine_similarity(first, second, dim=2).min())
