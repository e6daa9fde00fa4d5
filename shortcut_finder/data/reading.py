"""Reading: from an image file, or one item of a dataset, to an upright RGB picture."""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from shortcut_finder.data import dicom
from shortcut_finder.data.levels import Window, eight_bit_picture, eight_bit_values
from shortcut_finder.errors import UnreadableImage

# Files taken for images. HEIF is among them so that such files are listed with the reason they
# cannot be read, rather than passed over in silence.
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif",
     ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".heic", ".heif", *dicom.SUFFIXES)
)  # fmt: skip
# Decoders that may meet hostile bytes. EPS is left out because it would start Ghostscript, and the
# formats without a signature because any bytes can pass for them.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "MPO", "JPEG2000", "AVIF")
# Pillow's own default for refusing decompression bombs; kept even where a program raised it.
MOST_PIXELS = 178_956_970
MOST_BYTES = 2**30

_SIGNATURES = (
    (re.compile(rb"\s*<(!doctype html|html)", re.I), "a web page"),
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg", re.I | re.S), "an SVG drawing"),
    (re.compile(rb".{4}ftyp(hei|hev|mif|msf)", re.S), "a HEIF image; convert it to JPEG or PNG"),
    (re.compile(rb".{4}ftyp", re.S), "a video or an image of a kind that cannot be read"),
    (re.compile(rb"%PDF"), "a PDF document"),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive"),
    (re.compile(rb"version https://git-lfs"), "a Git LFS pointer; run `git lfs pull`"),
)
_UNKNOWN = "not an image in a format that can be read"

Result = TypeVar("Result")

_IMAGE_SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF.{4}WEBP|II\*\0|MM\0\*|BM|P[1-6]\s", re.S
)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112


@dataclass(frozen=True, eq=False)
class ReadImage:
    """One image, decoded.

    Attributes:
        picture: RGB, 8 bit, upright.
        content: hash of the file's bytes (of the pixels where there is no file), 32 hex digits.
        width: of the upright original, in pixels.
        height: of the upright original, in pixels.
        format: what the bytes are, whatever the file is called: ``JPEG``, ``PNG``...; ``pixels``
            where there is no file.
        bytes: size of the file; 0 where there is none.
        mode: Pillow's mode of the original: ``RGB``, ``L``, ``CMYK``, ``I;16``...
    """

    picture: Image.Image
    content: str
    width: int
    height: int
    format: str
    bytes: int
    mode: str


def read_file(path: Path, window: Window | None = None) -> ReadImage:
    """Read one image file: its bytes once, its first frame, turned upright.

    Transparency is dropped and colour profiles are ignored, as the loaders that models are trained
    with do, so that the picture is what a model saw. 16-bit grey is divided by 257, unless there is
    a window.

    Args:
        path: of the file; ``scan.dcm#3`` is the third frame of a DICOM file.
        window: the numbers that become black and white, of grey deeper than 8 bits.

    Raises:
        UnreadableImage: with a reason in plain words.
    """
    file, frame = dicom.framed(path)
    old = file.suffix.lower() in dicom.SUFFIXES
    return read_bytes(file_bytes(file), frame, window, without_preamble=old)


def read_bytes(
    data: bytes, frame: int = 0, window: Window | None = None, *, without_preamble: bool = False
) -> ReadImage:
    """Read the bytes of one image file.

    Args:
        data: of the file.
        frame: of a DICOM file; 0 where none is named, which is the first.
        window: the numbers that become black and white, of grey deeper than 8 bits.
        without_preamble: whether bytes of no known kind may be an old DICOM file.

    Raises:
        UnreadableImage: with a reason in plain words.
    """
    if dicom.is_dicom(data) or frame:
        return _read_dicom(data, frame, window)
    try:
        picture, kind, mode = decode(data, window)
    except UnreadableImage as error:
        if without_preamble and str(error) == _UNKNOWN:
            return _read_dicom(data, frame, window)
        raise
    return ReadImage(
        picture=picture,
        content=content_hash(data),
        width=picture.width,
        height=picture.height,
        format=kind,
        bytes=len(data),
        mode=mode,
    )


