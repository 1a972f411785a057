"""Images of other channels and values than uint8 RGB: training, export, evaluation and prediction of all tasks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

import lightseg
import train
from lightseg.checkpoint import load_model
from lightseg.cli import main
from lightseg.data.io.bands import read_pixels
from lightseg.data.io.pixels import PixelFormat
from tests.conftest import only_run
from tests.marks import slow_except
from tests.tasks.conftest import write_boxes, write_classes
from tests.tasks.persons import write_figures
from tests.tasks.runs import run

Change = Callable[[np.ndarray], np.ndarray]  # uint8 RGB [H, W, 3] -> what is saved instead


def write_masks(root: Path) -> Path:
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            mask = random.choice(3, (3, 4)).repeat(24, 0).repeat(24, 1).astype(np.uint8)
            image = np.stack([mask * 80, 255 - mask * 80, mask * 30], 2) + random.integers(0, 20, (72, 96, 3))
            for kind, array in (("images", image.clip(0, 255).astype(np.uint8)), ("masks", mask)):
                path = root / kind / split / f"{number}.{'jpg' if kind == 'images' else 'png'}"
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), array)
    return root


def resaved(root: Path, ending: str, change: Change) -> Path:
    """The JPEGs below `root` as other files, in annotation files too."""
    for path in root.rglob("*.jpg"):
        image = change(np.asarray(cv2.imread(str(path))[..., ::-1]))
        if ending == ".npy":
            np.save(path.with_suffix(ending), image)
        else:
            assert cv2.imwrite(str(path.with_suffix(ending)), image)
        path.unlink()
    for path in root.glob("*.json"):
        path.write_text(path.read_text().replace(".jpg", ending))
    return root


SETS: dict[str, tuple[Callable[[Path], Path], str, tuple[str, ...]]] = {
    "cls": (write_classes, "imagefolder", ("data.augment.size=32", "data.augment.erasing=0.5")),
    "seg": (
        write_masks,
        "folder",
        (
            "data.classes=[a,b,c]",
            "data.augment.crop_size=[64,64]",
            "data.augment.scale=[0.5,2]",
            "data.eval_batch_size=1",
        ),
    ),
    "det": (
        write_boxes,
        "coco",
        ("data.augment.size=[64,96]", "data.eval.size=[64,96]", "data.augment.mosaic=0.5", "data.augment.expand=[1,2]"),
    ),
    "pose": (write_figures, "coco_pose", ("data.augment.size=[64,48]", "data.eval.size=[64,48]")),
}


def words(task: str, root: Path, runs: Path, *more: str) -> list[str]:
    _, data, options = SETS[task]
    if task in ("det", "pose"):
        splits = ("train", "val")
        options += tuple(f"data.split.{s}={{images: {s}, annotations: {s}.json}}" for s in splits)
    given = {
        "task": task, "data": data, "data.root": root, "data.batch_size": 2, "data.eval_batch_size": 2,
        "data.workers": 0, "backbone": "mobilenetv3_small_050", "trainer.max_epochs": 1, "schedule.warmup_steps": 0,
        "trainer.precision": "32-true", "profile.runs": 1, "logger": "none", "runs_dir": runs,
    }  # fmt: skip
    for word in (*options, *more):
        key, _, value = word.partition("=")
        given[key] = value
    return [f"{key}={value}" for key, value in given.items()]


def same_metrics(record: dict[str, Any], other: dict[str, Any], tolerance: float) -> None:
    for key, value in record["metrics"].items():
        if value is not None and "mean_pose" not in key:
            assert other["metrics"][key] == pytest.approx(value, abs=tolerance), key


CASES = [(task, channels) for task in SETS for channels in (1, 5)]


@pytest.mark.parametrize("case", slow_except([("cls", 5)], CASES), ids=str)
def test_other_channels_are_trained_exported_evaluated_and_predicted(
    tmp_path: Path, case: tuple[str, int], capsys: pytest.CaptureFixture
) -> None:
    task, channels = case
    ending, change = (".npy", five) if channels == 5 else (".png", lambda image: image.mean(2).astype(np.uint8))
    root = resaved(SETS[task][0](tmp_path / "set"), ending, change)
    record = run(words(task, root, tmp_path / "runs", f"data.channels={channels}"))
    printed = capsys.readouterr().out
    if task in ("cls", "seg"):
        assert f"is left out: it is for 3 channels, not {channels}" in printed
    assert record["input"]["channels"] == channels == len(record["input"]["mean"])
    assert record["setting"]["data.channels"] == channels
    checkpoint = only_run(tmp_path / "runs") / "checkpoints" / "best.ckpt"
    file = checkpoint.with_suffix(".onnx")
    assert main(["export", str(checkpoint), "--output", str(file)]) == 0
    for number, path in enumerate((checkpoint, file)):
        again = run(["mode=test", f"ckpt={path}", f"runs_dir={tmp_path / f'again{number}'}"])
        same_metrics(record, again, 1e-5 if path == checkpoint else 1e-2)
    images = root / ("images/val" if task == "seg" else "val")
    first = min(images.rglob(f"*{ending}"))
    array = np.load(first) if channels == 5 else cv2.imread(str(first), cv2.IMREAD_UNCHANGED)
    for path in (checkpoint, file):
        predictor = lightseg.load(path)
        of_file, of_array = predictor(first), predictor(array)
        assert of_file.image.shape == (*array.shape[:2], 3) and of_file.image.dtype == np.uint8
        assert {**of_file.to_dict(), "file_name": ""} == {**of_array.to_dict(), "file_name": ""}
    assert main(["predict", str(checkpoint), str(images), "--output", str(tmp_path / "predicted")]) == 0
    with pytest.raises(lightseg.errors.LightsegError, match=rf"give \[height, width, {channels}\] of uint8"):
        lightseg.load(checkpoint)(np.zeros((50, 50, 3 if channels == 5 else 4), np.uint8))
    other = ["mode=test", f"ckpt={checkpoint}", "data.channels=3", f"runs_dir={tmp_path / 'no'}"]
    assert train.main(other) == 2
    assert f"takes data.channels={channels}, not 3: leave data.channels out" in capsys.readouterr().err


def five(image: np.ndarray) -> np.ndarray:
    return np.concatenate([image, 255 - image[..., :2]], 2)


def wide(image: np.ndarray) -> np.ndarray:
    """BGR of 16 bit, as OpenCV writes it: 255 becomes 65535."""
    return image[..., ::-1].astype(np.uint16) * np.uint16(257)


@pytest.mark.slow
@pytest.mark.parametrize("task", SETS)
def test_16_bits_give_the_numbers_of_8(tmp_path: Path, task: str) -> None:
    """Trained on 16 bit, the file scores what the run scored; the same weights give the same outputs on both sets."""
    roots = [resaved(SETS[task][0](tmp_path / "8"), ".tif", lambda image: np.ascontiguousarray(image[..., ::-1]))]
    roots += [resaved(SETS[task][0](tmp_path / "16"), ".tif", wide)]
    records, paths = [], []
    for root, more in zip(roots, ((), ("data.range=[0, 65535]",)), strict=True):
        runs = root.with_name(f"runs{root.name}")
        records.append(run(words(task, root, runs, *more)))
        paths.append(only_run(runs) / "checkpoints" / "best.ckpt")
    assert records[1]["input"]["dtype"] == "uint16" and records[1]["input"]["value_range"] == [0, 65535]
    assert main(["export", str(paths[1])]) == 0
    of_file = run(["mode=test", f"ckpt={paths[1].with_suffix('.onnx')}", f"runs_dir={tmp_path / 'file'}"])
    same_metrics(records[1], of_file, 1e-2)
    first, second = load_model(paths[0]), load_model(paths[1])
    second.load_state_dict(first.state_dict())
    folder = "images/val" if task == "seg" else "val"
    files = [min((root / folder).rglob("*.tif")) for root in roots]
    forms = [PixelFormat.of(model.contract) for model in (first, second)]
    images = [
        torch.from_numpy(read_pixels(file, form)[:48, :48].copy()).permute(2, 0, 1)[None]
        for file, form in zip(files, forms, strict=True)
    ]
    with torch.no_grad():
        for one, other in zip(tree_leaves(first(images[0])), tree_leaves(second(images[1])), strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (("data.range=[4, 4]",), "data.range=[4, 4] (the command line): must be two numbers, the lowest value first"),
        (("data.channels=0",), "data.channels=0 (the command line): must be a whole number from 1 to 4096, or a list"),
        (("data.channels=[0, 7]",), "has 3 channels, and data.channels=[0, 7] asks for number 7, counted from 0"),
        (("data.channels=4",), "has 3 channels, not 4: set data.channels=3"),
        (("data.channels=1", "data.augment.randaugment=9"), "data.augment.randaugment is for 3 channels of 8 bit, not"),
        (("data.channels=1", "data.augment.extra=[Blur]"), "data.augment.extra is for 3 channels of 8 bit, not for 1"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    cls_words: Callable[..., list[str]], capsys: pytest.CaptureFixture, more: tuple[str, ...], error: str
) -> None:
    assert train.main(cls_words(*more)) == 2
    line = capsys.readouterr().err
    assert error in line and line.count("\n") == 1
