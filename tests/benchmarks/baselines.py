"""Baselines: other ways to rank the images of a class, on what the same run kept.

Clusterings get the benefit of an oracle: the cluster that ranks the carriers best is the one that
counts, so that none of them fails for want of a rule for picking it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from cases import Built
from scoring import positions
from sklearn.cluster import HDBSCAN, KMeans, SpectralClustering
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import spectral_embedding
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import kneighbors_graph
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import shortcut_finder as sf
from shortcut_finder.data.properties import PROPERTIES
from shortcut_finder.sweep.shards import read_shards

MOST_CLUSTERS = 8


def baselines(built: Built, run: sf.Run, label: int, carries: np.ndarray) -> dict[str, float]:
    """Average precision of each baseline within one class.

    Args:
        built: the data set.
        run: its scan.
        label: class index.
        carries: which images of the data set carry what was planted, (image,) of bool.
    """
    own = np.flatnonzero(built.labels == label)
    truth = carries[own]
    table = run.images.set_index(positions(run.images)).sort_index()
    maps, features = _kept(built, run)
    rows = table.iloc[own]
    scores: dict[str, Callable[[], Iterator[np.ndarray]]] = {
        "confidence": lambda: iter([rows["confidence"].to_numpy()]),
        "low loss": lambda: iter([rows["label_probability"].to_numpy()]),
        "high loss": lambda: iter([-rows["label_probability"].to_numpy()]),
        "region share (oracle)": lambda: _region_shares(rows),
        "SpRAy (eigengap, oracle cluster)": lambda: _spray(maps[own], eigengap=True),
        "SpRAy (oracle)": lambda: _spray(maps[own], eigengap=False),
        "k-means (oracle cluster)": lambda: _k_means(features[own]),
        "HDBSCAN (oracle cluster)": lambda: _hdbscan(features[own]),
        "spectral signature": lambda: iter([_spectral_signature(features[own])]),
        "properties": lambda: iter([_one_class(table[list(PROPERTIES)], built, label)[own]]),
        "border pixels": lambda: iter([_one_class(_border(built.images), built, label)[own]]),
    }
    found = {"random": float(truth.mean())}
    for name, make in scores.items():
        found[name] = max(float(average_precision_score(truth, score)) for score in make())
    return found


def _kept(built: Built, run: sf.Run) -> tuple[np.ndarray, np.ndarray]:
    """Label maps and pooled features of all images, in the order of the data set."""
    maps: list[np.ndarray] = [np.empty(0)] * len(built.labels)
    features = list(maps)
    for shard in read_shards(run.folder / "shards", ["maps", "features"]):
        for row, index in enumerate(shard.table["index"]):
            maps[index] = shard.arrays["maps"][row, 0].astype(np.float64)
            features[index] = shard.arrays["features"][row].astype(np.float64)
    return np.stack(maps), np.stack(features)


def _region_shares(rows: pd.DataFrame) -> Iterator[np.ndarray]:
    for column in rows:
        if str(column).startswith("share: "):
            yield rows[column].to_numpy()


def _spray(maps: np.ndarray, *, eigengap: bool) -> Iterator[np.ndarray]:
    """Lapuschkin et al. 2019: spectral clustering of a class's heat maps.

    Args:
        maps: (image, row, column).
        eigengap: take as many clusters as the largest gap of the spectrum says; otherwise all
            numbers up to `MOST_CLUSTERS` are tried.
    """
    heat = np.clip(maps, 0, None).reshape(len(maps), -1)
    heat = heat / np.maximum(heat.sum(axis=1, keepdims=True), 1e-12)
    graph = kneighbors_graph(heat, max(4, round(np.log(len(heat)))), include_self=False)
    graph = (graph + graph.T) / 2
    counts = [_eigengap(graph.toarray())] if eigengap else range(2, MOST_CLUSTERS + 1)
    with warnings.catch_warnings():
        # The graph may fall into parts, which is what clustering looks for.
        warnings.simplefilter("ignore", UserWarning)
        embedded = spectral_embedding(
            graph, n_components=MOST_CLUSTERS, random_state=0, drop_first=False
        )
        for count in counts:
            clusters = SpectralClustering(
                count, affinity="precomputed", assign_labels="kmeans", random_state=0
            ).fit_predict(graph)
            yield from _cluster_scores(embedded[:, :count], clusters)


def _eigengap(graph: np.ndarray) -> int:
    """Number of clusters before the largest gap of the normalised Laplacian's eigenvalues."""
    root = 1 / np.sqrt(np.maximum(graph.sum(axis=1), 1e-12))
    values = np.linalg.eigvalsh(np.eye(len(graph)) - root[:, None] * graph * root)
    return int(np.argmax(np.diff(values[: MOST_CLUSTERS + 1])[1:])) + 2


def _k_means(features: np.ndarray) -> Iterator[np.ndarray]:
    points = StandardScaler().fit_transform(features)
    for count in (2, 4, 8, 16):
        clusters = KMeans(count, n_init=3, random_state=0).fit_predict(points)
        yield from _cluster_scores(points, clusters)


def _hdbscan(features: np.ndarray) -> Iterator[np.ndarray]:
    points = StandardScaler().fit_transform(features)
    for smallest in (3, 5, 10):
        clusters = HDBSCAN(min_cluster_size=smallest, copy=True).fit_predict(points)
        yield from _cluster_scores(points, clusters)


def _cluster_scores(points: np.ndarray, clusters: np.ndarray) -> Iterator[np.ndarray]:
    """For each cluster: its images first, and then by their distance to its middle."""
    for cluster in np.unique(clusters):
        inside = clusters == cluster
        distance = np.linalg.norm(points - points[inside].mean(axis=0), axis=1)
        yield inside - 0.5 * distance / max(distance.max(), 1e-12)


def _spectral_signature(features: np.ndarray) -> np.ndarray:
    """Tran et al. 2018: squared projection on the class's first singular vector."""
    centred = features - features.mean(axis=0)
    return (centred @ np.linalg.svd(centred, full_matrices=False)[2][0]) ** 2


def _one_class(values: pd.DataFrame | np.ndarray, built: Built, label: int) -> np.ndarray:
    """How surely a linear classifier that sees nothing else gives each image to the class."""
    target = built.labels == label
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    return cross_val_predict(
        model, np.asarray(values, dtype=float), target, cv=3, method="decision_function"
    )


def _border(images: np.ndarray) -> np.ndarray:
    """The outermost pixels of each image, four at a time, (image, value)."""
    whole = images.astype(np.float64)
    sides = (whole[:, :4], whole[:, -4:], whole[:, :, :4].swapaxes(1, 2),
             whole[:, :, -4:].swapaxes(1, 2))  # fmt: skip
    size = whole.shape[1] // 4 * 4
    parts = [
        side[:, :, :size].reshape(len(images), 4, size // 4, 4, 3).mean(axis=(1, 3))
        for side in sides
    ]
    return np.concatenate([part.reshape(len(images), -1) for part in parts], axis=1)
