"""Reading: sound files become the picture they are, all others a reason in plain words."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from pathlib import Path

import hostile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from shortcut_finder.data import reading
from shortcut_finder.data.reading import decode, read_file, read_item, storable
from shortcut_finder.errors import UnreadableImage

SOUND = hostile.sound()
DAMAGED = hostile.damaged()


def read_bytes(folder: Path, content: bytes, name: str = "image.jpg") -> reading.ReadImage:
    return read_file(hostile.write(folder, {name: content}) / name)


@pytest.mark.parametrize("name", SOUND)
def test_sound_files_become_the_upright_picture(tmp_path: Path, name: str) -> None:
    image = read_bytes(tmp_path, SOUND[name], name)
    assert image.picture.mode == "RGB"
    assert image.picture.size == (image.width, image.height) == (hostile.WIDTH, hostile.HEIGHT)
    assert hostile.corners(image.picture) == "RGBW"


def test_the_facts_of_a_file_are_those_of_its_bytes(tmp_path: Path) -> None:
    content = SOUND["really a png.jpg"]
    image = read_bytes(tmp_path, content)
    assert (image.format, image.mode, image.bytes) == ("PNG", "RGB", len(content))
    assert image.content == hashlib.sha256(content).hexdigest()[:32]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_files_are_read_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    image = read_bytes(tmp_path, hostile.turned(orientation, kind))
    assert hostile.corners(image.picture) == "RGBW"
    assert (image.width, image.height) == (hostile.WIDTH, hostile.HEIGHT)


@pytest.mark.parametrize(
    ("dtype", "top", "kind", "mode"),
    [
        ("uint8", 255, "PNG", "L"),
        ("uint16", 65535, "PNG", "I;16"),
        ("uint16", 65535, "TIFF", "I;16"),
        (">u2", 65535, "TIFF", "I;16B"),
        ("uint16", 65535, "PPM", "I"),
        ("float32", 1, "TIFF", "F"),
        ("float32", 255, "TIFF", "F"),
        ("float32", 65535, "TIFF", "F"),
        ("int32", 1_000_000, "TIFF", "I"),
    ],
)
def test_grey_of_any_depth_is_scaled_not_clipped(
    tmp_path: Path, dtype: str, top: float, kind: str, mode: str
) -> None:
    content = hostile.encoded(Image.fromarray(hostile.ramp(dtype, top)), kind)
    image = read_bytes(tmp_path, content)
    expected = np.rint(hostile.ramp("float64", 255))
    grey = np.asarray(image.picture)
    assert np.abs(grey[:, :, 0] - expected).max() <= 1
    assert (grey[:, :, 0] == grey[:, :, 1]).all()
    assert (grey[:, :, 0] == grey[:, :, 2]).all()
    assert image.mode in (mode, "I")  # older Pillow reads 16-bit PNG as "I"


def test_dark_16_bit_grey_stays_dark(tmp_path: Path) -> None:
    dark = Image.fromarray(np.full((4, 4), 2570, dtype=np.uint16))
    assert np.asarray(read_bytes(tmp_path, hostile.encoded(dark, "PNG")).picture).max() == 10


@pytest.mark.parametrize("low", [-1.0, float("nan")])
def test_floats_of_no_usual_range_are_stretched(tmp_path: Path, low: float) -> None:
    values = np.full((4, 4), 500_000.0, dtype=np.float32)
    values[0, 0], values[0, 1] = low, 1_000_000
    picture = read_bytes(tmp_path, hostile.encoded(Image.fromarray(values), "TIFF")).picture
    assert [picture.getpixel((x, 0))[0] for x in (0, 1)] == [0, 255]


def test_one_bit_and_grey_alpha_are_read(tmp_path: Path) -> None:
    black_and_white = Image.fromarray(hostile.ramp("uint8", 255) > 127)
    grey_alpha = Image.new("LA", (4, 4), (200, 0))
    one = read_bytes(tmp_path, hostile.encoded(black_and_white, "PNG"))
    two = read_bytes(tmp_path, hostile.encoded(grey_alpha, "PNG"))
    assert set(np.unique(np.asarray(one.picture))) == {0, 255}
    assert np.unique(np.asarray(two.picture)).tolist() == [200]


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_give_a_reason(tmp_path: Path, name: str) -> None:
    content, reason = DAMAGED[name]
    with pytest.raises(UnreadableImage, match=reason) as caught:
        read_bytes(tmp_path, content, name)
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)


@pytest.mark.parametrize("name", DAMAGED)
def test_the_reason_is_the_same_every_time(tmp_path: Path, name: str) -> None:
    reasons = set()
    for _ in range(2):
        with pytest.raises(UnreadableImage, match=r".") as caught:
            read_bytes(tmp_path, DAMAGED[name][0], name)
        reasons.add(str(caught.value))
    assert len(reasons) == 1


def test_a_truncated_file_is_refused_even_where_a_program_tolerates_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(UnreadableImage, match="truncated"):
        read_bytes(tmp_path, DAMAGED["truncated.jpg"][0])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_large_image_below_the_limit_is_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", hostile.WIDTH * hostile.HEIGHT - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(SOUND["plain.jpg"]))
    assert read_bytes(tmp_path, SOUND["plain.jpg"]).width == hostile.WIDTH
    assert capfd.readouterr() == ("", "")


def test_the_limit_holds_where_a_program_lifted_pillows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    content = DAMAGED["bomb.png"][0]
    with pytest.raises(UnreadableImage, match=r"too large: .*\(60000 x 60000\)"):
        read_bytes(tmp_path, content)


def test_a_huge_file_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(reading.MOST_BYTES + 1)  # sparse: takes no room on disk
    with pytest.raises(UnreadableImage, match="a file of 1,073,741,825 bytes"):
        read_file(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.jpg", "file not found"), (".", "a folder"), ("nul\0.jpg", "no file can have")],
)
def test_what_is_no_file_gives_a_reason(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        read_file(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_hang_the_sweep(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UnreadableImage, match="not a regular file"):
        read_file(tmp_path / "pipe.jpg")


def test_a_file_that_may_not_be_read_gives_a_reason(tmp_path: Path) -> None:
    path = hostile.write(tmp_path, {"secret.jpg": b"x"}) / "secret.jpg"
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(UnreadableImage, match="permission denied"):
        read_file(path)


def test_an_error_of_the_disk_gives_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = hostile.write(tmp_path, {"a.jpg": b"x"}) / "a.jpg"
    monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(UnreadableImage, match="permission denied"):
        read_file(path)


@settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    name=st.sampled_from(sorted(SOUND)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    kept=st.floats(0.2, 1),
)
def test_any_damage_gives_a_picture_or_a_reason(
    name: str, changes: list[tuple[float, int]], kept: float
) -> None:
    content = bytearray(SOUND[name])
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    outcome = "RGB"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            outcome = decode(bytes(content[: int(kept * len(content))]))[0].mode
        except UnreadableImage as error:
            outcome = str(error)
    assert outcome == "RGB" or (" " in outcome and outcome.isprintable())


# Items of Python datasets ------------------------------------------------------------------------


def test_every_form_of_an_item_is_the_same_picture() -> None:
    pixels = np.asarray(hostile.picture())
    channels_first = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    forms = [
        hostile.picture(),
        pixels,
        channels_first,
        pixels.astype(np.int64),
        pixels.astype(np.uint16) * 257,
        (pixels / 255).astype(np.float32),
        (channels_first / 255).astype(np.float64),
        np.dstack([pixels, np.zeros(pixels.shape[:2], dtype=np.uint8)]),
    ]
    read = [read_item(form) for form in forms]
    assert len({image.content for image in read}) == 1
    assert {hostile.corners(image.picture) for image in read} == {"RGBW"}
    assert {(image.bytes, image.format) for image in read} == {(0, "pixels")}


def test_tensors_are_read() -> None:
    torch = pytest.importorskip("torch")
    pixels = np.asarray(hostile.picture())
    first = torch.from_numpy(np.array(np.moveaxis(pixels, 2, 0)))
    forms = [first, first / 255, (first / 255).double(), (first / 255).requires_grad_()]
    assert {hostile.corners(read_item(form).picture) for form in forms} == {"RGBW"}
    assert hostile.corners(read_item((first / 255).bfloat16()).picture) == "RGBW"


def test_grey_items_are_read() -> None:
    grey = hostile.ramp("uint8", 255)
    for form in (grey, grey[None], grey[:, :, None], grey > 127, Image.fromarray(grey)):
        assert read_item(form).picture.size == (hostile.WIDTH, hostile.HEIGHT)


def test_a_three_pixel_image_is_read_channels_last_unless_it_is_a_tensor() -> None:
    torch = pytest.importorskip("torch")
    values = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    assert (np.asarray(read_item(values).picture) == values).all()
    tensor = np.asarray(read_item(torch.from_numpy(values)).picture)
    assert (tensor == np.moveaxis(values, 0, 2)).all()


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (np.full((8, 8, 3), -1.5, dtype=np.float32), "before normalisation"),
        (np.full((8, 8, 3), 200.0), "before normalisation"),
        (np.full((8, 8, 3), np.nan), "nan"),
        (np.full((8, 8, 3), 300), "expected uint8"),
        (np.zeros((8, 8, 5), dtype=np.uint8), "channels"),
        (np.zeros((2, 8, 8, 3), dtype=np.uint8), "shape"),
        (np.zeros((0, 8, 3), dtype=np.uint8), "shape"),
        (np.zeros((8, 8), dtype=complex), "complex"),
        ("cat.jpg", "a str"),
        (None, "a NoneType"),
    ],
)
def test_items_that_are_no_images_give_a_reason(item: object, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        read_item(item)


def test_an_item_is_not_changed() -> None:
    pixels = np.asarray(hostile.picture()) / 255
    before = pixels.copy()
    read_item(pixels)
    assert (pixels == before).all()


def test_the_pixels_of_an_item_are_the_users_no_longer() -> None:
    pixels = np.array(hostile.picture())
    image = read_item(pixels)
    pixels[:] = 0
    assert hostile.corners(image.picture) == "RGBW"


@pytest.mark.parametrize("name", hostile.nasty_names())
def test_every_name_can_be_stored(name: str) -> None:
    stored = storable(name)
    assert stored.encode("utf-8").decode("utf-8") == stored
    if "\udce9" not in name:
        assert stored == name


def test_any_lone_surrogate_can_be_stored() -> None:
    assert storable("a\ud800b") == "a\\ud800b"
