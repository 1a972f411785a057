"""`lightseg compress` on a checkpoint: its output, its file and its errors."""

import json

import pytest
import torch

from lightseg.checkpoint import load_model
from lightseg.cli import main
from lightseg.compress.api import compress
from lightseg.compress.pruning import prune, share_of_zeros
from lightseg.model import create_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The checkpoint of a net with 60 % zeros."""
    torch.manual_seed(0)
    model = create_model("mobilenetv3_small_050", "cls", 4)
    prune(model, 0.6)
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    torch.save({"hyper_parameters": {"model": model.spec}, "state_dict": state}, path)
    return path


def test_the_file_is_beside_the_checkpoint(checkpoint, capsys):
    assert main(["compress", str(checkpoint)]) == 0
    output = capsys.readouterr().out
    path = checkpoint.with_name("best.8bit.compressed")
    assert f"{path}: {path.stat().st_size / 1e6:.3f} MB" in output and "40.0 % not zero, 8 bits a value" in output
    assert share_of_zeros(load_model(path)) == pytest.approx(0.6, abs=0.001)
    assert main(["compress", str(checkpoint)]) == 2
    assert "exists: give another --output, or --overwrite" in capsys.readouterr().err
    assert main(["compress", str(checkpoint), "--overwrite"]) == 0


def test_fewer_bits_and_more_zeros_are_smaller(checkpoint, tmp_path, capsys):
    sizes = []
    for number, options in enumerate((["--bits", "8"], ["--bits", "6"], ["--bits", "6", "--sparsity", "0.8"])):
        target = tmp_path / "below" / f"{number}.compressed"
        assert main(["compress", str(checkpoint), *options, "--output", str(target), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        sizes.append(report["bytes"])
        assert report["file"] == str(target) and report["kept"] == pytest.approx(0.2 if number == 2 else 0.4, abs=0.001)
    assert sizes[0] > sizes[1] > sizes[2]


def test_a_compressed_file_is_a_checkpoint_of_its_own(checkpoint, tmp_path):
    first = compress(checkpoint, tmp_path / "eight", bits=8)
    again = compress(tmp_path / "eight", tmp_path / "again", bits=8)
    assert first["bytes"] == again["bytes"]
    assert (tmp_path / "eight").read_bytes() == (tmp_path / "again").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/none.ckpt"], "no such checkpoint"),
        (["{ckpt}", "--sparsity", "67", "--output", "{tmp}/f"], "a fraction of the weights, from 0 to below 1"),
        (["{ckpt}", "--scope", "all", "--sparsity", "0.5", "--output", "{tmp}/f"], "no pruning scope 'all'"),
        (["{ckpt}", "--bits", "16", "--output", "{tmp}/f"], "1 to 8 bits"),
        (["{ckpt}", "--output", "{tmp}"], "exists: give another --output"),
        (["{ckpt}", "--output", "{tmp}/text/f"], "cannot be made"),
        (["{tmp}/text", "--output", "{tmp}/f"], "can be read safely"),
    ],
)
def test_errors_are_one_line_and_leave_no_file(checkpoint, tmp_path, arguments, message, capsys):
    (tmp_path / "text").write_text("no checkpoint")
    assert main(["compress", *(argument.format(tmp=tmp_path, ckpt=checkpoint) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
