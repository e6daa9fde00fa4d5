"""Speed of the map engine, beside other packages and a bare forward loop, in one run.

Every network sees the same images on the same machine; runs of one round follow each other, and a
ratio is taken within its round, so that a busy machine blurs all of them alike. Seconds are those
of the processor (all threads and decode processes), which other programs disturb least, and those
of the clock on a GPU; images a second are by the clock. From memory a GPU runs each batch 20 times.

    bare         normalise, one forward pass, no map: the floor
    ours         maps of the label and the top 3 classes
    grad-cam     pytorch-grad-cam as its README has it: one call a class
    torchcam     0.5 as its README has it: one forward pass, one call a class
    captum       LayerGradCam: one forward pass for the classes, one call a class
    ... on our terms   the same in our precision and memory layout, with frozen parameters and with
                 freed memory kept, as the bare loop and ours have it

Usage: python tests/benchmarks/sweep.py [--images FOLDER] [--networks A,B] [--runs ours,captum]
           [--batch N] [--rounds N] [--files N] [--threads N] [--device cpu] [--precision bf16]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import io
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import models

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from networks import alive, classifier_of  # noqa: E402

from shortcut_finder.data.dataset import ImageDataset, load_dataset  # noqa: E402
from shortcut_finder.data.preprocessing import Preprocessing  # noqa: E402
from shortcut_finder.data.reading import decode  # noqa: E402
from shortcut_finder.maps.engine import MapEngine  # noqa: E402
from shortcut_finder.maps.memory import kept_memory  # noqa: E402
from shortcut_finder.model.classifier import Classifier  # noqa: E402
from shortcut_finder.settings import Settings  # noqa: E402
from shortcut_finder.sweep.batches import sweep, sweep_order  # noqa: E402
from shortcut_finder.sweep.decoding import decoded_batches  # noqa: E402
from shortcut_finder.sweep.whitening import Whitening, fit_whitening, stored_cells  # noqa: E402

SIDE = 224
# Target layer of each network, for the packages that must be told.
NETWORKS = {
    "resnet50": "layer4",
    "efficientnet_b0": "features",
    "convnext_tiny": "features",
    "vgg16": "features",
    "vit_b_16": "encoder.layers.encoder_layer_11.ln_1",
}
# A stage before the last, of four times as many cells.
FINER = {"layer4": "layer3"}
# How often a batch is run on a GPU, where it takes next to no time.
AGAIN = 20
# Marks the runs of other packages with what the engine does for a network whatever the maps.
TERMS = "on our terms"
# A run looks at a batch of pixels and returns how many bytes of maps an image it hands over.
Run = Callable[[Tensor], float]
Start = Callable[[], AbstractContextManager[Run]]


def patches(tokens: Tensor) -> Tensor:
    """Tokens of a ViT at 224 pixels as (image, channel, row, column)."""
    return tokens[:, 1:].reshape(len(tokens), 14, 14, -1).permute(0, 3, 1, 2)


def bytes_of(maps: object, images: int) -> float:
    if isinstance(maps, (list, tuple)):
        return sum(bytes_of(part, images) for part in maps)
    return maps.nbytes / images


@contextmanager
def bare(classifier: Classifier, precision: str) -> Iterator[Run]:
    def run(pixels: Tensor) -> float:
        with torch.inference_mode():
            classifier.module(classifier.normalise(pixels)).float().cpu()
        return 0.0

    with our_terms(classifier, precision):
        yield run


@contextmanager
def ours(classifier: Classifier, precision: str, layer: str | None = None) -> Iterator[Run]:
    settings = Settings(precision=precision, layer=layer)
    with our_layout(classifier.module), MapEngine(classifier, settings) as engine:
        learned: list[Whitening] = []

        def stored(cells: Tensor) -> Tensor:
            if not learned:
                learned.append(fit_whitening(cells.cpu().numpy(), 0).to(cells.device))
            return stored_cells(learned[0](cells))

        def run(pixels: Tensor) -> float:
            maps = engine.run(pixels, None, stored).maps
            # The sweep keeps half precision.
            return maps.nbytes / 2 / len(pixels)

        yield run


@contextmanager
def grad_cam(classifier: Classifier, layer: str, top: int, terms: str | None) -> Iterator[Run]:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    network = classifier.module
    transform = patches if layer.startswith("encoder") else None

    def run(pixels: Tensor) -> float:
        images = entered(classifier, pixels, terms)
        maps = [cam(input_tensor=images, targets=None)]
        order = cam.outputs.detach().topk(top, dim=1).indices
        for rank in range(1, top):
            targets = [ClassifierOutputTarget(one) for one in order[:, rank].tolist()]
            maps.append(cam(input_tensor=images, targets=targets))
        return bytes_of(maps, len(pixels))

    with our_terms(classifier, terms):
        cam = GradCAM(network, [network.get_submodule(layer)], reshape_transform=transform)
        with cam:
            yield run


@contextmanager
def torchcam(classifier: Classifier, layer: str, top: int, terms: str | None) -> Iterator[Run]:
    from torchcam.methods import GradCAM

    network = classifier.module
    transform = patches if layer.startswith("encoder") else None

    def run(pixels: Tensor) -> float:
        logits = network(entered(classifier, pixels, terms))
        order = logits.detach().topk(top, dim=1).indices
        maps = [
            cam(order[:, rank].tolist(), logits, retain_graph=rank < top - 1)[0].cpu()
            for rank in range(top)
        ]
        return bytes_of(maps, len(pixels))

    with (
        our_terms(classifier, terms),
        GradCAM(network, layer, reshape_transform=transform) as cam,
    ):
        yield run


@contextmanager
def captum(classifier: Classifier, layer: str, top: int, terms: str | None) -> Iterator[Run]:
    from captum.attr import LayerGradCam

    network = classifier.module
    cam = LayerGradCam(network, network.get_submodule(layer))

    def run(pixels: Tensor) -> float:
        images = entered(classifier, pixels, terms)
        with torch.no_grad():
            order = network(images).topk(top, dim=1).indices
        maps = [cam.attribute(images, target=order[:, rank]).cpu() for rank in range(top)]
        return bytes_of(maps, len(pixels))

    with our_terms(classifier, terms):
        yield run


def entered(classifier: Classifier, pixels: Tensor, terms: str | None) -> Tensor:
    """The network's input; frozen networks need one with a gradient in some packages."""
    images = classifier.normalise(pixels)
    if terms:
        return images.requires_grad_()
    return images.contiguous(memory_format=torch.contiguous_format)


