"""Tracking: a scan beside training runs, offline."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from handmade import handmade_run

import shortcut_finder as sf
from shortcut_finder.errors import SettingsError
from shortcut_finder.exporting.tracking import FILES, log_run, metrics_of
from shortcut_finder.run.folder import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return handmade_run(tmp_path_factory.mktemp("tracking") / "run")


def test_the_numbers_are_those_of_the_run(run: Run) -> None:
    numbers = metrics_of(run)
    assert numbers["shortcuts/findings"] == len(run.findings)
    severities = [numbers[f"shortcuts/{name}_severity"] for name in ("high", "medium", "low")]
    assert sum(severities) == len(run.findings)
    assert numbers["shortcuts/offenders"] == len(set(run.offenders["image"]))
    assert numbers["shortcuts/largest_reliance"] == run.findings["reliance"].max()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_mlflow_gets_a_run_of_its_own_or_the_active_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri((tmp_path / "tracked").as_uri())
    client = mlflow.MlflowClient()
    own = client.get_run(log_run(run, "mlflow"))
    assert own.info.status == "FINISHED"
    assert own.data.metrics == pytest.approx(metrics_of(run))
    assert own.data.params["shortcuts/model"] == run.card["model"]["name"]
    names = {Path(one.path).name for one in client.list_artifacts(own.info.run_id, FOLDER)}
    assert names == set(FILES) & {path.name for path in run.folder.iterdir()}
    with mlflow.start_run() as training:
        for step in (1, 2):
            assert log_run(run.folder, "mlflow", step=step) == training.info.run_id
        assert mlflow.active_run() is not None
    history = client.get_metric_history(training.info.run_id, "shortcuts/findings")
    assert [one.step for one in history] == [1, 2]


FOLDER = "shortcut-finder"


@pytest.mark.filterwarnings("ignore")
def test_wandb_gets_metrics_table_and_files_offline(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    for name, value in (
        ("WANDB_MODE", "offline"), ("WANDB_DIR", str(tmp_path)), ("WANDB_SILENT", "true"),
        ("WANDB_CACHE_DIR", str(tmp_path / "cache")), ("WANDB_DATA_DIR", str(tmp_path / "data")),
        ("WANDB_CONFIG_DIR", str(tmp_path / "config")), ("WANDB_ERROR_REPORTING", "false"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    identifier = log_run(run, "wandb")
    assert wandb.run is None
    (folder,) = (tmp_path / "wandb").glob(f"offline-run-*-{identifier}")
    summary = folder / "files" / "wandb-summary.json"
    (table,) = folder.rglob("*.table.json")
    rows = json.loads(table.read_text(encoding="utf-8"))
    assert [row[0] for row in rows["data"]] == run.findings["finding"].tolist()
    if summary.exists():
        said = json.loads(summary.read_text(encoding="utf-8"))
        assert said["shortcuts/findings"] == len(run.findings)
    with wandb.init() as training:
        assert log_run(run, "wandb", step=3) == training.id
        assert wandb.run is not None
        training.log({"loss": 1.0}, step=4)
        assert training.summary["shortcuts/findings"] == len(run.findings)


def test_a_tracker_that_is_not_there_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="choose one of mlflow, wandb"):
        sf.log_run(run, to="excel")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SettingsError, match=r"pip install 'shortcut-finder\[wandb\]'"):
        log_run(run, "wandb")
