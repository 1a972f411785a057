"""Large images in tiles: trained on, evaluated and predicted as the same pixels are without tiles."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import lightseg
import train
from lightseg.cli import main
from tests.conftest import only_run
from tests.tasks.conftest import write_boxes
from tests.tasks.runs import run
from tests.tasks.test_channels import words, write_masks


def mosaics(root: Path, target: Path) -> Path:
    """The images and masks of a split side by side, as a single image."""
    for split in ("train", "val"):
        for kind, flag in (("images", cv2.IMREAD_COLOR), ("masks", cv2.IMREAD_UNCHANGED)):
            parts = [cv2.imread(str(path), flag) for path in sorted((root / kind / split).iterdir())]
            path = target / kind / split / "all.png"
            path.parent.mkdir(parents=True)
            assert cv2.imwrite(str(path), np.hstack(parts))
    return target


def test_a_mosaic_in_tiles_scores_what_its_images_score(tmp_path: Path) -> None:
    single = write_masks(tmp_path / "single")
    large = mosaics(single, tmp_path / "large")
    tile = "data.tile={size: [72, 96], overlap: 0}"
    record = run(words("seg", large, tmp_path / "runs", tile, "data.batch_size=4"))
    assert record["protocol"]["tile"] == {"size": [72, 96], "overlap": 0} == record["input"]["tile"]
    assert record["config"]["profile"]["image_size"] == [72, 96] and record["protocol"]["images"] == 1
    checkpoint = only_run(tmp_path / "runs") / "checkpoints" / "best.ckpt"
    again = ["mode=test", f"ckpt={checkpoint}", "data.tile=whole", f"data.root={single}"]
    untiled = run([*again, f"runs_dir={tmp_path / 'untiled'}"])
    assert "tile" not in untiled["protocol"]
    assert record["metrics"] == pytest.approx(untiled["metrics"])
    image = np.concatenate([cv2.imread(str(path))[..., ::-1] for path in sorted((single / "images/val").iterdir())], 1)
    tiled, whole = lightseg.load(checkpoint), lightseg.load(checkpoint, tile=0)
    parts = [whole(np.ascontiguousarray(image[:, start : start + 96])).mask for start in (0, 96)]
    np.testing.assert_array_equal(tiled(image).mask, np.hstack(parts))
    assert tiled(image[:40, :50]).mask.shape == (40, 50)
    assert main(["predict", str(checkpoint), str(large / "images/val"), "--output", str(tmp_path / "out")]) == 0
    written = cv2.imread(str(tmp_path / "out/masks/all.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, tiled(large / "images/val/all.png").mask)


@pytest.mark.slow
def test_boxes_of_a_mosaic_in_tiles_are_those_of_its_images(tmp_path: Path) -> None:
    single = write_boxes(tmp_path / "single")
    for split in ("train", "val"):
        content = json.loads((single / f"{split}.json").read_text())
        images, left = content["images"], {}
        canvas = np.zeros((96, 96 * len(images), 3), np.uint8)
        for number, image in enumerate(images):
            part = cv2.imread(str(single / split / image["file_name"]))
            canvas[: part.shape[0], 96 * number : 96 * number + part.shape[1]] = part
            left[image["id"]] = 96 * number
        for annotation in content["annotations"]:
            annotation["bbox"][0] += left[annotation["image_id"]]
            annotation["image_id"] = 1
        content["images"] = [{"id": 1, "file_name": "all.png", "height": 96, "width": canvas.shape[1]}]
        (tmp_path / "large" / split).mkdir(parents=True)
        assert cv2.imwrite(str(tmp_path / "large" / split / "all.png"), canvas)
        (tmp_path / "large" / f"{split}.json").write_text(json.dumps(content))
    options = ("data.tile={size: 96}", "data.augment.size=[96,96]", "data.eval.size=[96,96]", "data.eval_batch_size=1")
    record = run(words("det", tmp_path / "large", tmp_path / "runs", *options))
    checkpoint = only_run(tmp_path / "runs") / "checkpoints" / "best.ckpt"
    same = run(["mode=test", f"ckpt={checkpoint}", f"runs_dir={tmp_path / 'again'}"])
    assert record["metrics"] == pytest.approx(same["metrics"])
    image = cv2.imread(str(tmp_path / "large/val/all.png"))[..., ::-1].copy()
    tiled, whole = lightseg.load(checkpoint)(image), lightseg.load(checkpoint, tile=0)
    part = whole(np.ascontiguousarray(image[:, 96:192]))
    inner = [box for box in part.boxes_xyxy.tolist() if box[0] > 4 and box[2] < 92]  # not cut by a tile's edge
    moved = tiled.boxes_xyxy - np.array([96, 0, 96, 0], np.float32)
    for box in inner[:20]:
        assert np.abs(moved - box).max(1).min() < 1e-3


@pytest.mark.parametrize(
    ("tile", "error"),
    [
        (
            "{size: 512, overlap: 512}",
            "must be {size: pixels or [height, width], overlap: pixels}, 32 or more and",
        ),
        ("{overlap: 3}", "must be {size: pixels or [height, width], overlap: pixels}"),
    ],
)
def test_tiles_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture, tile: str, error: str) -> None:
    assert train.main(words("seg", tmp_path, tmp_path / "runs", f"data.tile={tile}")) == 2
    assert error in capsys.readouterr().err


def test_tiles_are_not_for_every_task(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert train.main(words("cls", tmp_path, tmp_path / "runs", "data.tile={size: 64}")) == 2
    assert "no key 'data.tile'" in capsys.readouterr().err
