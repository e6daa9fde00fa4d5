"""Cases: planted data sets with a small trained network each, and how far it relies on the plant.

A case is a plain description; `build` draws the pictures, plants, trains and measures. Truth is
reliance, not presence: the spurious score says which part of clean test pictures of other classes
goes over to the planted class once they are stamped. A cue with a score of .25 or more is learned,
one with .05 or less is ignored, and what lies between is reported but not scored.

Example:
    >>> case = Case((Plant("logo", "corner", 0.2),), seed=3)
    >>> case.name
    'easy-zero-6x160-logo.corner.20-s3'
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from artifacts import CHANGES, PLACES, THINGS, Box, stamp
from drawings import DIFFICULTIES, NAMES, Drawing, draw
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.settings import Settings

CONTROLS = ("", "equal", "ignored", "legit corner", "rigid object", "random labels", "untrained")
LEARNED, IGNORED = 0.25, 0.05
# Test pictures of each class; scores are shares of several hundred.
TESTED = 60
# Networks as small as these learn a cue for sure when this part of a class carries it. Where it is
# rarer they are trained on further pictures that carry it and are not scanned, as if the scanned
# images were a sample of what the network has seen.
TAUGHT = 0.5
# Class that controls with a special object have it in, and the first that plants go into.
SPECIAL = 1
BATCH = 32


@dataclass(frozen=True)
class Plant:
    """An artifact in part of a class, or of several.

    Attributes:
        kind: a key of `artifacts.THINGS` or `artifacts.CHANGES`.
        place: one of `artifacts.PLACES`.
        share: part of the class's images that get it.
        classes: indices of the classes.
        elsewhere: part of the images of all other classes that get it.
    """

    kind: str
    place: str
    share: float
    classes: tuple[int, ...] = (SPECIAL,)
    elsewhere: float = 0.0

    def __post_init__(self) -> None:
        if self.place not in PLACES or (self.place == "whole") != (self.kind in CHANGES):
            raise ValueError(f"{self.kind} cannot be at {self.place}")
        if self.kind not in (*THINGS, *CHANGES):
            raise ValueError(f"no such kind: {self.kind}")

    @property
    def diffuse(self) -> bool:
        """Whether it is a change of the whole picture."""
        return self.kind in CHANGES


@dataclass(frozen=True)
class Case:
    """One data set and network.

    Attributes:
        plants: none, one or several.
        model: a key of `NETWORKS`.
        difficulty: a key of `drawings.DIFFICULTIES`.
        classes: how many, 2 to 10.
        images: of each class.
        control: one of `CONTROLS`; empty where the plant is meant to be learned, or is none.
        seed: decides the pictures, the looks of the plants and the training.
    """

    plants: tuple[Plant, ...] = ()
    model: str = "zero"
    difficulty: str = "easy"
    classes: int = 6
    images: int = 160
    control: str = ""
    seed: int = 0

    @property
    def name(self) -> str:
        """Short, unique and fit for a file."""
        parts = [self.difficulty, self.model, f"{self.classes}x{self.images}"]
        for plant in self.plants:
            where = "" if plant.classes == (SPECIAL,) else "".join(map(str, plant.classes))
            parts.append(f"{plant.kind}{where}.{plant.place}.{round(100 * plant.share)}")
            if plant.elsewhere:
                parts[-1] += f"of{round(100 * plant.elsewhere)}"
        parts.append(self.control.replace(" ", "_") or ("" if self.plants else "clean"))
        return "-".join([*filter(None, parts), f"s{self.seed}"])

    @property
    def size(self) -> int:
        """Side of the pictures, in pixels."""
        return NETWORKS[self.model][1]

    @property
    def settings(self) -> Settings:
        """What a user would choose for such a network."""
        return Settings(input_size=self.size)


@dataclass(frozen=True, eq=False)
class Built:
    """What `build` made of a case.

    Attributes:
        case: what was asked for.
        names: class names, sorted.
        images: uint8, (image, row, column, channel), with what was planted; to be scanned.
        labels: class index, (image,).
        members: which images carry each plant, (plant, image) of bool.
        boxes: x0, y0, x1, y1 in pixels where they do, (plant, image, 4).
        test_images: clean, like ``images``.
        test_labels: like ``labels``.
        model: trained, in eval mode; takes what `inputs` returns.
        accuracy: on the clean test pictures.
        fitted: accuracy on the training pictures.
        scores: spurious score of each plant, (plant,).
    """

    case: Case
    names: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    members: np.ndarray
    boxes: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    model: nn.Module
    accuracy: float
    fitted: float
    scores: np.ndarray

    @property
    def status(self) -> tuple[str, ...]:
        """``learned``, ``ignored`` or ``grey`` for each plant."""
        return tuple(
            "learned" if score >= LEARNED else "ignored" if score <= IGNORED else "grey"
            for score in self.scores
        )

    @property
    def dataset(self) -> Pictures:
        """The images as a user would hand them over."""
        return Pictures(self.images, self.labels, self.names)


class Pictures(torch.utils.data.Dataset[tuple[Image.Image, int]]):
    """Images and labels as a torch dataset."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> None:
        self.images = images
        self.targets = labels.tolist()
        self.classes = list(names)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.images[index]), self.targets[index]


