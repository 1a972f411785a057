"""A multi-label run through the real train.py, and what is done with its checkpoint: predictions, exports, tables."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import lightseg
from lightseg.checkpoint import load_model
from lightseg.config.compose import compose, plain
from lightseg.data.datasets.csv_multilabel import from_options
from lightseg.data.transforms.classification import eval_transform
from lightseg.export.api import export
from lightseg.inference.api import predict
from lightseg.leaderboard.records import read_records
from lightseg.leaderboard.table import group_runs
from lightseg.metrics.multilabel import MultiLabelMetric
from lightseg.task_specs import task_spec
from tasks.multilabel import MultiLabelTask
from tests.conftest import only_run
from tests.nets import SHALLOW
from tests.tasks.runs import run

NAMES = ["blue", "green", "red"]
CROP = {"size": 32, "crop_pct": 1.0, "interpolation": "bilinear"}


def write_images(root: Path, count: int) -> None:
    """Images with a square of noise in the colors that they have, and a table a split."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        lines = ["file," + ",".join(NAMES)]
        for number in range(count):
            bits = [number >> label & 1 for label in range(3)]
            pixels = random.integers(0, 60, (32, 32, 3)) + 150 * np.array(bits)
            path = root / split / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), pixels.astype(np.uint8))
            lines.append(",".join([f"{split}/{number}.png", *map(str, bits)]))
        (root / f"{split}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def words(tmp_path) -> Callable[..., list[str]]:
    write_images(tmp_path / "data", 16)
    sizes = [f"data.eval.{key}={value}" for key, value in CROP.items()]

    def make(*more: str) -> list[str]:
        base = [
            "task=multilabel", "data=csv_multilabel", f"data.root={tmp_path / 'data'}", f"backbone={SHALLOW}",
            "data.batch_size=8", "data.workers=0", "data.augment.size=32", *sizes, "trainer.max_epochs=1",
            "trainer.precision=32-true", "schedule.warmup_steps=0", "profile.runs=1", "logger=csv",
            f"runs_dir={tmp_path / 'runs'}",
        ]  # fmt: skip
        keys = {word.partition("=")[0] for word in more}
        return [word for word in base if word.partition("=")[0] not in keys] + list(more)

    return make


def test_a_run_and_its_checkpoint(words, tmp_path):
    chosen = ["loss.name=asymmetric", "mix.mixup=0.2", "mix.cutmix=1.0", "evaluation.predictions=true"]
    record = run(words(*chosen))
    folder = only_run(tmp_path / "runs")
    metrics, best = record["metrics"], folder / "checkpoints" / "best.ckpt"
    assert list(metrics) == ["val/mAP", "val/F1", "val/micro_F1", *(f"val/class_AP/{name}" for name in NAMES)]
    assert record["input"]["class_names"] == NAMES and (folder / "images" / "val.png").is_file()

    model = load_model(best)
    options = plain(compose(words()))["data"]
    data = from_options(options, "val", eval_transform(**CROP))
    with torch.no_grad():
        probabilities = torch.cat(
            [model(sample["image"][None]).sigmoid() for sample in map(data.__getitem__, range(16))]
        )
    assert metrics["val/mAP"] == pytest.approx(mean_precision(probabilities, data.labels), abs=1e-6)
    written = json.loads((folder / "predictions" / f"{data.names[3]}.json").read_text())
    assert list(written["probabilities"].values()) == pytest.approx(probabilities[3].tolist(), abs=1e-4)

    score = float(probabilities.median())
    some = [tmp_path / "data" / "val" / f"{number}.png" for number in (3, 4, 5)]
    predict(best, some, output=tmp_path / "out", score=score, explain="red", overlays=False)
    listed = json.loads((tmp_path / "out" / "results.json").read_text())
    for entry in listed:
        values = probabilities[int(Path(entry["file_name"]).stem)].tolist()
        expected = sorted(((p, name) for p, name in zip(values, NAMES, strict=True) if p >= score + 1e-4), reverse=True)
        assert [c["class"] for c in entry["classes"] if c["probability"] >= score + 1e-4] == [n for _, n in expected]
    assert (tmp_path / "out" / "explained" / "3.png").is_file()
    with torch.no_grad():
        logits = torch.cat([model(sample["image"][None]) for sample in map(data.__getitem__, range(16))])
    decoded = task_spec("multilabel").decode({"logits": logits.numpy()}, {}, (32, 32))  # as of an exported file
    assert decoded == pytest.approx(probabilities.numpy(), abs=1e-6)
    typed = lightseg.load(best)(some[0], score=score)
    assert typed.probabilities == pytest.approx(probabilities[3].numpy(), abs=1e-4)
    listed = [{"class": name, "probability": value} for name, value in typed.present()]
    assert typed.to_dict()["classes"] == listed and all(entry["probability"] >= score for entry in listed)

    (group,) = group_runs(read_records([tmp_path / "runs"]).records)
    assert (group.task, group.metric) == ("multilabel", "val/mAP") and group.metrics[1:3] == ("val/F1", "val/micro_F1")


@pytest.mark.slow
def test_an_exported_file_has_the_probabilities_of_the_checkpoint(words, tmp_path):
    run(words())
    best = only_run(tmp_path / "runs") / "checkpoints" / "best.ckpt"
    export(best, tmp_path / "model.onnx")
    for file, name in ((best, "out"), (tmp_path / "model.onnx", "again")):
        predict(file, tmp_path / "data" / "val", output=tmp_path / name, overlays=False)
    tables = [table_of(tmp_path / name / "results.csv") for name in ("out", "again")]
    assert list(tables[0][0])[2:] == NAMES and len(tables[0]) == 16
    for a, b in zip(*tables, strict=True):
        assert [float(a[name]) for name in NAMES] == pytest.approx([float(b[name]) for name in NAMES], abs=1e-4)


def table_of(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def mean_precision(probabilities: torch.Tensor, labels: np.ndarray) -> float:
    """Without ties: the mean over the images of a class of the precision down to that image."""
    values = []
    for scores, truths in zip(probabilities.T.numpy(), labels.T, strict=True):
        truths = truths[np.argsort(-scores, kind="stable")]
        precisions = np.cumsum(truths) / np.arange(1, len(truths) + 1)
        values.append(precisions[truths].mean())
    return float(np.mean(values))


def test_an_evaluation_of_a_checkpoint_has_the_figures_of_its_run(words, tmp_path):
    first = run(words("loss.gamma_negative=2", "head.name=linear"))
    best = only_run(tmp_path / "runs") / "checkpoints" / "best.ckpt"
    again = run(words("mode=test", f"ckpt={best}", f"runs_dir={tmp_path / 'tests'}"))
    assert again["metrics"] == pytest.approx(first["metrics"], abs=1e-6)
    assert again["input"]["class_names"] == NAMES


@pytest.mark.parametrize("mix", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_labels_are_mixed_in_the_shares_of_the_images(mix):
    """Images of a single value: the mean of a mixed image says the shares."""
    task = object.__new__(MultiLabelTask)
    torch.nn.Module.__init__(task)
    task.mix = {"mixup": 0.0, "cutmix": 0.0, "prob": 1.0, "switch_prob": 0.5, **mix}
    task.scheduled, task.metric = {}, MultiLabelMetric(3)
    values = torch.tensor([0, 240, 80, 160], dtype=torch.uint8)
    images = values[:, None, None, None].expand(4, 3, 32, 32).contiguous()
    labels = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]], dtype=torch.float32)
    torch.manual_seed(3)
    mixed = task.prepare_batch({"images": images, "labels": labels, "names": list("abcd")})
    partner = values.flip(0).float()
    share = (mixed["images"].float().mean((1, 2, 3)) - partner) / (values.float() - partner)
    assert 0.05 < share[0] < 0.95
    expected = share[:, None] * labels + (1 - share[:, None]) * labels.flip(0)
    torch.testing.assert_close(mixed["labels"], expected, atol=0.01, rtol=0)
    task.mix = {**task.mix, "mixup": 0.0, "cutmix": 0.0}
    assert task.prepare_batch({"images": images, "labels": labels, "names": list("abcd")})["labels"] is labels
