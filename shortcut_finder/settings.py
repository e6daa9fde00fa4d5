"""Settings: the options of a scan, with their defaults and the reason for each."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from shortcut_finder.errors import SettingsError

METHODS = (
    "auto", "cam", "gradcam", "gradcam++", "xgradcam", "layercam", "hirescam", "eigencam",
    "ablationcam",
)  # fmt: skip
RESIZES = ("squash", "crop", "pad")
PRECISIONS = ("auto", "fp32", "bf16")
# How the outputs of a model are read; auto by the labels.
OUTPUTS = ("auto", "softmax", "sigmoid")
ENGINES = ("local", "ray")
FRAMES = ("first", "all")
# What `clean` does with images, and how those that stay get into the new folder.
ACTIONS = ("drop", "mask", "reweight")
FILES = ("none", "hardlink", "symlink", "copy")
# What `export` writes for.
EXPORTS = ("coco", "cvat", "label-studio", "fiftyone", "csv")
# What `log_run` logs to.
TRACKERS = ("mlflow", "wandb")
# How surely an image carries what was found.
SURE, LIKELY = TIERS = ("sure", "likely")
SEVERITIES = ("high", "medium", "low")


@dataclass(frozen=True)
class Settings:
    """What a user may choose about a scan.

    ``None`` means "decide from the model, the data or the machine".

    Attributes:
        method: class activation map method; ``auto`` takes the cheapest exact one.
        layer: dotted path of the module whose output the maps are drawn on.
        input_size: side of the square the model sees, in pixels.
        resize: how an image becomes that square: ``squash``, ``crop`` or ``pad``.
        mean: per-channel mean of the model's input, of pixels in [0, 1].
        std: per-channel standard deviation of the model's input, of pixels in [0, 1].
        outputs: whether the classes share one softmax or each has its own sigmoid; ``auto`` takes
            sigmoids where an image may have several labels.
        positive: the class that a network with one output speaks for; the second if ``None``.
        label_columns: columns of a table that hold a label each, 1 or 0, blank or -1 if unknown.
        batch_size: images a forward pass.
        device: ``auto``, ``cpu``, ``cuda`` or any torch device; several, as ``cuda:0,cuda:1``,
            sweep together, and the first does the rest.
        precision: ``auto`` uses bfloat16 where the device has matrix arithmetic for it (GPUs from
            Ampere on, processors with AMX) and a check on the first batch allows it.
        workers: processes that decode images; 0 decodes in the main one.
        limit: scan at most this many images, drawn at random with the seed.
        engine: where the sweep runs: in this process (``local``), or by actors on Ray.
        actors: processes that hold the model on Ray; as many as there is room for if ``None``.
        gpus_per_actor: GPUs that each of them takes, in parts of one or several; one if ``None``
            and there are any.
        address: of a Ray cluster to join; by default Ray is started on this machine, and ended.
        verify: whether candidates are tested by intervention.
        seed: the one source of randomness.
        window: the numbers that become black and white, of grey deeper than 8 bits; for DICOM in
            the place of the window that a file states.
        frames: of DICOM files with several: the ``first``, or ``all`` as images of their own.
        group: column, or element of DICOM headers, whose images must stay on one half.
        channels: ways to find that are tried, all if empty; ``FILE.py:FUNCTION`` adds one of the
            user's own.
    """

    method: str = "auto"
    layer: str | None = None
    input_size: int | None = None
    resize: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    outputs: str = "auto"
    positive: str | None = None
    label_columns: tuple[str, ...] = ()
    batch_size: int | None = None
    device: str = "auto"
    precision: str = "auto"
    workers: int | None = None
    limit: int | None = None
    engine: str = "local"
    actors: int | None = None
    gpus_per_actor: float | None = None
    address: str | None = None
    verify: bool = True
    seed: int = 0
    window: tuple[float, float] | None = None
    frames: str = "first"
    group: str | None = None
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _one_of("method", self.method, METHODS)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("engine", self.engine, ENGINES)
        _one_of("outputs", self.outputs, OUTPUTS)
        _one_of("frames", self.frames, FRAMES)
        if self.resize is not None:
            _one_of("resize", self.resize, RESIZES)
        for name in ("input_size", "batch_size", "limit", "actors"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"--{name.replace('_', '-')} {value}: must be 1 or more")
        for name in ("actors", "gpus_per_actor", "address"):
            if getattr(self, name) is not None and self.engine != "ray":
                raise SettingsError(f"--{name.replace('_', '-')}: is for --engine ray")
        if self.gpus_per_actor is not None and not 0 <= self.gpus_per_actor < math.inf:
            raise SettingsError(f"--gpus-per-actor {self.gpus_per_actor}: must be 0 or more")
        if self.engine == "ray" and len(devices_of(self.device)) > 1:
            raise SettingsError(
                f"--device {self.device}: on Ray an actor has GPUs of its own; use --gpus-per-actor"
            )
        if self.workers is not None and self.workers < 0:
            raise SettingsError(f"--workers {self.workers}: must be 0 or more")
        if self.seed < 0:
            raise SettingsError(f"--seed {self.seed}: must be 0 or more")
        # Written so that NaN fails too.
        if self.mean is not None and not all(0 <= value <= 1 for value in self.mean):
            raise SettingsError(f"--mean {self.mean}: of pixels in [0, 1]; divide by 255")
        if self.std is not None and not all(0 < value < math.inf for value in self.std):
            raise SettingsError(f"--std {self.std}: every value must be above 0")

        if self.window is not None and not -math.inf < self.window[0] < self.window[1] < math.inf:
            low, high = self.window
            raise SettingsError(f"--window {low:g},{high:g}: the first must be below the second")

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values, ready for JSON."""
        return dataclasses.asdict(self)


def devices_of(device: str) -> list[str]:
    """The devices that an option names.

    Example:
        >>> devices_of("cuda:0, cuda:1")
        ['cuda:0', 'cuda:1']
    """
    return [name.strip() for name in device.split(",") if name.strip()]


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"--{name} {value}: choose one of {', '.join(choices)}")
