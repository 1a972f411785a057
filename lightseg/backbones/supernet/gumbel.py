"""Differentiable choices: the Gumbel-Softmax of FBNet (arXiv:1812.03443, section 3.2) and FBNetV2.

A decision among n choices has n architecture parameters alpha. While the super-network trains, every step samples the
weights softmax((alpha + noise) / temperature) with Gumbel noise: choice i has the largest weight with the probability
softmax(alpha)_i. The temperature falls over the run, so the weights begin nearly uniform and end nearly one-hot.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-10  # so that the logarithm of a random number of 0 is finite


class Decision(nn.Module):
    """A decision among `choices`. Its alpha has `requires_grad` off until a search sets it.

    Attributes:
        alpha: [n], logits of the choices.
        sampled: the weights [n] of this step. None, and evaluation mode: all weight is on the likeliest choice.
    """

    def __init__(self, choices: Sequence[Any]) -> None:
        super().__init__()
        self.choices = tuple(choices)
        self.sampled: Tensor | None = None
        if len(self.choices) > 1:
            self.alpha = nn.Parameter(torch.zeros(len(self.choices)), requires_grad=False)
        else:
            self.register_buffer("alpha", torch.zeros(1), persistent=False)

    def __len__(self) -> int:
        return len(self.choices)

    @property
    def index(self) -> int:
        """Index of the likeliest choice."""
        return int(self.alpha.argmax())

    @property
    def chosen(self) -> Any:
        """The likeliest choice."""
        return self.choices[self.index]

    def probabilities(self) -> Tensor:
        """softmax(alpha), [n]."""
        return self.alpha.softmax(0)

    def weights(self) -> Tensor:
        """The current weights of the choices, [n] with sum 1."""
        if self.training and self.sampled is not None:
            return self.sampled
        return F.one_hot(self.alpha.argmax(), len(self)).to(self.alpha.dtype)

    def sample(self, temperature: float, generator: torch.Generator) -> None:
        """Sample new weights, differentiable in alpha if it requires gradients. `generator`: of the CPU."""
        if len(self) > 1:
            uniform = torch.rand(len(self), generator=generator).to(self.alpha)
            noise = -torch.log(-torch.log(uniform + EPS) + EPS)
            self.sampled = ((self.alpha + noise) / temperature).softmax(0)


def decisions(net: nn.Module) -> dict[str, Decision]:
    """The decisions of a super-network with more than one choice, by module name."""
    return {name: m for name, m in net.named_modules() if isinstance(m, Decision) and len(m) > 1}


def sample_choices(net: nn.Module, temperature: float, generator: torch.Generator) -> None:
    """Sample new weights for all decisions of a super-network."""
    for decision in decisions(net).values():
        decision.sample(temperature, generator)


def temperature(progress: float, start: float, end: float) -> float:
    """The annealed temperature: exponential from `start` to `end` for `progress` from 0 to 1, as in FBNet."""
    return start * (end / start) ** min(max(progress, 0.0), 1.0)
