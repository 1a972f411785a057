"""Classification: pooling and one linear layer on any pyramid, or the network's own classifier.

The published nets do not all end in pooling and a linear layer (MobileNetV3 and MicroNet do not), so a published top-1
belongs to `NativeHead`. `LinearHead` is what transfer to other classes usually takes.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from lightseg.errors import LightsegError
from lightseg.losses.classification import ClassificationLoss


class _ClassificationHead(nn.Module):
    """What the two heads share: the loss and the decoding of logits [B,C]."""

    criterion: ClassificationLoss

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """`outputs` [B,C] logits, `targets["labels"]` int64 [B] or float [B,C] -> `{"loss": ...}`."""
        return self.criterion(outputs, targets["labels"])

    def decode(self, outputs: Tensor, image_size: tuple[int, int] | None = None) -> Tensor:
        """Logits [B,C] -> probabilities float32 [B,C]."""
        return outputs.float().softmax(1)


class LinearHead(_ClassificationHead):
    """Global average pooling of the deepest map, dropout, one linear layer.

    stages: (channels, stride) of each feature map, shallow to deep. dropout: share of the pooled channels dropped; it
    may change between stages of training (`head.dropout.p`).
    """

    def __init__(
        self,
        stages: Sequence[tuple[int, int]],
        num_classes: int,
        *,
        dropout: float = 0.0,
        loss: ClassificationLoss | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise LightsegError(f"dropout is a share from 0 up to 1 (0.2 is usual), not {dropout}")
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(stages[-1][0], num_classes)
        self.criterion = loss or ClassificationLoss()

    def forward(self, features: list[Tensor], image_size: tuple[int, int] | None = None) -> Tensor:
        """Feature maps, shallow to deep -> logits [B,C]."""
        return self.classifier(self.dropout(features[-1].mean((2, 3))))


class NativeHead(_ClassificationHead):
    """The network's own classifier, which is a part of the network here: the only feature is its logits [B,C].

    stages: one pair whose first number is the width of the logits.

    Raises LightsegError where that is not the number of classes.
    """

    WHOLE_NET = True  # built on the whole classification net, not on its pyramid

    def __init__(
        self,
        stages: Sequence[tuple[int, int]],
        num_classes: int,
        *,
        loss: ClassificationLoss | None = None,
    ) -> None:
        super().__init__()
        width = stages[-1][0]
        if width != num_classes:
            raise LightsegError(
                f"the net's own classifier knows {width} classes, but the data has {num_classes}: "
                "use head linear, or build the net with as many classes"
            )
        self.criterion = loss or ClassificationLoss()

    def forward(self, features: list[Tensor], image_size: tuple[int, int] | None = None) -> Tensor:
        """[logits] -> logits [B,C]."""
        return features[-1]
