"""Fuzzing: bytes that try to break the intake of images and the loading of run folders.

With atheris (coverage guides what is tried); where that is not installed, hypothesis draws the
bytes. Anything but a reading or a one-line refusal is a finding, and the bytes that led to it are
written beside the corpus.

    python tests/fuzz/targets.py images --seconds 300
    python tests/fuzz/targets.py runs --seconds 300
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
try:
    import atheris
except ImportError:
    atheris = None

if atheris is not None:
    with atheris.instrument_imports(include=["shortcut_finder"]):
        from shortcut_finder.data import headers, reading
        from shortcut_finder.run import decisions, encoding, folder
else:
    from shortcut_finder.data import headers, reading  # noqa: F401
    from shortcut_finder.run import decisions, encoding, folder
from handmade import handmade_run
from mutations import sound

from shortcut_finder.errors import ShortcutFinderError

HOME = Path(tempfile.mkdtemp(prefix="fuzz-"))
FILES = ("run.json", "findings.json", "findings.csv", "offenders.csv", "images.parquet")


def check(error: Exception) -> None:
    """A refusal has a reason, in one line."""
    if not str(error) or (isinstance(error, ShortcutFinderError) and "\n" in str(error)):
        raise AssertionError(f"a bad reason: {str(error)!r}")


def one_image(data: bytes) -> None:
    """Decode some bytes."""
    try:
        picture = reading.read_bytes(data).picture
        assert picture.mode == "RGB"
    except ShortcutFinderError as error:
        check(error)


def one_run(data: bytes) -> None:
    """Load a run folder one file of which holds some bytes; the first says which."""
    if not data:
        return
    run, number = HOME / "run", data[0] % (len(FILES) + 2)
    try:
        if number == len(FILES):
            encoding.decode(data[1:], ())
        elif number > len(FILES):
            (HOME / "decisions.json").write_bytes(data[1:])
            decisions.read_decisions(HOME / "decisions.json", folder.load_run(run))
        else:
            kept = (run / FILES[number]).read_bytes()
            (run / FILES[number]).write_bytes(data[1:])
            try:
                folder.load_run(run)
            finally:
                (run / FILES[number]).write_bytes(kept)
    except (ShortcutFinderError, encoding.DamagedError) as error:
        check(error)


def corpus(name: str, place: Path) -> None:
    """Sound files to begin with."""
    place.mkdir(parents=True, exist_ok=True)
    seeds = {f"sound.{end}": content for end, content in sound(side=8).items()}
    if name == "runs":
        run = handmade_run(HOME / "run").folder
        seeds = {file: bytes([n]) + (run / file).read_bytes() for n, file in enumerate(FILES)}
        seeds["kept"] = bytes([len(FILES)]) + encoding.encode({"a": (1, None)})
        seeds["decisions"] = bytes([len(FILES) + 1]) + b'{"schema_version": 1, "run": "x"}'
    for file, content in seeds.items():
        (place / file).write_bytes(content)


def drawn(target: object, place: Path, seconds: float) -> int:
    """Without atheris: mutations of the corpus, drawn until the time is over."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
    from mutations import mutated
    from numpy.random import default_rng

    until, tried = time.monotonic() + seconds, 0
    files = sorted(path.read_bytes() for path in place.iterdir())

    @settings(max_examples=500, deadline=None, database=None, suppress_health_check=HealthCheck)
    @given(st.sampled_from(files), st.integers(0, 2**63), st.binary(max_size=64))
    def attempt(content: bytes, seed: int, tail: bytes) -> None:
        nonlocal tried
        tried += 1
        if time.monotonic() < until:
            target(mutated(content, default_rng(seed)) + tail)  # type: ignore[operator]

    while time.monotonic() < until:
        attempt()
    return tried


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("target", choices=["images", "runs"])
    options.add_argument("--seconds", type=int, default=300)
    options.add_argument("--corpus", type=Path, default=Path("fuzz-corpus"))
    asked = options.parse_args()
    target = one_image if asked.target == "images" else one_run
    place = asked.corpus / asked.target
    corpus(asked.target, place)
    for file in place.iterdir():
        target(file.read_bytes())
    # What is imported for the first DICOM file takes seconds.
    one_image(bytes(128) + b"DICM")
    try:
        if atheris is None:
            print(f"{drawn(target, place, asked.seconds):,} tries by hypothesis, no finding")
            return
        arguments = [
            sys.argv[0], str(place), f"-max_total_time={asked.seconds}", "-timeout=10",
            "-rss_limit_mb=4096", "-max_len=4096",
            f"-artifact_prefix={asked.corpus}/finding-{asked.target}-",
            "-print_final_stats=1", "-verbosity=0",
        ]  # fmt: skip
        atheris.Setup(arguments, target)
        atheris.Fuzz()
    finally:
        shutil.rmtree(HOME, ignore_errors=True)


if __name__ == "__main__":
    main()
