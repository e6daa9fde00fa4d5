"""Wording: text that repeats is told, anything else stays as it is."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from findings import a_finding
from PIL import Image, ImageDraw, ImageFont

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.detect.finding import Finding
from shortcut_finder.detect.wording import with_words
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.pixels.words import common_words, reader

SIDE = 224
BOX = (0.55, 0.02, 0.98, 0.16)


def picture(number: int, text: str) -> Image.Image:
    """Noise with a tag in a corner that says something."""
    rng = np.random.default_rng(number)
    soft = Image.fromarray(rng.integers(60, 140, (28, 28, 3), dtype=np.uint8))
    image = soft.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    corners = tuple(SIDE * side for side in BOX)
    draw.rectangle(corners, fill=(250, 250, 240))
    middle = ((corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2)
    draw.text(middle, text, fill=(20, 20, 30), font=ImageFont.load_default(size=16), anchor="mm")
    return image


def finding(kind: str = "corner", count: int = 6) -> Finding:
    said = "They carry a mark."
    return a_finding(np.ones(count, dtype=bool), kind=kind, boxes=lambda _: BOX, said=(said,))


def scene(texts: list[str], groups: list[int] | None = None) -> Any:
    records = SimpleNamespace(groups=None if groups is None else np.array(groups))
    return SimpleNamespace(
        records=records,
        read=lambda number: picture(number, texts[number]),
        preprocessing=Preprocessing(SIDE, SIDE),
    )


def said(texts: list[str], read: Any, **how: Any) -> str:
    kind = how.pop("kind", "corner")
    (one,) = with_words([finding(kind, len(texts))], scene(texts, **how), read)
    return one.sentence


@pytest.fixture(scope="module")
def read(words: None) -> Any:
    pytest.importorskip("rapidocr", reason="rapidocr is not installed")
    return reader()


def test_a_word_that_repeats_is_told(read: Any) -> None:
    told = "They carry a mark. It is text and says “PORTABLE”."
    assert said(["PORTABLE"] * 6, read) == told


def test_what_differs_or_is_no_text_stays_unread(read: Any) -> None:
    plain = "They carry a mark."
    assert said(["A12", "K40", "X77", "B93", "Q51", "Z08"], read) == plain
    assert said([""] * 6, read) == plain
    assert said(["PORTABLE"] * 6, read, kind="property") == plain
    assert said(["PORTABLE"] * 6, None) == plain


def test_the_images_of_one_patient_are_no_repetition(read: Any) -> None:
    assert said(["QUARTER"] * 6, read, groups=[0] * 6) == "They carry a mark."
    assert "QUARTER" in said(["QUARTER"] * 6, read, groups=[0, 0, 1, 1, 2, 3])


def test_images_that_are_gone_are_passed_over(read: Any) -> None:
    def gone(_: int) -> Image.Image:
        raise UnreadableImage("file not found")

    land = scene(["PORTABLE"] * 6)
    land.read = gone
    (one,) = with_words([finding()], land, read)
    assert one.sentence == "They carry a mark."


def test_most_must_say_the_same() -> None:
    assert common_words(["LEFT", "left", " Left"], 3) == "LEFT"
    assert common_words(["LEFT", "LEFT"], 2) is None
    assert common_words(["LEFT"] * 3 + ["A1", "B2", "C3", "D4"], 7) is None
    assert common_words(["-", "-", "-", "I", "I", "I"], 6) is None
    assert common_words([], 0) is None


@pytest.mark.parametrize(
    ("texts", "read"),
    [
        # Three of six are enough, and four that say nothing leave too few.
        (["LEFT", "A1", "LEFT", "LEFT", "B2", "C3"], 4),
        (["", "", "", "", "LEFT", "LEFT"], 4),
        (["A1", "LEFT", "LEFT", "B2", "C3", "LEFT"], 6),
    ],
)
def test_no_more_is_read_than_it_takes(texts: list[str], read: int) -> None:
    ahead = iter(texts)
    common_words(ahead, len(texts))
    assert len(texts) - len(list(ahead)) == read


def test_without_the_package_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    assert reader() is None
