"""A net with its published classifier, as a backbone: `create_classifier("micronet_m0")`."""

from os import PathLike
from typing import Any

from torch import Tensor, nn

from lightseg.backbones.build import build_net, fixed_size, try_size
from lightseg.backbones.pyramid import InputFormat, Stage
from lightseg.catalog.arch import Arch


class Classifier(nn.Module):
    """A classification net. Its only "feature map" is the logits.

    Attributes:
        net: timm's classification net; its parameters keep timm's names.
        name: name of the net.
        stages: one `Stage` with the number of classes as channels, and stride 0.
        input_format: channel order and normalization that its weights expect.
        fixed_size: (height, width) of the only images that it takes; None: any size.
    """

    def __init__(
        self, net: nn.Module, name: str, num_classes: int, in_chans: int, input_format: str | None = None
    ) -> None:
        super().__init__()
        self.net = net
        self.name = name
        self.stages = (Stage(num_classes, 0),)
        self.input_format = InputFormat.of(net, in_chans, input_format)
        self.fixed_size = fixed_size(net)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: normalized images [B, in_chans, H, W]. Returns a list with one entry, the logits [B, num_classes]."""
        return [self.net(x)]


def create_classifier(
    name: str | Arch,
    num_classes: int = 1000,
    *,
    pretrained: bool | str | PathLike[str] = False,
    in_chans: int = 3,
    bn_eps: float | None = None,
    drop_rate: float | None = None,
    drop_path_rate: float = 0.0,
    input_format: str | None = None,
    image_size: tuple[int, int] | None = None,
) -> Classifier:
    """Build a net with its published classifier.

    Args:
        name, in_chans, bn_eps, drop_path_rate, input_format, image_size: as for `create_backbone`.
        num_classes: of the classifier. Weights for another number of classes are loaded without their classifier, with
            a warning in the log.
        pretrained: False, True (official weights) or the path of a weight file.
        drop_rate: dropout before the last layer; None: the net's default.

    Raises:
        LightsegError: an unknown name, an option that the net does not support, or weights that cannot be loaded.
    """
    options: dict[str, Any] = {"num_classes": num_classes, "in_chans": in_chans}
    if drop_rate is not None:
        options["drop_rate"] = drop_rate
    net, name = build_net(
        name, pretrained, bn_eps=bn_eps, drop_path_rate=drop_path_rate, image_size=image_size, **options
    )
    classifier = Classifier(net, name, num_classes, in_chans, input_format)
    if image_size is not None:
        try_size(classifier, image_size, in_chans)
    return classifier
