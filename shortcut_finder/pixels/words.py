"""Words: text in pictures, read with weights that a package ships; unread stays unread."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# A reader's own sureness from which a line counts.
SURE = 0.8
# Rows that a picture is enlarged to at least, as readers are made for text of usual size, and its
# longer side at most, in pixels.
ROWS, LONGEST = 96, 640
# Letters and digits that make a word, and pictures of which as many as this part must say the same.
SHORTEST, AGREE, FEWEST = 2, 0.5, 3

Read = Callable[[Image.Image], str]


def reader() -> Read | None:
    """A function that reads the text of a picture; None where nothing is installed that can.

    Nothing is downloaded: without weights beside the package nothing is read.
    """
    try:
        import rapidocr
    except ImportError:
        return None
    weights = Path(rapidocr.__file__).parent / "models"
    if not all(any(weights.glob(f"*_{part}_*.onnx")) for part in ("det", "rec")):
        return None
    logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
    engine: Any = rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,
            # Small pictures on one thread: a tenth of a second each.
            "Det.limit_side_len": ROWS,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        }
    )
    return lambda picture: _read(engine, picture)


def _read(engine: Any, picture: Image.Image) -> str:
    scale = min(max(1, -(-ROWS // picture.height)), LONGEST / max(picture.size))
    if scale != 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    found = engine(np.asarray(picture.convert("RGB"))[:, :, ::-1])
    if not found.txts:
        return ""
    lines = [
        (float(box[:, 1].mean()), float(box[:, 0].min()), text)
        for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        if score >= SURE
    ]
    return " ".join(text for _, _, text in sorted(lines))


def common_words(texts: Iterable[str], count: int) -> str | None:
    """What most pictures say; None where they say nothing, or each something else.

    Args:
        texts: of the pictures; no more are asked for than it takes to know.
        count: how many there are.

    Example:
        >>> common_words(["PORTABLE", "portable", "Portable ", "PORT"], 4)
        'PORTABLE'
        >>> common_words(["A12", "B77", "C90"], 3) is None
        True
    """
    needed = max(FEWEST, AGREE * count)
    said: Counter[str] = Counter()
    for left, text in zip(range(count - 1, -1, -1), texts, strict=False):
        word = " ".join(text.upper().split())
        if _is_word(word):
            said[word] += 1
            if said[word] >= needed:
                return word
        if max(said.values(), default=0) + left < needed:
            break
    return None


def _is_word(text: str) -> bool:
    return sum(letter.isalnum() for letter in text) >= SHORTEST
