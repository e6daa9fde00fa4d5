"""Preprocessing: how an image file becomes the square a model sees, and the way back."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]
WHOLE_FRAME: Box = (0.0, 0.0, 1.0, 1.0)

# Images longer than this many times their breadth are compared as if they were no longer.
LONGEST = 4.0

# Originals of more pixels than this are scaled by torch, in half the time.
LARGE = 640 * 640


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the model's input.

    Attributes:
        height: rows of the model's input, in pixels.
        width: columns of the model's input, in pixels.
        resize: ``squash`` to the input's shape; ``crop`` the centre after the shorter side became
            ``resize_to``; ``pad`` the shorter side with the mean colour.
        resize_to: length of the shorter side before the centre crop, in pixels.
        mean: per-channel mean, of pixels in [0, 1].
        std: per-channel standard deviation, of pixels in [0, 1].
        interpolation: ``bilinear`` or ``bicubic``.
    """

    height: int = 224
    width: int = 224
    resize: str = "squash"
    resize_to: int = 256
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"

    def pixels(self, image: Image.Image) -> np.ndarray:
        """The model's input before normalising: uint8, (height, width, 3).

        Args:
            image: an upright RGB image of any size.
        """
        left, top, *size = self._placement(*image.size)
        scaled = _scaled(image, (size[0], size[1]), self.interpolation)
        if self.resize != "squash":
            fill = tuple(round(255 * value) for value in self.mean)
            canvas = Image.new("RGB", (self.width, self.height), fill)
            canvas.paste(Image.fromarray(scaled), (left, top))
            scaled = np.asarray(canvas, dtype=np.uint8)
        return scaled

    def undistorted(self, width: int, height: int) -> Preprocessing:
        """The same for an image of that size, with an input as large but of the image's own shape.

        What is squashed differs from image to image as their shapes do.

        Example:
            >>> how = Preprocessing(100, 100).undistorted(400, 100)
            >>> how.width, how.height
            (200, 50)
        """
        if self.resize != "squash":
            return self
        side = np.sqrt(self.width * self.height)
        aspect = np.sqrt(np.clip(width / height, 1 / LONGEST, LONGEST))
        return dataclasses.replace(
            self, width=max(1, round(side * aspect)), height=max(1, round(side / aspect))
        )

    def _placement(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, width and height of the whole scaled image in input pixels."""
        if self.resize == "squash":
            return 0, 0, self.width, self.height
        if self.resize == "crop":
            # As torchvision does it: the shorter side becomes resize_to, the longer is truncated.
            if width <= height:
                scaled = (self.resize_to, max(1, int(self.resize_to * height / width)))
            else:
                scaled = (max(1, int(self.resize_to * width / height)), self.resize_to)
            left = -round((scaled[0] - self.width) / 2.0)
            top = -round((scaled[1] - self.height) / 2.0)
            return left, top, *scaled
        scale = min(self.width / width, self.height / height)
        scaled = (max(1, round(width * scale)), max(1, round(height * scale)))
        return (self.width - scaled[0]) // 2, (self.height - scaled[1]) // 2, *scaled

    def to_original(self, box: Box, width: int, height: int) -> tuple[int, int, int, int]:
        """A box in fractions of the model's input, in pixels of the original image.

        Args:
            box: x0, y0, x1, y1 in [0, 1] of the model's input.
            width: of the original image, in pixels.
            height: of the original image, in pixels.

        Returns:
            x0, y0, x1, y1 in whole pixels, inside the image and at least one pixel wide.

        Example:
            >>> Preprocessing(224, 224).to_original((0.0, 0.0, 0.5, 1.0), 100, 50)
            (0, 0, 50, 50)
        """
        left, top, scaled_width, scaled_height = self._placement(width, height)
        x0, x1 = ((value * self.width - left) / scaled_width * width for value in (box[0], box[2]))
        y0, y1 = (
            (value * self.height - top) / scaled_height * height for value in (box[1], box[3])
        )
        x0, y0 = (
            min(max(int(np.floor(x0)), 0), width - 1),
            min(max(int(np.floor(y0)), 0), height - 1),
        )
        x1, y1 = (
            min(max(int(np.ceil(x1)), x0 + 1), width),
            min(max(int(np.ceil(y1)), y0 + 1), height),
        )
        return int(x0), int(y0), int(x1), int(y1)

    def to_input(self, box: Box, width: int, height: int) -> Box:
        """The inverse of `to_original`: a box in pixels of the original, as fractions of the input.

        Args:
            box: x0, y0, x1, y1 in pixels of the original.
            width: of the original image, in pixels.
            height: of the original image, in pixels.

        Returns:
            x0, y0, x1, y1 in [0, 1], cut off at the border of the input; x0 = x1 or y0 = y1 where
            the model sees nothing of it.

        Example:
            >>> Preprocessing(100, 100, "pad").to_input((0, 0, 50, 50), 100, 50)
            (0.0, 0.25, 0.5, 0.75)
        """
        left, top, scaled_width, scaled_height = self._placement(width, height)
        across, down = scaled_width / width, scaled_height / height
        x0, x1 = (min(max((left + x * across) / self.width, 0.0), 1.0) for x in (box[0], box[2]))
        y0, y1 = (min(max((top + y * down) / self.height, 0.0), 1.0) for y in (box[1], box[3]))
        return x0, y0, x1, y1

    def input_box(self, width: int, height: int) -> Box:
        """Where the model's input lies on the original image, in pixels; it may reach outside."""
        left, top, scaled_width, scaled_height = self._placement(width, height)
        across, down = width / scaled_width, height / scaled_height
        return (
            -left * across,
            -top * down,
            (self.width - left) * across,
            (self.height - top) * down,
        )

    def visible(self, width: int, height: int) -> float:
        """The part of the original image that the model sees, in [0, 1]."""
        x0, y0, x1, y1 = self.input_box(width, height)
        across = min(x1, width) - max(x0, 0.0)
        down = min(y1, height) - max(y0, 0.0)
        return float(across * down / (width * height))

    @classmethod
    def from_transform(cls, transform: Any) -> Preprocessing:
        """The same as a transform that comes with published torchvision weights.

        Args:
            transform: resizes the shorter side, crops the centre and normalises, as
                ``torchvision.transforms._presets.ImageClassification`` does.

        Example:
            >>> from torchvision.models import ResNet18_Weights
            >>> Preprocessing.from_transform(ResNet18_Weights.DEFAULT.transforms()).resize_to
            256
        """
        return cls(
            height=transform.crop_size[0],
            width=transform.crop_size[-1],
            resize="crop",
            resize_to=transform.resize_size[0],
            mean=tuple(transform.mean),
            std=tuple(transform.std),
            interpolation=transform.interpolation.value,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """The inverse of `as_dict`."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


def _scaled(image: Image.Image, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """An RGB image at another size (width, height): uint8, (height, width, 3).

    Torch's filter is Pillow's, with its own rounding: one level at most, in a pixel of a thousand.
    """
    if image.width * image.height <= LARGE:
        how = Image.Resampling[interpolation.upper()]
        return np.asarray(image.resize(size, how), dtype=np.uint8)
    import torch
    from torch.nn.functional import interpolate

    with warnings.catch_warnings():
        # That nothing may be written to these pixels; nothing is.
        warnings.simplefilter("ignore")
        stored = torch.from_numpy(np.asarray(image, dtype=np.uint8))
    planes = stored.permute(2, 0, 1)[None]
    scaled = interpolate(planes, size[::-1], mode=interpolation, antialias=True)
    return np.ascontiguousarray(scaled[0].permute(1, 2, 0).numpy())
