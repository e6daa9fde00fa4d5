"""Whitening: channels come out uncorrelated and equal, unit long; the file gives the same back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from shortcut_finder.errors import RunError
from shortcut_finder.sweep.whitening import (
    FINE_WIDTH,
    WIDTH,
    Whitenings,
    fit_whitening,
    load_whitenings,
    save_whitenings,
    stored_cells,
)


def mixed_cells(images: int = 40, channels: int = 12, seed: int = 0) -> np.ndarray:
    """Correlated channels of very different scales around a mean."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(channels, channels)) * np.geomspace(1, 100, channels)
    cells = rng.normal(size=(images, 6, 6, channels)) @ mixing + 50
    return np.moveaxis(cells, -1, 1).astype(np.float32)


def whitened(cells: np.ndarray) -> np.ndarray:
    return fit_whitening(cells, 0)(torch.from_numpy(cells)).numpy()


def both(cells: np.ndarray, fine: np.ndarray, seed: int = 0) -> Whitenings:
    return Whitenings(fit_whitening(cells, seed), fit_whitening(fine, seed, FINE_WIDTH))


def test_white_channels_are_uncorrelated_and_equal() -> None:
    cells = mixed_cells()
    whitening = fit_whitening(cells, 0)
    rows = np.moveaxis(cells, 1, -1).reshape(-1, 12)
    white = (rows - whitening.mean.numpy()) @ whitening.matrix.numpy()
    covariance = np.cov(white.T)
    before = np.corrcoef(rows.T)
    assert np.abs(before - np.eye(12)).max() > 0.5
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.4
    assert np.median(np.diag(covariance)) > 0.8
    assert np.diag(covariance).max() < 1.05


def test_descriptors_are_unit_vectors_and_the_input_is_unchanged() -> None:
    cells = mixed_cells()
    before = cells.copy()
    white = whitened(cells)
    assert white.shape == (40, 6, 6, 12)
    assert white.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(white, axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(cells, before)


def test_scale_and_offset_of_a_channel_do_not_matter() -> None:
    cells = mixed_cells()
    gain = np.geomspace(0.01, 100, 12, dtype=np.float32)[None, :, None, None]
    one, two = whitened(cells), whitened(cells * gain + 7)
    np.testing.assert_allclose(one, two, atol=2e-2)


def test_a_rare_thing_stands_apart_once_it_is_white() -> None:
    cells = mixed_cells()
    thing = np.random.default_rng(1).normal(size=12).astype(np.float32)
    direction = np.linalg.eigh(np.corrcoef(np.moveaxis(cells, 1, 0).reshape(12, -1)))[1][:, 0]
    spread = cells.std(axis=(0, 2, 3))
    cells[:8, :, 2, 3] = cells.mean(axis=(0, 2, 3)) + spread * (3 * direction + 0.01 * thing)
    white = whitened(cells)[:, 2, 3]
    plain = cells[:, :, 2, 3] - cells.mean(axis=(0, 2, 3))
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)

    def apart(vectors: np.ndarray) -> float:
        like = vectors @ vectors[:8].mean(axis=0)
        return float(like[:8].min() - np.quantile(like[8:], 0.9))

    assert apart(white) > 0.3
    assert apart(white) > apart(plain)


def test_constant_channels_and_constant_cells_give_no_nonsense() -> None:
    cells = mixed_cells()
    cells[:, 3] = 5.0
    white = whitened(cells)
    assert np.isfinite(white).all()
    flat = np.full((4, 12, 6, 6), 2.5, dtype=np.float32)
    assert not whitened(flat).any()


def test_wide_layers_become_narrow_and_keep_their_angles() -> None:
    rng = np.random.default_rng(2)
    cells = rng.normal(size=(60, 3 * WIDTH, 5, 5)).astype(np.float32)
    cells[:10, :, 0, 0] = 3 * rng.normal(size=3 * WIDTH)
    white = whitened(cells)
    assert white.shape == (60, 5, 5, WIDTH)
    like = white[:, 0, 0] @ white[:, 0, 0].T
    twins, strangers = like[:10, :10], like[:10, 10:]
    assert twins.min() > 0.95
    assert np.abs(strangers).max() < 0.45


def test_the_same_seed_learns_the_same(tmp_path: Path) -> None:
    cells = np.random.default_rng(3).normal(size=(20, WIDTH + 20, 6, 6)).astype(np.float32)
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        save_whitenings(tmp_path / name, both(cells, cells[:, :60], seed))
    one, two, other = ((tmp_path / name).read_bytes() for name in ("one", "two", "other"))
    assert one == two
    assert one != other


def test_large_sets_are_sampled_and_learn_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = mixed_cells(images=200)
    whole = whitened(cells)[:5]
    monkeypatch.setattr("shortcut_finder.sweep.whitening.SAMPLE", 2000)
    part = whitened(cells)[:5]
    assert not np.array_equal(whole, part)
    assert (whole * part).sum(axis=-1).mean() > 0.97


@pytest.mark.parametrize("channels", [60, 7, 0])
def test_saving_and_loading_both_is_identity(tmp_path: Path, channels: int) -> None:
    whitenings = both(mixed_cells(), mixed_cells(channels=60, seed=1)[:, :channels])
    save_whitenings(tmp_path / "whitening.npz", whitenings)
    again = load_whitenings(tmp_path / "whitening.npz")
    for name in ("cells", "fine"):
        one, two = getattr(again, name), getattr(whitenings, name)
        np.testing.assert_array_equal(one.mean, two.mean)
        np.testing.assert_array_equal(one.matrix, two.matrix)
    assert again.cells.matrix.shape == (12, 12)
    assert again.fine.matrix.shape == (channels, min(channels, FINE_WIDTH))
    assert [path.name for path in tmp_path.iterdir()] == ["whitening.npz"]


def test_cells_of_no_channels_stay_such() -> None:
    none = np.zeros((3, 0, 6, 4), dtype=np.float32)
    white = stored_cells(fit_whitening(none, 0, FINE_WIDTH)(torch.from_numpy(none)))
    assert white.shape == (3, 6, 4, 0)
    assert white.dtype == torch.int8


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (open, ("/nonexistent/never", "w"))


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "cut", "pickle", "incomplete"])
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "whitening.npz"
    save_whitenings(path, both(mixed_cells(), mixed_cells(seed=1)))
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "pickle":
        np.savez(path, cells_mean=np.array([Evil()], dtype=object), cells_matrix=np.eye(2))
    elif damage == "incomplete":
        np.savez(path, cells_mean=np.zeros(3), cells_matrix=np.eye(3))
    else:
        path.write_bytes({"empty": b"", "text": b"no archive", "cut": whole[:200]}[damage])
    with pytest.raises(RunError, match=r"whitening\.npz: cannot be read .*scan again with --fresh"):
        load_whitenings(path)
