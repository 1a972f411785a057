"""A block of a super-network: an inverted residual with all choices of a slot, or a skip.

It is FBNetV2's (arXiv:2004.05565), with the names and the arithmetic of `lightseg.backbones.fbnet`'s blocks. With all
weight on a single choice of each decision it computes that block, and the channels beyond its width are zero. A block
adds its input, or leaves out the expansion, where widths are equal: here with the probability that they are equal.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import make_divisible
from torch import Tensor, nn

from lightseg.backbones.supernet.gumbel import Decision
from lightseg.backbones.supernet.layers import (
    ConvBN,
    DepthwiseBN,
    MaskedSqueezeExcite,
    activate,
    fit_channels,
    prefixes,
)
from lightseg.catalog.search_space import Slot, Space

BLOCK, SKIP = "block", "skip"


def squeezed_channels(mid: int) -> int:
    """The channels inside squeeze-and-excitation of a block with `mid` channels."""
    return int(make_divisible(mid / 4, 8))


class SearchBlock(nn.Module):
    """An inverted residual with all choices of its slot, or a skip. in_widths: choices of the input channels."""

    def __init__(self, slot: Slot, in_widths: Sequence[int], space: Space) -> None:
        super().__init__()
        self.in_widths, self.stride = tuple(in_widths), slot.stride
        self.out, self.expansion = Decision(slot.out), Decision(slot.expand)
        self.kernel, self.use_se, self.act = Decision(slot.kernel), Decision(slot.se), Decision(slot.act)
        self.op = Decision((BLOCK, SKIP) if slot.skip else (BLOCK,))
        mids = [[space.mid(channels, expand) for expand in slot.expand] for channels in in_widths]
        flat = [mid for row in mids for mid in row]
        self.mids, self.widest_mid, self.widest_out = mids, max(flat), max(slot.out)
        pairs = (len(in_widths), len(slot.expand))
        unexpanded = torch.tensor([[mid == c for mid in row] for c, row in zip(in_widths, mids, strict=True)])
        equal = torch.tensor([[width == out and slot.stride == 1 for out in slot.out] for width in in_widths])
        squeezed, widest_squeezed = [squeezed_channels(mid) for mid in flat], squeezed_channels(self.widest_mid)
        tables = {
            "mid_prefixes": prefixes(flat, self.widest_mid).unflatten(0, pairs),
            "squeezed_prefixes": prefixes(squeezed, widest_squeezed).unflatten(0, pairs),
            "out_prefixes": prefixes(slot.out, self.widest_out),
            "unexpanded": unexpanded.float(),
            "equal": equal.float(),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
        self.may_stay_narrow, self.may_be_equal = bool(unexpanded.any()), bool(equal.any())
        widest_in = max(in_widths)
        if not unexpanded.all():
            self.expand = ConvBN(widest_in, self.widest_mid)
        self.depthwise = DepthwiseBN(self.widest_mid, slot.kernel, slot.stride)
        if any(slot.se):
            self.se = MaskedSqueezeExcite(self.widest_mid, widest_squeezed)
        self.project = ConvBN(self.widest_mid, self.widest_out)
        if slot.skip and not equal.all():
            self.skip = ConvBN(widest_in, self.widest_out, stride=slot.stride)

    def forward(self, x: Tensor, in_weights: Tensor) -> tuple[Tensor, Tensor]:
        """x: [B, widest input, H, W]; in_weights: [n] of its widths. Returns output and weights of its widths."""
        tables: Any = self
        out, acts, ops = self.out.weights(), self.act.weights(), self.op.weights()
        with torch.autocast(x.device.type, enabled=False):  # masks are of the weights' precision
            pairs = in_weights[:, None] * self.expansion.weights()
            mid_mask = torch.tensordot(pairs, tables.mid_prefixes, 2)
            squeezed_mask = torch.tensordot(pairs, tables.squeezed_prefixes, 2)
            mask = out @ tables.out_prefixes
            narrow = (pairs * tables.unexpanded).sum()
            same = (in_weights[:, None] * out * tables.equal).sum()
        y = fit_channels(x, self.widest_mid)
        if hasattr(self, "expand"):
            wide = activate(self.expand(x), acts, self.act.choices)
            y = wide * (1 - narrow) + y * narrow if self.may_stay_narrow else wide
        y = activate(self.depthwise(y, self.kernel.weights()), acts, self.act.choices)
        if hasattr(self, "se"):
            se_weight = self.use_se.weights()[1] if len(self.use_se) > 1 else None
            y = self.se(y, mid_mask, squeezed_mask, se_weight, self.act.choices, acts)
        y = self.project(y, mid_mask, mask * ops[0])
        if self.may_be_equal:
            y = y + same * fit_channels(x, self.widest_out)
        if hasattr(self, "skip"):  # a non-negative factor commutes with ReLU
            y = y + F.relu(self.skip(x, None, mask * (ops[1] * (1 - same))))
        return y, out
