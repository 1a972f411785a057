"""Whole pose runs through the real train.py."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightseg.checkpoint import load_model
from lightseg.data.datasets.coco_keypoints import CocoKeypoints
from lightseg.data.transforms.pose import eval_transform
from lightseg.draw_pose import SIDES
from tests.conftest import only_run
from tests.nets import SHALLOW
from tests.tasks.persons import FIGURES, POINTS, SIGMAS, figures, judged, own_words, write_detections, write_figures
from tests.tasks.runs import assert_exported_scores_alike, run

MEAN_POSE = ("val/AP_mean_pose", "val/PCK_mean_pose")
LENIENT = [0.4] * 17  # sigmas with which a net that learnt nothing has an AP above 0


def mean_pose_again(mini_pose: Path, folder: Path) -> tuple[object, float]:
    """AP, PCK of the mean pose of the training persons: counted in plain loops from the annotation files, and judged by
    pycocotools. The images are 256x128."""
    files = {split: mini_pose / "annotations" / f"person_keypoints_{split}.json" for split in ("train", "val")}
    people = {
        split: [one for one in json.loads(file.read_text())["annotations"] if one["num_keypoints"]]
        for split, file in files.items()
    }
    shares: list[list[tuple[float, float]]] = [[] for _ in range(17)]
    for one in people["train"]:
        x, y, w, h = one["bbox"]
        for point, (a, b, visible) in enumerate(np.reshape(one["keypoints"], (17, 3)).tolist()):
            if visible and 0 <= a <= 255 and 0 <= b <= 127:
                shares[point].append(((a - x) / w, (b - y) / h))
    mean = np.array([np.mean(point, 0) for point in shares])
    results, near = [], np.zeros((17, 2))
    for one in people["val"]:
        x, y, w, h = one["bbox"]
        placed, true = mean * [w, h] + [x, y], np.reshape(one["keypoints"], (17, 3))
        keypoints = np.hstack([placed, np.ones((17, 1))]).ravel().tolist()
        results.append({"image_id": one["image_id"], "category_id": 1, "keypoints": keypoints, "score": 1.0})
        left_shoulder, right_hip = true[5], true[12]
        if left_shoulder[2] and right_hip[2]:
            torso = np.hypot(*(left_shoulder - right_hip)[:2])
            right = np.hypot(*(placed - true[:, :2]).T) < 0.2 * torso
            near += np.stack([right & (true[:, 2] > 0), true[:, 2] > 0], 1)
    (folder / "mean.json").write_text(json.dumps(results))
    return judged(files["val"], folder / "mean.json", LENIENT)["val/AP"], (near[:, 0] / near[:, 1]).mean()


def test_a_run_leaves_figures_poses_and_predictions(pose_words, mini_pose, tmp_path, capsys):
    sigmas = f"data.skeleton.sigmas={LENIENT}".replace(" ", "")
    record = run(pose_words("evaluation.predictions=true", sigmas))
    folder, printed = only_run(tmp_path / "runs"), capsys.readouterr().out
    assert (record["task"], record["data"], record["head"]) == ("pose", "mini_pose", "heatmap")
    assert re.search(r"data=mini_pose: \d+ train, 5 val persons", printed)
    assert "mini_pose (5 persons): val/AP 0." in printed
    metrics, protocol = record["metrics"], record["protocol"]
    annotations = mini_pose / "annotations" / "person_keypoints_val.json"
    data = CocoKeypoints(
        mini_pose, images="images/val", annotations="annotations/person_keypoints_val.json",
        transform=eval_transform((64, 48)), skeleton={"sigmas": LENIENT},
    )  # fmt: skip
    assert metrics.keys() == {
        *(f"val/{key}" for key in (*FIGURES, "PCK")), *(f"val/PCK/{name}" for name in data.class_names), *MEAN_POSE
    }  # fmt: skip
    per_point = [metrics[f"val/PCK/{name}"] for name in data.class_names]
    assert metrics["val/PCK"] == pytest.approx(np.mean(per_point), abs=1e-6)
    assert metrics["val/AP_large"] is None and metrics["val/AP"] > 0
    assert (protocol["split"], protocol["images"], protocol["flip"]) == ("val", 5, False)
    assert protocol["resolution"] == "keypoints in pixels of the pictures on disk"
    assert protocol["crop"] == {"size": [64, 48]} and protocol["sigmas"] == LENIENT
    assert (protocol["person_boxes"], protocol["oks_nms"]) == ("ground truth", None)
    assert protocol["pck"] == {"unit": "torso", "threshold": 0.2}
    assert protocol["left_out"] == data.report and "have no keypoints" in data.report[0]
    sheet = np.asarray(Image.open(folder / "images" / "val.png"))
    assert sheet.shape[1] > 900 and sheet.std() > 10
    # pycocotools, from the files alone
    results = folder / "predictions" / "results.json"
    assert judged(annotations, results, LENIENT) == figures(record)
    ap, pck = mean_pose_again(mini_pose, tmp_path)
    assert metrics["val/AP_mean_pose"] == ap and metrics["val/AP_mean_pose"] > 0
    assert metrics["val/PCK_mean_pose"] == pytest.approx(pck, abs=1e-6)
    # what was written is what the checkpoint answers
    model, sample = load_model(folder / "checkpoints" / "best.ckpt"), data[0]
    assert model.spec["head"]["sigma"] == 1.0  # of such small crops
    assert model.contract.skeleton == data.skeleton.plain() and list(model.contract.class_names) == data.class_names
    with torch.no_grad():
        found = model.head.decode(model(sample["image"][None].contiguous()), (64, 48))
    points = found["keypoints"][0] @ sample["matrix"][:, :2].T + sample["matrix"][:, 2]
    written = [np.reshape(one["keypoints"], (17, 3)) for one in json.loads(results.read_text())]
    assert len(written) == len(data) == 5
    assert min(np.abs(one[:, :2] - points.numpy()).max() for one in written) < 1e-2


@pytest.mark.parametrize(
    "options",
    [
        ["head.name=simcc", "head.sigma=3", "evaluation.flip=true", "loss.oks=true", "data.pck.threshold=0.5",
         "data.pck.unit=[nose,left_hip]"],
        ["head.variant=simple", "head.codec=msra", "head.rounded=true", "evaluation.flip=true", "data.cache=true",
         "head.last_channels=64", "head.dark=true"],
        pytest.param(
            ["backbone=shufflenetv2_x0_5", "trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1.0",
             "logger=tensorboard", "optimizer.backbone_lr_mult=0.1", "data.augment.half_body=1.0", "data.pck.unit=box",
             "freeze_bn=true", "output_stride=16", "channels_last=false", "data.workers=1"],
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_every_knob_runs(pose_words, options):
    record = run(pose_words("trainer.max_epochs=1", *options))
    assert 0 <= record["metrics"]["val/AP"] <= 1 and 0 <= record["metrics"]["val/PCK"] <= 1
    given = dict(option.split("=", 1) for option in options)
    unit = given.get("data.pck.unit", "torso")
    assert record["protocol"]["pck"]["unit"] == (["nose", "left_hip"] if unit.startswith("[") else unit)


@pytest.mark.slow
def test_the_training_size_grows_over_the_run(pose_words, sizes):
    options = ["data.batch_size=7", "data.augment.size=[96,64]", "data.eval.size=[96,64]"]
    record = run(pose_words("schedule.stages=2", "schedule.image_size=[32,64]", "trainer.max_epochs=2", *options))
    assert sizes == [[size] * 2 for size in ((48, 32), (96, 64))]
    assert record["protocol"]["crop"]["size"] == [96, 64]


@pytest.mark.slow
def test_wandb_offline_gets_the_skeletons(pose_words, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    run(pose_words("logger=wandb", "logger.mode=offline", "logger.images=5", "trainer.max_epochs=1"))
    files = list(only_run(tmp_path / "runs").glob("wandb/offline-run-*/files/media/images/val/*.png"))
    images = [np.asarray(Image.open(file)).astype(int) for file in files]
    assert len(images) == 5
    for image in images:  # truth, prediction and heatmaps of one crop: of the truth, both sides in their colours
        truth = np.split(image, 3, axis=1)[0]
        for side, colour in SIDES[:2]:
            assert (np.abs(truth - colour).max(2) < 30).sum() > 50, side


# -- evaluated again ---------------------------------------------------------------------------------------------------


LEARNT = pytest.mark.xdist_group("learnt")  # one process trains it


@pytest.fixture(scope="module")
def learnt(tmp_path_factory) -> tuple[Path, Path, dict]:
    """A run that learnt 7 persons of a skeleton of their own by heart: their folder, the run's, and its record."""
    root = write_figures(tmp_path_factory.mktemp("learnt") / "own")
    runs = root.parent / "runs"
    split = "{images: train, annotations: train.json}"
    record = run(
        ["task=pose", *own_words(root), f"data.split.train={split}", f"data.split.val={split}", "data.batch_size=7",
         "data.eval_batch_size=3", "data.workers=0", "data.augment.size=[64,48]", "data.eval.size=[64,48]",
         "data.augment.scale=[0.9,1.1]", "data.augment.rotation=0", "data.augment.half_body=0", "data.augment.hflip=0",
         f"backbone={SHALLOW}", "trainer.max_epochs=40", "trainer.check_val_every_n_epoch=40",
         "trainer.precision=32-true", "schedule.warmup_steps=0", "optimizer.lr=5e-3", "ema.decay=0", "profile.runs=1",
         "evaluation.flip=false", "logger=csv", "logger.images=1", f"runs_dir={runs}"]
    )  # fmt: skip
    return root, only_run(runs), record


