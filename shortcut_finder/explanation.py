"""Explain: where a model finds the evidence for its top classes in single images."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from shortcut_finder.data.levels import Window
from shortcut_finder.data.preprocessing import Box
from shortcut_finder.data.reading import read_file, read_item
from shortcut_finder.errors import DatasetError, SettingsError, UnreadableImage
from shortcut_finder.figures.pictures import heat_colours, overlay
from shortcut_finder.schema import write_whole
from shortcut_finder.settings import Settings
from shortcut_finder.texts import clipped, percent, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

# The sweep keeps the maps of three classes, so single images show as many.
MOST_CLASSES = 3
# Only this command writes names that end so; nothing else is ever overwritten.
SUFFIX = ".maps.png"
# Longest part of the input's name that is kept, in bytes; file systems stop at 255.
LONGEST_STEM = 200
# Pictures are shown at their own size within these bounds, in pixels of the longer side.
SMALLEST, LARGEST = 320, 1024
# A title needs this much room, in pixels, however narrow the image is.
PANEL = 250


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a model sees in one image.

    Attributes:
        image: the upright RGB image.
        classes: the top classes, most probable first.
        probabilities: softmax of each of them, (class,).
        maps: class maps, (class, row, column), raw and signed, in logit units.
        input_box: where the model's input lies on the image, x0, y0, x1, y1 in pixels.
    """

    image: Image.Image
    classes: tuple[str, ...]
    probabilities: np.ndarray
    maps: np.ndarray
    input_box: Box

    @property
    def scale(self) -> float:
        """What is drawn as the hottest colour in all of the maps, in logit units."""
        hottest = float(self.maps.max(initial=0.0))
        return hottest if hottest > 0 else 1.0

    def overlay(self, position: int) -> Image.Image:
        """The image with the map of its class number ``position``, upscaled bilinearly to it."""
        return overlay(self.image, self.maps[position], self.scale, self.input_box)

    def figure(self) -> Figure:
        """The image and the overlays of its top classes side by side, on one scale."""
        return _figure(self)

    def png(self) -> bytes:
        """`figure` as a PNG file: the same bytes every time."""
        content = io.BytesIO()
        figure = self.figure()
        with warnings.catch_warnings():
            # A class name may have letters that the font lacks; the picture is still good.
            warnings.simplefilter("ignore", UserWarning)
            figure.savefig(content, format="png", dpi=figure.dpi, metadata={"Software": None})
        return content.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png()


def explain(
    model: str | nn.Module,
    image: Any,
    *,
    weights: Path | str | None = None,
    classes: Path | str | Sequence[str] | None = None,
    top: int = MOST_CLASSES,
    settings: Settings | None = None,
) -> Explanation:
    """Where a model finds the evidence for its top classes in one image.

    Args:
        model: as for `scan`: a module, a torchvision name or ``FILE.py:FUNCTION``.
        image: a path, a PIL image, an array or a tensor.
        weights: file with a state dict.
        classes: the outputs' names in order, or a file with them.
        top: how many classes, 1 to 3.
        settings: method, layer, input size, device and the like.

    Raises:
        UnreadableImage: the image cannot be decoded.
        ModelError: the model, its weights or its class names cannot be used.
        SettingsError: ``top`` is out of range.
    """
    settings = settings or Settings()
    picture = _read(image, settings.window)
    with _explaining(model, weights, classes, top, settings) as explained:
        return explained(picture)


def explain_images(
    images: Sequence[Path],
    model: str | nn.Module,
    *,
    weights: Path | str | None,
    classes: Path | str | Sequence[str] | None,
    top: int,
    out: Path,
    settings: Settings,
) -> list[Path]:
    """Write one PNG an image: the image and the overlays of its top classes, with a colour bar.

    ``photo.jpg`` becomes ``photo.maps.png``; images of the same name are numbered in their order.
    Only files of such names are overwritten, and never one of ``images``.

    Args:
        images: image files.
        model: as for `explain`.
        weights: as for `explain`.
        classes: as for `explain`.
        top: how many classes, 1 to 3.
        out: folder for the pictures; made when missing.
        settings: as for `explain`.

    Returns:
        The files written, in the order of ``images``.

    Raises:
        UnreadableImage: some images cannot be decoded; all others are written first.
        ModelError: the model, its weights or its class names cannot be used.
        SettingsError: ``top`` is out of range.
        DatasetError: ``out`` cannot be made or written to.
    """
    paths = _output_paths([Path(image) for image in images], Path(out))
    written: list[Path] = []
    unreadable: list[str] = []
    with _explaining(model, weights, classes, top, settings) as explained:
        for image, path in zip(images, paths, strict=True):
            try:
                picture = _read(image, settings.window)
            except UnreadableImage as error:
                unreadable.append(str(error))
                continue
            _write(path, explained(picture).png())
            written.append(path)
    if unreadable:
        raise UnreadableImage("; ".join(unreadable))
    return written


