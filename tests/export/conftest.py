"""Checkpoints of tiny nets with random weights whose answers differ from picture to picture."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lightseg.model import create_model

HEADS = {"seg": None, "cls": None, "linear": {"name": "linear"}, "det": {"extra_channels": [32, 16, 16, 8]}}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`checkpoint("seg", "squeezenet1_1")`: a run's checkpoint of 5 classes. "linear" is cls with that head."""
    folder = tmp_path_factory.mktemp("runs")

    def make(kind: str, backbone: str = "squeezenet1_1") -> Path:
        path = folder / f"{kind}_{backbone}" / "checkpoints" / "best.ckpt"
        if not path.exists():
            torch.manual_seed(0)
            task = "cls" if kind == "linear" else kind
            names = ["road", "car", "bus", "tree", "sky"]
            model = create_model(backbone, task, 5, head=HEADS[kind], class_names=names).eval()
            for parameter in model.head.parameters():  # det starts near zero: no box would be clear
                if parameter.ndim == 4:
                    torch.nn.init.normal_(parameter, std=2 * parameter[0].numel() ** -0.5)
            state = {f"model.{key}": value for key, value in model.state_dict().items()}
            path.parent.mkdir(parents=True)
            torch.save({"hyper_parameters": {"model": model.spec}, "state_dict": state}, path)
        return path

    return make
