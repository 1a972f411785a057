"""What commands write: never what they read, and nothing that exists without --overwrite."""

import os
from pathlib import Path

import pytest

from lightseg.cli import main
from lightseg.errors import LightsegError
from lightseg.output_paths import check_outputs


def test_inputs_existing_files_and_doubles(tmp_path):
    source, other = tmp_path / "a.ckpt", tmp_path / "b.bin"
    source.write_text("weights")
    other.write_text("mine")
    os.link(source, tmp_path / "hard")
    (tmp_path / "soft").symlink_to(source)
    for path in (source, tmp_path / "hard", tmp_path / "soft", tmp_path / "x" / ".." / "a.ckpt"):
        with pytest.raises(LightsegError, match="is read by this command and would be overwritten"):
            check_outputs([path], [source], overwrite=True)
    with pytest.raises(LightsegError, match=r"b\.bin exists: give another --output, or --overwrite"):
        check_outputs([tmp_path / "new", other], [source], overwrite=False)
    with pytest.raises(LightsegError, match="two results would both be"):
        check_outputs([tmp_path / "new", tmp_path / "." / "new"], overwrite=True)
    check_outputs([tmp_path / "new", other], [source], overwrite=True)


def test_a_table_replaces_no_file_of_a_run_and_no_other_file(tmp_path, capsys):
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    for name in ("record.json", "metrics.csv"):
        (run / name).write_text("{}")
        words = ["leaderboard", str(tmp_path / "runs"), "--output", str(run / name), "--overwrite"]
        assert main(words) == 2 and "is a file of a run" in capsys.readouterr().err
    (tmp_path / "mine.csv").write_text("keep")
    assert main(["leaderboard", str(tmp_path / "runs"), "--output", str(tmp_path / "mine.csv")]) == 2
    assert "mine.csv exists: give another --output, or --overwrite" in capsys.readouterr().err
    assert (run / "record.json").read_text() == "{}" and (tmp_path / "mine.csv").read_text() == "keep"


def test_a_plot_replaces_nothing(tmp_path, capsys):
    (tmp_path / "a.png").write_text("keep")
    assert main(["profile", "backbone=fbnet_a", "--plot", str(tmp_path / "a.png")]) == 2
    assert "a.png exists: give another --plot, or --overwrite" in capsys.readouterr().err


def test_a_checkpoint_is_never_what_compress_and_export_write(tmp_path, capsys):
    checkpoint = tmp_path / "best.ckpt"
    checkpoint.write_bytes(b"weights")
    assert main(["compress", str(checkpoint), "--output", str(checkpoint), "--overwrite"]) == 2
    assert "best.ckpt is read by this command" in capsys.readouterr().err
    Path(tmp_path / "net.onnx").symlink_to(checkpoint)
    assert main(["export", str(checkpoint), "--output", str(tmp_path / "net.onnx"), "--overwrite"]) == 2
    assert "net.onnx is read by this command" in capsys.readouterr().err
    for name in ("net.bin", "net.xml.json"):
        (tmp_path / name).write_text("keep")
        assert main(["export", str(checkpoint), "--output", str(tmp_path / "net.xml"), "--format", "openvino"]) == 2
        assert f"{name} exists: give another --output, or --overwrite" in capsys.readouterr().err
        (tmp_path / name).unlink()
    assert checkpoint.read_bytes() == b"weights"
