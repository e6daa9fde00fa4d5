import pickle
import sys
from pathlib import Path

import pytest

from shortcut_finder.data.imports import is_function_name, load_function
from shortcut_finder.errors import SettingsError


@pytest.fixture(autouse=True)
def _clean_imports(monkeypatch: pytest.MonkeyPatch):
    """Modules and search path as before each test."""
    known = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_function_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, "my_models.py", "def build(): return 7")
    assert load_function(f"{path}:build")() == 7


def test_function_of_a_module() -> None:
    assert load_function("os.path:basename")("a/b") == "b"


def test_a_file_is_run_once(tmp_path: Path) -> None:
    path = write(tmp_path, "counted.py", "class Thing: pass")
    assert load_function(f"{path}:Thing") is load_function(f"{path}:Thing")


def test_a_file_may_import_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "neighbour_of_it.py", "VALUE = 5")
    path = write(
        tmp_path, "importing.py", "from neighbour_of_it import VALUE\ndef build(): return VALUE"
    )
    assert load_function(f"{path}:build")() == 5


def test_a_file_named_like_a_package_hides_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "json.py", "def build(): return 1")
    assert load_function(f"{path}:build")() == 1
    import json

    assert json.loads("[1]") == [1]


def test_two_files_of_one_name_are_two(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, "same_name.py", f"def build(): return {folder!r}")
    found = [load_function(f"{tmp_path / f}/same_name.py:build")() for f in ("one", "two", "one")]
    assert found == ["one", "two", "one"]


def test_what_a_file_defines_can_be_pickled(tmp_path: Path) -> None:
    path = write(tmp_path, "picklable.py", "class Thing:\n    value = 3")
    thing = load_function(f"{path}:Thing")()
    assert pickle.loads(pickle.dumps(thing)).value == 3


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_colon", r"write FILE\.py:FUNCTION or package\.module:function"),
        ("a.py:not an identifier", r"write FILE\.py:FUNCTION"),
        ("/nowhere/a.py:build", r"/nowhere/a\.py: no such file"),
        ("no_such_module_here:build", "no_such_module_here: importing it fails"),
        ("os.path:nothing", r"nothing is missing in os\.path"),
        ("os.path:sep", r"sep is not a function in os\.path"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load_function(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["raise ValueError('two\\nlines')", "def broken(:", "import nope_x"]
)
def test_a_file_that_fails_is_told_in_one_line_and_forgotten(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, "failing_file.py", text)
    with pytest.raises(SettingsError, match=r"failing_file\.py: importing it fails") as caught:
        load_function(f"{path}:build")
    assert "\n" not in str(caught.value)
    assert "failing_file" not in sys.modules


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a.py:b", True), ("p.q:f", True), ("photos", False), ("C:/photos", False), (":f", False)],
)
def test_function_names_are_told_from_paths(text: str, expected: bool) -> None:
    assert is_function_name(text) is expected