def _read_dicom(data: bytes, frame: int, window: Window | None) -> ReadImage:
    file = dicom.open_dicom(data)
    _check_pixels(file.width, file.height)
    pixels = dicom.pixels_of(file, frame or 1, window)
    return ReadImage(
        picture=Image.fromarray(pixels).convert("RGB"),
        content=content_hash(data, frame),
        width=file.width,
        height=file.height,
        format="DICOM",
        # Of the one frame: a film of fifty is not a picture of little compression.
        bytes=len(data) // file.frames,
        mode=file.mode,
    )


def content_hash(data: bytes, frame: int = 0) -> str:
    """Hash of a file's bytes, and of the frame that is meant where one is, 32 hex digits."""
    digest = hashlib.sha256(data)
    if frame:
        digest.update(f"#{frame}".encode())
    return digest.hexdigest()[:32]


def file_bytes(path: Path) -> bytes:
    """The bytes of a regular file of reasonable size.

    Raises:
        UnreadableImage: with a reason in plain words.
    """
    try:
        facts = path.stat()
        if stat.S_ISDIR(facts.st_mode):
            raise UnreadableImage("a folder, not a file")
        # A pipe would never end and a device may be endless.
        if not stat.S_ISREG(facts.st_mode):
            raise UnreadableImage("not a regular file")
        if facts.st_size > MOST_BYTES:
            raise UnreadableImage(
                f"a file of {facts.st_size:,} bytes; up to {MOST_BYTES:,} are read"
            )
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise UnreadableImage("file not found") from error
    except PermissionError as error:
        raise UnreadableImage("permission denied") from error
    except OSError as error:
        raise UnreadableImage(error.strerror or "cannot be opened") from error
    except ValueError as error:
        raise UnreadableImage("no file can have this name") from error
    if not data:
        raise UnreadableImage("an empty file (0 bytes)")
    return data


def decode(data: bytes, window: Window | None = None) -> tuple[Image.Image, str, str]:
    """The picture in an image file's bytes (RGB, upright), its format and its original mode.

    Args:
        data: of any kind but DICOM.
        window: the numbers that become black and white, of grey deeper than 8 bits.

    Raises:
        UnreadableImage: with a reason in plain words.
    """
    return _decoded(data, lambda image: _as_seen(image, window))


def stored_image(data: bytes) -> tuple[Image.Image, int]:
    """The image in a file's bytes as it is stored: its own mode, not turned; and its orientation.

    Raises:
        UnreadableImage: with a reason in plain words.
    """
    return _decoded(data, lambda image: (image, orientation(image)))


def _as_seen(image: Image.Image, window: Window | None) -> tuple[Image.Image, str, str]:
    picture = upright(image, orientation(image))
    return eight_bit_picture(picture, image.format, window), image.format or "", image.mode


def _decoded(data: bytes, take: Callable[[Image.Image], Result]) -> Result:
    try:
        with _strict():
            image = Image.open(io.BytesIO(data), formats=_formats())
            _check_pixels(image.width, image.height)
            image.load()
            return take(image)
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(_what(data)) from error
    except Image.DecompressionBombError as error:
        size = re.search(r"\d+", str(error))
        raise UnreadableImage(_too_large(int(size.group()) if size else 0)) from error
    except MemoryError as error:
        raise UnreadableImage("not enough memory to decode it") from error
    # Damaged bytes can make a decoder raise anything at all, and one image must not end a sweep.
    except Exception as error:
        raise UnreadableImage(_damage(error)) from error


@contextmanager
def _strict() -> Iterator[None]:
    """Half-read files are refused even where a program asked for them, and Pillow stays silent."""
    tolerant = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = tolerant


