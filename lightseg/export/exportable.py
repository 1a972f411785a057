"""What of a model goes into a file: uint8 pixels in, and for each task the outputs that everyone downstream needs.

    seg   `logits` at the size of the images, or `class_ids`, the largest logit's
    cls   `logits`
    det   `class_logits`, `box_deltas` and `default_boxes`, the raw outputs of SSD: no box is dropped inside the graph;
          `lightseg.export.nms.detections` makes boxes of them
    pose  `heatmaps`, or `x` and `y` of head simcc; `lightseg.export.pose` makes keypoints of them

A new task is one more entry of EXPORTS (OF_HEAD, where a head's outputs are its own), and one of
`lightseg.export.decode.DECODERS`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightseg.errors import LightsegError, nearest
from lightseg.export.dynamic_shapes import make_any_size
from lightseg.optional_imports import quiet

Size = tuple[int, int]  # height, width
LEAST_SIDE = 33  # pixels of an image of any size: the map of stride 16 has three places then, and none of stride 32 one


class TaskExport(NamedTuple):
    """How a task's models are exported.

    Attributes:
        outputs: name -> meaning, shape, unit.
        of_head: (the head's raw outputs, size of the images) -> the file's outputs, in that order.
        any_size: whether one file can take images of any size. SSDLite's default boxes and last maps, of a single
            place, belong to one size, and so do SimCC's bins; classifiers take the size of their evaluation.
        decoding: attributes of the head that turn its raw outputs into predictions, known by their last name.
    """

    outputs: dict[str, str]
    of_head: Callable[[Any, Size], tuple[Tensor, ...]]
    any_size: bool = False
    decoding: tuple[str, ...] = ()


def upsampled(logits: Tensor, size: Size) -> Tensor:
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def largest(logits: Tensor, size: Size) -> Tensor:
    return upsampled(logits, size).argmax(1).to(torch.uint8 if logits.shape[1] <= 256 else torch.int32)


SEG_LOGITS = TaskExport(
    {"logits": "float32 [B, classes, H, W], one logit a class and pixel of the image; the largest is the answer"},
    lambda logits, size: (upsampled(logits, size),),
    any_size=True,
)
SEG_IDS = TaskExport(
    {"class_ids": "uint8 [B, H, W], the class of each pixel of the image (int32 from 257 classes on)"},
    lambda logits, size: (largest(logits, size),),
    any_size=True,
)
CLS = TaskExport(
    {"logits": "float32 [B, classes]; softmax makes probabilities of them"},
    lambda logits, size: (logits,),
)
DET = TaskExport(
    {
        "class_logits": "float32 [B, N, 1 + classes], the background first; softmax makes scores of them",
        "box_deltas": "float32 [B, N, 4], offsets of the boxes' centre and log size from the default boxes, times 10, "
        "10, 5, 5",
        "default_boxes": "float32 [N, 4], x1, y1, x2, y2 in pixels of the input, the same for every image",
    },
    lambda outputs, size: (outputs["class_logits"], outputs["box_deltas"], outputs["default_boxes"]),
    decoding=("score_threshold", "nms_threshold", "topk_candidates", "detections_per_image"),
)
HEATMAPS = TaskExport(
    {"heatmaps": "float32 [B, keypoints, h, w], around 0..1 at a quarter of the image's height and width, rounded up"},
    lambda outputs, size: (outputs,),
    any_size=True,
    decoding=("codec.kind", "codec.dark", "codec.sigma"),
)
SIMCC = TaskExport(
    {
        "x": "float32 [B, keypoints, bins], logits of the places along the width",
        "y": "float32 [B, keypoints, bins], logits of the places along the height",
    },
    lambda outputs, size: (outputs["x"], outputs["y"]),
    decoding=("codec.split", "codec.sigma", "criterion.beta"),
)
EXPORTS = {"seg": SEG_LOGITS, "cls": CLS, "det": DET, "pose": HEATMAPS}
OF_HEAD = {"simcc": SIMCC}


def task_export(task: str, head: str = "", *, argmax: bool = False) -> TaskExport:
    """head: its name. LightsegError for a task without an export, and for `argmax` where no pixels are labelled."""
    if task not in EXPORTS:
        raise LightsegError(f"task {task} cannot be exported: {nearest(task, EXPORTS)}")
    if argmax and task != "seg":
        raise LightsegError(f"argmax is for segmentation; a file for {task} answers with {', '.join(EXPORTS[task][0])}")
    return SEG_IDS if argmax else OF_HEAD.get(head, EXPORTS[task])


class Exportable(nn.Module):
    """A `lightseg.model.Model` that answers with a tuple of tensors, as `what` lists them."""

    def __init__(self, model: nn.Module, what: TaskExport) -> None:
        super().__init__()
        self.model = model
        self.what = what

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images: uint8 RGB [B, C, H, W], 0..255."""
        return self.what.of_head(self.model(images), (images.shape[-2], images.shape[-1]))


def trace(
    model: nn.Module, what: TaskExport, size: Size, *, in_chans: int = 3, static: bool = False
) -> tuple[Any, bool]:
    """torch.export's program of the model, with a symbol for the batch, and where the task allows it for the size too.

    Some nets can have no symbol for the size (SqueezeNet: its poolings round up, so that each size is a case of its
    own): theirs is fixed, and only the batch is free.

    model: exchanged in place, where its head has to be, for one that takes any size.

    Returns:
        The program, and whether it takes any size.

    Raises:
        LightsegError: the size is too small, or the model cannot be traced.
    """
    if what.any_size and not static:
        if min(size) < LEAST_SIDE:
            raise LightsegError(f"size {size[0]}x{size[1]} is too small: from {LEAST_SIDE} on, or any with --static")
        make_any_size(model)
        side = {"min": LEAST_SIDE}
        symbols = {0: _batch(), 2: torch.export.Dim("height", **side), 3: torch.export.Dim("width", **side)}
        try:
            with quiet("torch.fx.experimental.symbolic_shapes"):  # pages on each inequality that it cannot solve
                return _program(model, what, (2, in_chans, *size), symbols), True
        except Exception:  # torch's own errors for what its tracer cannot follow have no common class
            pass
    try:
        symbols = {} if static else {0: _batch()}
        return _program(model, what, (1 if static else 2, in_chans, *size), symbols), False
    except LightsegError:
        raise
    except Exception as error:
        why = next((line.strip(" -") for line in str(error).splitlines()[1:2]), "") or str(error)
        way_out = "" if static else "; --static fixes batch and size"
        raise LightsegError(f"the model cannot be traced ({type(error).__name__}: {why[:200]}){way_out}") from error


def _batch() -> Any:
    return torch.export.Dim("batch", min=1, max=4096)


def _program(model: nn.Module, what: TaskExport, shape: tuple[int, ...], symbols: dict[int, Any]) -> Any:
    example = torch.randint(0, 256, shape, dtype=torch.uint8)
    with torch.no_grad():
        return torch.export.export(Exportable(model, what).eval(), (example,), dynamic_shapes={"images": symbols})
