"""`lightseg score`: a run's predictions give its record again; those of another program what the judges say."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightseg.cli import main
from lightseg.data.datasets.coco import CocoDetection
from lightseg.leaderboard.records import read_records
from lightseg.leaderboard.table import group_runs
from tests.conftest import only_run
from tests.tasks.conftest import FIGURES, judged
from tests.tasks.runs import run

NOT_IN_FILES = {"pose": ("val/PCK", "_mean_pose"), "cls": ("val/ece",)}  # what COCO results or five classes cannot say


def score(words: list[str], predictions: Path, output: Path, *more: str) -> dict:
    """The record of `lightseg score` on the data of a run's words."""
    data = [word for word in words if word.startswith(("task=", "data=", "data."))]
    assert main(["score", str(predictions), *data, "--output", str(output), *more]) == 0
    return json.loads((output / "record.json").read_text())


@pytest.mark.parametrize("task", ["seg", "cls", "det", "pose"])
def test_the_predictions_of_a_run_give_its_record(request, tmp_path, task):
    words = request.getfixturevalue("words" if task == "seg" else f"{task}_words")
    words = words("evaluation.predictions=true", "trainer.max_epochs=1")
    record = run(words)
    words = words if task != "seg" else ["task=seg", *words]
    folder = only_run(tmp_path / "runs")
    foreign = score(words, folder / "predictions", tmp_path / "runs" / "x", "--name", "theirs", "--program", "mm 3.3")
    left_out = NOT_IN_FILES.get(task, ())
    kept = {key: value for key, value in record["metrics"].items() if not any(part in key for part in left_out)}
    scored = {key: value for key, value in foreign["metrics"].items() if key != "val/ece"}
    assert scored == kept and len(kept) > 3
    if task == "cls":
        assert foreign["metrics"]["val/ece"] == pytest.approx(record["metrics"]["val/ece"], abs=1e-5)
    (group,) = group_runs(read_records([tmp_path / "runs"]).records)
    rows = {row.backbone: (row.head, row.weights, row.params) for row in group.rows}
    assert rows["theirs"] == ("foreign", "foreign: mm 3.3", None) and len(rows) == 2
    assert main(["leaderboard", str(tmp_path / "runs"), "--output", str(tmp_path / "board.html")]) == 0
    assert main(["leaderboard", str(tmp_path / "runs")]) == 0


def test_boxes_of_another_program_are_judged_in_their_precision(det_words, mini_det, tmp_path):
    file = mini_det / "annotations" / "instances_val.json"
    data = CocoDetection(mini_det, images="images/val", annotations="annotations/instances_val.json")
    random, results = np.random.default_rng(0), []
    for truth in data.ground_truth()["annotations"]:
        for _ in range(3):
            box = (np.array(truth["bbox"]) + random.normal(0, 1.5, 4)).clip(0.5)
            entry = {"image_id": truth["image_id"], "category_id": truth["category_id"], "bbox": box.tolist()}
            results.append({**entry, "score": float(random.uniform())})
    (tmp_path / "fake.json").write_text(json.dumps(results))
    metrics = score(det_words(), tmp_path / "fake.json", tmp_path / "out")["metrics"]
    assert {key: metrics[key] for key in (f"val/{name}" for name in FIGURES)} == judged(file, tmp_path / "fake.json")
    assert 0.1 < metrics["val/mAP"] < 0.9


def test_masks_with_pixels_of_no_class(words, mini_seg, tmp_path):
    truth = sorted((mini_seg / "gtFine" / "val").rglob("*_labelIds.png"))
    ids = [np.asarray(Image.open(path)) for path in truth]
    for path, labels in zip(truth, ids, strict=True):
        guess = labels.copy()
        guess[:, : labels.shape[1] // 4] = 0  # unlabeled: a miss, and of no class
        name = path.name.replace("_gtFine_labelIds", "_pred_labelIds")
        (tmp_path / "theirs").mkdir(exist_ok=True)
        Image.fromarray(guess).save(tmp_path / "theirs" / name)
    metrics = score(["task=seg", *words()], tmp_path / "theirs", tmp_path / "out")["metrics"]
    road = [(labels == 7) for labels in ids]
    hit = sum(int(mask[:, mask.shape[1] // 4 :].sum()) for mask in road)
    assert metrics["val/IoU/road"] == pytest.approx(hit / sum(int(mask.sum()) for mask in road), rel=1e-6)
    assert metrics["val/mIoU"] < 1


def test_tables_of_classes(cls_words, six_classes, tmp_path):
    names = sorted(path.relative_to(six_classes / "val").as_posix() for path in (six_classes / "val").rglob("*.jpg"))
    right = {name: name.split("/")[0] for name in names}
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([["file_name", "class"], *right.items()])
    metrics = score(cls_words(), tmp_path / "a.csv", tmp_path / "a")["metrics"]
    assert metrics["val/top1"] == 1 and "val/top5" not in metrics and "val/ece" not in metrics
    with open(tmp_path / "b.csv", "w", newline="") as file:
        classes = list(dict.fromkeys(right.values()))
        rows = [[name, *(0.5 if label == right[name] else 0.1 for label in classes)] for name in names]
        csv.writer(file).writerows([["file_name", *classes], *rows])
    metrics = score(cls_words(), tmp_path / "b.csv", tmp_path / "b")["metrics"]
    assert (metrics["val/top1"], metrics["val/top5"]) == (1, 1) and metrics["val/ece"] == pytest.approx(0.5)


def test_one_line_for_what_cannot_be_scored(det_words, cls_words, own_boxes, six_classes, tmp_path, capsys):
    def refused(words: list[str], predictions: object, *more: str) -> str:
        file = tmp_path / "p.json"
        file.write_text(predictions if isinstance(predictions, str) else json.dumps(predictions))
        data = [word for word in words if word.startswith(("task=", "data=", "data."))]
        assert main(["score", str(file), *data, "--output", str(tmp_path / "out"), *more]) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    box = {"image_id": 1000, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5}
    boxes = det_words("data=coco", f"data.root={own_boxes}")
    assert "not COCO results" in refused(boxes, {"a": 1})
    assert "result number 1 has no score" in refused(boxes, [box, {k: v for k, v in box.items() if k != "score"}])
    assert "is of image 5, which is not in the data" in refused(boxes, [{**box, "image_id": 5}])
    assert "its bbox is not 4 numbers" in refused(boxes, [{**box, "bbox": [1, 2, None, 4]}])
    assert "give a number above 0" in refused(boxes, [box], "--params", "0")
    assert "has no column file_name" in refused(cls_words(), "a,b\n1,2\n")
    assert "no prediction of ant/0.jpg" in refused(cls_words(), "file_name,class\nx.jpg,ant\n")
    assert "no class is named aunt: did you mean ant" in refused(cls_words(), "file_name,class\nant/0.jpg,aunt\n")
    assert main(["score", str(tmp_path / "none.json"), "task=det"]) == 2 and "no such file" in capsys.readouterr().err
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    (run_folder / "record.json").write_text("{}")
    data = [word for word in boxes if word.startswith(("task=", "data=", "data."))]
    words = ["score", str(tmp_path / "p.json"), *data, "--output", str(run_folder)]
    assert main([*words, "--overwrite"]) == 2 and "is the record of a run" in capsys.readouterr().err
    assert (run_folder / "record.json").read_text() == "{}"
