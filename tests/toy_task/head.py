"""Global average pooling and one linear layer that gives the logarithm of the depth; smooth L1 on it."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class DepthLoss(nn.Module):
    def __init__(self, *, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, log_depth: Tensor, depth: Tensor) -> dict[str, Tensor]:
        """log_depth, depth: [B], meters."""
        return {"loss": F.smooth_l1_loss(log_depth.float(), depth.log(), beta=self.beta)}


class DepthHead(nn.Module):
    def __init__(self, stages: Sequence[tuple[int, int]], num_classes: int, *, loss: DepthLoss | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(stages[-1][0], num_classes)
        self.criterion = loss or DepthLoss()

    def forward(self, features: list[Tensor], image_size: tuple[int, int]) -> Tensor:
        """-> log depth [B]."""
        return self.linear(features[-1].mean((2, 3)))[:, 0]

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.criterion(outputs, targets["depths"])

    def decode(self, outputs: Tensor, image_size: tuple[int, int]) -> Tensor:
        """-> depth [B] in meters."""
        return outputs.float().exp()
