"""What a tired person may do: one clear line, exit code 2, nothing lost."""

import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

import train
from lightseg.config.compose import compose
from tasks.run.checkpoints import AtomicCheckpointIO, SaveError
from tests.conftest import only_run


@pytest.fixture
def own(mini_seg, words, tmp_path):
    """A copy of the tiny set that a test may spoil, read as plain Cityscapes."""
    root = tmp_path / "cityscapes"
    shutil.copytree(mini_seg, root)
    kept = [
        w for w in words(f"data.root={root}", "trainer.max_epochs=1") if not w.startswith(("data.size", "data.count"))
    ]
    return root, [*kept, "data=cityscapes"]


def image(root: Path, number: int = 0) -> Path:
    return sorted((root / "leftImg8bit" / "train").glob("*/*.png"))[number]


def label(root: Path, number: int = 0) -> Path:
    return sorted((root / "gtFine" / "train").glob("*/*_labelIds.png"))[number]


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert train.main(words) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    return line


def test_an_image_without_its_label(own, capsys):
    root, words = own
    label(root).unlink()
    assert label(root).parent.name in (line := refused(words, capsys)) and image(root).name in line


def test_a_label_of_another_size(own, capsys):
    root, words = own
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(label(root))
    assert "9x8" in (line := refused(words, capsys)) and label(root).name in line


@pytest.mark.parametrize("workers", [0, 1])
def test_a_label_id_outside_the_map(own, capsys, workers):
    root, words = own
    ids = np.asarray(Image.open(label(root))).copy()
    ids[:4] = 77
    Image.fromarray(ids).save(label(root))
    line = refused([w for w in words if not w.startswith("data.workers")] + [f"data.workers={workers}"], capsys)
    assert "77" in line and label(root).name in line


def test_a_truncated_image_is_named_or_skipped_and_reported(own, capsys, tmp_path):
    root, words = own
    path = image(root)
    path.write_bytes(path.read_bytes()[:2000])
    assert path.name in refused(words, capsys)
    elsewhere = [w for w in words if not w.startswith("runs_dir")] + [f"runs_dir={tmp_path / 'skip'}"]
    assert train.main([*elsewhere, "data.on_error=skip"]) == 0
    assert "1 unreadable left out" in (out := capsys.readouterr().out) and path.name in out
    assert path.name in (only_run(tmp_path / "skip") / "record.json").read_text()


def test_a_missing_data_root(words, capsys, tmp_path):
    line = refused(["data=cityscapes", f"data.root={tmp_path / 'gone'}"], capsys)
    assert str(tmp_path / "gone") in line and "mini_seg" in line
    line = refused(["data=cityscapes", f"data.root={tmp_path}"], capsys)
    assert "leftImg8bit" in line and "mini" in line


def test_a_crop_larger_than_the_images_is_padded(own):
    _, words = own
    assert train.main([w for w in words if "crop_size" not in w] + ["data.augment.crop_size=[96,160]"]) == 0


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_images(words, capsys, tmp_path):
    line = refused(words("optimizer.name=momentum", "optimizer.lr=1e30", "trainer.max_epochs=5"), capsys)
    assert "loss is" in line and "mini_" in line and "optimizer.lr" in line
    assert not (only_run(tmp_path / "runs") / "record.json").exists()


def test_pretrained_without_a_network_names_the_ways_out(words, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", "/nowhere")
    line = refused(words("backbone=mobilenetv3_small", "pretrained=true"), capsys)
    assert "pretrained=false" in line


def test_a_warm_up_longer_than_the_run_an_unknown_optimizer(words, tmp_path, capsys):
    assert "warmup_steps=100 is not shorter than the run of 6 optimizer steps" in refused(
        words("schedule.warmup_steps=100", "trainer.max_epochs=2"), capsys
    )
    assert not (tmp_path / "runs").exists()
    assert "did you mean adam" in refused(words("optimizer.name=adamv"), capsys)
    assert "class_weights" in refused(words("loss.class_weights=[1,2]"), capsys)


def test_a_single_image_a_batch_that_batch_norm_cannot_take(cls_words, capsys):
    assert "a batch of 1 image of 32x32 has just one: give data.batch_size=2" in refused(
        cls_words("data.batch_size=1"), capsys
    )


def test_a_run_without_a_checkpoint_cannot_be_resumed(words, tmp_path, capsys):
    OmegaConf.save(compose(words()), tmp_path / "config.yaml")
    assert "no epoch was finished" in refused([f"resume={tmp_path}"], capsys)
    (tmp_path / "config.yaml").write_text("data: mini_seg\n")
    assert "not the configuration of a run" in refused([f"resume={tmp_path}"], capsys)


def test_a_full_disk_leaves_the_previous_checkpoint_whole(tmp_path):
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (100_000, limits[1])
    )  # a file may not grow past this: a disk that is full
    try:
        with pytest.raises(SaveError, match="untouched"):
            AtomicCheckpointIO().save_checkpoint({"epoch": 2, "weights": torch.zeros(1_000_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert AtomicCheckpointIO().load_checkpoint(path) == {"epoch": 1}
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_wandb_that_does_not_start_or_breaks_never_stops_training(words, monkeypatch, tmp_path):
    import wandb

    def broken(*args, **kwargs):
        raise wandb.errors.CommError("api.wandb.ai is unreachable")

    monkeypatch.setattr(wandb, "init", broken)
    with pytest.warns(UserWarning, match="unreachable"):
        assert train.main(words("logger=wandb", "logger.mode=online", "trainer.max_epochs=1")) == 0
    assert (only_run(tmp_path / "runs") / "record.json").is_file()
