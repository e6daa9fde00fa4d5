"""Guard: a decoder that crashes or never comes back costs its image, not the scan."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from torch.utils.data import DataLoader

# Seconds that one image may take; the largest that are read take less than ten on a slow disk.
PATIENCE = 60.0

Item = TypeVar("Item")


def surviving(
    load: Callable[[Sequence[list[int]]], DataLoader[Any]],
    chunks: Sequence[list[int]],
    decode: Callable[[int], Item],
    failed: Callable[[int, str], Item],
) -> Iterator[list[Item]]:
    """Batches in order, from decode processes of which any may die or hang.

    Then the images on their way are decoded one by one, each under guard, and new processes go on.

    Args:
        load: a loader of some of the chunks, with processes and a timeout.
        chunks: numbers of the images of each batch.
        decode: one image, in a process of its own.
        failed: what stands for an image that no process survives, with the reason.
    """
    # Processes start now, not when the first batch is asked for.
    return _batches(_started(load(chunks)), load, chunks, decode, failed)


def _batches(
    batches: Iterator[list[Item]],
    load: Callable[[Sequence[list[int]]], DataLoader[Any]],
    chunks: Sequence[list[int]],
    decode: Callable[[int], Item],
    failed: Callable[[int, str], Item],
) -> Iterator[list[Item]]:
    done = 0
    while done < len(chunks):
        try:
            batch = next(batches)
        except RuntimeError:
            # A process died or was silent for too long; or the code in it failed, which it will
            # do under guard as well.
            ahead = done + _in_flight(batches)
            del batches
            with Guard(decode, failed) as guard:
                while done < min(ahead, len(chunks)):
                    guarded = [guard.decoded(number) for number in chunks[done]]
                    done += 1
                    yield guarded
            batches = _started(load(chunks[done:])) if done < len(chunks) else iter(())
        else:
            done += 1
            yield batch


def _started(loader: DataLoader[Any]) -> Any:
    """The loader's processes; the death of one is told by the next batch, not by a signal.

    The signal raises an error wherever the program happens to be.
    """
    batches: Any = iter(loader)
    with contextlib.suppress(ImportError, AttributeError):
        from torch.utils.data._utils import signal_handling

        if batches._worker_pids_set:
            forget: Any = signal_handling._remove_worker_pids  # type: ignore[attr-defined]
            forget(id(batches))
            batches._worker_pids_set = False
    return batches


def _in_flight(batches: Any) -> int:
    """Batches that the processes may have been at, the next one among them."""
    return int(batches._prefetch_factor * batches._num_workers)


class Guard:
    """One process that decodes one image at a time, and is replaced when it dies or hangs."""

    def __init__(self, decode: Callable[[int], Item], failed: Callable[[int, str], Item]) -> None:
        self._decode, self._failed = decode, failed
        methods = multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("fork" if "fork" in methods else None)
        self._process: Any = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def decoded(self, number: int) -> Any:
        """One image, or what stands for it.

        Raises:
            Exception: what the decoder raised.
        """
        if self._process is None:
            self._begin()
        assert self._pipe is not None
        try:
            self._pipe.send(number)
            if not self._pipe.poll(PATIENCE):
                self._end()
                return self._failed(number, f"decoding it takes longer than {PATIENCE:g} seconds")
            found = self._pipe.recv()
        except (EOFError, OSError):
            return self._failed(number, f"its decoder crashes ({self._cause()})")
        if isinstance(found, Exception):
            raise found
        return found

    def _begin(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=_serve, args=(theirs, self._decode), daemon=True
        )
        self._process.start()
        theirs.close()

    def _cause(self) -> str:
        """How the process ended, in a word."""
        self._process.join(PATIENCE)
        code = self._process.exitcode
        self._end()
        if code is None or code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def _serve(pipe: Connection, decode: Callable[[int], Any]) -> None:
    import torch

    # Threads of the parent do not survive a fork.
    torch.set_num_threads(1)
    while True:
        try:
            number = pipe.recv()
        except (EOFError, OSError):
            # The parent is gone.
            return
        try:
            found = decode(number)
        except Exception as error:
            found = error
        pipe.send(found)
