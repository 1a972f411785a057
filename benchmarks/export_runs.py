"""The runs that benchmarks/export.py times: a function for each way to run the same net on the same image.

Each takes the folder that `prepare` has written, and returns a function without arguments that runs the net and returns
its logits, NumPy float32 [1, classes, H, W].
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

CLASSES = 19
BACKBONE = "mobilenetv3_large"
Run = Callable[[], Any]


def prepare(folder: Path, size: tuple[int, int], head: str, static: bool, formats: list[str]) -> None:
    """Write a checkpoint (random weights, seed 0), its exported files, a rendered image and eager's logits of it."""
    import numpy as np
    import torch

    from lightseg.export.api import export
    from lightseg.export.runner import FORMATS
    from lightseg.model import create_model
    from lightseg.streets import render

    torch.manual_seed(0)
    model = create_model(BACKBONE, "seg", CLASSES, head={"name": "lraspp", "variant": head})
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    torch.save({"hyper_parameters": {"model": model.spec}, "state_dict": state}, folder / "best.ckpt")
    for form in formats:
        export(folder / "best.ckpt", folder / f"best{FORMATS[form].ending}", format=form, size=size, static=static)
    image = render(0, *size).image.transpose(2, 0, 1)[None]
    np.save(folder / "image.npy", np.ascontiguousarray(image))
    np.save(folder / "logits.npy", eager(folder)())


def load(folder: Path) -> tuple[Any, Any]:
    """The net in the form that is exported, and the image uint8 [1, 3, H, W]."""
    import numpy as np
    import torch

    from lightseg.checkpoint import load_model
    from lightseg.export.exportable import Exportable
    from lightseg.task_specs import task_spec

    model = Exportable(load_model(folder / "best.ckpt"), task_spec("seg").export("lraspp")).eval()
    return model, torch.from_numpy(np.load(folder / "image.npy"))


def eager(folder: Path) -> Run:
    import torch

    model, image = load(folder)

    def run() -> Any:
        with torch.inference_mode():
            return model(image)[0].numpy()

    return run


def channels_last(folder: Path, *, autocast: bool = False, bfloat16: bool = False, fold: bool = False) -> Run:
    """autocast: to bfloat16. bfloat16: for all weights. fold: batch norms into convolutions."""
    import torch

    wrapped, image = load(folder)
    if fold:
        fold_batch_norm(wrapped)
    wrapped.to(memory_format=torch.channels_last)
    model, dtype = wrapped.model, torch.bfloat16 if bfloat16 else torch.float32
    model.backbone.to(dtype)
    model.head.to(dtype)
    image = image.contiguous(memory_format=torch.channels_last)
    size = (image.shape[-2], image.shape[-1])

    def run() -> Any:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            outputs = model.head(model.backbone(model.normalize(image).to(dtype)), size)
            return wrapped.task_export.of_head(outputs, size)[0].float().numpy()

    return run


def exported(folder: Path, name: str) -> Run:
    import numpy as np
    import torch

    from lightseg.export.runner import open_exported

    image = np.load(folder / "image.npy")
    runner = open_exported(folder / name, threads=torch.get_num_threads())
    return lambda: runner.run(image)["logits"]


def fold_batch_norm(model: Any) -> None:
    """Fold each batch norm that directly follows a convolution into it; the activation stays in the norm's module."""
    import torch
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    traced = torch.export.export(model, (torch.zeros(1, 3, 64, 128, dtype=torch.uint8),))
    calls = [node for node in traced.graph.nodes if node.op == "call_function"]
    layer = {
        node: [*node.meta["nn_module_stack"].values()][-1][0] for node in calls if node.meta.get("nn_module_stack")
    }
    for node in calls:
        source: Any = node.args[0] if node.args else None
        if "batch_norm" not in str(node.target) or source not in layer or "conv" not in str(source.target):
            continue
        name, norm_name = (layer[call].removeprefix("L['self'].") for call in (source, node))
        conv, norm = model.get_submodule(name), model.get_submodule(norm_name)
        if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            continue
        replaced = fuse_conv_bn_eval(conv, norm)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, replaced)
        # timm's BatchNormAct2d is a BatchNorm2d that also drops and activates
        activation = nn.Sequential(*(getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)))
        parent, _, child = norm_name.rpartition(".")
        setattr(model.get_submodule(parent), child, activation)


RUNS: dict[str, tuple[str, Callable[[Path], Run]]] = {
    "eager": ("eager, float32, NCHW", eager),
    "channels_last": ("eager, float32, channels_last", channels_last),
    "autocast": ("eager, bfloat16 autocast, channels_last", lambda folder: channels_last(folder, autocast=True)),
    "bfloat16": ("eager, bfloat16 weights, channels_last", lambda folder: channels_last(folder, bfloat16=True)),
    "folded": ("the same in float32, batch norm folded", lambda folder: channels_last(folder, fold=True)),
    "folded_bfloat16": (
        "the same in bfloat16, batch norm folded",
        lambda folder: channels_last(folder, bfloat16=True, fold=True),
    ),
    "onnx": ("ONNX Runtime, float32", lambda folder: exported(folder, "best.onnx")),
    "openvino": ("OpenVINO, float32", lambda folder: exported(folder, "best.xml")),
}
