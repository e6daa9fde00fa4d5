"""Lock: one process at a time works in a folder.

The kernel knows which processes of its own machine are alive, over most network file systems those
of other machines, too; what it does not know is told by a beating note of who is at work.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shortcut_finder.errors import RunError
from shortcut_finder.texts import count, shown

try:
    import fcntl
except ImportError:  # Not on Windows, where the note alone has to tell.
    fcntl = None  # type: ignore[assignment]

LOCK = "run.lock"
# Seconds between two beats of the note, and without one from which its process is taken for dead:
# a stopped disk or a suspended machine misses a few.
BEAT, DEAD = 10.0, 60.0
# Locks of the kernel are held by processes, so this one must know its own.
_OURS: set[tuple[int, int]] = set()


@contextmanager
def held(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Work in a folder alone; it is made if missing.

    Args:
        folder: of the work.
        name: of the lock file, which is removed at the end.

    Raises:
        RunError: another process is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    file = _opened(path)
    over = threading.Event()
    try:
        identity = _identity(os.fstat(file))
        _OURS.add(identity)
        try:
            _write_note(file)
            threading.Thread(target=_beat, args=(path, over), daemon=True).start()
            yield
        finally:
            over.set()
            _OURS.discard(identity)
            path.unlink(missing_ok=True)
    finally:
        os.close(file)


def _opened(path: Path) -> int:
    """The lock file, open and ours."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            _take(path, file)
            # Whoever held it may have removed it between the opening and the locking.
            with contextlib.suppress(FileNotFoundError):
                if _identity(path.stat()) == _identity(os.fstat(file)):
                    return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _take(path: Path, file: int) -> None:
    note = _note(file)
    known = False
    if _identity(os.fstat(file)) in _OURS:
        raise _at_work(path, note)
    if fcntl is not None:
        try:
            # Unlike flock it is not handed on to decode processes, which outlive a killed scan.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            known = True
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise _at_work(path, note) from error
            # A file system without locks.
    if not note or (known and note.get("host") == socket.gethostname()):
        return
    silent = _now(path) - os.fstat(file).st_mtime
    if silent < DEAD:
        raise _at_work(path, note, silent)


def _now(path: Path) -> float:
    """The time by the clock of the file system, which may be that of another machine."""
    probe = path.with_name(f"{path.name}.{os.getpid()}.part")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def _at_work(path: Path, note: dict[str, Any], silent: float | None = None) -> RunError:
    folder = path.parent if path.name == LOCK else path.with_name(path.name.removesuffix(".lock"))
    who = f"process {note.get('pid', 'unknown')} on {shown(note.get('host', 'this machine'))[:64]}"
    if silent is None:
        return RunError(f"{folder}: {who} is at work there; wait for it or choose another --out")
    seconds = count(max(0, round(silent)), "second", "seconds")
    return RunError(
        f"{folder}: {who} is at work there, by a sign of life {seconds} ago; wait for it, or "
        f"{DEAD:.0f} seconds if it is dead, or choose another --out"
    )


def _note(file: int) -> dict[str, Any]:
    """Who wrote the file last; nothing where it is empty or damaged."""
    try:
        note = json.loads(os.pread(file, 4096, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def _write_note(file: int) -> None:
    os.ftruncate(file, 0)
    note = {"host": socket.gethostname(), "pid": os.getpid(), "since": round(time.time())}
    os.write(file, json.dumps(note).encode())
    os.fsync(file)


def _beat(path: Path, over: threading.Event) -> None:
    while not over.wait(BEAT):
        with contextlib.suppress(OSError):
            os.utime(path)


def _identity(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino
