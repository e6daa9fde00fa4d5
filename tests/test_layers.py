"""Layers: imports go one way, and torch stays where it belongs."""

from __future__ import annotations

import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import shortcut_finder

PACKAGE = Path(shortcut_finder.__file__).parent

# Modules that load torch when they are imported. All others may do so inside functions only.
TORCH = {
    "adapt",
    "demo.network",
    "demo.story",
    "detect.channels.border",
    "detect.channels.cells",
    "detect.judge",
    "detect.mixture",
    "detect.motifs",
    "detect.scoring",
    "detect.study",
    "detect.things",
    "maps.agreement",
    "maps.choosing",
    "maps.class_token",
    "maps.drawing",
    "maps.engine",
    "maps.layers",
    "maps.methods",
    "maps.plan",
    "maps.probe",
    "maps.taps",
    "maps.transfer",
    "model.classifier",
    "model.huggingface",
    "model.outputs",
    "model.sources",
    "model.surgery",
    "model.weights",
    "pixels.motif",
    "pixels.registration",
    "sweep.actors",
    "sweep.asking",
    "sweep.batches",
    "sweep.claim",
    "sweep.crops",
    "sweep.decoding",
    "sweep.descriptors",
    "sweep.guard",
    "sweep.mending",
    "sweep.whitening",
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Hold the package in a folder against its contract."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, '.'); {code}", "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def copied(folder: Path) -> Path:
    """A copy of the package and its settings."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "shortcut_finder", ignore=ignore)
    shutil.copyfile(PACKAGE.parent / "pyproject.toml", folder / "pyproject.toml")
    return folder


def test_a_wrong_import_breaks_the_contract(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    assert lint(folder).returncode == 0
    file = folder / "shortcut_finder" / "data" / "regions.py"
    with file.open("a", encoding="utf-8") as text:
        text.write("\n\ndef late():\n    from shortcut_finder.detect import finding\n")
    result = lint(folder)
    assert result.returncode == 1
    assert "shortcut_finder.data.regions -> shortcut_finder.detect.finding" in result.stdout


def test_a_package_without_a_place_breaks_the_contract(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "shortcut_finder" / "helpers.py").touch()
    result = lint(folder)
    assert result.returncode == 1
    assert "helpers" in result.stdout


def test_modules_outside_the_list_leave_torch_unloaded() -> None:
    found = pkgutil.walk_packages([str(PACKAGE)], "shortcut_finder.")
    names = {module.name.removeprefix("shortcut_finder.") for module in found}
    assert names >= TORCH
    light = sorted(names - TORCH - {"__main__"})
    code = "import importlib, sys\n" + "".join(
        f"importlib.import_module('shortcut_finder.{module}')\n"
        f"assert 'torch' not in sys.modules, '{module} loads torch'\n"
        for module in light
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
