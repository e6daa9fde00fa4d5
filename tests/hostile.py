"""Image files as the world has them: odd but sound, damaged, dangerous, badly named."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 32


def picture() -> Image.Image:
    """Red top left, green top right, blue bottom left, white bottom right: any turn shows."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    top, left = HEIGHT // 2, WIDTH // 2
    pixels[:top, :left] = (230, 20, 20)
    pixels[:top, left:] = (20, 210, 20)
    pixels[top:, :left] = (20, 20, 220)
    pixels[top:, left:] = (240, 240, 240)
    return Image.fromarray(pixels)


def corners(image: Image.Image) -> str:
    """The colours of the four corners, read in rows, as letters."""
    width, height = image.size
    names = []
    for y in (2, height - 3):
        for x in (2, width - 3):
            red, green, blue = image.getpixel((x, y))
            strong = (red > 128, green > 128, blue > 128)
            names.append({(1, 0, 0): "R", (0, 1, 0): "G", (0, 0, 1): "B", (1, 1, 1): "W"}[strong])
    return "".join(names)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image file's bytes."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def turned(orientation: int, kind: str = "JPEG") -> bytes:
    """The picture stored turned, with the EXIF tag that says so: upright it is `picture` again."""
    method = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = picture() if method is None else picture().transpose(method)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, kind, exif=exif.tobytes())


def ramp(dtype: str, top: float) -> np.ndarray:
    """A ramp from 0 to ``top``, left to right, (HEIGHT, WIDTH)."""
    return np.tile(np.linspace(0, top, WIDTH), (HEIGHT, 1)).astype(dtype)


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises so many pixels and holds almost none."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def sound() -> dict[str, bytes]:
    """Files that must be read as `picture`, whatever they look like inside."""
    rgb = picture()
    palette = rgb.quantize(4)
    alpha = rgb.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(rgb.size))
    other = Image.new("RGB", rgb.size, "black")
    jpeg = encoded(rgb, "JPEG", quality=95)
    return {
        "plain.jpg": jpeg,
        "progressive.jpg": encoded(rgb, "JPEG", progressive=True),
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "SHOUTING.JPG": jpeg,
        "really a png.jpg": encoded(rgb, "PNG"),
        "palette.png": encoded(palette, "PNG"),
        "palette with transparency.png": encoded(palette, "PNG", transparency=b"\x00\x80\xff\x10"),
        "alpha.png": encoded(alpha, "PNG"),
        "alpha.webp": encoded(alpha, "WEBP", lossless=True, exact=True),
        "animated.gif": encoded(rgb, "GIF", save_all=True, append_images=[other, other]),
        "animated.png": encoded(rgb, "PNG", save_all=True, append_images=[other]),
        "animated.webp": encoded(rgb, "WEBP", save_all=True, append_images=[other], lossless=True),
        "plain.bmp": encoded(rgb, "BMP"),
        "plain.tif": encoded(rgb, "TIFF"),
        "two pages.tiff": encoded(rgb, "TIFF", save_all=True, append_images=[other]),
        "plain.ppm": encoded(rgb, "PPM"),
        "broken exif.jpg": encoded(rgb, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"),
        "bytes after the end.jpg": jpeg + b"\0" * 100,
    }


def damaged() -> dict[str, tuple[bytes, str]]:
    """Files that cannot be read, each with a part of the reason."""
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    jpeg, png = encoded(rgb, "JPEG"), encoded(rgb, "PNG")
    return {
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "truncated.png": (png[: len(png) // 2], "truncated"),
        "truncated.webp": (encoded(rgb, "WEBP")[:400], "damaged|truncated"),
        "truncated.tif": (encoded(rgb, "TIFF")[:400], "damaged|truncated"),
        "header only.jpg": (jpeg[:20], "truncated|damaged"),
        "wrong checksum.png": (png[:40] + b"\xff\xff" + png[42:], "damaged"),
        "zero bytes.jpg": (b"", "empty file"),
        "text.jpg": (b"this is a note", "not an image"),
        "page.jpg": (b"<!DOCTYPE html><title>404</title>", "web page"),
        "drawing.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        "photo.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIF.*convert"),
        "script.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        "pointer.png": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "LFS"),
        "bomb.png": (png_header(60_000, 60_000), "too large: 3,600,000,000 pixels"),
        "no height.png": (png_header(9, 0), "damaged|0 pixels"),
    }


def nasty_names() -> tuple[str, ...]:
    """File names that are legal and unpleasant."""
    names = [
        "with spaces  twice.jpg",
        "ümläut 日本語 🌻.jpg",
        'it\'s "quoted".jpg',
        "<script>alert(1).jpg",
        "new\nline.jpg",
        "escape\x1b[31m.jpg",
        "=1+1,comma;semicolon.jpg",
        "-rf.jpg",
        "back\\slash.jpg",
        "%2e%2e #fragment?.jpg",
        "right\u202eto left.jpg",
        "n" * 240 + ".jpg",
    ]
    if os.name == "posix":
        names.append(os.fsdecode(b"latin \xe9.jpg"))
    return tuple(names)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files below a folder and return it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def class_folders(root: Path, *classes: str, images: int = 2) -> Path:
    """A folder of class folders, each with small flat images of its own grey level."""
    for number, name in enumerate(classes):
        for image in range(images):
            grey = Image.new("RGB", (8, 8), (20 * number + image,) * 3)
            write(root, {f"{name}/{image}.png": encoded(grey, "PNG")})
    return root