@pytest.fixture
def again(learnt, tmp_path) -> Callable[..., tuple[dict, Path]]:
    """Evaluates that run's checkpoint; gives the record and the poses it wrote."""

    def evaluate(*options: str) -> tuple[dict, Path]:
        runs = tmp_path / f"again{len(list(tmp_path.iterdir()))}"
        checkpoint = learnt[1] / "checkpoints" / "best.ckpt"
        record = run(["mode=test", f"ckpt={checkpoint}", f"runs_dir={runs}", "evaluation.predictions=true", *options])
        return record, only_run(runs) / "predictions" / "results.json"

    return evaluate


@pytest.mark.slow
@LEARNT
def test_it_learns_somebodys_own_skeleton(learnt, again, tmp_path):
    root, folder, record = learnt
    metrics = record["metrics"]
    assert metrics["val/AP"] > 0.5 > metrics["val/AP_mean_pose"] + 0.2
    assert metrics["val/PCK"] > 0.9 and {f"val/PCK/{name}" for name in POINTS} <= metrics.keys()
    assert record["protocol"]["pck"]["unit"] == "box" and record["protocol"]["sigmas"] == SIGMAS
    same, results = again()
    assert same["metrics"] == pytest.approx(metrics, abs=1e-6)
    assert judged(root / "train.json", results, SIGMAS) == figures(record)
    assert {one["category_id"] for one in json.loads(results.read_text())} == {5}
    assert_exported_scores_alike(folder / "checkpoints" / "best.ckpt", record, tmp_path / "onnx")


