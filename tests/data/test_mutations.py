"""Mutations of image files: each is a picture, or a reason in one line."""

from __future__ import annotations

import pytest
from mutations import mutations, sound

from shortcut_finder.data.reading import read_bytes
from shortcut_finder.errors import UnreadableImage


@pytest.mark.parametrize("end", sorted(sound(side=8)))
def test_a_mutated_file_is_a_picture_or_a_reason(end: str) -> None:
    reasons = []
    for _, content in mutations({end: sound(side=8)[end]}, 40, seed=len(end)):
        try:
            assert read_bytes(content).picture.mode == "RGB"
        except UnreadableImage as error:
            reasons.append(str(error))
    assert len(reasons) > 5
    assert all(reason and "\n" not in reason for reason in reasons)


def test_the_sound_files_are_read() -> None:
    for content in sound().values():
        assert read_bytes(content).picture.size == (40, 40)
