"""`data.augment.extra`: errors of one line before training, and valid values."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

import train
from lightseg import record
from lightseg.catalog.tasks import TASKS
from lightseg.config.compose import compose, defaults_of, plain
from lightseg.config.extra import check_extra
from lightseg.data.transforms.extra import Extra
from lightseg.data.transforms.tracked_points import position_grid
from lightseg.errors import LightsegError

AUGMENT: dict[str, dict[str, Any]] = {
    "seg": {"crop_size": [64, 128]},
    "cls": {"size": 64},
    "det": {"size": [64, 128]},
    "pose": {"size": [96, 72]},
}


def check(task: str, extra: str) -> None:
    check_extra({**AUGMENT[task], "extra": yaml.safe_load(extra)}, task)


@pytest.mark.parametrize(
    ("task", "extra", "message"),
    [
        (
            "cls",
            "[RandomRian]",
            "no transform named 'RandomRian' can be taken .* did you mean RandomRain",
        ),
        ("cls", "[rain]", "no transform named 'rain' .* RandomRain"),
        ("cls", "[albumentations.RandomRain]", "no transform named 'albumentations.RandomRain' .* RandomRain"),
        ("cls", "[os.system]", "no transform named 'os.system'"),
        ("cls", "[{Lambda: {image: print}}]", "no transform named 'Lambda'"),
        ("cls", "[Compose]", "no transform named 'Compose'"),
        ("cls", "[{RandomRain: {drop_colour: [1, 2, 3]}}]", "RandomRain has no argument 'drop_colour': .* drop_color"),
        ("cls", "[{RandomRotate90: {strict: true}}]", "RandomRotate90 has no argument 'strict'"),
        ("cls", "[{RandomResizedCrop: {scale: [0.5, 1]}}]", "RandomResizedCrop: size: Field required"),
        ("cls", "[{RandomRain: {p: 2}}]", "RandomRain: p: Input should be less than or equal to 1"),
        ("cls", "[{Affine: {rotate: much}}]", "Affine: rotate: "),
        ("cls", "[{LongestMaxSize: {}}]", "LongestMaxSize: Either max_size or max_size_hw must be specified"),
        ("cls", "[{RandomRain: 0.2}]", "is not a transform with its arguments"),
        ("cls", "[{Blur: {}, RandomRain: {}}]", "is not a transform with its arguments"),
        ("cls", "[3]", "3 is not a transform"),
        ("cls", "{Blur: {}}", "must be a list"),
        ("cls", "RandomRain", "must be a list"),
        ("cls", "[{OneOf: {p: 1}}]", "OneOf needs transforms"),
        ("cls", "[{OneOf: {transforms: [Blur, {Affine: {rotat: 3}}]}}]", "Affine has no argument 'rotat': .* rotate"),
        ("cls", "[{OneOf: {transforms: [Blur], n: 2}}]", "OneOf has no argument 'n'"),
        ("cls", "[Normalize]", r"Normalize gives image as \[64, 64, 3\] float32: it must stay \[64, 64, 3\] uint8"),
        ("cls", "[ToTensorV2]", r"ToTensorV2 gives image as \[3, 64, 64\]"),
        ("cls", "[{ToGray: {num_output_channels: 1}}]", "ToGray gives image as"),
        ("cls", "[RandomScale]", "RandomScale: training images of 64x64 .* become .* the size is set by data.augment"),
        ("cls", "[{RandomCrop: {height: 80, width: 80}}]", "RandomCrop fails on an image of the training size: Crop"),
        ("cls", "[FDA]", "FDA needs fda_metadata"),
        ("cls", "[Mosaic]", "Mosaic needs mosaic_metadata"),
        ("cls", "[RandomCrop3D]", "RandomCrop3D is for volumes, not for images"),
        ("cls", "[{MaskDropout: {}}]", "MaskDropout needs mask"),
        ("seg", "[{RandomCrop: {height: 32, width: 32}}]", "training images of 64x128 .* become 32x32"),
        ("seg", "[RandomRotate90]", "become 128x64: transposing needs a square size"),
        ("seg", "[D4]", "become 128x64"),
        ("seg", "[{Affine: {mask_interpolation: 1}}]", "leave mask_interpolation out"),
        ("seg", "[Morphological]", "Morphological takes mask for gray values"),
        ("seg", "[ConstrainedCoarseDropout]", "ConstrainedCoarseDropout fails .* Neither valid mask nor bboxes"),
        ("det", "[OverlayElements]", "OverlayElements cannot move bboxes, which task=det needs: .* Affine"),
        ("pose", "[OverlayElements]", "OverlayElements cannot move keypoints, which task=pose needs: .* Affine"),
        ("pose", "[{OneOf: {transforms: [Blur, OverlayElements]}}]", "OverlayElements cannot move keypoints"),
        ("pose", "[{Affine: {border_mode: 4}}]", "border_mode 4 shows the image again"),
        ("pose", "[Transpose]", "become 72x96"),
    ],
)
def test_errors_are_one_line(task: str, extra: str, message: str) -> None:
    with pytest.raises(LightsegError, match=message) as caught:
        check(task, extra)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("data.augment.extra")


def test_arguments_are_plain_values() -> None:
    for value in (print, np.ones(3), [len], {1: 2}):
        with pytest.raises(LightsegError, match="give numbers, text or lists"):
            check_extra({"size": 64, "extra": [{"Blur": {"blur_limit": value}}]}, "cls")


@pytest.mark.parametrize("task", AUGMENT)
def test_valid_transforms(task: str) -> None:
    check(task, "[RandomRain, {CoarseDropout: {p: 0.5}}, {Affine: null}, {OneOf: {transforms: [Blur, Rotate]}}]")
    for empty in ("[]", "null"):
        check(task, empty)
    check_extra(AUGMENT[task], task)


def test_the_command_prints_the_error_and_exits_with_2(
    words: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert train.main(words("data.augment.extra=[{RandomRain: {drop_colour: 3}}]")) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert "RandomRain has no argument 'drop_colour': did you mean drop_color" in line
    assert not (tmp_path / "runs").exists()


def test_without_albumentations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "albumentations", None)
    compose(["task=cls"])
    with pytest.raises(LightsegError, match=r'needs albumentations.*pip install "lightseg\[train\]"'):
        compose(["task=cls", "data.augment.extra=[Blur]"])


@pytest.mark.slow
def test_without_extras_albumentations_is_not_imported() -> None:
    code = """
