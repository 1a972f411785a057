"""Checkpoints with random weights, one a task, and images of every odd kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from lightseg.model import create_model
from tests.nets import SHALLOW

NAMES = {
    "seg": ["road", "car", "sky"],
    "det": ["car", "person"],
    "cls": [f"kind {i}" for i in range(7)],
    "pose": ["head", "left_hand", "right_hand", "left_foot", "right_foot"],
}
SKELETON = {"edges": [[0, 1], [0, 2], [1, 3], [2, 4]], "pairs": [[1, 2], [3, 4]], "sigmas": [0.2] * 5}
HEADS = {"simcc": {"name": "simcc", "image_size": [64, 48]}}  # a second head of pose
EVALUATION = {
    "seg": {"palette": [[250, 0, 0], [0, 250, 0], [0, 0, 250]]},
    "det": {"size": [64, 96], "keep_aspect": False},
    "cls": {"size": 48, "crop_pct": 0.875, "interpolation": "bilinear"},
    "pose": {"size": [64, 48], "oks_nms": 0.9},
}


def save_checkpoint(
    run: Path,
    kind: str,
    contract: dict[str, Any] | None = None,
    names: list[str] | None = None,
    old_config: dict[str, Any] | None = None,
    backbone: str = SHALLOW,
) -> Path:
    """A run's folder with `checkpoints/best.ckpt`. kind: a task, or "simcc", pose with that head. old_config: the
    checkpoint is one of a release before 0.2, without a contract, and this its run's config.yaml ({}: none)."""
    torch.manual_seed(3)
    task = "pose" if kind in HEADS else kind
    names = names or NAMES[task]
    skeleton = SKELETON if task == "pose" else None
    options = {"class_names": names, "head": HEADS.get(kind), "skeleton": skeleton, "input": contract}
    model = create_model(backbone, task, len(names), **options)
    if task == "pose":  # heads start with empty maps: nothing would be sure
        last = [model.head.x, model.head.y] if kind == "simcc" else [model.head.final_layer]
        for layer in last:
            torch.nn.init.normal_(layer.weight, std=1.0)
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    path = run / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True)
    spec = dict(model.spec)
    if old_config is not None:
        del spec["input"]
        spec |= {"pixels": spec.pop("input_format"), "class_names": names, "skeleton": skeleton}
        if old_config:
            (run / "config.yaml").write_text(yaml.safe_dump(old_config))
    torch.save({"hyper_parameters": {"model": spec}, "state_dict": state}, path)
    return path


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    runs = tmp_path_factory.mktemp("runs")
    kinds = {task: task for task in NAMES} | {"simcc": "pose"}
    return {kind: save_checkpoint(runs / kind, kind, EVALUATION[task]) for kind, task in kinds.items()}


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """Smooth colours, uint8 RGB [70, 110, 3]."""
    noise = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    return cv2.resize(noise, (110, 70), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    def make(path: Path, frames: int = 60, size: int = 64) -> Path:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20.0, (size, size))
        assert writer.isOpened()
        for number in range(frames):
            frame = np.full((size, size, 3), 40, np.uint8)
            cv2.circle(frame, (number % size, size // 2), size // 8, (0, 0, 250), -1)  # a red disc that wanders
            writer.write(frame)
        writer.release()
        return path

    return make


@pytest.fixture
def odd_folder(tmp_path: Path, pixels: np.ndarray) -> Path:
    folder = tmp_path / "odd"
    (folder / "below").mkdir(parents=True)
    image = Image.fromarray(pixels)
    image.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(pixels[..., 0].astype(np.uint16) << 8).save(folder / "grey16.png")
    cv2.imwrite(str(folder / "colour16.tif"), pixels.astype(np.uint16) << 8)
    image.convert("P").save(folder / "palette.png")
    image.convert("RGBA").save(folder / "alpha.webp")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", exif=exif)
    image.save(folder / "moving.gif", save_all=True, append_images=[image.rotate(90)] * 2)
    Image.new("RGB", (1, 1), "red").save(folder / "one.png")
    Image.fromarray(np.tile(pixels[:1], (1, 30, 1))).save(folder / "narrow.png")
    image.save(folder / "below" / "same.png")
    image.save(folder / "below" / "same.jpg")
    image.save(folder / "whole.jpg", quality=95)
    data = (folder / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) * 2 // 3])
    (folder / "header.jpg").write_bytes(data[: data.rfind(b"\xff\xda")])
    image.save(folder / "whole.png")
    data = (folder / "whole.png").read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) * 2 // 3])
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("this is no image")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "notes.txt").write_text("not looked at")
    (folder / "broken.mp4").write_bytes(bytes(2000))
    image.save(folder / ".hidden.png")
    return folder
