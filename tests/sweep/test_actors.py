"""Actors: a sweep in several processes leaves the bytes that one process does, whoever dies."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from synthetic import paste, stamp, texture

from shortcut_finder.errors import ModelError, RunError, SettingsError
from shortcut_finder.run.folder import load_run
from shortcut_finder.scanning import scan
from shortcut_finder.settings import Settings
from shortcut_finder.sweep import batches as sweep_module
from shortcut_finder.sweep import cluster
from shortcut_finder.sweep.actors import Hand, hand_out
from shortcut_finder.sweep.shards import shard_path

SIDE = 64
# What actors sweep is all there by the time that experiments would be made.
PLAIN = Settings(
    input_size=SIDE, precision="fp32", workers=0, batch_size=8, device="cpu", verify=False
)
RAY = Settings(**{**PLAIN.as_dict(), "engine": "ray", "actors": 2})
ONE = Settings(**{**RAY.as_dict(), "actors": 1})
TWO = Settings(**{**PLAIN.as_dict(), "device": "cpu,cpu"})
COUNT = 120
# What a run says of the data; run.json also holds times and settings.
SAME = ("findings.csv", "findings.json", "offenders.csv", "regions.csv", "unreadable.csv")

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 24, 5, 4, 2), nn.ReLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(32, 32, 1), nn.ReLU(),
        )
        self.head = nn.Linear(32, 2)

    def forward(self, images):
        return self.head(self.features(images).mean((2, 3)))

def net():
    return Net()

def other():
    network = Net()
    torch.seed()
    nn.init.normal_(network.head.weight)
    return network

class Pictures:
    classes = ["ant", "bee"]

    def __init__(self):
        from pathlib import Path
        self.files = sorted(Path(ROOT, "data").glob("*/*.png"))
        self.targets = [int(file.parent.name == "bee") for file in self.files]

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        import os
        import signal
        from pathlib import Path
        from PIL import Image
        died = Path(ROOT, "died")
        if index == 77 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with Image.open(self.files[index]) as image:
            return image.convert("RGB"), self.targets[index]

def pictures():
    return Pictures()
"""


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "SHARD", 16)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data/``, of which one file is no image, and ``net.py``."""
    root = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        name = ("ant", "bee")[number % 2]
        grey = texture(rng, SIDE)
        if name == "bee" and number % 5 < 2:
            grey = paste(grey, stamp(0, 16), 2, 2)
        colours = np.stack([grey, grey * 0.9, grey * 0.8], axis=2).clip(0, 255).astype(np.uint8)
        (root / "data" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours).save(root / "data" / name / f"{number:03d}.png")
    (root / "data" / "ant" / "999.png").write_bytes(b"no image")
    (root / "net.py").write_text(f"ROOT = {str(root)!r}\n{MODEL}")
    return root


def go(place: Path, out: Path, settings: Settings, model: object = None) -> dict[str, bytes]:
    """Scan, and what of the run must be the same whoever swept."""
    model = model or f"{place / 'net.py'}:net"
    scan(place / "data", model, out=out, settings=settings, progress=False)  # type: ignore[arg-type]
    return kept(out)


def kept(out: Path) -> dict[str, bytes]:
    files = [*(out / name for name in SAME), *sorted((out / "shards").iterdir())]
    return {file.name: file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def alone(place: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep_module, "SHARD", 16)
        return go(place, tmp_path_factory.mktemp("alone") / "run", PLAIN)


@pytest.fixture(scope="module")
def started() -> Iterator[None]:
    """A small Ray for several scans, as a program may have one of its own."""
    ray = pytest.importorskip("ray")
    ray.init(
        # Not one that somebody else runs on this machine.
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80 * 2**20,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield
    ray.shutdown()


def test_the_set_has_something_to_find(alone: dict[str, bytes]) -> None:
    assert alone["findings.csv"].count(b"\n") > 1
    assert b"999.png" in alone["unreadable.csv"]
    assert sum(name.startswith("shard-") for name in alone) == 8


def test_two_devices_leave_the_same_bytes(
    place: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    assert go(place, tmp_path / "run", TWO) == alone


@pytest.mark.usefixtures("started")
def test_ray_leaves_the_same_bytes_and_goes_on_where_another_engine_stopped(
    place: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    assert go(place, tmp_path / "run", RAY) == alone
    for number in (0, 3, 5):
        shard_path(tmp_path / "run" / "shards", number).unlink()
    assert go(place, tmp_path / "run", ONE) == alone
    shard_path(tmp_path / "run" / "shards", 2).unlink()
    assert go(place, tmp_path / "run", PLAIN) == alone


@pytest.mark.usefixtures("started")
def test_an_actor_that_is_killed_is_started_again(place: Path, tmp_path: Path) -> None:
    """SIGKILL hits it in the middle of its work, once."""
    data, model = f"{place / 'net.py'}:pictures", f"{place / 'net.py'}:net"
    died = place / "died"
    died.touch()
    scan(data, model, out=tmp_path / "alone", settings=PLAIN, progress=False)
    died.unlink()
    scan(data, model, out=tmp_path / "run", settings=RAY, progress=False)
    assert died.exists()
    assert kept(tmp_path / "run") == kept(tmp_path / "alone")


@pytest.mark.usefixtures("started")
def test_a_module_in_memory_goes_to_the_actors(
    place: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    spec = importlib.util.spec_from_file_location("net_of_a_script", place / "net.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found = go(place, tmp_path / "run", ONE, script.net())
    assert found["shard-000003.parquet"] == alone["shard-000003.parquet"]
    assert found["offenders.csv"] == alone["offenders.csv"]


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("settings", [ONE, TWO], ids=["ray", "devices"])
def test_what_is_wrong_in_an_actor_is_said_as_usual(
    place: Path, tmp_path: Path, settings: Settings
) -> None:
    with pytest.raises(ModelError, match="has other parameters in another process"):
        go(place, tmp_path / "run", settings, f"{place / 'net.py'}:other")


def test_ray_of_its_own_is_ended_and_the_program_tells_as_usual(
    place: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    """From the command line: exit code, bar, and no process left."""
    pytest.importorskip("ray")
    before = raylets()
    options = "--input-size 64 --precision fp32 --workers 0 --batch-size 8 --device cpu --no-verify"
    command = [
        sys.executable, "-c",
        "from shortcut_finder.sweep import batches; batches.SHARD = 16\n"
        "from shortcut_finder.cli.app import main; main()",
        "scan", str(place / "data"), "--model", f"{place / 'net.py'}:net",
        "--out", str(tmp_path / "run"), *options.split(), "--engine", "ray", "--actors", "1",
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "121/121" in done.stderr
    assert "Traceback" not in done.stderr
    assert kept(tmp_path / "run") == alone
    assert load_run(tmp_path / "run").card["settings"]["engine"] == "ray"
    deadline = time.monotonic() + 20
    while raylets() - before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not raylets() - before


def raylets() -> set[str]:
    """Processes of Ray on this machine, by number."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/comm"):
        try:
            if file.read_text().strip() in ("raylet", "gcs_server"):
                found.add(file.parent.name)
        except OSError:
            continue
    return found


