"""Whole detection runs through the real train.py."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

from lightseg.checkpoint import load_model
from lightseg.data.datasets.coco import CocoDetection
from tests.conftest import only_run
from tests.tasks.conftest import FIGURES, figures, judged
from tests.tasks.runs import run

DECODING = ("score_threshold", "topk_candidates", "nms_threshold", "detections_per_image")


def test_a_run_leaves_figures_boxes_and_predictions(det_words, mini_det, tmp_path):
    record = run(det_words("evaluation.predictions=true", "head.nms_threshold=0.5"))
    folder = only_run(tmp_path / "runs")
    assert (record["task"], record["data"], record["head"]) == ("det", "mini_det", "ssdlite")
    metrics, protocol = record["metrics"], record["protocol"]
    data = CocoDetection(mini_det, images="images/val", annotations="annotations/instances_val.json")
    truth = data.ground_truth()["annotations"]
    present = {one["category_id"] for one in truth}
    names = {name for i, name in zip(data.category_ids, data.class_names, strict=True) if i in present}
    assert 0 < len(names) < data.num_classes  # or the next line would show nothing
    assert metrics.keys() == {f"val/{key}" for key in FIGURES} | {f"val/AP/{name}" for name in names}
    assert all(one["area"] < 32**2 for one in truth)
    assert metrics["val/mAP_medium"] is None and metrics["val/mAP_large"] is None
    assert metrics["val/mAP_small"] is not None
    per_class = [metrics[f"val/AP/{name}"] for name in names]
    assert metrics["val/mAP"] == pytest.approx(np.mean(per_class), abs=1e-6)
    assert {key: record["config"]["head"][key] for key in DECODING} == {
        "score_threshold": 0.001, "topk_candidates": 300, "nms_threshold": 0.5, "detections_per_image": 300,
    }  # fmt: skip
    assert (protocol["split"], protocol["images"], protocol["flip"]) == ("val", 3, False)
    assert protocol["resolution"] == "boxes in pixels of the pictures on disk"
    assert protocol["crop"] == {"size": [64, 96], "keep_aspect": False}
    assert protocol["left_out"] == data.report and "no box" in data.report[0]
    sheet = np.asarray(Image.open(folder / "images" / "val.png"))
    assert sheet.shape[1] > 900 and sheet.std() > 10
    # pycocotools, from the files alone
    results = folder / "predictions" / "results.json"
    assert judged(mini_det / "annotations" / "instances_val.json", results) == figures(record)
    # what was written is what the checkpoint answers
    model = load_model(folder / "checkpoints" / "best.ckpt")
    (found,) = model.head.decode(model(data[0]["image"][None].contiguous()), (64, 96))
    written = [one for one in json.loads(results.read_text()) if one["image_id"] == data.image_ids[0]]
    assert len(written) == len(found["scores"]) > 0
    assert sorted(one["score"] for one in written) == pytest.approx(sorted(found["scores"].tolist()), abs=1e-5)


def test_somebodys_own_annotations(det_words, own_boxes, tmp_path):
    """Gaps in the ids, images of several sizes, some without boxes, fitted in: scored in pixels of the files."""
    words = det_words("data=coco", f"data.root={own_boxes}", "evaluation.predictions=true", "trainer.max_epochs=1",
                      "data.augment.keep_aspect=true", "data.eval.keep_aspect=true")  # fmt: skip
    record = run(words)
    folder = only_run(tmp_path / "runs")
    assert record["data"] == "coco" and record["protocol"]["left_out"] == ["1 of 3 classes have no box: unicorn"]
    assert {"val/AP/red hat", "val/AP/kite"} <= record["metrics"].keys()
    assert "val/AP/unicorn" not in record["metrics"]
    results = json.loads((folder / "predictions" / "results.json").read_text())
    assert {one["category_id"] for one in results} <= {3, 44, 90}
    assert {one["image_id"] for one in results} <= {1000, 993, 986}
    assert judged(own_boxes / "val.json", folder / "predictions" / "results.json") == figures(record)
    for one in results:
        x, y, width, height = one["bbox"]
        limits = (96, 64) if one["image_id"] == 993 else (60, 90)
        assert x >= 0 and y >= 0 and x + width <= limits[0] + 1e-3 and y + height <= limits[1] + 1e-3
    assert load_model(folder / "checkpoints" / "best.ckpt").contract.class_names == ("red hat", "unicorn", "kite")


@pytest.mark.parametrize(
    "options",
    [
        ["data.augment.mosaic=1.0", "data.augment.photometric=0.5", "data.augment.expand=[1,4]", "data.workers=1",
         "loss.focal=true", "optimizer.name=momentum", "optimizer.lr=0.01", "schedule.name=cosine", "data.cache=true"],
        pytest.param(
            ["backbone=shufflenetv2_x0_5", "trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1.0",
             "logger=tensorboard"], marks=pytest.mark.slow,
        ),
        pytest.param(
            ["freeze_bn=true", "output_stride=16", "channels_last=false", "optimizer.backbone_lr_mult=0.1"],
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_every_knob_runs(det_words, options):
    record = run(det_words("trainer.max_epochs=1", *options))
    assert 0 <= record["metrics"]["val/mAP"] <= 1


@pytest.mark.slow
def test_the_training_size_grows_over_the_run(det_words, sizes):
    options = ["schedule.stages=3", "schedule.image_size=[32,64]", "trainer.max_epochs=3"]
    record = run(det_words(*options, "data.augment.mosaic=0.5"))
    assert sizes == [[size] * 3 for size in ((32, 48), (48, 72), (64, 96))]
    assert record["protocol"]["crop"]["size"] == [64, 96]


def test_multi_scale_changes_what_the_model_sees(det_words, sizes):
    run(det_words("data.augment.multi_scale=[0.5,2.0]", "trainer.max_epochs=3"))
    seen = {size for epoch in sizes for size in epoch}
    assert len(seen) > 2 and all(side % 32 == 0 for size in seen for side in size)
    assert all(32 <= height <= 128 and 32 <= width <= 192 for height, width in seen)


@pytest.mark.slow
def test_torchvisions_detector_is_trained_on(det_words, tmp_path):
    """Backbone and head of one file; a learning rate of next to nothing leaves them as they were loaded."""
    torch.manual_seed(0)
    theirs = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=9).state_dict()
    torch.save(theirs, tmp_path / "ssdlite.pth")
    run(det_words("backbone=mobilenetv3_large_reduced", "head.variant=torchvision", "trainer.max_epochs=1",
                  "head.extra_channels=[512,256,256,128]", f"pretrained={tmp_path / 'ssdlite.pth'}",
                  "optimizer.lr=1e-12", "optimizer.weight_decay=0"))  # fmt: skip
    ours = load_model(only_run(tmp_path / "runs") / "checkpoints" / "last.ckpt").state_dict()
    weights = [[value for key, value in state.items() if key.endswith("weight")] for state in (theirs, ours)]
    assert len(weights[0]) == len(weights[1]) > 100
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*weights, strict=True))


def test_wandb_offline_gets_the_boxes(det_words, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    run(det_words("logger=wandb", "logger.mode=offline", "trainer.max_epochs=1"))
    files = list(only_run(tmp_path / "runs").glob("wandb/offline-run-*/files/media/metadata/boxes2D/*/*.json"))
    assert len(files) == 2 * 3  # truth and prediction of each image
    boxes = [box for file in files for box in json.loads(file.read_text())["box_data"]]
    assert boxes and all(box["domain"] == "pixel" and "minX" in box["position"] for box in boxes)
