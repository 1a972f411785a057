"""The task's `TaskInfo` and `TaskSpec`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from lightseg.catalog.tasks import FormatInfo, HeadInfo, MetricInfo, TaskInfo
from lightseg.data.collate import collate
from lightseg.data.io.frame import Frame
from lightseg.data.transforms.classification import eval_transform, train_transform
from lightseg.data.transforms.phase_transform import Transform
from lightseg.input_contract import InputContract
from lightseg.result_files import GrowingList
from lightseg.task_specs.base import Options, Outputs, Size, TaskExport, TaskSpec
from lightseg.task_specs.classification import CenterCrop

HERE = Path(__file__).parent
INFO = TaskInfo(
    name="depth",
    title="Depth of an image",
    monitor="val/delta1",
    spec="tests.toy_task.spec:DepthSpec",
    module="tests.toy_task.module:DepthTask",
    loss="tests.toy_task.head:DepthLoss",
    heads={"pooled": HeadInfo("tests.toy_task.head:DepthHead")},
    formats={
        "depth_csv": FormatInfo(
            "tests.toy_task.data:from_options",
            str(HERE / "configs" / "data" / "depth_csv.yaml"),
            "tests.toy_task.data:prepare",
        )
    },
    config=str(HERE / "configs" / "task" / "depth.yaml"),
    metrics={"rmse": MetricInfo(unit="m", lower_is_better=True)},
    num_classes=1,
    image_size=(64, 64),
    input={"size": 64, "crop_pct": 1.0, "interpolation": "bilinear"},
    square_input=True,
    flip=False,
)


class DepthSpec(TaskSpec):
    def train_transform(self, options: Options, scheduled: Mapping[str, float]) -> Transform:
        return train_transform(**options["augment"])

    def eval_transform(self, options: Options) -> Transform:
        return eval_transform(**options["eval"])

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = collate([{key: sample[key] for key in ("image", "name")} for sample in samples])
        depths = torch.tensor([sample["depth"] for sample in samples])
        return {"images": batch["image"], "names": batch["name"], "depths": depths}

    def export(self, head: str, *, argmax: bool = False) -> TaskExport:
        self.refuse_argmax(argmax)
        return TaskExport({"log_depth": "float32 [B], its exponential is meters"}, lambda outputs, size: (outputs,))

    def decode(self, outputs: Outputs, decoding: Mapping[str, Any], image_size: Size) -> np.ndarray:
        return np.exp(outputs["log_depth"])

    def agreement(self, a: np.ndarray, b: np.ndarray) -> tuple[float, int]:
        return float((np.abs(a - b) < 0.01).sum()), len(a)

    def preprocessing(self, contract: InputContract, size: Size | None = None) -> CenterCrop:
        return CenterCrop((size or contract.size)[0], contract.crop_pct, contract.interpolation)

    def predict(self, head: Any, outputs: Any, image_size: Size, sizes: Sequence[Size]) -> list[np.ndarray]:
        return list(head.decode(outputs, image_size).cpu().numpy())

    def results(self, folder: Path, contract: InputContract, score: float) -> "DepthResults":
        return DepthResults(folder)


class DepthResults:
    """results.json: [{file_name, depth}]."""

    def __init__(self, folder: Path) -> None:
        self.list = GrowingList(folder / "results.json")

    def add(self, frame: Frame, prediction: np.ndarray) -> None:
        self.list.append({**frame.origin, "depth": round(float(prediction), 4)})

    def draw(self, image: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        return cv2.putText(image.copy(), f"{prediction:.1f} m", (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 200, 0))

    def finish(self) -> None:
        self.list.finish()
