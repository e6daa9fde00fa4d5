"""Treatments: which trials are made of a finding, by what it is.

A thing that stands somewhere is pasted and masked, surroundings are exchanged, and a look of the
whole image is given and taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache

import numpy as np

from shortcut_finder.data.regions import SURROUNDINGS, surroundings
from shortcut_finder.detect.finding import Finding
from shortcut_finder.stats.experiments import masked_arm, pasted_arm
from shortcut_finder.sweep.lab import Lab
from shortcut_finder.verify.cast import PAIRS, Cast
from shortcut_finder.verify.interventions import (
    blurred,
    box_mask,
    cells_mask,
    control_region,
    diffused,
    has_control,
    paste,
    shift_anywhere,
    shift_to,
    with_border_of,
    with_colours_of,
    with_sharpness_of,
)
from shortcut_finder.verify.trials import MUCH, OWN, OWN_MIDDLE, Compared, Pictures, Trial

# Part of `MUCH` from which a few images say that more are worth their price.
HOPEFUL = 0.75

Look = Callable[[np.ndarray, np.ndarray], np.ndarray]
Fill = Callable[[int, np.ndarray], np.ndarray]

# How an image is given another's look, by family of properties; what is not here does not show in
# the pixels that the model sees.
LOOKS: Mapping[str, Look] = {
    **dict.fromkeys(("colour range", "colour", "brightness"), with_colours_of),
    **dict.fromkeys(("sharpness", "texture"), with_sharpness_of),
    **dict.fromkeys(("border", "corner light"), with_border_of),
}


# Things that stand somewhere: paste and mask


def place_trials(
    finding: Finding, cast: Cast, lab: Lab, rng: np.random.Generator
) -> Iterator[Trial]:
    """Paste, then mask, for a thing that stands somewhere; each prepared when it is asked for."""
    masks = {int(image): mask_of(finding, int(image), lab) for image in cast.members}
    yield _paste(cast, masks, finding.place.covers is not None, finding.number, lab, rng)
    yield _masking(cast, masks, lab)


def mask_of(finding: Finding, image: int, lab: Lab) -> np.ndarray:
    """The pixels of the model's input that the thing covers in an image."""
    size = lab.scene.preprocessing
    if finding.place.region == SURROUNDINGS:
        return surroundings(size.height, size.width)
    if finding.place.covers is not None and not finding.place.exact:
        return cells_mask(finding.place.covers, size.height, size.width)
    return box_mask(finding.place.boxes(image), size.height, size.width)


def without_it(finding: Finding, image: int, cast: Cast, lab: Lab) -> np.ndarray:
    """An image with the thing filled.

    To fill a background from the edge of the middle would draw it again, so it is a stranger's.
    """
    pixels, mask = lab.pixels(image), mask_of(finding, image, lab)
    if finding.place.region == SURROUNDINGS:
        return paste(pixels, lab.pixels(int(cast.strangers[image % len(cast.strangers)])), mask)
    return diffused(pixels, mask)


def _paste(
    cast: Cast,
    masks: Mapping[int, np.ndarray],
    fixed: bool,
    label: int,
    lab: Lab,
    rng: np.random.Generator,
) -> Trial:
    """Members' regions on strangers: at their place, or anywhere for a thing at any place."""
    count = len(cast.strangers)
    donors, plain = np.resize(cast.members, count), np.resize(cast.plain, count)
    regions = [masks[int(donor)] for donor in donors]
    shifts = [(0, 0) if fixed else shift_anywhere(region, rng) for region in regions]

    def pasted(source: Callable[[int], np.ndarray]) -> Pictures:
        def made(n: int) -> np.ndarray:
            return paste(lab.pixels(int(cast.strangers[n])), source(n), regions[n], shifts[n])

        return Pictures(made, count)

    def hottest(images: np.ndarray, of: int | None = None) -> Callable[[int], np.ndarray]:
        def made(n: int) -> np.ndarray:
            shift = shift_to(regions[n], *lab.hottest(int(images[n]), of))
            return np.roll(lab.pixels(int(images[n])), shift, axis=(0, 1))

        return made

    def compared() -> Compared:
        treated = pasted(lambda n: lab.pixels(int(donors[n])))
        yield "same place of a non-member", treated, pasted(lambda n: lab.pixels(int(plain[n])))
        yield "hot patch of another class", treated, pasted(hottest(cast.hot))
        grey = np.array(lab.scene.preprocessing.mean) * 255
        flat = np.broadcast_to(np.rint(grey).astype(np.uint8), treated[0].shape)
        yield "flat colour", treated, pasted(lambda _: flat)
        if cast.contrasted:
            yield OWN, treated, pasted(hottest(plain, label))

    place = "same place" if fixed else "random places"
    return Trial("paste", place, cast.strangers, pasted_arm, compared())