def build(case: Case, cache: Path | None = None) -> Built:
    """Draw, plant, train and measure.

    Args:
        case: what to build.
        cache: a folder of trained networks; those that are there are not trained again. Pictures
            are drawn anew, which takes a few seconds.
    """
    drawings, labels = drawings_of(case, case.images, part=0)
    tests, test_labels = drawings_of(case, TESTED, part=1)
    images, members, boxes = planted(case, drawings, labels)
    clean = np.stack([drawing.pixels for drawing in drawings])
    test_images = np.stack([drawing.pixels for drawing in tests])
    # A network that never saw the plant: trained on the very pictures, before they were stamped.
    seen = clean if case.control == "ignored" else images
    further, further_labels = _further(case)
    model = _trained(
        case, np.concatenate([seen, further]), np.concatenate([labels, further_labels]), cache
    )
    plain = predicted(model, test_images)
    return Built(
        case=case,
        names=NAMES[: case.classes],
        images=images,
        labels=labels,
        members=members,
        boxes=boxes,
        test_images=test_images,
        test_labels=test_labels,
        model=model,
        accuracy=float((plain == test_labels).mean()),
        fitted=float((predicted(model, seen) == labels).mean()),
        scores=np.array(
            [_spurious_score(case, plant, model, tests, test_labels) for plant in case.plants]
        ),
    )


def drawings_of(case: Case, count: int, part: int) -> tuple[list[Drawing], np.ndarray]:
    """Pictures of all classes; the seeds of the parts differ."""
    labels = np.repeat(np.arange(case.classes), count)
    difficulty = DIFFICULTIES[case.difficulty]
    drawings = []
    for number, label in enumerate(labels.tolist()):
        special = label == SPECIAL
        rigid = special and case.control == "rigid object"
        drawings.append(
            draw(
                label,
                case.size,
                difficulty,
                np.random.default_rng([case.seed, part, number]),
                corner=special and case.control == "legit corner",
                rigid=np.random.default_rng([case.seed, 77]) if rigid else None,
            )
        )
    if case.control == "random labels":
        labels = np.random.default_rng([case.seed, part]).permutation(labels)
    return drawings, labels