def _formats() -> list[str]:
    # Which decoders a build of Pillow brings varies (AVIF), and an unknown name is a KeyError.
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_pixels(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise UnreadableImage(f"an image of {width} x {height} pixels")
    if width * height > MOST_PIXELS:
        raise UnreadableImage(_too_large(width * height, f" ({width} x {height})"))


def _too_large(pixels: int, sides: str = "") -> str:
    return f"too large: {pixels:,} pixels{sides}; up to {MOST_PIXELS:,} are read"


def _what(data: bytes) -> str:
    for signature, words in _SIGNATURES:
        if signature.match(data[:4096]):
            return f"not an image file but {words}" if "image" not in words else words
    if _IMAGE_SIGNATURE.match(data):
        return "damaged: its header cannot be read"
    return _UNKNOWN


def _damage(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "truncated" in text.lower():
        return "truncated: the file ends before the picture does"
    # Memory addresses and file objects in the text would differ from scan to scan.
    text = re.sub(r"<[^>]*>|0x[0-9a-f]+", "", text).strip()[:120]
    return f"damaged: {text}" if text else f"damaged ({type(error).__name__})"


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, after loading (decoders that turn the picture themselves clear it)."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    # Cameras and editors write broken EXIF blocks; the picture itself is sound.
    except Exception:
        return 1


def upright(image: Image.Image, turn: int) -> Image.Image:
    """The image as EXIF orientation ``turn`` wants it shown."""
    return image.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else image


def read_item(image: Any, window: Window | None = None) -> ReadImage:
    """The image of one dataset item: a PIL image, an array or a tensor.

    Args:
        image: PIL image; or array or tensor, (H, W), (H, W, C) or (C, H, W) with 1, 3 or 4
            channels, of uint8 or of floats in [0, 1].
        window: the numbers that become black and white, of all that is not 8 bit.

    Raises:
        UnreadableImage: it is none of these, for example a normalised tensor.
    """
    if isinstance(image, Image.Image):
        mode, kind = image.mode, image.format or "pixels"
        _check_pixels(*image.size)
        try:
            with _strict():
                image.load()
                picture = eight_bit_picture(
                    upright(image, orientation(image)), image.format, window
                )
        except UnreadableImage:
            raise
        # As for files: a lazily opened image is decoded here.
        except Exception as error:
            raise UnreadableImage(_damage(error)) from error
    else:
        values = _array(image, window)
        mode, kind = str(values.dtype), "pixels"
        picture = Image.fromarray(values)
    return ReadImage(
        picture=picture,
        content=_pixel_hash(picture),
        width=picture.width,
        height=picture.height,
        format=kind,
        bytes=0,
        mode=mode,
    )


def _pixel_hash(picture: Image.Image) -> str:
    digest = hashlib.sha256(f"{picture.width}x{picture.height}".encode())
    digest.update(picture.tobytes())
    return digest.hexdigest()[:32]


def _array(image: Any, window: Window | None) -> np.ndarray:
    """Arrays and tensors as uint8, (H, W, 3)."""
    tensor = hasattr(image, "detach")
    if tensor:
        image = image.detach().cpu()
        # numpy has no bfloat16.
        image = (image.float() if image.is_floating_point() else image).numpy()
    if not isinstance(image, np.ndarray):
        raise UnreadableImage(
            f"the image is a {type(image).__name__}; return a PIL image, an array or a tensor"
        )
    shape = image.shape
    if image.ndim == 2:
        image = image[:, :, None]
    channels = (1, 3, 4)
    if image.ndim != 3 or not math.prod(shape):
        raise UnreadableImage(f"an image of shape {shape}; expected (H, W, C) or (C, H, W)")
    # A 3 x 224 x 3 array is ambiguous: tensors put channels first by custom, arrays last.
    first, last = shape[0] in channels, image.shape[2] in channels
    if first and (tensor or not last) and len(shape) == 3:
        image = np.moveaxis(image, 0, 2)
    elif not last:
        raise UnreadableImage(f"an image of shape {shape}; expected 1, 3 or 4 channels")
    _check_pixels(image.shape[1], image.shape[0])
    values = eight_bit_values(image, window)[:, :, :3]
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))


def storable(name: str) -> str:
    r"""A file name that UTF-8 can hold; bytes that are no UTF-8 are written as ``\xff``.

    Example:
        >>> storable("caf\udce9.jpg")
        'caf\\xe9.jpg'
    """
    if name.isascii():
        return name
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        # surrogateescape marks undecodable bytes; surrogatepass keeps any other lone surrogate.
        try:
            return os.fsencode(name).decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:
            return name.encode("utf-8", "backslashreplace").decode("utf-8")
    return name