def _masking(cast: Cast, masks: Mapping[int, np.ndarray], lab: Lab) -> Trial:
    """The thing filled in members, against a region like it in the same image."""
    images = np.array([n for n, mask in masks.items() if has_control(mask)], np.int64)
    swapped = dict(zip(images.tolist(), np.resize(cast.plain, len(images)).tolist(), strict=True))
    # Diffusion comes first: what images are without the thing is asked again.
    fills: dict[str, Fill] = {
        "diffusion": lambda n, region: diffused(lab.pixels(n), region),
        "blur": lambda n, region: blurred(lab.pixels(n), region),
        "same place of a non-member": lambda n, region: paste(
            lab.pixels(n), lab.pixels(swapped[n]), region
        ),
    }

    @cache
    def control_of(image: int) -> np.ndarray:
        region = control_region(lab.pixels(image), masks[image])
        assert region is not None
        return region

    def filled(fill: Fill, region_of: Callable[[int], np.ndarray]) -> Pictures:
        return Pictures(lambda n: fill(int(images[n]), region_of(int(images[n]))), len(images))

    def compared() -> Compared:
        for name, fill in fills.items():
            yield name, filled(fill, masks.__getitem__), filled(fill, control_of)

    return Trial("mask", "same place", images, masked_arm, compared())


# Backgrounds: exchange what surrounds the middle of the frame


def surroundings_trials(finding: Finding, cast: Cast, lab: Lab) -> Iterator[Trial]:
    """Surroundings of members on strangers, and those of strangers on members.

    The first is held against a part of what the middle of the same members says beyond the first
    control, too.
    A background says something from every side; of an object that sticks out of the middle, or
    stands in a corner, one half of the surroundings holds nothing: with that half exchanged for
    another class's, the rest says as much as before.
    """
    around = mask_of(finding, int(cast.members[0]), lab)
    donors = np.resize(cast.members, len(cast.strangers))
    few = cast.few(PAIRS)

    def exchanged() -> Compared:
        others = np.resize(few.strangers, len(few.members))
        treated = _given(few.members, others, around, lab)
        kept = _given(few.members, np.roll(few.members, 1), around, lab)
        yield "surroundings of another member", treated, kept

    def compared() -> Compared:
        treated = _given(cast.strangers, donors, around, lab)
        strange = _given(cast.strangers, cast.hot, around, lab)
        yield "surroundings of another class", treated, strange
        yield OWN_MIDDLE, treated, _given(cast.strangers, donors, ~around, lab)
        for side, half in _halves(around).items():

            def without_half(n: int, half: np.ndarray = half) -> np.ndarray:
                return paste(treated[n], lab.pixels(int(cast.hot[n])), half)

            control = Pictures(without_half, len(treated))
            yield f"the same, {side} half of another class", treated, control

    yield Trial("paste", "same place", cast.strangers, pasted_arm, compared())
    yield Trial("neutralise", "", few.members, masked_arm, exchanged())


def _given(images: np.ndarray, sources: np.ndarray, region: np.ndarray, lab: Lab) -> Pictures:
    """Images with a region of others, one of these for each."""
    return Pictures(
        lambda n: paste(lab.pixels(int(images[n])), lab.pixels(int(sources[n])), region),
        len(images),
    )


def worth_exchanging(finding: Finding, cast: Cast, lab: Lab) -> bool:
    """Whether surroundings say most of what they must, beside the middle; on a few images."""
    around = mask_of(finding, int(cast.members[0]), lab)
    donors = np.resize(cast.members, len(cast.strangers))
    said, control, middle = (
        lab.answers(_given(cast.strangers, sources, region, lab), cast.output).log_odds
        for sources, region in ((donors, around), (cast.hot, around), (donors, ~around))
    )
    return bool((said - control).mean() > HOPEFUL * MUCH * (middle - control).mean())


def _halves(mask: np.ndarray) -> dict[str, np.ndarray]:
    """The parts of a region in each half of the frame, by name of the half."""
    height, width = mask.shape
    parts = {side: np.zeros_like(mask) for side in ("top", "bottom", "left", "right")}
    parts["top"][: height // 2] = parts["left"][:, : width // 2] = True
    parts["bottom"][height // 2 :] = parts["right"][:, width // 2 :] = True
    return {side: part & mask for side, part in parts.items()}


# Diffuse things: neutralise, and impose on others


def look_trials(finding: Finding, cast: Cast, lab: Lab) -> Iterator[Trial]:
    """The property taken from members and given to strangers, against swaps that keep it."""
    look = LOOKS[finding.place.region]

    def given(images: np.ndarray, donors: np.ndarray) -> Pictures:
        donors = np.resize(donors, len(images))
        return Pictures(
            lambda n: look(lab.pixels(int(images[n])), lab.pixels(int(donors[n]))), len(images)
        )

    def neutralised() -> Compared:
        treated = given(cast.members, cast.plain)
        yield "look of another member", treated, given(cast.members, np.roll(cast.members, 1))

    def imposed() -> Compared:
        treated = given(cast.strangers, cast.members)
        yield "look of a non-member", treated, given(cast.strangers, cast.plain)
        yield "look of another class", treated, given(cast.strangers, cast.hot)

    yield Trial("paste", "", cast.strangers, pasted_arm, imposed())
    yield Trial("neutralise", "", cast.members, masked_arm, neutralised())
