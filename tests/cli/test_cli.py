"""Command line: what each command passes on, prints, and exits with."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from handmade import handmade_run
from typer.testing import CliRunner, Result

from shortcut_finder.cleaning.plan import CleaningPlan
from shortcut_finder.cli import app as cli
from shortcut_finder.cli.output import TABLE_COLUMNS
from shortcut_finder.comparison.changes import Comparison
from shortcut_finder.errors import DatasetError, ModelError, RunError
from shortcut_finder.run.folder import Run
from shortcut_finder.schema import FINDING_COLUMNS
from shortcut_finder.settings import METHODS, Settings

REQUIRED = ["scan", "photos", "--model", "resnet18", "--out", "run"]


def command(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("handmade") / "run"
    return handmade_run(folder, unreadable={"a.jpg": "truncated"})


class FakeModule(types.ModuleType):
    """Stands in for a module whose work takes long; keeps what it was called with."""

    def __init__(self, name: str, function: str, result: Any) -> None:
        super().__init__(name)
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.result = result
        setattr(self, function, self._called)

    def _called(self, *arguments: Any, **options: Any) -> Any:
        self.calls.append((arguments, options))
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


Install = Callable[[str, str, Any], FakeModule]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    def put(module: str, function: str, result: Any) -> FakeModule:
        fake = FakeModule(f"shortcut_finder.{module}", function, result)
        monkeypatch.setitem(sys.modules, fake.__name__, fake)
        monkeypatch.setattr(f"shortcut_finder.{module}", fake, raising=False)
        return fake

    return put


@pytest.fixture
def scanning(install: Install, run: Run) -> FakeModule:
    return install("scanning", "scan", run)


# scan ---------------------------------------------------------------------------------------------


def test_scan_with_defaults_passes_default_settings_on(scanning: FakeModule) -> None:
    assert command(*REQUIRED).exit_code == 0
    [(arguments, options)] = scanning.calls
    assert arguments == ("photos", "resnet18")
    assert options == {
        "out": Path("run"),
        "weights": None,
        "classes": None,
        "metadata": None,
        "settings": Settings(),
        "fresh": False,
        "progress": True,
    }


def test_scan_passes_every_option_on(scanning: FakeModule) -> None:
    options = (
        "--weights w.pt --classes c.txt --metadata m.csv --input-size 96 --resize pad "
        "--mean 0.1,0.2,0.3 --std .5,.5,1e0 --method layercam --layer layer4.1 --batch-size 8 "
        "--device cpu --precision fp32 --workers 0 --limit 50 --engine ray --actors 3 "
        "--gpus-per-actor 0.5 --address 10.0.0.1:6379 --fresh --no-verify "
        "--seed 7 --fail-on high --quiet --json"
    )
    command(*REQUIRED, *options.split())
    [(_, passed)] = scanning.calls
    assert passed == {
        "out": Path("run"),
        "weights": Path("w.pt"),
        "classes": Path("c.txt"),
        "metadata": Path("m.csv"),
        "settings": Settings(
            method="layercam",
            layer="layer4.1",
            input_size=96,
            resize="pad",
            mean=(0.1, 0.2, 0.3),
            std=(0.5, 0.5, 1.0),
            batch_size=8,
            device="cpu",
            precision="fp32",
            workers=0,
            limit=50,
            engine="ray",
            actors=3,
            gpus_per_actor=0.5,
            address="10.0.0.1:6379",
            verify=False,
            seed=7,
        ),
        "fresh": True,
        "progress": False,
    }


def test_every_setting_has_an_option() -> None:
    text = command("scan", "--help").stdout
    for field in dataclasses.fields(Settings):
        option = "--no-verify" if field.name == "verify" else f"--{field.name.replace('_', '-')}"
        assert option in text


def test_scan_prints_the_findings_and_where_the_page_is(scanning: FakeModule, run: Run) -> None:
    result = command(*REQUIRED)
    lines = result.stdout.splitlines()
    assert lines[0].split() == list(TABLE_COLUMNS)
    assert [line.split()[0] for line in lines[1:4]] == list(run.findings["finding"])
    assert lines[-1] == str(run.folder / "report.html")
    assert "1 unreadable (unreadable.csv)" in lines[-2]
    assert lines[0].index("kind") == lines[1].index(run.findings["kind"][0])


def test_scan_says_when_nothing_was_found(install: Install, tmp_path: Path) -> None:
    install("scanning", "scan", handmade_run(tmp_path, findings=0, maps=False, thumbnails=False))
    result = command(*REQUIRED)
    assert result.stdout.splitlines()[0] == "no findings"
    assert result.exit_code == 0


def test_json_is_one_object_of_plain_ascii(scanning: FakeModule, run: Run) -> None:
    result = command(*REQUIRED, "--json")
    assert result.stdout.isascii()
    assert not set(map(ord, result.stdout)) & (set(range(32)) - {10} | {127})
    printed = json.loads(result.stdout)
    assert printed["report"] == str(run.folder / "report.html")
    assert printed["counts"] == run.card["counts"]
    assert len(printed["findings"]) == len(run.findings)
    assert set(printed["findings"][0]) == set(FINDING_COLUMNS)
    assert printed["findings"][0]["label"] == run.findings["label"][0]


def test_quiet_prints_nothing(scanning: FakeModule) -> None:
    result = command(*REQUIRED, "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_warnings_of_the_run_go_to_stderr(install: Install, run: Run) -> None:
    card = {**run.card, "warnings": ["the grid is coarse\x1b[2J"]}
    install("scanning", "scan", dataclasses.replace(run, card=card))
    result = command(*REQUIRED)
    assert result.stderr == "warning: the grid is coarse\\x1b[2J\n"
    assert command(*REQUIRED, "--quiet").stderr == ""


@pytest.mark.parametrize(
    ("severities", "fail_on", "code"),
    [
        (("high", "low"), "high", 3),
        (("medium", "low"), "high", 0),
        (("medium", "low"), "medium", 3),
        (("low",), "medium", 0),
        (("low",), "low", 3),
        ((), "low", 0),
    ],
)
def test_the_gate_trips_at_its_severity(
    install: Install, run: Run, severities: tuple[str, ...], fail_on: str, code: int
) -> None:
    findings = run.findings.iloc[: len(severities)].assign(severity=list(severities))
    install("scanning", "scan", dataclasses.replace(run, findings=findings))
    result = command(*REQUIRED, "--fail-on", fail_on)
    assert result.exit_code == code
    assert ("gate: 1 finding is of severity" in result.stderr) == (code == 3)
    assert "report.html" in result.stdout


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        DatasetError("photos: no class folders"),
        ModelError("w.pt: 3 outputs but 2 classes"),
        RunError("run: belongs to another scan"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_1(install: Install, error: Exception) -> None:
    install("scanning", "scan", error)
    result = command(*REQUIRED)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: {error}\n"


def test_a_file_that_cannot_be_written_is_one_line_and_exit_1(install: Install) -> None:
    install("scanning", "scan", PermissionError(13, "Permission denied", "run/run.json"))
    result = command(*REQUIRED)
    assert result.exit_code == 1
    assert result.stderr == "error: run/run.json: Permission denied\n"


def test_a_fault_of_the_program_keeps_its_traceback(install: Install) -> None:
    install("scanning", "scan", ZeroDivisionError("oops"))
    result = command(*REQUIRED)
    assert isinstance(result.exception, ZeroDivisionError)


def test_an_interrupt_says_that_work_is_kept(install: Install) -> None:
    install("scanning", "scan", KeyboardInterrupt())
    result = command(*REQUIRED)
    assert result.exit_code == 130
    assert result.stderr == "interrupted; what is done is kept, the same command continues\n"


def test_names_in_errors_cannot_drive_the_terminal(install: Install) -> None:
    install("scanning", "scan", DatasetError("evil\x1b]0;title\x07\r\n\u202e.jpg"))
    assert command(*REQUIRED).stderr == "error: evil\\x1b]0;title\\x07\\r\\n\\u202e.jpg\n"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--mean 0.5", "'0.5' is not three numbers"),
        ("--mean 0.5,0.5,x", "'0.5,0.5,x' is not three numbers"),
        ("--std 1,1,1,1", "'1,1,1,1' is not three numbers"),
        ("--method camera", "'camera' is not one of auto, cam"),
        ("--resize stretch", "'stretch' is not one of squash"),
        ("--precision int8", "'int8' is not one of"),
        ("--engine spark", "'spark' is not one of local, ray"),
        ("--fail-on always", "'always' is not one of high"),
        ("--limit many", "--limit"),
        ("--gpu", "--gpu"),
    ],
)
def test_wrong_usage_is_exit_2(scanning: FakeModule, options: str, problem: str) -> None:
    result = command(*REQUIRED, *options.split())
    assert result.exit_code == 2
    assert problem in result.stderr
    assert scanning.calls == []


@pytest.mark.parametrize("left_out", ["photos", "--model resnet18", "--out run"])
def test_what_scan_needs_is_asked_for(left_out: str) -> None:
    arguments = " ".join(REQUIRED).replace(left_out, "").split()
    assert command(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--engine ray --actors 0", "--actors 0: must be 1 or more"),
        ("--actors 2", "--actors: is for --engine ray"),
        ("--limit 0", "--limit 0: must be 1 or more"),
        ("--workers -1", "--workers -1: must be 0 or more"),
        ("--std 1,0,1", "must be above 0"),
        ("--std nan,1,1", "must be above 0"),
        ("--mean 127,127,127", "divide by 255"),
        ("--mean nan,0,0", "of pixels in [0, 1]"),
    ],
)
def test_settings_that_make_no_sense_are_exit_1(
    scanning: FakeModule, options: str, problem: str
) -> None:
    result = command(*REQUIRED, *options.split())
    assert result.exit_code == 1
    assert re.fullmatch(r"error: .*\n", result.stderr)
    assert problem in result.stderr
    assert scanning.calls == []


# The other commands -------------------------------------------------------------------------------


def test_report_builds_the_page_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    page = run.folder / "report.html"
    page.unlink(missing_ok=True)
    result = command("report", str(run.folder))
    assert (result.exit_code, result.stdout) == (0, f"{page}\n")
    assert page.stat().st_size > 10_000
    assert opened == []
    command("report", str(run.folder), "--open")
    assert opened == [page.resolve().as_uri()]


def test_report_shows_decisions_and_refuses_those_of_another_run(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    content = {"schema_version": 1, "run": run.fingerprint, "findings": {"F1": "dismiss"}}
    path.write_text(json.dumps(content), encoding="utf-8")
    assert command("report", str(run.folder), "--decisions", str(path)).exit_code == 0
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert '<td class="decision">dismiss</td>' in page
    path.write_text(json.dumps({**content, "run": "0"}), encoding="utf-8")
    result = command("report", str(run.folder), "--decisions", str(path))
    assert result.exit_code == 1
    assert re.fullmatch(
        r"error: .*decisions.json: made on the page of another run.*\n", result.stderr
    )


def test_report_of_no_run_is_one_line(tmp_path: Path) -> None:
    result = command("report", str(tmp_path / "nowhere"))
    assert result.exit_code == 1
    assert re.fullmatch(r"error: .*nowhere: no finished run here.*\n", result.stderr)


OPTIONS = (
    "--model vgg11 --out maps --top 2 --weights w.pt --classes c.txt --input-size 64 --mean 0,0,0 "
    "--std 1,1,1 --method cam --layer features --device cpu --precision fp32 --resize crop"
)


def test_explain_passes_everything_on_and_prints_the_pictures(install: Install) -> None:
    fake = install("explanation", "explain_images", [Path("maps/a.png"), Path("maps/b\x1b.png")])
    result = command(
        "explain",
        "a.jpg",
        "b.jpg",
        *OPTIONS.split(),
    )
    assert result.stdout == f"{Path('maps/a.png')}\n{Path('maps')}/b\\x1b.png\n"
    [(arguments, options)] = fake.calls
    assert arguments == ([Path("a.jpg"), Path("b.jpg")], "vgg11")
    assert options == {
        "weights": Path("w.pt"),
        "classes": Path("c.txt"),
        "top": 2,
        "out": Path("maps"),
        "settings": Settings(
            method="cam",
            layer="features",
            input_size=64,
            resize="crop",
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            device="cpu",
            precision="fp32",
        ),
    }


def test_explain_needs_an_image() -> None:
    assert command("explain", "--model", "vgg11", "--out", "maps").exit_code == 2


def plan(**changes: Any) -> CleaningPlan:
    """Two classes, one of them with a nasty name, and something to say about each."""
    counts = pd.DataFrame(
        [("cat", 12, 4, 8), ("d\x1bg", 1200, 0, 1200)],
        columns=["label", "images", "changed", "left"],
    )
    empty = pd.DataFrame()
    whole = CleaningPlan(
        "drop", "sure", ("F1", "F2"), empty, empty, {}, {}, {}, counts, ("F1: crop it",),
        ("cat: loses 33%",),
    )  # fmt: skip
    return dataclasses.replace(whole, **changes)


def test_clean_passes_everything_on_and_prints_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(
        "shortcut_finder.cleaning.folder.clean",
        lambda *given, **named: calls.append((given, named)) or plan(),
    )
    result = command("clean", "run", "--out", "new")
    assert result.exit_code == 0
    assert result.stdout == (
        "2 findings: F1, F2\n\n"
        "class  images  dropped   left\n"
        "cat        12        4      8\n"
        "d\ufffdg     1,200        0  1,200\n"
        "advice: F1: crop it\nnew\n"
    )
    assert result.stderr == "warning: cat: loses 33%\n"
    options = "--action mask --decisions d.json --expand --tier likely --files symlink --dry-run"
    result = command("clean", "run", "--out", "new", *options.split())
    assert not result.stdout.endswith("new\n")
    plain = {
        "out": Path("new"), "decisions": None, "expand": False, "tier": "sure", "files": None
    }  # fmt: skip
    assert calls == [
        ((Path("run"), "drop"), plain),
        (
            (Path("run"), "mask"),
            {
                "out": None,
                "decisions": Path("d.json"),
                "expand": True,
                "tier": "likely",
                "files": "symlink",
            },
        ),
    ]


def test_clean_says_how_many_likely_images_it_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    left = plan(left_alone={"F1": 1, "F2": 1200})
    monkeypatch.setattr("shortcut_finder.cleaning.folder.clean", lambda *_, **__: left)
    assert (
        "0  1,200\n\n"
        "F1: 1 image left alone that likely carries it; --tier likely takes them too\n"
        "F2: 1,200 images left alone that likely carry it; --tier likely takes them too\n"
        "advice"
    ) in command("clean", "run", "--out", "new").stdout


@pytest.mark.parametrize(
    "options",
    ["", "--out new --action burn", "--out new --files moved", "--out new --tier certain"],
)
def test_wrong_usage_of_clean_is_exit_2(options: str) -> None:
    assert command("clean", "run", *options.split()).exit_code == 2


def comparison(run: Run) -> Comparison:
    """One finding that is new and one that is gone, hostile names in both."""
    rows = [
        {"state": "new", "sentence": "The tag in \x1b[31m is new.", "gates": True},
        {"state": "resolved", "sentence": "The frame in dog is gone.", "gates": False},
    ]
    empty = pd.DataFrame()
    return Comparison(run, run, pd.DataFrame(rows), empty, empty, ("The models differ",))


def test_compare_prints_what_became_of_findings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(
        "shortcut_finder.comparison.folder.compare",
        lambda *given, **named: calls.append((given, named)) or comparison(run),
    )
    options = ("compare", "a", "b", "--out", "new", "--decisions", "d.json")
    result = command(*options)
    assert result.exit_code == 0
    assert result.stdout == (
        "new: The tag in \\x1b[31m is new.\nresolved: The frame in dog is gone.\n"
        "new/comparison.html\n"
    )
    assert result.stderr == "note: The models differ\n"
    named = {"out": Path("new"), "decisions": Path("d.json")}
    assert calls == [((Path("a"), Path("b")), named)]
    result = command(*options, "--fail-on-new")
    assert result.exit_code == 3
    assert result.stderr.endswith("gate: 1 finding is new or worse\n")


def test_demo_runs_in_the_folder_given(install: Install, run: Run) -> None:
    fake = install("demo.story", "run_demo", run)
    result = command("demo", "--out", "here")
    assert result.exit_code == 0
    assert fake.calls[0][0] == (Path("here"),)
    assert result.stdout == f"{run.folder / 'report.html'}\n"


def test_the_default_folder_of_the_demo_is_that_of_its_function() -> None:
    text = (Path(cli.__file__).parents[1] / "demo" / "story.py").read_text(encoding="utf-8")
    default = re.search(r'^DEFAULT_OUT = Path\("(.+)"\)$', text, re.M)
    assert default is not None
    assert f"[default: {default.group(1)}]" in command("demo", "--help").stdout


# Help ---------------------------------------------------------------------------------------------


COMMANDS = ["adapt", "clean", "compare", "demo", "explain", "export", "report", "review", "scan"]


def test_there_are_these_commands_and_no_stubs() -> None:
    commands = [info.callback.__name__ for info in cli.app.registered_commands if info.callback]
    assert sorted(commands) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    result = command(name, "--help")
    assert result.exit_code == 0
    assert re.search(rf"\n  Example:\n    shortcut-finder {name} \S.*\n", result.stdout)
    assert "\b" not in result.stdout


@pytest.mark.parametrize("name", ["scan", "report", "explain", "clean", "compare"])
def test_the_example_of_a_command_parses(
    name: str, install: Install, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("scanning", "scan", run)
    install("explanation", "explain_images", [])
    monkeypatch.setattr("shortcut_finder.cleaning.folder.clean", lambda *_, **__: plan())
    calm = comparison(run)
    calm.findings["gates"] = False
    monkeypatch.setattr("shortcut_finder.comparison.folder.compare", lambda *_, **__: calm)
    install("report.page", "write_report", run.folder / "report.html")
    monkeypatch.setattr("shortcut_finder.run.folder.load_run", lambda folder: run)
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    example = re.search(rf"\n    shortcut-finder ({name} .*)", command(name, "--help").stdout)
    assert example is not None
    assert command(*example.group(1).split()).exit_code == 0


def test_the_help_names_every_method() -> None:
    assert "|".join(METHODS) in command("scan", "--help").stdout


# Whole processes ----------------------------------------------------------------------------------


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "shortcut_finder", *arguments],
        capture_output=True,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "", **environment},
    )


def test_the_package_runs_as_a_module() -> None:
    result = process("--help")
    assert result.returncode == 0
    assert b"scan" in result.stdout


def test_a_process_ends_in_one_line_without_a_traceback(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    result = process("report", str(missing))
    assert result.returncode == 1
    assert result.stdout == b""
    assert result.stderr.startswith(f"error: {missing}".encode())
    assert result.stderr.count(b"\n") == 1


def test_a_terminal_without_unicode_shows_every_name(tmp_path: Path) -> None:
    folder = handmade_run(tmp_path / "日本", maps=False, thumbnails=False).folder
    result = process("report", str(folder), PYTHONIOENCODING="latin-1")
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith(b"\\u65e5\\u672c/report.html\n")


def test_no_command_prints_help_as_usage() -> None:
    result = process()
    assert result.returncode == 2
    assert b"Usage" in result.stdout + result.stderr
