"""Cluster: a sweep by actors on Ray, on one machine or on many."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from shortcut_finder.errors import RunError, SettingsError
from shortcut_finder.settings import Settings

if TYPE_CHECKING:
    from shortcut_finder.sweep.actors import Actor, Job

# How often Ray starts a dead actor again and sends it what it had; a machine may be taken away, but
# an image that kills whoever decodes it must not go round for ever.
RETRIES = 3
# What Ray takes at least for its object store, in bytes; the names of a small dataset need less.
STORE = 80 * 2**20
# Seconds that a head node has to answer; on a network within reach it takes milliseconds.
KNOCK = 10
# Decode processes that keep up with any GPU.
MOST_DECODERS = 16


def sweep_on_ray(job: Job, parts: Mapping[int, np.ndarray], advance: Callable[[int], Any]) -> None:
    """Sweep parts of a dataset by actors on Ray; Ray starts an actor that dies again.

    Args:
        job: what every actor is told; ``address`` in its settings joins a cluster, without it (and
            ``RAY_ADDRESS``) Ray is started on this machine, and ended.
        parts: positions in the dataset, by number of their shard.
        advance: hears how many images are done.

    Raises:
        SettingsError: Ray is not installed, or the machine has no such GPUs.
        RunError: the cluster cannot be reached, or every actor died.
    """
    if not parts:
        return
    ray = _ray()
    from shortcut_finder.sweep.actors import Hand, hand_out, packed

    settings, told = job.settings, packed(job, ray.cloudpickle.dumps)
    with _joined(ray, settings, len(told)):
        sent = ray.put(told)
        count, asked = _crew(ray, settings, len(parts))
        cpus = asked["num_cpus"]
        remote = ray.remote(max_restarts=RETRIES, max_task_retries=RETRIES, **asked)(ActorOnRay)
        # Without a GPU of its own an actor must not take one that it happens to see.
        device = "cpu" if settings.device == "auto" and not asked["num_gpus"] else None
        place = str(Path.cwd())
        actors = [remote.remote(place, device, cpus - 1, cpus) for _ in range(count)]
        hands = [
            Hand(f"actor {n}", actor.ready.remote(sent).future(), partial(_ask, actor, sent))
            for n, actor in enumerate(actors)
        ]
        try:
            hand_out(hands, parts, job.folder, advance, ray.exceptions.RayActorError)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        finally:
            # On a cluster that goes on they would stay until this process ends.
            for actor in actors:
                ray.kill(actor)


def _ask(actor: Any, job: Any, parts: Mapping[int, np.ndarray]) -> Any:
    return actor.sweep.remote(job, parts).future()


class ActorOnRay:
    """An actor that is made when it is first asked something.

    What a constructor is given must stay in Ray's store for as long as the actor may be started
    again; what comes with each call need not.

    Args:
        options: of `shortcut_finder.sweep.actors.Actor`, behind the job.
    """

    def __init__(self, *options: Any) -> None:
        self._options = options
        self._actor: Actor | None = None

    def ready(self, job: bytes) -> bool:
        """As `Actor.ready`."""
        return self._made(job).ready()

    def sweep(self, job: bytes, parts: Mapping[int, np.ndarray]) -> tuple[int, ...]:
        """As `Actor.sweep`."""
        return self._made(job).sweep(parts)

    def _made(self, job: bytes) -> Actor:
        if self._actor is None:
            from shortcut_finder.sweep.actors import Actor

            self._actor = Actor(job, *self._options)
        return self._actor


def _ray() -> ModuleType:
    # Nothing leaves the machine that its owner did not send; said before Ray is imported.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise SettingsError(
            "--engine ray: ray is not installed; pip install 'shortcut-finder[ray]'"
        ) from error
    return ray


@contextmanager
def _joined(ray: ModuleType, settings: Settings, job: int) -> Iterator[None]:
    """A cluster to work on: the program's own, the one named, or one on this machine alone."""
    if ray.is_initialized():
        yield
        return
    address = settings.address or os.environ.get("RAY_ADDRESS") or "local"
    here: dict[str, Any] = {}
    if address == "local":
        cores = max(os.cpu_count() or 1, settings.actors or 1)
        here = {
            "num_cpus": cores,
            "include_dashboard": False,
            "object_store_memory": max(STORE, 2 * job),
            "log_to_driver": False,
        }
    try:
        _knock(address)
        ray.init(address=address, logging_level="ERROR", **here)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"--address {address}: no Ray cluster can be joined ({reason})") from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError where nobody listens, which Ray tries again and again for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=KNOCK).close()


def _crew(ray: ModuleType, settings: Settings, parts: int) -> tuple[int, dict[str, Any]]:
    """How many actors there are, and what Ray must have free for each.

    An actor on a GPU also takes its part of the processors beside it, for decoding; any other is
    one processor.
    """
    # A head node that takes no work says that it has no processors.
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    machines = [machine for machine in alive if machine.get("CPU")]
    gpus = sum(machine.get("GPU", 0) for machine in machines)
    on_gpus = settings.device != "cpu" and gpus > 0
    share = settings.gpus_per_actor
    if share is None:
        share = 1.0 if on_gpus else 0.0
    if share > 0 and not gpus and settings.address is None:
        raise SettingsError(
            f"--gpus-per-actor {share:g}: Ray finds no GPU here; leave the option out"
        )
    beside = [m["CPU"] / m["GPU"] for m in machines if m.get("GPU")] if share else []
    cpus = min(MOST_DECODERS + 1, max(1, int(min(beside) * share))) if beside else 1
    room = gpus / share if share else sum(machine["CPU"] for machine in machines)
    count = settings.actors or max(1, int(room))
    return min(count, parts), {"num_cpus": cpus, "num_gpus": share}
