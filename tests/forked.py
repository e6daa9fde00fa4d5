"""Programs in processes of their own that need not import everything anew.

To import torch and the rest takes seconds, longer than most programs of the tests run. One process
does it, and each program runs in a fork of it: with arguments, working directory, output and exit
code of its own, and a `__main__` that shares nothing with any other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Takes a line for each program, and answers with its exit code.
SERVER = """
import json, os, runpy, sys, tempfile, types
import shortcut_finder.scanning, shortcut_finder.cli.app, torchvision

# Scans read no words: what reads them takes long to load.
sys.modules["rapidocr"] = None


def program(kind, *arguments):
    if kind == "-c":
        sys.argv = ["-c", *arguments[1:]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(arguments[0], "<string>", "exec"), main.__dict__)
    elif kind == "-m":
        sys.argv = list(arguments)
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [kind, *arguments]
        sys.path[0] = os.path.dirname(os.path.abspath(kind))
        runpy.run_path(kind, run_name="__main__")


while line := sys.stdin.readline():
    job = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(job["cwd"])
        os.environ.update(job["environment"])
        tempfile.tempdir = None
        for name, number, flags in (
            (os.devnull, 0, os.O_RDONLY), (job["stdout"], 1, os.O_WRONLY),
            (job["stderr"], 2, os.O_WRONLY),
        ):
            os.dup2(os.open(name, flags), number)
        program(*job["arguments"])
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

Python = Callable[..., subprocess.CompletedProcess[str]]


@contextmanager
def forking() -> Iterator[Python]:
    """A function that runs ``python ARGUMENTS`` in a fork, and says what became of it."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        },
    )
    assert server.stdin is not None
    assert server.stdout is not None
    stdin, stdout = server.stdin, server.stdout

    def run(
        *arguments: object, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as folder:
            files = {name: Path(folder, name) for name in ("stdout", "stderr")}
            for file in files.values():
                file.touch()
            job = {
                "arguments": [str(one) for one in arguments],
                "cwd": str(cwd or Path.cwd()),
                # Such as a folder for temporary files.
                "environment": {**os.environ, **(environment or {})},
                **{name: str(file) for name, file in files.items()},
            }
            stdin.write(json.dumps(job) + "\n")
            stdin.flush()
            answer = stdout.readline()
            assert answer, "the process that forks has ended"
            said = [file.read_text(encoding="utf-8") for file in files.values()]
        return subprocess.CompletedProcess(job["arguments"], int(answer), *said)

    yield run
    with server:
        stdin.close()
