"""Lock: one process a folder; the dead hold nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shortcut_finder.errors import RunError
from shortcut_finder.run import lock
from shortcut_finder.run.lock import DEAD, LOCK, held

HOLDER = """
import sys, time
from pathlib import Path
from shortcut_finder.run.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def note(folder: Path, silent: float = 0, **content: object) -> None:
    """A note that another process wrote so many seconds ago."""
    folder.mkdir(exist_ok=True)
    (folder / LOCK).write_text(json.dumps(content))
    then = time.time() - silent
    os.utime(folder / LOCK, (then, then))


def test_a_second_process_is_refused_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    process = holder(tmp_path / "run")
    try:
        with pytest.raises(RunError) as caught, held(tmp_path / "run"):
            pass
        said = str(caught.value)
        assert f"process {process.pid} on {socket.gethostname()} is at work there" in said
        assert "\n" not in said
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert (tmp_path / "run" / LOCK).exists()
    with held(tmp_path / "run"):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_the_same_process_is_refused_too(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(RunError, match="is at work there"), held(tmp_path):
        pass
    with held(tmp_path):
        pass


def test_a_process_that_this_one_started_does_not_hold_on(tmp_path: Path) -> None:
    """Decode processes outlive a killed scan for a moment."""
    with held(tmp_path):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        with held(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_another_machine_is_told_by_its_signs_of_life(tmp_path: Path) -> None:
    note(tmp_path, silent=5, host="far-away", pid=7)
    said = r"process 7 on far-away .* seconds? ago; .*60 seconds"
    with pytest.raises(RunError, match=said), held(tmp_path):
        pass
    note(tmp_path, silent=DEAD + 1, host="far-away", pid=7)
    with held(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["host"] == socket.gethostname()


def test_where_the_kernel_knows_nothing_signs_of_life_have_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "lockf", unknown)
    note(tmp_path, silent=1, host=socket.gethostname(), pid=7)
    with pytest.raises(RunError, match="process 7"), held(tmp_path):
        pass
    note(tmp_path, silent=DEAD + 1, host=socket.gethostname(), pid=7)
    with held(tmp_path):
        pass


def test_the_note_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.02)
    with held(tmp_path):
        os.utime(tmp_path / LOCK, (0, 0))
        until = time.monotonic() + 10
        while (tmp_path / LOCK).stat().st_mtime < 1 and time.monotonic() < until:
            time.sleep(0.01)
        assert (tmp_path / LOCK).stat().st_mtime > 1


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff\xfe", b'{"host": "x\\n\\u001b[31m"}'])
def test_a_damaged_note_is_no_reason_to_stop(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LOCK).write_bytes(content)
    os.utime(tmp_path / LOCK, (0, 0))
    with held(tmp_path):
        pass


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("years of work")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=r"run\.lock"), held(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "years of work"
