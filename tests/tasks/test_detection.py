"""Whole detection runs through the real train.py, and what is done to batches and their boxes."""

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

import train
from lightseg.data.box_transforms import to_original
from lightseg.data.coco import CocoDetection
from lightseg.model import Model, load_model
from tasks.base import Task
from tasks.detection import DetectionTask
from tests.conftest import only_run

ROOT = Path(__file__).parents[2]
FIGURES = ("mAP", "mAP50", "mAP75", "mAP_small", "mAP_medium", "mAP_large", "AR1", "AR10", "AR100")
DECODING = ("score_threshold", "topk_candidates", "nms_threshold", "detections_per_image")


def run(words: list[str]) -> dict:
    assert train.main(words) == 0
    (runs_dir,) = (w.split("=", 1)[1] for w in words if w.startswith("runs_dir="))
    return json.loads((only_run(Path(runs_dir)) / "record.json").read_text())


def judged(annotations: Path, results: Path) -> dict[str, float | None]:
    """pycocotools' own figures of a results file; None where there is no object."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = dict(zip(FIGURES, evaluation.stats.tolist(), strict=False))
    return {f"val/{key}": None if value == -1 else pytest.approx(value, abs=1e-6) for key, value in stats.items()}


def figures(record: dict) -> dict[str, float | None]:
    return {f"val/{key}": record["metrics"][f"val/{key}"] for key in FIGURES}


@pytest.fixture
def sizes(monkeypatch) -> list[list[tuple[int, ...]]]:
    """One list an epoch of training: (height, width) of the batches that the model took."""
    epochs: list[list[tuple[int, ...]]] = []
    start, forward = Task.on_train_epoch_start, Model.forward

    def on_train_epoch_start(task):
        start(task)
        epochs.append([])

    def model_forward(model, images):
        if model.training:
            epochs[-1].append(tuple(images.shape[-2:]))
        return forward(model, images)

    monkeypatch.setattr(Task, "on_train_epoch_start", on_train_epoch_start)
    monkeypatch.setattr(Model, "forward", model_forward)
    return epochs


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
    """Gaps in the ids, pictures of several sizes, some without boxes, fitted in: scored in pixels of the files."""
    words = det_words("data=coco", f"data.root={own_boxes}", "evaluation.predictions=true",
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
    assert load_model(folder / "checkpoints" / "best.ckpt").spec["class_names"] == ["red hat", "unicorn", "kite"]


def test_it_learns_and_evaluation_only_gives_the_same_figures(det_words, own_boxes, tmp_path):
    record = run(
        det_words("data=coco", f"data.root={own_boxes}", "data.split.val={images: train, annotations: train.json}",
                  "backbone=mobilenetv3_small_100", "data.batch_size=3", "data.augment.iou_crop=false",
                  "data.augment.hflip=0", "trainer.max_epochs=50", "trainer.check_val_every_n_epoch=50",
                  "optimizer.lr=3e-3", "ema.decay=0")
    )  # fmt: skip
    assert record["metrics"]["val/mAP50"] > 0.7 and record["metrics"]["val/mAP"] > 0.1
    checkpoint = only_run(tmp_path / "runs") / "checkpoints" / "best.ckpt"
    again = run(["mode=test", f"ckpt={checkpoint}", f"runs_dir={tmp_path / 'again'}", "evaluation.predictions=true"])
    assert again["metrics"] == pytest.approx(record["metrics"], abs=1e-6)
    assert again["config"]["head"] == record["config"]["head"]
    results = only_run(tmp_path / "again") / "predictions" / "results.json"
    assert judged(own_boxes / "train.json", results) == figures(record)
    # other decoding: what the record says is what was done
    few = run(["mode=test", f"ckpt={checkpoint}", f"runs_dir={tmp_path / 'few'}", "evaluation.predictions=true",
               "head.detections_per_image=1"])  # fmt: skip
    assert few["config"]["head"]["detections_per_image"] == 1
    results = json.loads((only_run(tmp_path / "few") / "predictions" / "results.json").read_text())
    assert len(results) == len({one["image_id"] for one in results}) == 6
    assert few["metrics"]["val/AR100"] == few["metrics"]["val/AR1"] < record["metrics"]["val/AR100"]


def test_killed_and_resumed_ends_like_the_uninterrupted_run(det_words, tmp_path):
    options = ["trainer.max_epochs=4", "trainer.log_every_n_steps=1", "ema.decay=0.9",
               "data.augment.multi_scale=[0.6,1.4]", "data.augment.mosaic=0.5"]  # fmt: skip
    whole = run(det_words(*options, f"runs_dir={tmp_path / 'whole'}"))
    command = [sys.executable, "train.py", *det_words(*options, f"runs_dir={tmp_path / 'cut'}")]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums of another order are other numbers
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | threads, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            checkpoints = list((tmp_path / "cut").glob("*/*/*/*/checkpoints/last.ckpt"))
            if checkpoints and torch.load(checkpoints[0], weights_only=True)["epoch"] >= 0:
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.02)
    folder = only_run(tmp_path / "cut")
    assert not (folder / "record.json").exists()  # killed before its end, or this test would show nothing
    assert train.main([f"resume={folder}"]) == 0
    resumed = json.loads((folder / "record.json").read_text())
    assert resumed["metrics"] == pytest.approx(whole["metrics"], abs=1e-6)
    logged = [(only_run(tmp_path / name) / "metrics.csv").read_text().splitlines() for name in ("whole", "cut")]
    assert logged[0] == logged[1]


@pytest.mark.slow
def test_two_processes_leave_one_record_of_every_picture_once(det_words, mini_det, tmp_path):
    words = det_words("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu", "data.batch_size=3",
                      "data.eval_batch_size=1", "evaluation.predictions=true", "trainer.max_epochs=4")  # fmt: skip
    command = [sys.executable, "train.py", *words]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300, stdout=subprocess.DEVNULL)
    folder = only_run(tmp_path / "runs")
    record = json.loads((folder / "record.json").read_text())
    assert record["metrics"]["val/AR100"] > 0
    results = folder / "predictions" / "results.json"
    assert judged(mini_det / "annotations" / "instances_val.json", results) == figures(record)
    one = run(["mode=test", f"ckpt={folder / 'checkpoints' / 'best.ckpt'}", f"runs_dir={tmp_path / 'one'}",
               "trainer.devices=1", "trainer.strategy=auto"])  # fmt: skip
    assert one["metrics"] == pytest.approx(record["metrics"], abs=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        ["data.augment.mosaic=1.0", "data.augment.photometric=0.5", "data.augment.expand=[1,4]", "data.workers=1"],
        ["loss.focal=true", "optimizer.name=momentum", "optimizer.lr=0.01", "schedule.name=cosine", "data.cache=true"],
        ["backbone=mobilenetv3_large_reduced", "head.variant=torchvision", "optimizer.backbone_lr_mult=0.1"],
        ["backbone=shufflenetv2_x0_5", "trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1.0",
         "logger=tensorboard"],
        ["freeze_bn=true", "output_stride=16", "channels_last=false"],
    ],
)  # fmt: skip
def test_every_knob_runs(det_words, options):
    record = run(det_words("trainer.max_epochs=1", *options))
    assert 0 <= record["metrics"]["val/mAP"] <= 1


def test_the_training_size_grows_over_the_run(det_words, sizes):
    options = ["schedule.stages=3", "schedule.image_size=[32,64]", "trainer.max_epochs=3"]
    record = run(det_words(*options, "data.augment.mosaic=0.5"))
    assert sizes == [[size] * 3 for size in ((32, 48), (48, 72), (64, 96))]
    assert record["protocol"]["crop"]["size"] == [64, 96]


def test_multi_scale_changes_what_the_model_sees(det_words, sizes):
    run(det_words("data.augment.multi_scale=[0.5,2.0]", "trainer.max_epochs=4"))
    seen = {size for epoch in sizes for size in epoch}
    assert len(seen) > 2 and all(side % 32 == 0 for size in seen for side in size)
    assert all(32 <= height <= 128 and 32 <= width <= 192 for height, width in seen)


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


# -- batches -----------------------------------------------------------------------------------------------------------


def task_of(multi_scale: list[float] | None = None, keep_aspect: bool = False) -> DetectionTask:
    """As much of a task as batches and pictures need: 3 classes, no model."""
    task = object.__new__(DetectionTask)
    torch.nn.Module.__init__(task)
    task.multi_scale, task.keep_aspect = multi_scale, keep_aspect
    task.class_names, task.palette = ["red hat", "unicorn", "kite"], [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    return task


def squares(height: int = 96, width: int = 160, batch: int = 3) -> dict:
    """White boxes on black, and one picture without."""
    draw = random.Random(0)
    images = torch.zeros(batch, 3, height, width, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    boxes = [torch.zeros(0, 4)]
    for index in range(1, batch):
        x, y = draw.randrange(width - 40), draw.randrange(height - 40)
        images[index, :, y : y + 32, x : x + 24] = 255
        boxes.append(torch.tensor([[x, y, x + 24.0, y + 32.0]]))
    labels = [torch.zeros(len(one), dtype=torch.int64) for one in boxes]
    return {"images": images, "boxes": boxes, "labels": labels, "names": [str(i) for i in range(batch)]}


def test_boxes_stay_on_their_objects_at_every_size():
    task, batch = task_of([0.5, 1.6]), squares()
    original = [box.clone() for box in batch["boxes"]]
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        scaled = task.prepare_batch(batch)
        images = scaled["images"]
        height, width = images.shape[-2:]
        seen.add((height, width))
        assert images.dtype == torch.uint8 and images.is_contiguous(memory_format=torch.channels_last)
        assert scaled["boxes"][0].shape == (0, 4) and scaled["labels"] is batch["labels"]
        for image, (box,) in zip(images[1:], scaled["boxes"][1:], strict=True):
            rows, columns = (image[0] > 127).nonzero(as_tuple=True)
            white = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert (box - torch.stack(white).float()).abs().max() <= 1.0, (height, width)
    assert len(seen) > 4
    assert all(torch.equal(now, before) for now, before in zip(batch["boxes"], original, strict=True))


def test_a_steps_size_depends_on_its_seed_alone():
    task, batch = task_of([0.5, 1.6]), squares()
    shapes = []
    for seed in (3, 3):
        torch.manual_seed(seed)
        torch.rand(seed)  # whatever else drew from the generator
        random.seed(len(shapes))
        state = random.getstate()
        shapes.append(task.prepare_batch(batch)["images"].shape)
        assert random.getstate() == state
    assert shapes[0] == shapes[1] != batch["images"].shape
    assert task_of(None).prepare_batch(batch) is batch


# -- what loggers show -------------------------------------------------------------------------------------------------


def sample_and_prediction() -> tuple[dict, dict]:
    """A picture of 200x100 pixels in an input of 64x96, fitted in: one object, found surely, unsurely and hardly."""
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    sample = {"images": image, "boxes": torch.tensor([[40.0, 8, 56, 40]]), "labels": torch.tensor([2]),
              "sizes": (200, 100), "name": "somebody"}  # fmt: skip
    in_input = torch.tensor([[41.0, 9, 55, 41], [36.0, 6, 50, 30], [34.0, 2, 60, 60]])
    boxes = to_original(in_input, (200, 100), (64, 96), True)
    return sample, {"boxes": boxes, "labels": torch.tensor([2, 0, 1]), "scores": torch.tensor([0.9, 0.2, 0.01])}


def test_what_wandb_lays_over_a_picture():
    sample, prediction = sample_and_prediction()
    shown = task_of(keep_aspect=True).annotations(sample, prediction)
    image = sample["images"].permute(1, 2, 0).numpy()
    assert set(wandb.Image(image, **shown)._boxes) == {"truth", "prediction"}  # which checks every box
    truth, found = shown["boxes"]["truth"]["box_data"], shown["boxes"]["prediction"]["box_data"]
    assert truth == [{"position": {"minX": 40.0, "minY": 8.0, "maxX": 56.0, "maxY": 40.0}, "domain": "pixel",
                      "class_id": 2}]  # fmt: skip
    assert [(box["class_id"], box["scores"]["score"]) for box in found] == [
        (2, pytest.approx(0.9)),
        (0, pytest.approx(0.2)),
    ]
    place = found[0]["position"]
    assert [place[key] for key in ("minX", "minY", "maxX", "maxY")] == pytest.approx([41, 9, 55, 41], abs=0.01)


def test_pictures_show_truth_beside_prediction():
    sample, prediction = sample_and_prediction()
    sample["images"] = torch.zeros(3, 64, 96, dtype=torch.uint8)
    truth, found = task_of(keep_aspect=True).draw(sample, prediction)
    assert truth.shape == found.shape == (320, 480, 3)
    for picture, box in ((truth, (40, 8, 56, 40)), (found, (41, 9, 55, 41))):
        rows, columns = (picture == (0, 0, 255)).all(2).nonzero()
        assert (columns.min(), columns.max() + 1) == pytest.approx((box[0] * 5, box[2] * 5), abs=60)  # and its tag
        assert rows.max() + 1 == pytest.approx(box[3] * 5, abs=2)
    assert not (found == (255, 0, 0)).all(2).any()  # not sure enough to be drawn


def test_wandb_offline_gets_the_boxes(det_words, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    run(det_words("logger=wandb", "logger.mode=offline", "trainer.max_epochs=1"))
    files = list(only_run(tmp_path / "runs").glob("wandb/offline-run-*/files/media/metadata/boxes2D/*/*.json"))
    assert len(files) == 2 * 3  # truth and prediction of each picture
    boxes = [box for file in files for box in json.loads(file.read_text())["box_data"]]
    assert boxes and all(box["domain"] == "pixel" and "minX" in box["position"] for box in boxes)
