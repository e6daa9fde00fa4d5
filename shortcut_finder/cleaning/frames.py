"""Frames: how wide the border is that the images of a finding share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

# Images compared, of either kind.
COMPARED = 32
# Side the images are brought to, in pixels: a frame is measured to one part in this.
SIDE = 128
# A ring belongs to the frame where members differ from each other by less than this part of what
# other images do.
ALIKE = 0.6
# Added inside, in those parts: JPEG spreads the colours of the frame's edge.
EDGE = 2


def frame_width(members: Sequence[Image.Image], others: Sequence[Image.Image]) -> float:
    """Width of the border that members have in common, as a part of each side; 0 where none.

    Args:
        members: pictures with the frame.
        others: pictures without it.
    """
    if len(members) < 2 or len(others) < 2:
        return 0.0
    ratio = _spread(members) / np.maximum(_spread(others), 1.0)
    alike = ratio < ALIKE
    if not alike[: SIDE // 16].any():
        return 0.0
    # The outermost pixels may be worn; inside, the first ring that differs ends the frame.
    start = int(np.argmax(alike))
    end = start + int(np.argmin(np.append(alike[start:], False)))
    return min((end + 1 + EDGE) / SIDE, 0.25)


def _spread(pictures: Sequence[Image.Image]) -> np.ndarray:
    """Mean standard deviation over pictures of the pixels of each ring from the border, (ring,)."""
    small = [
        np.asarray(picture.convert("RGB").resize((SIDE, SIDE)), dtype=np.float32)
        for picture in pictures
    ]
    spread = np.stack(small).std(axis=0).mean(axis=2)
    at = np.arange(SIDE)
    inward = np.minimum(at, SIDE - 1 - at)
    ring = np.minimum(inward[:, None], inward[None, :])
    return np.asarray(np.bincount(ring.ravel(), spread.ravel()) / np.bincount(ring.ravel()))
