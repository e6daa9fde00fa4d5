"""Actors: processes that hold the model and sweep the parts of a dataset that they are handed.

A part becomes the same shard whoever sweeps it: an actor runs what a scan in one process runs. What
starts actors, and starts dead ones again, is in `shortcut_finder.sweep.cluster` (Ray) and
`shortcut_finder.sweep.devices` (several GPUs of one machine).
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.errors import ModelError, RunError
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.model.classifier import Classifier
from shortcut_finder.settings import Settings
from shortcut_finder.sweep.batches import Looker, outputs_of, sweep_parts
from shortcut_finder.sweep.decoding import decoded_batches
from shortcut_finder.sweep.shards import shard_path

Parts = Mapping[int, np.ndarray]
# How often the bar looks which shards are there, in seconds; its eyes are on minutes.
GLANCE = 0.5


@dataclass(frozen=True)
class Job:
    """What every actor of a sweep is told.

    Attributes:
        dataset: the images and their labels.
        load: makes the classifier from settings, in whatever process it is called.
        fingerprint: of the classifier that it must make.
        settings: of the scan, with the precision that was settled.
        folder: of the shards, absolute; every actor must see the same.
    """

    dataset: ImageDataset
    load: Callable[..., Classifier]
    fingerprint: str
    settings: Settings
    folder: Path


def packed(job: Job, dumps: Callable[[Any], bytes] = pickle.dumps) -> bytes:
    """A job as bytes.

    Raises:
        ModelError: the module or the dataset cannot be sent to other processes.
    """
    try:
        return dumps(job)
    # What a user's own class raises when it is pickled may be anything.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ModelError(
            f"the model or the dataset cannot be sent to other processes ({reason}); name it as "
            "FILE.py:FUNCTION, so that each process makes its own"
        ) from error


class Actor:
    """Holds the model, and sweeps parts one call after the other.

    Args:
        job: as `packed` made it.
        place: folder that relative names in the job start from.
        device: where this actor's network runs; as set in the job where it is None.
        workers: processes that decode images for this actor, where the settings say nothing.
        threads: of torch; as it finds best where it is None.
        stopped: whether to leave off; asked after each batch.
    """

    def __init__(
        self,
        job: bytes,
        place: str,
        device: str | None = None,
        workers: int = 0,
        threads: int | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        if Path(place).is_dir():
            os.chdir(place)
        self.job: Job = pickle.loads(job)
        asked = self.job.settings
        self.settings = dataclasses.replace(
            asked,
            device=device or asked.device,
            workers=workers if asked.workers is None else asked.workers,
        )
        self.stopped = stopped
        self._classifier: Classifier | None = None
        self._looker: Looker | None = None

    def ready(self) -> bool:
        """Loads the model and answers.

        Raises:
            RunError: this machine does not see the run folder.
            ModelError: the model cannot be made here, or becomes another.
        """
        self._load()
        return True

    def _load(self) -> Classifier:
        # Not by the constructor: what that raises Ray takes for the death of the actor.
        if self._classifier is not None:
            return self._classifier
        if not (self.job.folder / "plan.json").exists():
            raise RunError(
                f"{platform.node()}: sees no {self.job.folder}; put --out on storage that all "
                "machines of the cluster share under one name"
            )
        made = self.job.load(settings=self.settings)
        if made.fingerprint != self.job.fingerprint:
            raise ModelError(
                f"{made.name}: has other parameters in another process; give --weights, or seed "
                "what is random in it"
            )
        self._classifier = made
        return made

    def sweep(self, parts: Parts) -> tuple[int, ...]:
        """Write the shards of some parts; those that are there already are left as they are.

        Args:
            parts: positions in the dataset, by number of their shard.

        Returns:
            The numbers of the shards.
        """
        folder, dataset, classifier = self.job.folder, self.job.dataset, self._load()
        todo = {n: part for n, part in parts.items() if not shard_path(folder, n).exists()}
        batches = decoded_batches(dataset, classifier, list(todo.values()), self.settings)
        if self._looker is None:
            engine = MapEngine(classifier, self.settings).__enter__()
            outputs = torch.from_numpy(outputs_of(dataset, classifier))
            self._looker = Looker(engine, dataset, outputs, folder, self.settings.seed)
        sweep_parts(batches, todo, self._looker, self._advance)
        return tuple(parts)

    def _advance(self, _: int) -> None:
        if self.stopped():
            raise KeyboardInterrupt


@dataclass(eq=False)
class Hand:
    """One actor as the process that hands out parts sees it.

    Attributes:
        name: for messages.
        ready: done once the model is there, with what went wrong.
        sweep: sends the actor some parts.
    """

    name: str
    ready: Future[Any]
    sweep: Callable[[Parts], Future[Any]]


@dataclass
class Handing:
    """Which parts are left, and who has which.

    Attributes:
        left: parts that nobody has, by number of their shard.
        running: what is waited for: the actor and its parts, none while it loads the model.
        gone: what became of actors that died for good.
    """

    left: dict[int, np.ndarray]
    running: dict[Future[Any], tuple[Hand, Parts]]
    gone: list[BaseException] = field(default_factory=list)


def hand_out(
    hands: Sequence[Hand],
    parts: Parts,
    folder: Path,
    advance: Callable[[int], Any],
    lost: type[BaseException],
) -> None:
    """Have all parts swept by several actors.

    The first part is swept before all others, because it teaches the whitening. Then each actor
    takes a share of what is left, smaller and smaller ones (guided self-scheduling,
    Polychronopoulos and Kuck 1987), so that all end together. What an actor had when it died for
    good goes to the others.

    Args:
        hands: the actors; those that are not ready yet join later.
        parts: positions in the dataset, by number of their shard.
        folder: of the shards.
        advance: hears how many images are done.
        lost: what a future raises when its actor has died for good.

    Raises:
        RunError: all actors have died.
    """
    state = Handing(dict(parts), {hand.ready: (hand, {}) for hand in hands})
    seen: set[int] = set()
    idle: list[Hand] = []
    while state.left or any(given for _, given in state.running.values()):
        done, _ = wait(state.running, timeout=GLANCE, return_when=FIRST_COMPLETED)
        for future in done:
            hand, given = state.running.pop(future)
            try:
                finished = future.result()
            except lost as error:
                state.gone.append(error)
                state.left = {**given, **state.left}
                continue
            idle.append(hand)
            if given:
                seen |= _told(set(finished) - seen, parts, advance)
        _give(idle, state, folder, actors=len(hands) - len(state.gone))
        there = {n for n in parts if n not in seen and shard_path(folder, n).exists()}
        seen |= _told(there, parts, advance)
        if not state.running and state.left:
            reason = " ".join(str(state.gone[-1]).split())[:200]
            raise RunError(
                f"{folder.parent}: every process that swept it died ({reason}); what is done is "
                "kept, the same command continues"
            )


def _give(idle: list[Hand], state: Handing, folder: Path, actors: int) -> None:
    """Give every idle actor its share of what is left."""
    while idle and state.left:
        taught = (folder / "whitening.npz").exists()
        if not taught and any(given for _, given in state.running.values()):
            return
        count = max(1, len(state.left) // (2 * actors)) if taught else 1
        numbers = sorted(state.left)[:count]
        given = {number: state.left.pop(number) for number in numbers}
        hand = idle.pop(0)
        state.running[hand.sweep(given)] = hand, given


def _told(numbers: set[int], parts: Parts, advance: Callable[[int], Any]) -> set[int]:
    for number in numbers:
        advance(len(parts[number]))
    return numbers
