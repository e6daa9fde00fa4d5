"""Devices: a sweep by one process for each of several GPUs of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shortcut_finder.settings import devices_of

if TYPE_CHECKING:
    from shortcut_finder.sweep.actors import Actor, Job

# The actor of this process, in one that `sweep_on_devices` started, and what tells it to leave off.
_actor: list[Actor] = []
_stopped: list[Any] = []


def sweep_on_devices(
    job: Job, parts: Mapping[int, np.ndarray], advance: Callable[[int], Any]
) -> None:
    """Sweep parts of a dataset by an actor on each device.

    Args:
        job: what every actor is told, with the devices in its settings.
        parts: positions in the dataset, by number of their shard.
        advance: hears how many images are done.

    Raises:
        RunError: every actor died.
    """
    import torch

    from shortcut_finder.sweep.actors import Hand, hand_out, packed

    devices = devices_of(job.settings.device)[: len(parts)]
    if not devices:
        return
    told = packed(job)
    # Processes that have used a GPU cannot be forked.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    cores = max(1, (os.cpu_count() or 1) // len(devices))
    threads = max(1, torch.get_num_threads() // len(devices))
    with ExitStack() as pools:
        hands = []
        for device in devices:
            workers = min(16, cores) if device.startswith("cuda") else 0
            pool = pools.enter_context(
                ProcessPoolExecutor(1, context, initializer=_begin, initargs=(stop,))
            )
            ready = pool.submit(_load, told, str(Path.cwd()), device, workers, threads)
            hands.append(Hand(device, ready, partial(_ask, pool)))
        # Before the pools are waited for.
        pools.callback(stop.set)
        hand_out(hands, parts, job.folder, advance, BrokenProcessPool)


def _ask(pool: ProcessPoolExecutor, parts: Mapping[int, np.ndarray]) -> Any:
    return pool.submit(_sweep, parts)


def _begin(stop: Any) -> None:
    """What a process does first: it ends with the one that started it, and only with that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _stopped.append(stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _load(job: bytes, place: str, device: str, workers: int, threads: int) -> None:
    from shortcut_finder.sweep.actors import Actor

    _actor.append(Actor(job, place, device, workers, threads, _stopped[0].is_set))
    _actor[0].ready()


def _sweep(parts: Mapping[int, np.ndarray]) -> tuple[int, ...]:
    return _actor[0].sweep(parts)
