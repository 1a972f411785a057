"""Choices that gradients can make: the Gumbel-Softmax of FBNet (arXiv:1812.03443, section 3.2) and FBNetV2.

A decision among n choices has n numbers, alpha. While the super-network trains, every step draws weights
softmax((alpha + noise) / temperature), whose noise is Gumbel's: the largest is that of choice i with the probability
softmax(alpha)_i. The temperature falls over the run, so that the weights begin nearly even and end nearly one-hot.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TINY = 1e-10  # so that the logarithm of a random number of 0 is finite


class Decision(nn.Module):
    """One of `choices`. Its alpha is no trained weight of the net (`requires_grad` is off) until a search says so.

    Attributes:
        drawn: the weights [n] of this step; None: all weight is on the likeliest choice, as always in evaluation mode.
    """

    def __init__(self, choices: Sequence[Any]) -> None:
        super().__init__()
        self.choices = tuple(choices)
        self.drawn: Tensor | None = None
        if len(self.choices) > 1:
            self.alpha = nn.Parameter(torch.zeros(len(self.choices)), requires_grad=False)
        else:
            self.register_buffer("alpha", torch.zeros(1), persistent=False)

    def __len__(self) -> int:
        return len(self.choices)

    @property
    def index(self) -> int:
        """Of the likeliest choice."""
        return int(self.alpha.argmax())

    @property
    def chosen(self) -> Any:
        return self.choices[self.index]

    def probabilities(self) -> Tensor:
        return self.alpha.softmax(0)

    def weights(self) -> Tensor:
        """[n], of sum 1."""
        if self.training and self.drawn is not None:
            return self.drawn
        return F.one_hot(self.alpha.argmax(), len(self)).to(self.alpha.dtype)

    def draw(self, temperature: float, generator: torch.Generator) -> None:
        """New weights, which carry gradients to alpha if it requires them; `generator` is of the CPU."""
        if len(self) > 1:
            uniform = torch.rand(len(self), generator=generator).to(self.alpha)
            noise = -torch.log(-torch.log(uniform + TINY) + TINY)
            self.drawn = ((self.alpha + noise) / temperature).softmax(0)


def decisions(net: nn.Module) -> dict[str, Decision]:
    """The decisions of a super-network that have something to decide, by their places in it."""
    return {name: m for name, m in net.named_modules() if isinstance(m, Decision) and len(m) > 1}


def draw(net: nn.Module, temperature: float, generator: torch.Generator) -> None:
    for decision in decisions(net).values():
        decision.draw(temperature, generator)


def temperature(progress: float, start: float, end: float) -> float:
    """Exponentially from `start` to `end` while `progress` goes from 0 to 1, as FBNet anneals it."""
    return start * (end / start) ** min(max(progress, 0.0), 1.0)
