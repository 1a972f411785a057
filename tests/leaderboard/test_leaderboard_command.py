"""`lightseg leaderboard`: formats, files, filters, and one line for errors."""

import csv
import io
import json
import subprocess
import sys

import pytest

from lightseg.cli import main
from lightseg.commands.leaderboard import leaderboard
from tests.nets import SHALLOW

ERRORS = {
    "folder": (["nowhere"], "error: nowhere is not a folder: give the runs_dir of your runs\n"),
    "task": (["runs", "--task", "sag"], "error: no run has task 'sag': did you mean seg?\n"),
    "sort": (["runs", "--sort", "mIuO"], "error: no column or metric 'mIuO' to sort by: did you mean mIoU?\n"),
    "metrics": (
        ["runs", "--metrics", "zzz"],
        "error: no metric is called 'zzz': choose from mIoU, pixel_accuracy, top1\n",
    ),
    "target": (["runs", "--target-ms", "0"], "error: --target-ms 0: a latency in milliseconds is more than 0\n"),
    "nan": (["runs", "--target-ms", "nan"], "error: --target-ms nan: a latency in milliseconds is more than 0\n"),
    "exponent": (["runs", "--reward-exponent", "inf"], "error: --reward-exponent inf: a number, -0.07 in the paper\n"),
    "ending": (
        ["runs", "--output", "a.doc"],
        "error: --output a.doc: end it in .md, .csv, .tex, .html, .htm, .json, or give --format\n",
    ),
    "output": (["runs", "--output", "no/a.md"], "error: cannot write no/a.md: No such file or directory\n"),
}


@pytest.fixture
def here(write_run, tmp_path, monkeypatch):
    """The folder of `runs`: two nets on CamVid, one of them also as a classifier."""
    write_run({})
    write_run({"backbone": "micronet_m3", "metrics": {"val/mIoU": 0.4}})
    write_run({"task": "cls", "data": "imagenet", "metrics": {"val/top1": 0.5}})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_is_the_default_folder(here, capsys):
    assert main(["leaderboard"]) == 0
    printed = capsys.readouterr()
    assert "seg camvid" in printed.out and "cls imagenet" in printed.out and printed.err == ""
    assert [len(group.rows) for group in leaderboard([here / "runs"])[0]] == [2, 1]


def test_filters_and_order(here, capsys):
    assert main(["leaderboard", "--task", "seg", "--sort", "mIoU", "--reverse", "--format", "csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [line["backbone"] for line in lines] == ["micronet_m3", "mobilenetv3_large"]


def test_the_note_on_left_out_records_goes_to_standard_error(here, write_run, capsys):
    bad = write_run("{")
    assert main(["leaderboard", "runs", "--format", "json"]) == 0
    printed = capsys.readouterr()
    note = f"skipped 1 of 4 records: 1 not valid JSON (runs/{bad.relative_to(here / 'runs')}/record.json)"
    assert printed.err == f"{note}\n" and json.loads(printed.out)["left_out"] == note


@pytest.mark.parametrize(
    ("name", "begins"),
    [("a.md", "### seg camvid"), ("a.tex", "% \\usepackage"), ("a.csv", "group,task,data"), ("a.json", "{")],
)
def test_the_suffix_decides_the_format(here, capsys, name, begins):
    assert main(["leaderboard", "--output", name]) == 0
    assert capsys.readouterr().out == f"{name}\n"
    assert (here / name).read_text().startswith(begins)


def test_a_table_in_a_file_is_not_cut_for_the_terminal(here):
    assert main(["leaderboard", "--output", "a.txt", "--format", "terminal"]) == 0
    assert "2026-11-22" in (here / "a.txt").read_text()


def test_the_page_is_written_beside_the_runs(here, capsys):
    assert main(["leaderboard", "runs", "--format", "html"]) == 0
    assert capsys.readouterr().out == "runs/leaderboard.html\n"
    assert "micronet_m3" in (here / "runs" / "leaderboard.html").read_text()
    assert main(["leaderboard", "runs", "--output", "b.html"]) == 0
    assert "micronet_m3" in (here / "b.html").read_text()


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "csv", "json"])
def test_matrix(here, capsys, form):
    assert main(["leaderboard", "--matrix", "--format", form]) == 0
    printed = capsys.readouterr().out.replace("\\", "")
    assert "seg camvid" in printed and "cls imagenet" in printed and "micronet_m3" in printed


def test_reward(here, capsys):
    assert (
        main(["leaderboard", "--task", "seg", "--reward", "10", "--reward-exponent", "-0.15", "--sort", "reward"]) == 0
    )
    assert f"{70 * 1.7128**-0.15:.1f}" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_are_one_line(here, capsys, arguments, message):
    assert main(["leaderboard", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err == message and printed.out == ""


def test_a_failed_write_leaves_no_temporary_file(here, capsys):
    (here / "a.md").mkdir()
    assert main(["leaderboard", "--output", "a.md"]) == 2
    assert capsys.readouterr().err == "error: cannot write a.md: Is a directory\n"
    assert [path.name for path in here.iterdir() if path.name.startswith(".")] == []


def test_an_empty_folder_is_one_line(tmp_path, capsys):
    assert main(["leaderboard", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error == f"error: no record.json in {tmp_path}: a run writes it last; no run was started there\n"


def test_it_needs_neither_torch_nor_numpy(here):
    code = (
        "import sys; from lightseg.cli import main; main(['leaderboard']); print({'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.slow
def test_records_of_real_runs(words, tmp_path, capsys):
    """Two seeds of a real training make one row."""
    import train

    for seed in (0, 1):
        assert train.main(words("trainer.max_epochs=1", f"seed={seed}", f"runs_dir={tmp_path / 'r'}")) == 0
    (group,), note = leaderboard([tmp_path / "r"])
    (row,) = group.rows
    assert note == "" and row.seeds == (0, 1) and group.label == "seg mini_seg"
    assert row.backbone == SHALLOW and row.params and row.madds and row.latency_ms and row.memory_mb
    assert 0 <= row.metrics["val/mIoU"].mean <= 1 and row.metrics["val/mIoU"].n == 2
    assert group.protocol["images"] == "3" and group.fingerprint