@contextmanager
def our_terms(classifier: Classifier, precision: str | None) -> Iterator[None]:
    """What the engine does for a network whatever the maps; nothing without a precision."""
    if precision is None:
        yield
        return
    on_cpu, low = classifier.device.type == "cpu", precision == "bf16"
    with (
        kept_memory() if on_cpu else nullcontext(),
        our_layout(classifier.module),
        torch.autocast(classifier.device.type, torch.bfloat16, enabled=low),
    ):
        yield


@contextmanager
def our_layout(network: nn.Module) -> Iterator[None]:
    """Channels last, and no gradients for parameters; put back afterwards."""
    network.requires_grad_(False).to(memory_format=torch.channels_last)
    try:
        yield
    finally:
        network.requires_grad_(True).to(memory_format=torch.contiguous_format)


def peers(classifier: Classifier, layer: str, top: int, terms: str | None) -> dict[str, Start]:
    """The other packages that know this network."""
    packages = {"grad-cam": grad_cam, "torchcam": torchcam, "captum": captum}
    if layer.startswith("encoder"):
        # captum takes tokens for channels: no map of a ViT, so nothing to time.
        del packages["captum"]
    words = f", {TERMS}, top {top}" if terms else f", top {top}"
    return {
        f"{name}{words}": partial(package, classifier, layer, top, terms)
        for name, package in packages.items()
    }


def runs_for(
    classifier: Classifier, layer: str, precision: str, *, top_1: bool
) -> dict[str, Start]:
    """Every way of running a network; each starts anew when called."""
    found: dict[str, Start] = {
        "bare": partial(bare, classifier, precision),
        "ours, label + top 3": partial(ours, classifier, precision),
    }
    if layer in FINER:
        found["ours, finer layer"] = partial(ours, classifier, precision, FINER[layer])
    found |= peers(classifier, layer, 3, None) | peers(classifier, layer, 3, precision)
    return found | (peers(classifier, layer, 1, None) if top_1 else {})


@dataclass
class Cost:
    """What one run of a batch took.

    Attributes:
        processor: seconds of all threads and finished child processes.
        clock: seconds by the clock.
        memory: bytes that the peak rose above what was resident before.
        written: bytes of maps an image.
    """

    processor: float
    clock: float
    memory: float
    written: float


