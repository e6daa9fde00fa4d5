"""Packaging: the wheel holds what an installed copy needs."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from handmade import handmade_run

ROOT = Path(__file__).parent.parent
TEMPLATES = sorted(path.name for path in (ROOT / "templates").iterdir() if path.is_file())

# Builds the page of a run, and says which copy of the package did it.
REPORT = """
import sys
sys.path.insert(0, sys.argv[1])
from shortcut_finder.report.page import write_report
from shortcut_finder.run.folder import load_run
print(sys.modules["shortcut_finder"].__file__)
write_report(load_run(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the build backend is not installed")
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", out]
    subprocess.run([str(part) for part in build], cwd=ROOT, check=True, capture_output=True)
    (file,) = out.glob("*.whl")
    return file


def test_the_wheel_holds_every_module_and_every_template(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "shortcut_finder").rglob("*.py")}
    assert modules | {f"shortcut_finder/templates/{name}" for name in TEMPLATES} <= names
    assert "shortcut_finder/py.typed" in names
    assert TEMPLATES


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"shortcut_finder"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert [name for name in names if "__pycache__" in name] == []


def test_an_unpacked_wheel_writes_a_report_away_from_the_repository(
    wheel: Path, tmp_path: Path
) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    run = handmade_run(tmp_path / "run")
    page = run.folder / "report.html"
    page.unlink(missing_ok=True)
    result = subprocess.run(
        [sys.executable, "-c", REPORT, str(tmp_path / "installed"), str(run.folder)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(tmp_path / "installed"))
    assert page.stat().st_size > 1000


def test_the_script_and_the_versions_agree(wheel: Path) -> None:
    files = zipfile.ZipFile(wheel)
    info = next(name for name in files.namelist() if name.endswith("METADATA"))
    metadata = Parser().parsestr(files.read(info).decode())
    source = (ROOT / "shortcut_finder" / "__init__.py").read_text(encoding="utf-8")
    assert f'__version__ = "{metadata["Version"]}"' in source
    points = files.read(info.replace("METADATA", "entry_points.txt")).decode()
    assert "shortcut-finder = shortcut_finder.cli.app:main" in points


def test_every_dependency_has_an_exact_pin_within_its_range(wheel: Path) -> None:
    from packaging.requirements import Requirement

    files = zipfile.ZipFile(wheel)
    info = next(name for name in files.namelist() if name.endswith("METADATA"))
    needed = Parser().parsestr(files.read(info).decode()).get_all("Requires-Dist") or []
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pins = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    for text in needed:
        requirement = Requirement(text)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in pins, f"{name} has no pin in constraints.txt"
        assert requirement.specifier.contains(pins[name]), f"{text} but {pins[name]} is pinned"