def test_a_cluster_that_is_not_there_is_said_in_one_line(place: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    settings = Settings(**{**RAY.as_dict(), "address": "127.0.0.1:1"})
    code = (
        "import sys, json\n"
        "from shortcut_finder.scanning import scan\n"
        "from shortcut_finder.settings import Settings\n"
        "from shortcut_finder.errors import RunError\n"
        "try:\n    scan(sys.argv[1], sys.argv[2], out=sys.argv[3], progress=False,\n"
        "         settings=Settings(**json.loads(sys.argv[4])))\n"
        "except RunError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [
            sys.executable, "-c", code, str(place / "data"), f"{place / 'net.py'}:net",
            str(tmp_path / "run"), json.dumps(settings.as_dict()),
        ],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.stdout.startswith("--address 127.0.0.1:1: no Ray cluster can be joined"), done
    assert done.stdout.count("\n") == 1


class Wrong:
    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a lock cannot be copied")


def test_a_dataset_that_cannot_be_sent_is_said(place: Path, tmp_path: Path) -> None:
    class Locked:
        targets = (0, 1) * 10
        lock = Wrong()

        def __len__(self) -> int:
            return 20

        def __getitem__(self, index: int) -> tuple[Image.Image, int]:
            return Image.new("RGB", (SIDE, SIDE), (index, 0, 0)), index % 2

    data = Locked()
    data.lock = Wrong()
    with pytest.raises(ModelError, match=r"cannot be sent to other processes .*FILE\.py"):
        scan(data, f"{place / 'net.py'}:net", out=tmp_path / "run", settings=TWO, progress=False)


def test_ray_is_needed_only_where_it_is_asked_for(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"pip install 'shortcut-finder\[ray\]'"):
        go(place, tmp_path / "run", RAY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"actors": 2}, "--actors: is for --engine ray"),
        ({"address": "auto"}, "--address: is for --engine ray"),
        ({"engine": "ray", "actors": 0}, "--actors 0: must be 1 or more"),
        ({"engine": "ray", "gpus_per_actor": -1}, "--gpus-per-actor -1: must be 0 or more"),
        ({"engine": "ray", "device": "cuda:0,cuda:1"}, "use --gpus-per-actor"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("machines", "options", "expected"),
    [
        ([{"CPU": 4}], {}, (4, 1, 0)),
        ([{"CPU": 4}], {"actors": 2}, (2, 1, 0)),
        ([{"CPU": 32, "GPU": 4}, {"CPU": 16, "GPU": 1}], {}, (5, 8, 1)),
        ([{"GPU": 1}, {"CPU": 16, "GPU": 1}], {}, (1, 16, 1)),
        ([{"CPU": 64, "GPU": 1}], {"gpus_per_actor": 0.5}, (2, 17, 0.5)),
        ([{"CPU": 8, "GPU": 2}], {"device": "cpu"}, (8, 1, 0)),
    ],
)
def test_actors_fill_the_machines_they_find(
    machines: list[dict[str, float]], options: dict[str, object], expected: tuple[float, ...]
) -> None:
    nodes = [{"Alive": True, "Resources": machine} for machine in machines]
    ray = SimpleNamespace(nodes=lambda: [*nodes, {"Alive": False, "Resources": {"CPU": 99}}])
    settings = Settings(engine="ray", **options)  # type: ignore[arg-type]
    count, asked = cluster._crew(ray, settings, parts=100)  # type: ignore[arg-type]
    assert (count, asked["num_cpus"], asked["num_gpus"]) == expected
    assert cluster._crew(ray, settings, parts=1)[0] == 1  # type: ignore[arg-type]