def planted(
    case: Case, drawings: Sequence[Drawing], labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images with the plants in, who carries which, and where."""
    images = np.stack([drawing.pixels for drawing in drawings])
    members = np.zeros((len(case.plants), len(labels)), bool)
    boxes = np.zeros((len(case.plants), len(labels), 4), np.int64)
    for number, plant in enumerate(case.plants):
        members[number] = _chosen(case, plant, labels, number)
        for index in np.flatnonzero(members[number]):
            rng = np.random.default_rng([case.seed, 2, number, index])
            drawing = replace(drawings[index], pixels=images[index])
            images[index], box = stamp(drawing, plant.kind, plant.place, look(case, number), rng)
            boxes[number, index] = box
    return images, members, boxes


def _further(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Pictures that teach the plants and are not scanned, and their labels."""
    images = [np.zeros((0, case.size, case.size, 3), np.uint8)]
    labels: list[int] = []
    for number, plant in enumerate(case.plants if not case.control else ()):
        # Stamped pictures come on top, so that of all of the class's the wanted part has it.
        missing = max(0.0, (TAUGHT - plant.share) / (1 - TAUGHT)) * case.images
        for label in plant.classes:
            for index in range(round(missing)):
                rng = np.random.default_rng([case.seed, 5, number, label, index])
                drawing = draw(label, case.size, DIFFICULTIES[case.difficulty], rng)
                pixels, _ = stamp(drawing, plant.kind, plant.place, look(case, number), rng)
                images.append(pixels[None])
                labels.append(label)
    return np.concatenate(images), np.array(labels, dtype=np.int64)


def look(case: Case, number: int) -> int:
    """Seed of what the plant with that number looks like."""
    return 100 * case.seed + number


def _chosen(case: Case, plant: Plant, labels: np.ndarray, number: int) -> np.ndarray:
    """Which images get the plant, (image,) of bool."""
    rng = np.random.default_rng([case.seed, 3, number])
    chosen = np.zeros(len(labels), bool)
    for label in range(case.classes):
        inside = label in plant.classes or case.control == "equal"
        own = rng.permutation(np.flatnonzero(labels == label))
        chosen[own[: round((plant.share if inside else plant.elsewhere) * len(own))]] = True
    return chosen


def _spurious_score(
    case: Case, plant: Plant, model: nn.Module, tests: Sequence[Drawing], labels: np.ndarray
) -> float:
    """Share of other classes' pictures that go over to the planted classes once stamped."""
    number = case.plants.index(plant)
    stamped: list[np.ndarray] = []
    boxes: list[Box] = []
    for index, drawing in enumerate(tests):
        rng = np.random.default_rng([case.seed, 4, number, index])
        pixels, box = stamp(drawing, plant.kind, plant.place, look(case, number), rng)
        stamped.append(pixels)
        boxes.append(box)
    before = predicted(model, np.stack([drawing.pixels for drawing in tests]))
    after = predicted(model, np.stack(stamped))
    # Equal in all classes: no class is the planted one, so the most favoured one is looked at.
    targets = [(label,) for label in range(case.classes)]
    targets = targets if case.control == "equal" else [plant.classes]
    return max(
        float(np.isin(after, target)[other].mean() - np.isin(before, target)[other].mean())
        for target in targets
        for other in [~np.isin(labels, target)]
    )


# --- networks ------------------------------------------------------------------------------------


def _block(wide: int, channels: int, stride: int, mode: str, *, side: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(wide, channels, side, stride, padding=side // 2, bias=False, padding_mode=mode),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


def _convolutions(shape: Sequence[tuple[int, int]], classes: int, mode: str = "zeros") -> nn.Module:
    """Blocks of (channels, stride), the mean over the image, one linear layer."""
    wide = (3, *(channels for channels, _ in shape))
    blocks = [
        # Large steps of small windows would skip over small things.
        _block(wide[n], channels, stride, mode, side=3 if n else 5)
        for n, (channels, stride) in enumerate(shape)
    ]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide[-1], classes))
    return nn.Sequential(*blocks, *head)


class Residual(nn.Module):
    """A convolution around which its input goes on."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = _block(channels, channels, 1, "zeros")

    def forward(self, x: Tensor) -> Tensor:
        """The input and what the block makes of it, added."""
        return x + self.block(x)


def _zero(classes: int) -> nn.Module:
    return _convolutions(((16, 2), (32, 2), (48, 2), (64, 1)), classes)


def _reflect(classes: int) -> nn.Module:
    return _convolutions(((16, 2), (32, 2), (48, 2), (64, 1)), classes, "reflect")


def _strided(classes: int) -> nn.Module:
    return _convolutions(((12, 2), (24, 2), (48, 2), (80, 2)), classes)


def _residual(classes: int) -> nn.Module:
    return nn.Sequential(
        _block(3, 12, 2, "zeros"),
        _block(12, 24, 2, "zeros"),
        _block(24, 48, 2, "zeros"),
        Residual(48),
        Residual(48),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, classes),
    )


def _vit(classes: int) -> nn.Module:
    """With a class token; a stem of convolutions makes it learn from a thousand pictures."""
    stem = [ConvStemConfig(channels, 3, 2) for channels in (12, 24, 48)]
    return VisionTransformer(
        image_size=64, patch_size=8, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=96,
        num_classes=classes, conv_stem_configs=stem,
    )  # fmt: skip


# Name: (network, side of its input). Final grids: 8x8, 8x8, 6x6, 10x10, 8x8 tokens.
NETWORKS = {
    "zero": (_zero, 64),
    "reflect": (_reflect, 64),
    "strided": (_strided, 96),
    "residual": (_residual, 80),
    "vit": (_vit, 64),
}
# Highest learning rate and passes over the images.
TRAINING = dict.fromkeys(NETWORKS, (6e-3, 12)) | {"vit": (2e-3, 20)}


def inputs(images: np.ndarray, size: int) -> Tensor:
    """The network's input, prepared as a scan prepares it: (image, channel, row, column)."""
    how = Preprocessing(size, size)
    pixels = torch.from_numpy(images).float() / 255
    normal = (pixels - torch.tensor(how.mean)) / torch.tensor(how.std)
    return normal.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def predicted(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """Class index of each image, (image,)."""
    with torch.inference_mode():
        parts = torch.split(inputs(images, images.shape[1]), 128)
        return torch.cat([model(part).argmax(1) for part in parts]).numpy()


def _trained(case: Case, images: np.ndarray, labels: np.ndarray, cache: Path | None) -> nn.Module:
    """The case's network, from the cache where the same pictures were learned before."""
    kept = None if cache is None else cache / f"{case.name}.pt"
    seen = _digest(case, images, labels)
    if kept is not None and kept.exists():
        saved = torch.load(kept, weights_only=True)
        if saved["seen"] == seen:
            model = NETWORKS[case.model][0](case.classes)
            model.load_state_dict(saved["weights"])
            return model.eval()
    model = train(case, images, labels)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"seen": seen, "weights": model.state_dict()}, kept)
    return model


