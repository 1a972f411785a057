"""RTMCC: SimCC with attention between keypoints, the head of RTMPose (Jiang et al., 2023, arXiv:2303.07399, section
3.2).

A dense convolution with a wide kernel gives a map per keypoint. Each map, flattened, is normed and projected to a
hidden width; a gated attention unit ("Transformer Quality in Linear Time", Hua et al., ICML 2022, arXiv:2202.10447,
section 3) relates the keypoints of a person to each other; two linear layers give the bins of x and y. RTMPose-t, -s
and -m reach 68.2, 71.6 and 74.6 AP on COCO val with CSPNeXt backbones that were trained on heatmaps before; there are
no published figures on mobile backbones.

Codec, loss and scores are those of lightseg/heads/simcc.py. Deviations from RTMPose that follow from them: labels are
centered on the point itself instead of on the nearest bin, points outside the image have weight 0, and both axes weigh
the same in the loss. Dropout, stochastic depth and relative positions of the attention unit, which RTMPose does not
use, are not here.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightseg.errors import LightsegError
from lightseg.heads.simcc import KERNEL, CoordinateHead
from lightseg.losses.pose import PoseLoss

EPSILON = 1e-5  # least root mean square that a norm divides by


class RTMCCHead(CoordinateHead):
    """Logits of bins, with targets, loss and decoding, for images of a fixed size.

    stages, num_classes, image_size, split, sigma: as for `SimCCHead`. hidden: width of a keypoint's features.
        attention: width of the attention's queries and keys. expansion: width of its values relative to `hidden`.
        kernel: side of the convolution to the keypoints' maps, odd.
    """

    BACKBONE_OPTIONS = {None: {"taps": "projection"}}

    def __init__(
        self,
        stages: Sequence[tuple[int, int]],
        num_classes: int,
        *,
        image_size: Sequence[int] = (256, 192),
        split: float = 2.0,
        hidden: int = 256,
        attention: int = 128,
        expansion: int = 2,
        kernel: int = KERNEL,
        sigma: float | Sequence[float] | None = None,
        loss: PoseLoss | None = None,
    ) -> None:
        super().__init__(stages, num_classes, image_size=image_size, split=split, hidden=hidden, sigma=sigma, loss=loss)
        if kernel < 1 or kernel % 2 == 0:
            raise LightsegError(f"kernel={kernel}: must be odd, 1 or more (7 is usual)")
        for name, value in (("attention", attention), ("expansion", expansion)):
            if value < 1:
                raise LightsegError(f"{name}={value}: must be 1 or more")
        self.maps = nn.Conv2d(stages[-1][0], num_classes, kernel, padding=kernel // 2)
        self.hidden = nn.Sequential(ScaleNorm(), nn.Linear(self.cells, hidden, bias=False))
        self.gau = GatedAttention(hidden, expansion * hidden, attention)
        self.x, self.y = self.bin_layers(hidden, bias=False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.normal_(layer.weight, std=0.001 if isinstance(layer, nn.Conv2d) else 0.01)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def features(self, maps: Tensor) -> Tensor:
        return self.gau(self.hidden(maps.flatten(2)))


class GatedAttention(nn.Module):
    """Gated attention unit over the keypoints: relu(q k^T / sqrt(s))^2 in place of a softmax, values of width `inner`
    that are gated, and a residual with a learned scale per channel. `width`: of tokens. s = `attention`."""

    def __init__(self, width: int, inner: int, attention: int) -> None:
        super().__init__()
        self.parts = (inner, inner, attention)
        self.norm = ScaleNorm()
        self.into = nn.Linear(width, sum(self.parts), bias=False)
        self.gamma, self.beta = nn.Parameter(torch.rand(2, attention)), nn.Parameter(torch.rand(2, attention))
        self.out = nn.Linear(inner, width, bias=False)
        self.residual = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """[B,K,width] -> [B,K,width]."""
        gate, values, base = F.silu(self.into(self.norm(x))).split(self.parts, 2)
        query, key = (base * gamma + beta for gamma, beta in zip(self.gamma, self.beta, strict=True))
        attention = (query @ key.transpose(1, 2) / math.sqrt(self.parts[2])).relu().square()
        return self.residual * x + self.out(gate * (attention @ values))


class ScaleNorm(nn.Module):
    """g * x / max(root mean square of x, 1e-5) along the last dimension ("Transformers without Tears", Nguyen and
    Salazar, 2019, arXiv:1910.05895, with the root mean square of RTMPose), with a learned scalar g.

    x is divided by its largest value first: squares of float16 values above 256 would be infinite.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] -> [..., d]."""
        largest = x.detach().abs().amax(-1, keepdim=True).clamp(min=EPSILON)  # cancels, and so does its gradient
        part = x / largest
        squared = part.square().mean(-1, keepdim=True).maximum((EPSILON / largest).square())  # before the root, whose
        return self.scale * part / squared.sqrt()  # gradient at 0 is infinite
