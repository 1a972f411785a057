"""Classification heads: pooling and a linear layer on any pyramid, or the net's own classifier.

Not all published nets end in pooling and a linear layer (MobileNetV3 and MicroNet do not), so a published top-1 is that
of `NativeHead`. `LinearHead` is usual for transfer to other classes.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from lightseg.errors import LightsegError
from lightseg.losses.classification import ClassificationLoss
from lightseg.losses.multilabel import MultiLabelLoss


class _ClassificationHead(nn.Module):
    """Loss and decoding of logits [B,C]."""

    criterion: ClassificationLoss | MultiLabelLoss

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """`outputs` [B,C] logits, `targets["labels"]` as the loss takes them -> `{"loss": ...}`."""
        return self.criterion(outputs, targets["labels"])

    def decode(self, outputs: Tensor, image_size: tuple[int, int] | None = None) -> Tensor:
        """Logits [B,C] -> probabilities float32 [B,C]: softmax, or sigmoid where an image has several classes."""
        return self.criterion.probabilities(outputs.float())


class LinearHead(_ClassificationHead):
    """Global average pooling of the deepest map, dropout, linear layer.

    stages: (channels, stride) of each feature map, shallow to deep. dropout: fraction of the pooled channels that is
    dropped; it may change between phases of training (`head.dropout.p`).
    """

    def __init__(
        self,
        stages: Sequence[tuple[int, int]],
        num_classes: int,
        *,
        dropout: float = 0.0,
        loss: ClassificationLoss | MultiLabelLoss | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise LightsegError(f"dropout={dropout}: must be from 0 to below 1 (0.2 is usual)")
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(stages[-1][0], num_classes)
        self.criterion = loss or ClassificationLoss()

    def forward(self, features: list[Tensor], image_size: tuple[int, int] | None = None) -> Tensor:
        """Feature maps, shallow to deep -> logits [B,C]."""
        return self.classifier(self.dropout(features[-1].mean((2, 3))))


class NativeHead(_ClassificationHead):
    """For a backbone with its own classifier (`Classifier`), whose only feature map is the logits [B,C].

    stages: one pair, (number of classes of the classifier, 0). LightsegError if it is not `num_classes`.
    """

    NATIVE_CLASSIFIER = True  # built on the classification net, not on its feature pyramid

    def __init__(
        self,
        stages: Sequence[tuple[int, int]],
        num_classes: int,
        *,
        loss: ClassificationLoss | MultiLabelLoss | None = None,
    ) -> None:
        super().__init__()
        classes = stages[-1][0]
        if classes != num_classes:
            raise LightsegError(
                f"the net's own classifier has {classes} classes, but the data has {num_classes}: use head linear, or "
                f"build the net with num_classes={num_classes}"
            )
        self.criterion = loss or ClassificationLoss()

    def forward(self, features: list[Tensor], image_size: tuple[int, int] | None = None) -> Tensor:
        """[logits] -> logits [B,C]."""
        return features[-1]