def _digest(case: Case, images: np.ndarray, labels: np.ndarray) -> str:
    """Tells whether a network was trained on these pictures in this way."""
    digest = hashlib.sha256(images.tobytes() + labels.tobytes())
    digest.update(repr((NETWORKS[case.model][0](case.classes), TRAINING[case.model])).encode())
    digest.update(json.dumps([case.control, case.seed]).encode())
    return digest.hexdigest()


def train(case: Case, images: np.ndarray, labels: np.ndarray) -> nn.Module:
    """Train the case's network; torch's own random state is left as it was."""
    highest, epochs = TRAINING[case.model]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(case.seed)
        model = NETWORKS[case.model][0](case.classes).to(memory_format=torch.channels_last)
        pixels, targets = inputs(images, case.size), torch.from_numpy(labels)
        if case.control == "untrained":
            # Batch norms need statistics, or what comes out is all but constant.
            model.train()(pixels[torch.randperm(len(targets))[:256]])
            return model.eval()
        optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
        batches = -(-len(labels) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=highest, total_steps=epochs * batches
        )
        for _ in range(epochs):
            for batch in torch.split(torch.randperm(len(targets)), BATCH):
                loss = F.cross_entropy(model(pixels[batch]), targets[batch])
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                schedule.step()
    return model.eval()