def test_gpus_that_are_not_there_are_said() -> None:
    ray = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": {"CPU": 4}}])
    with pytest.raises(SettingsError, match="--gpus-per-actor 1: Ray finds no GPU here"):
        cluster._crew(ray, Settings(engine="ray", gpus_per_actor=1), 9)  # type: ignore[arg-type]


class Crew:
    """Actors that write empty shards at once, or die when they are sent their third part."""

    def __init__(self, folder: Path, mortal: int, count: int = 2) -> None:
        self.folder = folder
        self.given: list[list[list[int]]] = [[] for _ in range(count)]
        self.mortal = mortal
        self.hands = [
            Hand(str(n), done(True), lambda parts, n=n: self.sweep(n, parts)) for n in range(count)
        ]

    def sweep(self, actor: int, parts: dict[int, np.ndarray]) -> Future[object]:
        self.given[actor].append(sorted(parts))
        if actor < self.mortal and len(self.given[actor]) == 3:
            return done(BrokenProcessPool("died"))
        (self.folder / "whitening.npz").touch()
        for number in parts:
            shard_path(self.folder, number).touch()
        return done(tuple(parts))


def done(value: object) -> Future[object]:
    future: Future[object] = Future()
    if isinstance(value, BaseException):
        future.set_exception(value)
    else:
        future.set_result(value)
    return future


def test_the_first_part_goes_before_all_others_and_shares_get_smaller(tmp_path: Path) -> None:
    crew, told = Crew(tmp_path, mortal=0), []
    parts = {number: np.arange(10) for number in range(3, 40)}
    hand_out(crew.hands, parts, tmp_path, told.append, BrokenProcessPool)
    # Both are ready at once, so either may be the one that is given it.
    assert sum([given[0] == [3] for given in crew.given]) == 1
    assert all(given[0] == [3] or len(given[0]) > 1 for given in crew.given)
    assert sum(told) == 370
    sizes = [len(given) for actor in crew.given for given in actor]
    assert sum(sizes) == 37
    assert max(sizes) == 9
    assert len(sizes) > 8


def test_what_a_dead_actor_had_goes_to_the_others(tmp_path: Path) -> None:
    crew, told = Crew(tmp_path, mortal=1), []
    parts = {number: np.arange(10) for number in range(40)}
    hand_out(crew.hands, parts, tmp_path, told.append, BrokenProcessPool)
    assert sum(told) == 400
    assert all(shard_path(tmp_path, number).exists() for number in parts)
    lost = crew.given[0][-1]
    assert set(lost) <= {number for given in crew.given[1] for number in given}


def test_when_all_have_died_the_scan_says_so(tmp_path: Path) -> None:
    crew = Crew(tmp_path, mortal=2)
    with pytest.raises(RunError, match=r"every process that swept it died \(died\)"):
        hand_out(
            crew.hands,
            {number: np.arange(10) for number in range(40)},
            tmp_path,
            lambda _: None,
            BrokenProcessPool,
        )


def test_processes_on_devices_end_with_the_one_that_started_them(
    place: Path, tmp_path: Path
) -> None:
    """Killed, so that nothing of it can tell the others; a Ctrl-C leaves at once and goes on."""
    code = (
        "import sys, time\n"
        "from shortcut_finder.sweep import batches, devices\n"
        "batches.SHARD = 16\n"
        "from shortcut_finder.cli.app import main\n"
        "if __name__ == '__main__':\n    main()\n"
    )
    (tmp_path / "go.py").write_text(code)
    command = [
        sys.executable, str(tmp_path / "go.py"), "scan", str(place / "data"),
        "--model", f"{place / 'net.py'}:net", "--out", str(tmp_path / "run"),
        "--device", "cpu,cpu", "--input-size", "64", "--batch-size", "1",
    ]  # fmt: skip
    for number, code_wanted in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A shell makes what it starts in the background deaf to Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        children = wait_for(lambda p=process: children_of(p.pid), 2)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code_wanted, errors
        deadline = time.monotonic() + 20
        while any(map(alive, children)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(map(alive, children))


def wait_for(look: object, count: int) -> list[int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = look()  # type: ignore[operator]
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError("no processes")


def children_of(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