def measured(warm_up: Callable[[], float], work: Callable[[], float]) -> Cost | str:
    """What work takes after a warm-up, or why it cannot be done; the memory is that of both."""
    gc.collect()
    give_back_freed()
    before = resident()
    reset_peak()
    try:
        warm_up()
    except (RuntimeError, TypeError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    processor, clock = processor_seconds(), time.perf_counter()
    written = work()
    return Cost(
        processor_seconds() - processor, time.perf_counter() - clock, peak() - before, written
    )


def processor_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def give_back_freed() -> None:
    """Memory that was freed would hide what is taken again; the GNU library returns it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def reset_peak() -> None:
    """Linux forgets the peak when asked; elsewhere it stays that of the whole run."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def resident() -> float:
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return status("VmRSS")


def peak() -> float:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else status("VmHWM")


def status(field: str) -> float:
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((1024.0 * float(line.split()[1]) for line in lines if line.startswith(field)), 0.0)


def compare(
    starts: dict[str, Start], pixels: Tensor, rounds: int, times: int
) -> dict[str, list[Cost | str]]:
    """Costs of every run in every round: of so many batches after the first."""
    costs: dict[str, list[Cost | str]] = {name: [] for name in starts}
    on_gpu = times > 1
    for _ in range(rounds):
        for name, start in starts.items():
            with start() as run:
                first = partial(run, pixels if keeps_memory(name) or on_gpu else pixels[:1])
                costs[name].append(measured(first, partial(repeated, run, pixels, times)))
    return costs


def repeated(run: Run, pixels: Tensor, times: int) -> float:
    for _ in range(times):
        written = run(pixels)
    return written


def keeps_memory(name: str) -> bool:
    """Whether a first batch makes the next ones faster; some runs take a minute a batch."""
    return name.startswith(("bare", "ours")) or TERMS in name


def table(title: str, costs: dict[str, list[Cost | str]], images: int, seconds: str) -> None:
    """Ratios are medians of those within a round; in brackets the smallest and the largest."""
    print(f"\n### {title}\n")
    print("| | images/s | cost over bare | slower than ours | by the clock | peak, MiB | bytes |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    own = next(name for name in costs if name.startswith("ours"))
    for name, rows in costs.items():
        done = [row for row in rows if isinstance(row, Cost)]
        if not done:
            print(f"| {name} | cannot: {rows[0]} | | | | | |")
            continue
        speed = statistics.median(images / row.clock for row in done)
        memory = statistics.median(row.memory for row in done) / 2**20
        print(
            f"| {name} | {speed:.1f} | {ratio(done, costs['bare'], seconds)} | "
            f"{ratio(done, costs[own], seconds)} | {ratio(done, costs[own], 'clock')} | "
            f"{memory:.0f} | {done[0].written:,.0f} |",
            flush=True,
        )


def ratio(rows: list[Cost], others: list[Cost | str], seconds: str) -> str:
    over = [
        getattr(row, seconds) / getattr(other, seconds)
        for row, other in zip(rows, others, strict=True)
    ]
    return f"{statistics.median(over):.2f} ({min(over):.2f} to {max(over):.2f})"


def from_files(
    dataset: ImageDataset,
    classifier: Classifier,
    layer: str,
    settings: Settings,
    rounds: int,
    *,
    wanted: tuple[str, ...],
) -> dict[str, list[Cost | str]]:
    """The same from image files, each fed by the sweep's own decode processes."""
    order = sweep_order(dataset, settings)
    warm = torch.zeros(settings.batch_size or 2, SIDE, SIDE, 3, dtype=torch.uint8)
    warm[0, :100] = 200

    def fed(name: str, start: Start) -> Cost | str:
        def work() -> float:
            for batch in decoded_batches(dataset, classifier, [order], settings):
                written = run(torch.from_numpy(np.stack([item.pixels for item in batch])))
            return written

        with start() as run:
            # What is done once a model, such as our plan, is not part of a sweep's speed.
            return measured(partial(run, warm if keeps_memory(name) else warm[:2]), work)

    def whole() -> Cost | str:
        return measured(float, swept)

    def swept() -> float:
        with tempfile.TemporaryDirectory() as folder:
            sweep(dataset, classifier, settings, Path(folder), progress=False)
            size = sum(path.stat().st_size for path in Path(folder).glob("shard-*"))
        return size / len(order)

    starts = {
        "bare": partial(bare, classifier, settings.precision),
        "ours, label + top 3": partial(ours, classifier, settings.precision),
    }
    for terms in (None, settings.precision):
        starts |= peers(classifier, layer, 3, terms)
    works: dict[str, Callable[[], Cost | str]] = {
        name: partial(fed, name, start) for name, start in starts.items() if name.startswith(wanted)
    }
    works["our whole sweep, with its plan, to shards"] = whole
    costs: dict[str, list[Cost | str]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            costs[name].append(work())
    return costs


def compare_decoders(path: Path) -> None:
    """Ways from a JPEG file to the network's pixels, against Pillow's."""
    import simplejpeg
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms.v2.functional import resize

    data, preprocessing = path.read_bytes(), Preprocessing(SIDE, SIDE)
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    picture = decode(data)[0]
    decoded = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)

    def drafted() -> np.ndarray:
        image = Image.open(io.BytesIO(data))
        image.draft("RGB", (SIDE, SIDE))
        return preprocessing.pixels(image)

    ways: dict[str, Callable[[], np.ndarray]] = {
        "decode: Pillow (ours)": lambda: np.asarray(decode(data)[0]),
        "decode: simplejpeg": lambda: simplejpeg.decode_jpeg(data),
        "decode: torchvision": lambda: (
            decode_jpeg(encoded, ImageReadMode.RGB).permute(1, 2, 0).numpy()
        ),
        "resize: Pillow (ours)": lambda: preprocessing.pixels(picture),
        "resize: torchvision": lambda: resize(decoded, [SIDE, SIDE]).permute(1, 2, 0).numpy(),
        "both: Pillow (ours)": lambda: preprocessing.pixels(decode(data)[0]),
        "both: Pillow, draft mode": drafted,
    }
    print(f"\n### One JPEG file of {picture.width} x {picture.height}\n")
    print("| | ms | largest difference, levels | pixels that differ |")
    print("|---|---:|---:|---:|")
    ours = {}
    for name, way in ways.items():
        pixels = way().astype(np.int16)
        gap = np.abs(pixels - ours.setdefault(name.split(":")[0], pixels))
        times = []
        for _ in range(30):
            start = time.process_time()
            way()
            times.append(time.process_time() - start)
        milliseconds = 1000 * statistics.median(times)
        print(f"| {name} | {milliseconds:.1f} | {gap.max()} | {(gap > 0).mean():.1%} |")


def draw_photos(folder: Path, count: int) -> None:
    """Photograph-like JPEGs, 500 x 375: smooth shapes, texture and noise."""
    random = np.random.default_rng(0)
    for number in range(count):
        total = np.zeros((375, 500, 3), dtype=np.float32)
        for size, part in ((64, 0.6), (16, 0.25), (4, 0.1), (1, 0.05)):
            coarse = random.integers(0, 256, (375 // size, 500 // size, 3), dtype=np.uint8)
            total += part * np.asarray(Image.fromarray(coarse).resize((500, 375)), np.float32)
        path = folder / f"class {number % 2}" / f"{number:05d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(total.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--runs", default="ours,grad-cam,torchcam,captum")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = parser.parse_args()
    # Of the packages we compare with.
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    cuda = torch.cuda.is_available() and options.device != "cpu"
    device = torch.device("cuda" if cuda else "cpu")
    packages = ", ".join(f"{p} {version(p)}" for p in ("torch", "grad-cam", "torchcam", "captum"))
    where = torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine()
    print(
        f"{where}, {os.cpu_count()} cores, {options.threads} threads, {options.precision}, batches "
        f"of {options.batch}, {options.rounds} rounds; {packages}; load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as drawn:
        if options.images is None:
            draw_photos(Path(drawn), max(options.files, options.batch))
        dataset = load_dataset(str(options.images or drawn))
        if options.files:
            compare_decoders(dataset.root / dataset.images[0])
        for name in filter(None, options.networks.split(",")):
            torch.manual_seed(0)
            plain = classifier_of(alive(models.get_model(name, weights=None), SIDE), SIDE)
            classifier = replace(plain, module=plain.module.to(device), device=device)
            images = [
                classifier.preprocessing.pixels(dataset.read(index).picture)
                for index in range(min(options.batch, len(dataset)))
            ]
            pixels = torch.from_numpy(np.stack(images))
            starts = runs_for(
                classifier, NETWORKS[name], options.precision, top_1=name == "resnet50"
            )
            wanted = ("bare", *options.runs.split(","))
            starts = {run: start for run, start in starts.items() if run.startswith(wanted)}
            times, seconds = (AGAIN, "clock") if cuda else (1, "processor")
            costs = compare(starts, pixels, options.rounds, times)
            table(f"{name}, from tensors in memory", costs, times * len(pixels), seconds)
            if options.files:
                settings = Settings(
                    precision=options.precision, batch_size=options.batch, limit=options.files,
                    device=device.type,
                )  # fmt: skip
                costs = from_files(
                    dataset, classifier, NETWORKS[name], settings, options.rounds,
                    wanted=wanted if name == "resnet50" else ("bare", "ours"),
                )  # fmt: skip
                table(f"{name}, from JPEG files", costs, min(options.files, len(dataset)), seconds)


if __name__ == "__main__":
    main()
