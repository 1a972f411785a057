"""`lightseg.inspect_data` and `lightseg data`: what is found, in a tiny set with known faults."""

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import lightseg
from lightseg.cli import main
from lightseg.config.data_task import with_task
from lightseg.data.io.near_duplicates import near_duplicates, read_small
from lightseg.data.io.pixels import PixelFormat
from lightseg.inspection.report import DataReport
from tests.inspection.conftest import HOSTILE, scene


def finding(report: DataReport, text: str) -> Any:
    (match,) = (one for one in report.findings if text in one.line())
    return match


def test_counts_of_both_splits(report: DataReport):
    assert report.task == "det" and report.unit == "images" and report.network == (60, 80)
    train, val = report.splits["train"], report.splits["val"]
    assert (train.samples, val.samples) == (11, 4) and train.sizes.tolist() == [[120, 160]] * 11
    ((path, reason),) = train.unreadable
    assert path.name == "5.jpg" and "truncated" in reason
    assert train.statistics is not None and int(train.statistics.counts.sum()) == 8 * 2 + 1
    assert "boat" in str(report) and "160x120" in str(report)


def test_findings_are_those_that_are_there_the_worst_first(report: DataReport):
    levels = [one.level for one in report.findings]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    broken = finding(report, "1 of 12 samples cannot be read")
    assert broken.level == "error" and broken.examples[0].path.name == "5.jpg"
    alike = finding(report, "2 of 4 val images look like a training image")
    pairs = {(example.path.name, example.other.name) for example in alike.examples}
    assert alike.level == "warning" and pairs == {("0.jpg", "0.jpg"), ("1.jpg", "1.jpg")}
    assert "1 of 4 val images are among the training images" in finding(report, "among the training").text
    assert finding(report, "have a box of zero or negative size").level == "warning"
    assert finding(report, "train: 1 of 3 classes have no box: boat").level == "warning"
    tiny = finding(report, "1 of 17 boxes are less than 1 pixel wide or high")
    assert [example.path.name for example in tiny.examples] == ["9.jpg"]
    unlabeled = finding(report, "2 of 11 images have no box")
    assert [example.path.name for example in unlabeled.examples] == ["7.jpg", "8.jpg"]
    assert finding(report, "2 of 3 classes are in fewer than 10 samples").level == "warning"


def test_samples_are_drawn_before_and_after_augmentation(report: DataReport):
    assert len(report.samples) == 11
    first = report.samples[0]
    assert first.before.shape == (240, 320, 3) and first.after.shape == (240, 320, 3)
    assert f"1 {HOSTILE}" in first.labels and "1 bird" in first.labels
    assert (first.before[20:24, 20:24] != cv2.resize(scene(0), (320, 240))[20:24, 20:24, ::-1]).any()  # a box's corner


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda x: cv2.resize(x, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), True),
        (lambda x: cv2.convertScaleAbs(x, alpha=1.1, beta=8), True),
        (lambda x: cv2.flip(x, 1), False),
        (lambda x: x[40:], False),
    ],
)
def test_images_that_look_alike(tmp_path: Path, change: Any, expected: bool):
    images = [scene(number) for number in range(30)]
    for number, image in enumerate(images):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    cv2.imwrite(str(tmp_path / "changed.jpg"), change(images[7]), [cv2.IMWRITE_JPEG_QUALITY, 70])
    names = ("changed.jpg", *map("{}.png".format, range(30)))
    (changed, _), *others = (read_small(tmp_path / name, PixelFormat()) for name in names)
    matches = near_duplicates([changed], [small for small, _ in others])
    assert [match.other for match in matches] == ([7] if expected else [])


def test_plain_images_of_equal_gray_are_alike_and_others_are_not():
    plain, ramp = np.full((16, 17), 9, np.uint8), np.tile(np.arange(17, dtype=np.uint8) * 9, (16, 1))
    assert [match.other for match in near_duplicates([plain, ramp], [ramp, plain])] == [1, 0]


def test_the_task_follows_from_the_data(tmp_path: Path):
    assert with_task(["data=camvid", "data.root=/x"])["task"] == "seg"
    assert with_task({"data": "coco_pose"})["task"] == "pose"
    assert with_task(["data=camvid", "task=cls"])["task"] == "cls"
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [ant, bee]\n")
    assert with_task(["data=auto", f"data.root={tmp_path}"])["task"] == "det"
    assert "task" not in with_task(["data=auto"])  # `data=auto` asks for data.root


def test_the_block_of_the_page_on_python(
    report: DataReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    (block,) = (text for text in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "inspect_data" in text)
    monkeypatch.setattr(lightseg, "inspect_data", lambda overrides, data: report, raising=False)
    monkeypatch.chdir(tmp_path)
    exec(block, {"lightseg": lightseg})
    assert (tmp_path / "camvid.html").is_file() and "'boat': 0" in capsys.readouterr().out


def test_command(birds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    splits = [f"data.split.{name}={{images: {name}, annotations: {name}.json}}" for name in ("train", "val")]
    overrides = ["data", "coco", f"data.root={birds}", *splits, "data.augment.size=[60,80]"]
    page = tmp_path / "birds.html"
    assert main([*overrides, "--output", str(page)]) == 0
    out = capsys.readouterr().out
    assert "error: train: 1 of 12 samples cannot be read" in out and "birds.html: open it in a browser" in out
    assert page.stat().st_size > 10_000
    for arguments, message in (
        ([*overrides, "--output", str(page)], "exists: give another --output, or --overwrite"),
        ([*overrides, "--no-page", "--output", "x.html"], "--no-page writes no file"),
        (["data", "cocoo"], "no data named 'cocoo'"),
        (["data", "coco"], "data.root"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err


def test_images_of_five_bands_and_of_twelve_bits_are_shown(tmp_path):
    for split in ("train", "val"):
        for name, value in (("dark", 200), ("light", 3000)):
            for number in range(6):
                pixels = np.random.default_rng(number).integers(value, value + 900, (40, 48, 5)).astype(np.uint16)
                (tmp_path / split / name).mkdir(parents=True, exist_ok=True)
                np.save(tmp_path / split / name / f"{number}.npy", pixels)
    options = {"data.root": str(tmp_path), "data.channels": 5, "data.range": [0, 4095], "data.augment.size": 32}
    report = lightseg.inspect_data({**options, "data.augment.color": 0}, data="imagefolder")
    assert report.splits["train"].samples == 12 and not [one for one in report.findings if one.level == "error"]
    shades = {sample.labels: sample.before[30:-30].mean() for sample in report.samples}
    assert shades["dark"] < 60 < 190 < shades["light"]
