"""Checkpoints of tiny nets with random weights whose answers differ from image to image."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lightseg.catalog.arch import Arch, Block, ConvHead, Stem
from lightseg.catalog.arch_yaml import write_arch
from lightseg.model import create_model

TINY = Arch(  # every kind of layer once: exported in a few seconds
    "tiny",
    Stem(8, "hswish"),
    (
        (Block(3, 16, 16, 2),),
        (Block(5, 32, 16, 2, se=True, act="hswish"),),
        (Block(3, 32, 24, 2),),
        (Block(3, 48, 24, 2, act="hswish"),),
    ),
    ConvHead(32),
    input_size=64,
)
HEADS = {
    "seg": None,
    "cls": None,
    "linear": {"name": "linear"},
    "det": {"extra_channels": [32, 16, 16, 8]},
    "pose": {"name": "heatmap", "width": 8, "blocks": 1},
    "simple": {"name": "heatmap", "variant": "simple"},
    "simcc": {"name": "simcc", "image_size": [64, 48], "hidden": 32},
    "mobileseg": {"name": "mobileseg", "strides": [4, 8, 16], "fusion": "attention"},
    "rtmcc": {"name": "rtmcc", "image_size": [64, 48], "hidden": 32},
}
TASKS = {
    "linear": "cls",
    "simple": "pose",
    "simcc": "pose",
    "mobileseg": "seg",
    "rtmcc": "pose",
}  # of kinds that are not tasks
SKELETON = {"edges": [[0, 1], [1, 2]], "pairs": [[3, 4]], "sigmas": [0.05] * 5}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`checkpoint("seg")`: a run's checkpoint of 5 classes or keypoints. "linear" is cls with that head."""
    folder = tmp_path_factory.mktemp("runs")

    def make(kind: str, backbone: str = "tiny") -> Path:
        path = folder / f"{kind}_{backbone}" / "checkpoints" / "best.ckpt"
        if not path.exists():
            torch.manual_seed(0)
            task = TASKS.get(kind, kind)
            skeleton = SKELETON if task == "pose" else None
            names = ["road", "car", "bus", "tree", "sky"]
            write_arch(TINY, folder / "tiny.yaml")
            source = str(folder / "tiny.yaml") if backbone == "tiny" else backbone
            model = create_model(source, task, 5, head=HEADS[kind], class_names=names, skeleton=skeleton).eval()
            for parameter in model.head.parameters():  # det starts near zero: no box would be clear
                if parameter.ndim == 4 or (kind in ("simcc", "rtmcc") and parameter.ndim == 2):
                    torch.nn.init.normal_(parameter, std=2 * parameter[0].numel() ** -0.5)
            if task != "pose":
                norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
                for layer in norms:  # statistics of real maps: under fresh ones a signal dies out
                    layer.momentum = 1.0
                with torch.no_grad():
                    model.train()(torch.randint(0, 256, (8, 3, 64, 96), dtype=torch.uint8))
                for layer in norms:  # and none so narrow that it amplifies rounding
                    layer.running_var.clamp_(min=0.1)
                model.eval()
                for layer in model.modules():  # a fresh classifier answers nearly nothing
                    if isinstance(layer, torch.nn.Linear):
                        torch.nn.init.normal_(layer.weight)
            if kind == "simple":  # untrained batch norms leave its maps far too small to be clear
                model.head.final_layer.weight.data *= 2e4
            state = {f"model.{key}": value for key, value in model.state_dict().items()}
            path.parent.mkdir(parents=True)
            torch.save({"hyper_parameters": {"model": model.spec}, "state_dict": state}, path)
        return path

    return make
