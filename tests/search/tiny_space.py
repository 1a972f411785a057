"""A search space with all kinds of choices and nets that train in a second."""

import torch
from torch import nn
from torch.nn import functional as F

from lightseg.backbones.supernet.gumbel import decisions

TINY = """\
name: tiny
divisor: 4
input_sizes: [48, 64, 96]
stem: {out: [4, 8], act: [relu, hswish]}
stages:
- - {out: [4, 8], expand: 1, kernel: [3, 5]}
- - {out: [8, 12], expand: [1, 2], kernel: [3, 5], se: [false, true], act: [relu, hswish], stride: 2}
  - {out: [8, 12, 16], expand: [1, 2, 3], se: true, act: hswish, skip: true, repeat: 2}
- - {out: {from: 12, to: 20, step: 4}, expand: {from: 1.5, to: 3, step: 1.5}, kernel: [3, 5, 7], skip: true, stride: 2}
- - {out: [16, 24], expand: [1, 2], se: [false, true], stride: 2}
- - {out: 24, expand: 2, kernel: [3, 5], skip: true, stride: 2}
head: {kind: conv, out: 32}
"""


def set_choices(net: nn.Module, choices: dict[str, int]) -> None:
    """Put all weight on these, by place and number, in training mode too."""
    for name, decision in decisions(net).items():
        index = torch.tensor(choices[name], device=decision.alpha.device)
        with torch.no_grad():
            decision.alpha.zero_()[choices[name]] = 10.0
        decision.sampled = F.one_hot(index, len(decision)).to(decision.alpha.dtype)
