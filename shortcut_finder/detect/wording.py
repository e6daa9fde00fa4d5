"""Wording: where a repeated thing is text, the finding says what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from shortcut_finder.data.groups import first_of_each
from shortcut_finder.detect.finding import Finding
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.pixels.words import Read, common_words
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.texts import clipped, shown

# Kinds of findings that may be text, and how many of their most typical images are read.
KINDS = ("corner", "edge", "patch", "overlay")
PICTURES = 6
# Room around a box, as a part of its sides: boxes end where cells do.
MARGIN = 0.25
LONGEST = 40


def with_words(findings: Sequence[Finding], scene: Scene, read: Read | None) -> tuple[Finding, ...]:
    """The findings, with what things say in their sentences where most of them say the same.

    Images of one group count once: what is repeated in one patient's images only may be a name.

    Args:
        findings: as listed.
        scene: the pictures.
        read: of one picture; None where nothing can be read.
    """
    if read is None:
        return tuple(findings)
    return tuple(_worded(one, scene, read) if readable(one) else one for one in findings)


def readable(finding: Finding) -> bool:
    """Whether a finding is worth reading: a thing at some place, above low severity."""
    return finding.place.kind in KINDS and finding.decided.severity != "low"


def _worded(finding: Finding, scene: Scene, read: Read) -> Finding:
    members = first_of_each(finding.carriers.typical, scene.records.groups)[:PICTURES]
    seen = [_crop(finding, int(number), scene) for number in members]
    crops = [crop for crop in seen if crop is not None]
    text = common_words(map(read, crops), len(crops))
    if text is None:
        return finding
    words = clipped(shown(text), LONGEST)
    return replace(finding, said=(*finding.said, f"It is text and says “{words}”."))


def _crop(finding: Finding, number: int, scene: Scene) -> Image.Image | None:
    """The thing in one image, with some room around it; None where it cannot be read any more."""
    try:
        picture = scene.read(number)
    except UnreadableImage:
        return None
    x0, y0, x1, y1 = scene.preprocessing.to_original(finding.place.boxes(number), *picture.size)
    across, down = round(MARGIN * (x1 - x0)), round(MARGIN * (y1 - y0))
    return picture.crop(
        (
            max(0, x0 - across),
            max(0, y0 - down),
            min(picture.width, x1 + across),
            min(picture.height, y1 + down),
        )
    )