import sys
from lightseg.config.compose import compose, plain
config = plain(compose(["task=seg"]))
assert not {"torch", "albumentations", "cv2"} & sys.modules.keys()
from lightseg.task_specs import task_spec
task_spec("seg").train_transform(config["data"], {})
assert "albumentations" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


@pytest.mark.parametrize("task", AUGMENT)
def test_every_data_file_has_the_key_and_an_empty_list_is_no_setting(task: str) -> None:
    config = compose([f"task={task}"])
    assert plain(config)["data"]["augment"]["extra"] == []
    assert record.setting(plain(config), plain(defaults_of(config))) == {}
    other = compose([f"task={task}", "data.augment.extra=[{RandomRain: {p: 0.2}}]"])
    assert record.setting(plain(other), plain(defaults_of(other))) == {
        "data.augment.extra": [{"RandomRain": {"p": 0.2}}]
    }
    assert record.config_hash(plain(other)) != record.config_hash(plain(config))


def test_all_shipped_data_files_have_it() -> None:
    for path in sorted((Path(train.__file__).parent / "configs" / "data").glob("*.yaml")):
        assert OmegaConf.load(path).augment.extra == [], path


def test_a_run_without_the_key_can_be_resumed(tmp_path: Path) -> None:
    """Its saved configuration has no such key: it composes, and is not given one."""
    config = plain(compose(["task=cls"]))
    del config["data"]["augment"]["extra"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert plain(compose([f"resume={tmp_path}"]))["data"] == config["data"]


def test_testing_a_checkpoint_does_not_ask_for_albumentations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = plain(compose(["task=cls", "data.augment.extra=[Blur]"]))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(b"")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setitem(sys.modules, "albumentations", None)
    tested = compose(["mode=test", f"ckpt={tmp_path / 'checkpoints' / 'best.ckpt'}"])
    assert tested.data.augment.extra == ["Blur"]


ARGUMENTS = {  # of those that need some
    "RandomResizedCrop": {"size": [48, 48]},
    "RandomSizedCrop": {"size": [48, 48], "min_max_height": [30, 40]},
    "Resize": {"height": 48, "width": 48},
    "RandomCrop": {"height": 48, "width": 48},
    "CenterCrop": {"height": 48, "width": 48},
    "AtLeastOneBBoxRandomCrop": {"height": 48, "width": 48},
    "RandomSizedBBoxSafeCrop": {"height": 48, "width": 48},
    "CropNonEmptyMaskIfExists": {"height": 48, "width": 48},
    "GridElasticDeform": {"num_grid_xy": [3, 3], "magnitude": 4},
    "CropAndPad": {"percent": [-0.1, 0.1]},
}
REFUSED = {  # by all four tasks: other sizes or types, volumes, other images, functions
    "BBoxSafeRandomCrop", "CenterCrop3D", "CoarseDropout3D", "ConstrainedCoarseDropout", "Crop", "CubicSymmetry", "FDA",
    "FromFloat", "HistogramMatching", "Lambda", "LongestMaxSize", "Mosaic", "Normalize", "OverlayElements", "Pad3D",
    "PadIfNeeded", "PadIfNeeded3D", "PixelDistributionAdaptation", "RandomCrop3D", "RandomCropFromBorders",
    "RandomCropNearBBox", "RandomScale", "SmallestMaxSize", "TextImage", "ToFloat", "ToRGB", "ToTensor3D", "ToTensorV2",
    "BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D",
}  # fmt: skip
NEED_MASKS, NEED_BOXES = {"CropNonEmptyMaskIfExists", "MaskDropout"}, {"RandomSizedBBoxSafeCrop"}
REFUSED_TOO = {
    "seg": NEED_BOXES | {"Morphological"},
    "cls": NEED_MASKS | NEED_BOXES,
    "det": NEED_MASKS,
    "pose": NEED_MASKS | NEED_BOXES | {"Morphological"},
}


def sample_of(task: str) -> dict[str, Any]:
    draw = np.random.default_rng(1)
    arrays: dict[str, Any] = {"image": draw.integers(0, 256, (48, 48, 3), dtype=np.uint8)}
    if task == "seg":
        arrays["mask"] = np.kron(draw.integers(0, 4, (6, 6)), np.ones((8, 8))).astype(np.uint8)
    elif task == "det":
        arrays |= {"boxes": np.array([[4, 6, 20, 30], [10, 10, 40, 44]], np.float32), "labels": np.array([2, 5])}
    elif task == "pose":
        points = np.array([[10, 12], [30, 20], [20, 40]], np.float32)
        arrays |= {"keypoints": points, "visible": np.array([2, 1, 2]), "area": 300.0}
        arrays |= {"matrix": np.eye(2, 3, dtype=np.float32), "swap": np.array([0, 2, 1])}
    return arrays


@pytest.mark.slow
@pytest.mark.parametrize("task", AUGMENT)
def test_every_transform_works_or_is_an_error_of_one_line(task: str) -> None:
    """With its defaults, and twice the same from a seed, whatever came between."""
    import albumentations

    names = [
        name
        for name, value in vars(albumentations).items()
        if isinstance(value, type) and issubclass(value, albumentations.BasicTransform)
    ]
    assert len(names) > 100
    refused = {}
    for name in names:
        entry = {name: {**ARGUMENTS.get(name, {}), "p": 1}}
        try:
            check_extra({"size": [48, 48], "extra": [entry]}, task)
        except LightsegError as error:
            refused[name] = str(error)
            assert "\n" not in refused[name] and len(refused[name]) < 300, refused[name]
            continue
        transform = Extra(lambda seed, swap=None, **arrays: arrays, [entry], (48, 48), TASKS[task].extra_target or None)
        first = transform(5, **sample_of(task))
        transform(6, **sample_of(task))
        again = transform(5, **sample_of(task))
        for key, before in sample_of(task).items():
            if key != "swap":
                assert np.array_equal(first[key], again[key]), (name, key)
                assert np.asarray(first[key]).dtype == np.asarray(before).dtype, (name, key)
        assert first["image"].shape == (48, 48, 3), name
        if task == "seg":
            assert first["mask"].shape == (48, 48) and set(np.unique(first["mask"])) <= {0, 1, 2, 3, 255}, name
        if task == "det":
            assert first["boxes"].shape == (len(first["labels"]), 4) and set(first["labels"]) <= {2, 5}, name
            assert (first["boxes"] >= 0).all() and (first["boxes"] <= 48).all(), name
        if task == "pose":
            assert not first["keypoints"][first["visible"] == 0].any(), name
            assert (first["keypoints"] < 48).all() and (first["keypoints"] >= -0.5).all(), name
    assert refused.keys() == REFUSED | REFUSED_TOO[task]


def test_the_grid_of_positions() -> None:
    grid = position_grid((3, 4))
    assert grid.shape == (3, 4, 3) and grid[2, 1].tolist() == [1, 2, 1] and not grid.flags.writeable
