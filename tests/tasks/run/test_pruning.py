"""Fine-tuning pruned weights through the real train.py: zeros stay, also in the average and after an interruption."""

import json
from pathlib import Path

import pytest
import torch

import train
from lightseg.checkpoint import load_model
from lightseg.cli import main
from lightseg.compress.pruning import layer_weights
from lightseg.errors import LightsegError
from lightseg.model import create_model
from tests.conftest import only_run
from tests.nets import SHALLOW


def run(words: list[str]) -> tuple[dict, Path]:
    assert train.main(words) == 0
    (runs,) = (Path(word.split("=", 1)[1]) for word in words if word.startswith("runs_dir="))
    return json.loads((only_run(runs) / "record.json").read_text()), only_run(runs)


def zeros(path: Path) -> dict[str, torch.Tensor]:
    return {name: weight == 0 for name, weight in layer_weights(load_model(path)).items()}


@pytest.mark.slow
def test_a_run_begins_with_a_pruned_checkpoint_and_keeps_its_zeros(cls_words, tmp_path, capsys):
    begin = create_model(SHALLOW, "cls", 6)
    state = {f"model.{key}": value for key, value in begin.state_dict().items()}
    torch.save({"hyper_parameters": {"model": begin.spec}, "state_dict": state}, tmp_path / "dense.ckpt")
    words = cls_words(
        f"runs_dir={tmp_path / 'pruned'}", f"pretrained={tmp_path / 'dense.ckpt'}", "prune.sparsity=0.67",
        "optimizer.lr=1e-3", "optimizer.weight_decay=0.1",
    )  # fmt: skip
    record, pruned = run(words)
    assert record["setting"]["prune.sparsity"] == 0.67 and "prune.scope" not in record["setting"]
    for name in ("best", "last"):
        found = zeros(pruned / "checkpoints" / f"{name}.ckpt")
        for key, weight in layer_weights(begin).items():
            count = round(0.67 * weight.numel())
            smallest = weight.abs().flatten().argsort(stable=True)[:count]
            assert int(found[key].sum()) == count and bool(found[key].flatten()[smallest].all()), key
    # the weights that are trained, not only their average
    last = torch.load(pruned / "checkpoints" / "last.ckpt", weights_only=True)
    current = last["current_model_state"]
    assert all(bool((current[f"model.{key}"][mask] == 0).all()) for key, mask in found.items())
    assert any(not torch.equal(current[f"model.{k}"], last["state_dict"][f"model.{k}"]) for k in found)
    # a compressed file is evaluated like the checkpoint
    capsys.readouterr()
    assert main(["compress", str(pruned / "checkpoints" / "best.ckpt"), "--bits", "8"]) == 0
    file = pruned / "checkpoints" / "best.8bit.compressed"
    tested, _ = run(["mode=test", f"ckpt={file}", f"runs_dir={tmp_path / 'test'}"])
    assert tested["protocol"]["checkpoint"] == str(file) and 0 <= tested["metrics"]["val/top1"] <= 1


class Killed(LightsegError):
    pass


@pytest.mark.slow
def test_an_interrupted_run_goes_on_with_the_same_zeros(cls_words, tmp_path, monkeypatch):
    from tasks.run.pruning import Pruning

    words = cls_words("prune.sparsity=0.5", "prune.scope=global", "trainer.max_epochs=3", "ema.decay=0.0")
    step = Pruning.on_train_batch_end

    def killed(self, trainer, *arguments):
        step(self, trainer, *arguments)
        if trainer.current_epoch == 2:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Pruning, "on_train_batch_end", killed)
        assert train.main(words) == 2
    folder = only_run(tmp_path / "runs")
    before = zeros(folder / "checkpoints" / "last.ckpt")
    assert train.main([f"resume={folder}"]) == 0
    after = zeros(folder / "checkpoints" / "last.ckpt")
    assert all(torch.equal(mask, after[name]) for name, mask in before.items())
    whole = sum(mask.numel() for mask in after.values())
    assert sum(int(mask.sum()) for mask in after.values()) == round(0.5 * whole)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("prune.sparsity=67", "must be a number from 0 to below 1"),
        ("prune.sparsity=1", "must be a number from 0 to below 1"),
        ("prune.scope=globl", "must be one of layer, global"),
        ("prune.sparsty=0.5", "prune.sparsity"),
    ],
)
def test_bad_input(cls_words, word, said, capsys):
    assert train.main(cls_words(word)) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
