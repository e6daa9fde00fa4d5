"""Public API: what `import shortcut_finder` offers, and that it is cheap."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import shortcut_finder

PACKAGE = Path(shortcut_finder.__file__).parent
NAMES = (
    "DatasetError",
    "ModelError",
    "Run",
    "RunError",
    "Settings",
    "SettingsError",
    "ShortcutFinderError",
    "UnreadableImage",
    "__version__",
    "clean",
    "compare",
    "explain",
    "export",
    "load_dataset",
    "load_run",
    "log_run",
    "scan",
)


def test_the_exported_names_are_these() -> None:
    assert tuple(sorted(shortcut_finder.__all__)) == NAMES
    assert tuple(dir(shortcut_finder)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_exported_name_is_there_and_documented(name: str) -> None:
    value = getattr(shortcut_finder, name)
    assert value.__doc__
    if name != "__version__":
        assert value.__name__ == name
        assert callable(value)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    homes = {
        alias.name: node.module.removeprefix("shortcut_finder.")
        for node in imports
        for alias in node.names
    }
    assert homes == shortcut_finder._HOMES


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'find'"):
        shortcut_finder.find  # noqa: B018


def test_the_version_is_that_of_the_package() -> None:
    project = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    declared = re.search(r'^version = "(.+)"$', project, re.M)
    assert declared is not None
    assert shortcut_finder.__version__ == declared.group(1)


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh process has loaded after running the code."""
    script = f"import sys\n{code}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_importing_the_package_loads_no_library() -> None:
    heavy = {"torch", "torchvision", "pandas", "numpy", "matplotlib", "sklearn", "PIL"}
    assert not heavy & loaded_by("import shortcut_finder")


def test_runs_datasets_and_settings_need_no_torch() -> None:
    code = "from shortcut_finder import Run, Settings, load_dataset, load_run; Settings()"
    loaded = loaded_by(code)
    assert "pandas" in loaded
    assert "torch" not in loaded


def test_the_command_starts_without_torch() -> None:
    assert "torch" not in loaded_by("import shortcut_finder.cli.app")


def test_help_loads_no_library() -> None:
    code = """
import contextlib, io
sys.argv = ["shortcut-finder", *{words}]
from shortcut_finder.cli.app import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as said:
    main()
assert "Usage" in said.getvalue()
"""
    heavy = {
        "torch", "torchvision", "pandas", "numpy", "scipy", "sklearn", "matplotlib", "PIL",
        "pyarrow", "jinja2", "tqdm", "rich", "asyncio", "multiprocessing",
    }  # fmt: skip
    for words in (["--help"], ["scan", "--help"]):
        assert not heavy & loaded_by(code.format(words=words))


def test_no_chart_is_loaded_before_the_first_image(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / name / "one.png")
    code = f"""
import contextlib
import torch
import shortcut_finder.sweep.batches as batches
from shortcut_finder import Settings, scan
def first_image(*_, **__):
    raise KeyboardInterrupt
batches.sweep = first_image
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 2))
folder, small = {str(tmp_path)!r}, Settings(input_size=16)
with contextlib.suppress(KeyboardInterrupt):
    scan(folder, network, out=folder + "/run", settings=small)
    raise AssertionError("no image was asked for")
"""
    assert not {"matplotlib", "jinja2", "sklearn"} & loaded_by(code)


def test_no_import_puts_a_module_in_the_place_of_a_name() -> None:
    homes = [(name, shortcut_finder._HOMES[name]) for name in NAMES if name != "__version__"]
    # A fork for each, of a process that has loaded none of ours, only what takes long to load.
    code = f"""
import importlib, os
import pandas, torch
assert "shortcut_finder" not in sys.modules
for name, home in {homes}:
    child = os.fork()
    if not child:
        importlib.import_module("shortcut_finder." + home)
        assert callable(getattr(sys.modules["shortcut_finder"], name)), name
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
"""
    loaded_by(code)
