"""A block of a super-network: an inverted residual of every width, expansion, kernel and kind, or a skip.

It is FBNetV2's (arXiv:2004.05565), named and computed as `lightseg.backbones.fbnet`'s blocks are. With all weight on
one choice of each decision the channels beyond a width are zero and the rest is that block. An input is added, and an
expansion left out, where widths are equal: here with the probability that they are.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import make_divisible
from torch import Tensor, nn

from lightseg.backbones.supernet.gumbel import Decision
from lightseg.backbones.supernet.layers import ConvBN, DepthwiseBN, MaskedSqueezeExcite, activate, fit, prefixes
from lightseg.catalog.search_space import Slot, Space

BLOCK, SKIP = "block", "skip"


def squeezed(mid: int) -> int:
    """The channels inside squeeze-and-excitation."""
    return int(make_divisible(mid / 4, 8))


class SearchBlock(nn.Module):
    """An inverted residual of every width, kernel and kind of its slot, or a skip. `incoming`: the widths before."""

    def __init__(self, slot: Slot, incoming: Sequence[int], space: Space) -> None:
        super().__init__()
        self.incoming, self.stride = tuple(incoming), slot.stride
        self.out, self.expansion = Decision(slot.out), Decision(slot.expand)
        self.kernel, self.use_se, self.act = Decision(slot.kernel), Decision(slot.se), Decision(slot.act)
        self.op = Decision((BLOCK, SKIP) if slot.skip else (BLOCK,))
        mids = [[space.mid(channels, expand) for expand in slot.expand] for channels in incoming]
        flat = [mid for row in mids for mid in row]
        self.mids, self.widest_mid, self.widest_out = mids, max(flat), max(slot.out)
        pairs = (len(incoming), len(slot.expand))
        unexpanded = torch.tensor([[mid == c for mid in row] for c, row in zip(incoming, mids, strict=True)])
        equal = torch.tensor([[into == out and slot.stride == 1 for out in slot.out] for into in incoming])
        tables = {
            "mid_prefixes": prefixes(flat, self.widest_mid).unflatten(0, pairs),
            "squeezed_prefixes": prefixes([squeezed(m) for m in flat], squeezed(self.widest_mid)).unflatten(0, pairs),
            "out_prefixes": prefixes(slot.out, self.widest_out),
            "unexpanded": unexpanded.float(),
            "equal": equal.float(),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
        self.may_stay_narrow, self.may_be_equal = bool(unexpanded.any()), bool(equal.any())
        widest_in = max(incoming)
        if not unexpanded.all():
            self.expand = ConvBN(widest_in, self.widest_mid)
        self.depthwise = DepthwiseBN(self.widest_mid, slot.kernel, slot.stride)
        if any(slot.se):
            self.se = MaskedSqueezeExcite(self.widest_mid, squeezed(self.widest_mid))
        self.project = ConvBN(self.widest_mid, self.widest_out)
        if slot.skip and not equal.all():
            self.skip = ConvBN(widest_in, self.widest_out, stride=slot.stride)

    def forward(self, x: Tensor, came: Tensor) -> tuple[Tensor, Tensor]:
        """x: [B, widest in, H, W]; came: the weights of its widths. Returns the same of what goes out."""
        tables: Any = self
        out, acts = self.out.weights(), self.act.weights()
        pairs = came[:, None] * self.expansion.weights()
        mid_mask = torch.tensordot(pairs, tables.mid_prefixes, 2)
        y = fit(x, self.widest_mid)
        if hasattr(self, "expand"):
            wide = activate(self.expand(x), acts, self.act.choices)
            narrow = (pairs * tables.unexpanded).sum()
            y = wide * (1 - narrow) + y * narrow if self.may_stay_narrow else wide
        y = activate(self.depthwise(y, self.kernel.weights()), acts, self.act.choices)
        if hasattr(self, "se"):
            share = self.use_se.weights()[1] if len(self.use_se) > 1 else None
            inner = torch.tensordot(pairs, tables.squeezed_prefixes, 2)
            y = self.se(y, mid_mask, inner, share, self.act.choices, acts)
        ops = self.op.weights()
        mask = out @ tables.out_prefixes
        y = self.project(y, mid_mask, mask * ops[0])
        same = (came[:, None] * out * tables.equal).sum()
        if self.may_be_equal:
            y = y + same * fit(x, self.widest_out)
        if hasattr(self, "skip"):  # a weight that is not negative goes through ReLU
            y = y + F.relu(self.skip(x, None, mask * (ops[1] * (1 - same))))
        return y, out
