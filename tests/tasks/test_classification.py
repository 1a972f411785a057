"""Whole classification runs through the real train.py, and what is done to batches and their labels."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

import train
from lightseg.checkpoint import load_model
from lightseg.data.datasets.imagefolder import ClassificationFolder
from lightseg.data.transforms.classification import eval_transform
from lightseg.losses.classification import ClassificationLoss
from tasks.classification import ClassificationTask
from tests.conftest import only_run
from tests.nets import SHALLOW
from tests.tasks.conftest import NAMES, write_classes
from tests.tasks.runs import run


@pytest.mark.parametrize("head", ["native", "linear"])
def test_a_run_leaves_figures_images_and_predictions(cls_words, six_classes, tmp_path, head):
    record = run(
        cls_words(f"head.name={head}", "evaluation.predictions=true", "optimizer.lr=1e-3", "trainer.max_epochs=1")
    )
    folder = only_run(tmp_path / "runs")
    assert (record["task"], record["data"], record["head"]) == ("cls", "imagefolder", head)
    metrics, protocol = record["metrics"], record["protocol"]
    assert {"val/top1", "val/top5", "val/mean_class_accuracy", "val/ece"} <= metrics.keys()
    assert {f"val/class_accuracy/{name}" for name in NAMES} <= metrics.keys()
    assert (protocol["split"], protocol["images"], protocol["flip"]) == ("val", 6, False)
    assert protocol["crop"] == {"size": 32, "crop_pct": 0.95, "interpolation": "bicubic"}  # the publisher's
    for name in ("images/val.png", "images/confusion.png"):
        assert (folder / name).is_file(), name
    # the figure in the record is the checkpoint's, counted by hand
    model = load_model(folder / "checkpoints" / "best.ckpt")
    data = ClassificationFolder(six_classes, "val", transform=eval_transform(**protocol["crop"]))
    with torch.no_grad():
        answers = [model.head.decode(model(data[i]["image"][None]))[0] for i in range(len(data))]
    right = [int(answer.argmax()) == label for answer, label in zip(answers, data.labels, strict=True)]
    assert metrics["val/top1"] == pytest.approx(np.mean(right), abs=1e-6)
    written = {path.relative_to(folder / "predictions").as_posix() for path in folder.glob("predictions/*/*.json")}
    assert written == {f"{name}.json" for name in data.names}
    first = json.loads((folder / "predictions" / f"{data.names[0]}.json").read_text())
    assert first["class"] == NAMES[int(answers[0].argmax())]
    assert first["top"][0]["probability"] == pytest.approx(float(answers[0].max()), abs=1e-4)


def test_few_classes_have_no_top5(cls_words, tmp_path):
    """With all on that changes labels."""
    two = write_classes(tmp_path / "two", NAMES[:2], train=4)
    record = run(
        cls_words(f"data.root={two}", "data.batch_size=8", "mix.prob=1.0", "mix.mixup=0.2", "mix.cutmix=1.0",
                  "trainer.max_epochs=1", "evaluation.flip=true")
    )  # fmt: skip
    assert 0 <= record["metrics"]["val/top1"] <= 1 and "val/top5" not in record["metrics"]
    assert record["protocol"]["flip"] is True


@pytest.mark.parametrize(
    "options",
    [
        ["optimizer.name=rmsproptf", "optimizer.eps=1e-3", "schedule.name=exponential", "schedule.gamma=0.97",
         "optimizer.layer_decay=0.8", "data.augment.erasing=0.5", "data.augment.trivialaugment=true", "data.workers=1",
         "logger=wandb", "logger.mode=offline"],
        pytest.param(
            ["head.name=linear", "head.dropout=0.2", "optimizer.backbone_lr_mult=0.1", "freeze_bn=true",
             "data.cache=true"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["data=mini_cls", "data.count={train: 16, val: 8}", "data.size=32", "data.root={tmp}/mini_cls"],
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_every_knob_runs(cls_words, options, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    options = [option.replace("{tmp}", str(tmp_path)) for option in options]
    record = run(cls_words("trainer.max_epochs=1", *options))
    assert 0 <= record["metrics"]["val/top1"] <= 1


# -- pretrained weights, judged without training -----------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path) -> Path:
    """A shallow net for 6 classes, saved as everybody saves nets; its answers differ between images."""
    torch.manual_seed(0)
    net = timm.create_model(SHALLOW, num_classes=6)
    torch.nn.init.normal_(net.get_classifier().weight, std=0.5)
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def test_pretrained_weights_are_judged_without_training(cls_words, weights, six_classes):
    record = run(cls_words("mode=test", f"pretrained={weights}"))
    # timm, fed by its own evaluation transform
    net = timm.create_model(SHALLOW, num_classes=6).eval()
    net.load_state_dict(torch.load(weights, weights_only=True))
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=net, use_test_size=True))
    images = timm.data.create_dataset("", root=str(six_classes / "val"), transform=transform)
    with torch.no_grad():
        right = [int(net(image[None]).argmax()) == label for image, label in images]
    assert record["metrics"]["val/top1"] == pytest.approx(np.mean(right), abs=1e-6)
    assert record["protocol"]["crop"]["size"] == 160 and record["protocol"]["images"] == 6


def test_without_training_there_is_nothing_to_judge_under_a_new_head(cls_words, weights, tmp_path, capsys):
    assert train.main(cls_words("mode=test", f"pretrained={weights}", "head.name=linear")) == 2
    assert "head.name=native" in capsys.readouterr().err
    assert train.main(cls_words("mode=test")) == 2
    assert "ckpt=" in capsys.readouterr().err
    two = write_classes(tmp_path / "two", NAMES[:2])
    assert train.main(cls_words("mode=test", f"pretrained={weights}", f"data.root={two}")) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert "does not predict the 2 classes" in line and "classifier.weight" in line
    assert not (tmp_path / "runs").exists()


# -- mixup and CutMix --------------------------------------------------------------------------------------------------


def mixed(batch: int = 6, seed: int = 5, **mix: float) -> tuple[dict, dict]:
    """A batch before and after `prepare_batch` of a task of 6 classes."""
    task = object.__new__(ClassificationTask)
    torch.nn.Module.__init__(task)
    task.mix = {"mixup": 0.0, "cutmix": 0.0, "prob": 1.0, "switch_prob": 0.5, **mix}
    task.scheduled = {}
    from lightseg.metrics.classification import ClassificationMetric

    task.metric = ClassificationMetric(6)
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (batch, 3, 16, 16), dtype=torch.uint8, generator=generator)
    images = images.contiguous(memory_format=torch.channels_last)
    before = {"images": images, "labels": torch.arange(batch) % 6, "names": [str(i) for i in range(batch)]}
    torch.manual_seed(seed)
    return before, task.prepare_batch(dict(before, images=images.clone()))


@pytest.mark.parametrize("mix", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixed_labels_follow_the_mixed_pixels(mix):
    before, after = mixed(**mix)
    images, labels = after["images"], after["labels"]
    assert images.dtype == torch.uint8 and images.is_contiguous(memory_format=torch.channels_last)
    assert labels.shape == (6, 6) and torch.allclose(labels.sum(1), torch.ones(6)) and labels.min() >= 0
    share = labels.diagonal()  # of the image itself; the rest is that of its partner, the batch backwards
    assert 0 < share.min() < 1 and torch.allclose(labels.flip(1).diagonal(), 1 - share)
    plain = before["images"].float()
    if "cutmix" not in mix:
        lam = share.view(-1, 1, 1, 1)
        assert (images.float() - (lam * plain + (1 - lam) * plain.flip(0))).abs().max() <= 0.5 + 1e-3
    elif "mixup" not in mix:
        own, other = images == before["images"], images == before["images"].flip(0)
        assert (own | other).all()
        assert own.all(1).float().mean((1, 2)) == pytest.approx(share, abs=0.05)  # a pixel may be equal by chance
    loss = ClassificationLoss(label_smoothing=0.1)(torch.randn(6, 6), labels)["loss"]
    assert loss.isfinite()


def test_a_mix_depends_on_the_step_alone_and_leaves_numpy_as_it_was():
    np.random.seed(3)
    state = np.random.get_state()[1].copy()
    (_, first), (_, again), (_, other) = (mixed(seed=seed, mixup=0.4, cutmix=1.0) for seed in (5, 5, 6))
    assert (np.random.get_state()[1] == state).all()
    assert torch.equal(first["images"], again["images"]) and torch.equal(first["labels"], again["labels"])
    assert not torch.equal(first["images"], other["images"])


def test_odd_batches_and_no_mix_are_left_alone():
    for before, after in (mixed(batch=5, mixup=0.4), mixed(mixup=0.0)):
        assert torch.equal(before["images"], after["images"]) and torch.equal(before["labels"], after["labels"])