@contextmanager
def _explaining(
    model: str | nn.Module,
    weights: Path | str | None,
    classes: Path | str | Sequence[str] | None,
    top: int,
    settings: Settings,
) -> Iterator[Callable[[Image.Image], Explanation]]:
    """A function that explains one image after the other, the model loaded once."""
    if not 1 <= top <= MOST_CLASSES:
        raise SettingsError(f"--top {top}: choose 1 to {MOST_CLASSES}")
    import torch

    from shortcut_finder.maps.engine import MapEngine
    from shortcut_finder.model.classifier import load_classifier

    classifier = load_classifier(
        model, weights=weights, classes=classes, labels=(), settings=settings
    )
    preprocessing = classifier.preprocessing
    count = min(top, len(classifier.classes))

    def explained(picture: Image.Image) -> Explanation:
        pixels = torch.tensor(preprocessing.pixels(picture))[None]
        batch = engine.run(pixels, None)
        logits = batch.logits[0].double()
        # Column 0 is the label's class, which a single image has none of.
        shown_classes = batch.shown[0, 1 : 1 + count]
        return Explanation(
            image=picture,
            classes=tuple(classifier.classes[index] for index in shown_classes.tolist()),
            probabilities=classifier.outputs.probabilities(logits)[shown_classes].numpy(),
            maps=batch.maps[0, 1 : 1 + count].numpy(),
            input_box=preprocessing.input_box(*picture.size),
        )

    with MapEngine(classifier, settings) as engine:
        yield explained


def _read(image: Any, window: Window | None) -> Image.Image:
    if not isinstance(image, (str, Path)):
        return read_item(image, window).picture
    try:
        return read_file(Path(image), window).picture
    except UnreadableImage as error:
        raise UnreadableImage(f"{image}: {error}") from error


def _output_paths(images: Sequence[Path], out: Path) -> list[Path]:
    """A path for each picture: inside ``out``, no two the same and none an input."""
    taken = {str(image.resolve()).casefold() for image in images}
    paths = []
    for image in images:
        stem = shown(image.stem).encode()[:LONGEST_STEM].decode(errors="ignore")
        path, count = out / f"{stem}{SUFFIX}", 1
        while str(path.resolve()).casefold() in taken:
            count += 1
            path = out / f"{stem}-{count}{SUFFIX}"
        taken.add(str(path.resolve()).casefold())
        paths.append(path)
    return paths


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        reason = error.strerror or error
        raise DatasetError(f"{path}: cannot be written ({reason}); choose another --out") from error


def _figure(explanation: Explanation) -> Figure:
    picture = explanation.image
    shrink = min(max(max(picture.size), SMALLEST), LARGEST) / max(picture.size)
    width, height = (max(1, round(side * shrink)) for side in picture.size)
    panel, gap, top, right, bottom = max(width, PANEL), 14, 46, 92, 14
    pictures = [picture, *map(explanation.overlay, range(len(explanation.classes)))]
    titles = ["image"] + [
        f"{clipped(shown(name), panel // 8)}\n{percent(probability)}"
        for name, probability in zip(
            explanation.classes, explanation.probabilities.tolist(), strict=True
        )
    ]
    across = gap + len(pictures) * (panel + gap) + right
    down = top + height + bottom
    figure = Figure(figsize=(across / 100, down / 100), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    for position, (image, title) in enumerate(zip(pictures, titles, strict=True)):
        left = gap + position * (panel + gap) + (panel - width) / 2
        axes = figure.add_axes((left / across, bottom / down, width / across, height / down))
        small = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
        axes.imshow(np.asarray(small), interpolation="none", aspect="auto")
        axes.set_axis_off()
        axes.set_title(title, fontsize=10, parse_math=False)
    # A colour bar longer than this says nothing more.
    length = min(height, 420)
    left, low = across - right + 4, bottom + (height - length) / 2
    bar = figure.add_axes((left / across, low / down, 12 / across, length / down))
    colours = ScalarMappable(Normalize(0, explanation.scale), heat_colours())
    figure.colorbar(colours, cax=bar, label="evidence (logit units)")
    return figure
