"""Layers: imports go one way, and torch stays where it belongs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import shortcut_finder

PACKAGE = Path(shortcut_finder.__file__).parent

# Each module may import only modules of earlier rows.
LAYERS = (
    ("errors", "memory"),
    ("settings", "regions", "preprocessing", "imports", "texts", "schema"),
    ("reading", "tables", "weights", "whitening", "interventions", "experiments"),
    ("gradients", "peaks", "parts"),
    ("rigidity", "motifs"),
    ("items", "huggingface", "surgery", "retouching", "reweighting"),
    ("dataset", "model", "shards", "properties"),
    ("layers", "records", "objects", "blanks"),
    ("class_token",),
    ("cam",),
    ("sweep",),
    ("adapt",),
    ("evidence", "groups", "confusions"),
    ("associations", "metadata"),
    ("candidates",),
    ("views",),
    ("suspicion",),
    ("sentences", "windows"),
    ("findings",),
    ("offenders", "traits", "laboratory", "verdicts", "repeats"),
    ("trials", "region_findings", "surroundings", "transplants"),
    ("verification",),
    ("pictures", "charts"),
    ("notebook",),
    ("run",),
    ("selection", "decisions", "bars"),
    ("album",),
    ("verification_views", "page_data"),
    ("finding_views", "summary"),
    ("class_views",),
    ("frames", "placing", "recall", "pairing", "likeness"),
    ("cleaning_plan",),
    ("cleaning",),
    ("report", "explanation"),
    ("comparison",),
    ("comparison_page",),
    ("comparing",),
    ("analysis",),
    ("shapes", "marks"),
    ("scenes",),
    ("demo",),
    ("cli",),
    ("__init__", "__main__"),
)
LEVEL = {module: level for level, row in enumerate(LAYERS) for module in row}

# Modules that load torch when they are imported. All others may do so inside functions only.
TORCH = {
    "model",
    "weights",
    "whitening",
    "huggingface",
    "surgery",
    "adapt",
    "layers",
    "class_token",
    "cam",
    "sweep",
    "demo",
}


def sources() -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in PACKAGE.glob("*.py")}


def imported(tree: ast.AST) -> set[str]:
    """Full names of what the import statements below a node name."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            home = "shortcut_finder." * bool(node.level) + (node.module or "")
            home = home.rstrip(".")
            names |= {home} | {f"{home}.{alias.name}" for alias in node.names}
    return names


def on_import(tree: ast.Module) -> set[str]:
    """What importing a module imports: not what its functions or type checkers do."""
    names = set()
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= imported(node)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            pending += ast.iter_child_nodes(node)
    return names


def ours(names: set[str], modules: Mapping[str, str]) -> set[str]:
    parts = (name.split(".") for name in names)
    found = {part[1] for part in parts if part[0] == "shortcut_finder" and len(part) > 1}
    return found & set(modules)


def faults(modules: Mapping[str, str]) -> list[str]:
    """Every import that goes the wrong way."""
    found = []
    for module, text in sorted(modules.items()):
        if module not in LEVEL:
            found.append(f"{module} has no place in LAYERS")
            continue
        tree = ast.parse(text)
        for other in ours(imported(tree), modules) - {module}:
            if LEVEL.get(other, -1) >= LEVEL[module]:
                found.append(f"{module} imports {other}")
        at_once = on_import(tree)
        libraries = {name.split(".")[0] for name in at_once} & {"torch", "torchvision"}
        heavy = libraries | (ours(at_once, modules) & TORCH)
        if heavy and module not in TORCH:
            found.append(f"{module} loads torch on import, through {', '.join(sorted(heavy))}")
    return found


def test_imports_go_one_way_and_torch_stays_where_it_belongs() -> None:
    assert faults(sources()) == []


def test_every_place_is_taken() -> None:
    assert set(LEVEL) == set(sources())


@pytest.mark.parametrize(
    ("module", "line", "fault"),
    [
        ("errors", "from shortcut_finder.settings import Settings", "errors imports settings"),
        ("regions", "import shortcut_finder.settings", "regions imports settings"),
        ("dataset", "from shortcut_finder import run", "dataset imports run"),
        ("tables", "from . import cli", "tables imports cli"),
        ("reading", "from .run import Run", "reading imports run"),
        ("dataset", "def late():\n    from shortcut_finder import cli", "dataset imports cli"),
        ("dataset", "if TYPE_CHECKING:\n    from .run import Run", "dataset imports run"),
        ("properties", "import torch", "properties loads torch on import, through torch"),
        ("run", "from torch import nn", "run loads torch on import, through torch"),
        ("cli", "import torchvision.models", "cli loads torch on import, through torchvision"),
        ("cli", "from shortcut_finder import model", "cli loads torch on import, through model"),
        ("report", "try:\n    import torch\nexcept ImportError:\n    pass", "report loads torch"),
        ("run", "class A:\n    import torch", "run loads torch on import"),
        ("helpers", "", "helpers has no place in LAYERS"),
    ],
)
def test_planted_faults_are_seen(module: str, line: str, fault: str) -> None:
    modules = sources()
    modules[module] = f"{modules.get(module, '')}\n{line}\n"
    new = set(faults(modules)) - set(faults(sources()))
    assert any(entry.startswith(fault) for entry in new)


@pytest.mark.parametrize(
    "line",
    [
        "def late():\n    import torch",
        "class A:\n    def late(self):\n        import torch",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from torch import nn",
        "from shortcut_finder.errors import DatasetError",
        "import torchless",
    ],
)
def test_what_is_allowed_is_no_fault(line: str) -> None:
    modules = sources()
    modules["run"] = f"{modules['run']}\n{line}\n"
    assert faults(modules) == faults(sources())


def test_modules_outside_the_list_leave_torch_unloaded() -> None:
    light = sorted(set(sources()) - TORCH - {"__main__", "__init__"})
    code = "import importlib, sys\n" + "".join(
        f"importlib.import_module('shortcut_finder.{module}')\n"
        f"assert 'torch' not in sys.modules, '{module} loads torch'\n"
        for module in light
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
