"""metrics.csv: rows, columns that are added, resume, files that another program changed."""

import csv

import pytest

from lightseg.errors import LightsegError
from tasks.run.metrics_csv import MetricsCSV


def rows_of(path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return [{key: value for key, value in row.items() if value != ""} for row in csv.DictReader(file)]


def log(logger, step, **metrics) -> None:
    logger.log_metrics(metrics, step)
    logger.save()


def test_values_of_a_step_share_a_row_and_columns_are_added(tmp_path):
    logger = MetricsCSV(tmp_path / "metrics.csv")
    log(logger, 9, loss=2.5, epoch=0)
    log(logger, 19, loss=1.5, epoch=0)
    log(logger, 19, **{"val/mIoU": 0.25})
    log(logger, 29, loss=0.5)
    log(logger, 29, epoch=1)
    assert rows_of(tmp_path / "metrics.csv") == [
        {"step": "9", "epoch": "0", "loss": "2.5"},
        {"step": "19", "epoch": "0", "loss": "1.5", "val/mIoU": "0.25"},
        {"step": "29", "epoch": "1", "loss": "0.5"},
    ]


def test_a_row_is_appended_instead_of_the_file_written_anew(tmp_path, monkeypatch):
    logger = MetricsCSV(tmp_path / "metrics.csv")
    log(logger, 0, loss=1.0)
    monkeypatch.setattr(logger, "_write_anew", None)
    for step in range(1, 50):
        log(logger, step, loss=step / 4)
    assert [(row["step"], row["loss"]) for row in rows_of(tmp_path / "metrics.csv")][1:] == [
        (str(step), str(step / 4)) for step in range(1, 50)
    ]


def test_a_resumed_run_keeps_the_rows_before_its_checkpoint(tmp_path):
    first = MetricsCSV(tmp_path / "metrics.csv")
    for step in (0, 4, 9, 14):
        log(first, step, loss=step, acc=1)
    second = MetricsCSV(tmp_path / "metrics.csv", resume_step=10)
    assert [row["step"] for row in rows_of(tmp_path / "metrics.csv")] == ["0", "4", "9"]
    log(second, 9, epoch=3)
    log(second, 14, loss=7.5)
    log(second, 19, loss=8, lr=0.5)
    assert rows_of(tmp_path / "metrics.csv")[2:] == [
        {"step": "9", "epoch": "3", "loss": "9", "acc": "1"},
        {"step": "14", "loss": "7.5"},
        {"step": "19", "loss": "8", "lr": "0.5"},
    ]


def test_a_file_that_another_program_changed_during_the_run_loses_no_row(tmp_path):
    path = tmp_path / "metrics.csv"
    logger = MetricsCSV(path)
    log(logger, 0, loss=1)
    path.write_text(path.read_text() + "5,,3\r\n")
    log(logger, 9, loss=2)
    assert [row["step"] for row in rows_of(path)] == ["0", "5", "9"]
    path.unlink()
    log(logger, 19, loss=3)
    assert [row["step"] for row in rows_of(path)] == ["19"]


@pytest.mark.parametrize(
    "content", ["step;epoch;loss\n1;0;2\n", "epoch,loss\n0,2\n", "step,epoch\n1.5E+01,0\n", "\xff"]
)
def test_a_file_that_a_spreadsheet_saved_is_refused_on_resume_and_kept(tmp_path, content):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(LightsegError, match=r"not as it was written.*spreadsheet") as refusal:
        MetricsCSV(path, resume_step=10)
    assert str(path) in str(refusal.value) and path.read_bytes() == content.encode("latin-1")