@pytest.mark.slow
@LEARNT
def test_evaluation_with_the_mirrored_image(learnt, again):
    root, _, record = learnt
    flipped, results = again("evaluation.flip=true")
    assert flipped["protocol"]["flip"] is True and judged(root / "train.json", results, SIGMAS) == figures(flipped)
    assert flipped["metrics"]["val/AP"] != record["metrics"]["val/AP"]
    assert all(flipped["metrics"][key] == record["metrics"][key] for key in MEAN_POSE)
    # what it has seen of mirrored images is nothing, but the two answers are joined where they belong
    assert flipped["metrics"]["val/PCK"] > 0.5


@pytest.mark.slow
@LEARNT
def test_evaluation_in_a_detectors_boxes(learnt, again, tmp_path):
    root, _, record = learnt
    nothing = {"image_id": 1000, "category_id": 9, "bbox": [5, 5, 40, 40], "score": 0.9}
    boxes = write_detections(tmp_path / "boxes.json", root / "train.json", shift=0.02, more=[nothing])
    found, results = again(f"data.person_boxes={boxes}")
    protocol, metrics = found["protocol"], found["metrics"]
    assert (protocol["person_boxes"], protocol["oks_nms"]) == ("boxes.json", 0.9)
    detections = json.loads(boxes.read_text())
    assert protocol["images"] == len(detections) - 1
    assert any("1 of 13 detections are of other categories" in line for line in protocol["left_out"])
    assert judged(root / "train.json", results, SIGMAS) == figures(found)
    assert 0.2 < metrics["val/AP"] <= record["metrics"]["val/AP"]
    assert metrics["val/PCK"] is None and metrics["val/PCK_mean_pose"] is None
    assert 0 < metrics["val/AP_mean_pose"] < metrics["val/AP"]
    assert len(json.loads(results.read_text())) < len(detections) - 1  # of those that are there twice, one is left
    sure, written = again(f"data.person_boxes={boxes}", "data.oks_nms=null", "data.least_box_score=0.8")
    assert sure["protocol"]["images"] == sum(one["score"] >= 0.8 for one in detections) - 1
    assert len(json.loads(written.read_text())) == sure["protocol"]["images"] and sure["protocol"]["oks_nms"] is None
    assert judged(root / "train.json", written, SIGMAS) == figures(sure)


@pytest.mark.slow
@LEARNT
def test_evaluation_needs_no_training_images(learnt, again, capsys):
    record, _ = again("data.split.train={images: train, annotations: gone.json}")
    assert "no figures of the mean pose" in capsys.readouterr().out
    expected = {key: value for key, value in learnt[2]["metrics"].items() if key not in MEAN_POSE}
    assert record["metrics"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_the_boxes_of_our_own_detection(det_words, pose_words, mini_pose, tmp_path):
    where = "{{images: images/{0}, annotations: annotations/instances_{0}.json}}"
    run(det_words("data=coco", f"data.root={mini_pose}", f"data.split.train={where.format('train')}",
                  f"data.split.val={where.format('val')}", "trainer.max_epochs=1", "evaluation.predictions=true",
                  f"runs_dir={tmp_path / 'det'}"))  # fmt: skip
    boxes = only_run(tmp_path / "det") / "predictions" / "results.json"
    people = [one for one in json.loads(boxes.read_text()) if one["category_id"] == 1]
    record = run(pose_words("trainer.max_epochs=1", f"data.person_boxes={boxes}", "evaluation.predictions=true"))
    assert record["protocol"]["person_boxes"] == "results.json" and 0 < record["protocol"]["images"] <= len(people)
    annotations = mini_pose / "annotations" / "person_keypoints_val.json"
    assert judged(annotations, only_run(tmp_path / "runs") / "predictions" / "results.json") == figures(record)
