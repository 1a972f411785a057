"""SimCC: a keypoint as a class of x and a class of y, without upsampling.

"SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation" (Li et al., ECCV 2022,
arXiv:2107.03332), section 3, in the form of RTMPose's head (Jiang et al., 2023, arXiv:2303.07399, section 3.2): a
convolution with a wide kernel gives a map per keypoint, which is flattened; a linear layer leads to a hidden width and
two more to the bins. mmpose's figure without deconvolutions: MobileNetV2 62.0 AP at 256x192 (detector boxes, flip
test).

Deviations from RTMPose: the 7x7 convolution is depthwise-separable (0.09 M instead of 1.07 M parameters on 1280
channels for 17 keypoints); there is no gated attention between keypoints; layer norm before and ReLU after the hidden
layer replace ScaleNorm. lightseg/heads/rtmcc.py has RTMPose's own layers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightseg.errors import LightsegError
from lightseg.heads.codecs import SimCCCodec
from lightseg.losses.pose import PoseLoss, check_targets

KERNEL = 7  # of the convolution to the maps of the keypoints


class CoordinateHead(nn.Module):
    """What heads with classes of coordinates have in common: targets, loss and decoding, for images of a fixed size.

    A subclass has `maps`, from the deepest feature map to a map per keypoint, `features`, from these maps to `hidden`
    features per keypoint, and `x` and `y`, from these to the bins. Arguments as of `SimCCHead`.
    """

    DECODING = ()
    maps: nn.Module
    x: nn.Module
    y: nn.Module

    def __init__(
        self,
        stages: Sequence[tuple[int, int]],
        num_classes: int,
        *,
        image_size: Sequence[int],
        split: float,
        hidden: int,
        sigma: float | Sequence[float] | None,
        loss: PoseLoss | None = None,
    ) -> None:
        super().__init__()
        if len(image_size) != 2 or min(image_size) < 1:
            raise LightsegError(f"image_size={list(image_size)}: give height and width in pixels, as in [256, 192]")
        if hidden < 1:
            raise LightsegError(f"hidden={hidden}: must be 1 channel or more (256 is usual)")
        stride = stages[-1][1]
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.map_size = (-(-self.image_size[0] // stride), -(-self.image_size[1] // stride))
        self.cells = self.map_size[0] * self.map_size[1]
        self.num_classes = num_classes
        sigmas = (sigma, sigma) if isinstance(sigma, int | float) else sigma
        self.codec = SimCCCodec(float(split), None if sigmas is None else (float(sigmas[0]), float(sigmas[-1])))
        self.criterion = loss or PoseLoss()

    def bin_layers(self, hidden: int, *, bias: bool = True) -> tuple[nn.Linear, nn.Linear]:
        """Linear layers from `hidden` features to the bins of x and of y."""
        bins_x, bins_y = self.codec.bins(self.image_size)
        return nn.Linear(hidden, bins_x, bias=bias), nn.Linear(hidden, bins_y, bias=bias)

    def features(self, maps: Tensor) -> Tensor:
        """Maps [B,K,h,w] -> features [B,K,hidden]."""
        raise NotImplementedError

    def forward(self, features: list[Tensor], image_size: tuple[int, int]) -> dict[str, Tensor]:
        """Feature maps, shallow to deep, and (height, width) of the images -> logits `x` [B,K,X] and `y` [B,K,Y].

        Raises:
            LightsegError: the size of the images is not the head's `image_size`.
        """
        if tuple(image_size) != self.image_size:
            raise LightsegError(
                f"this head is for images of {self.image_size[0]}x{self.image_size[1]}, "
                f"not {image_size[0]}x{image_size[1]}: set head.image_size to the size of the crops"
            )
        maps = self.maps(features[-1])
        if tuple(maps.shape[-2:]) != self.map_size:  # a net without padding has slightly smaller maps
            maps = nn.functional.interpolate(maps, size=self.map_size, mode="bilinear", align_corners=False)
        hidden = self.features(maps)
        return {"x": self.x(hidden), "y": self.y(hidden)}

    def loss(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """From the batch `keypoints` [B,K,2] px, `visible` [B,K] and `area` [B] px^2 -> `loss` and its parts."""
        check_targets(batch, len(outputs["x"]), self.num_classes)
        labels, weights = self.codec.encode(batch["keypoints"], batch["visible"], self.image_size)
        positions = self.codec.positions(self.image_size, outputs["x"].device)
        oks = self.criterion.oks_along(positions, batch["keypoints"], batch["area"])
        return self.criterion.simcc_loss((outputs["x"], outputs["y"]), labels, weights, oks)

    @torch.no_grad()
    def decode(self, outputs: dict[str, Tensor], image_size: tuple[int, int]) -> dict[str, Tensor]:
        """Logits -> `keypoints` float32 [B,K,2] in px of the image, and `scores` [B,K] in 0..1.

        A score is the probability of the best bin divided by that of an exact prediction, the lower of both axes.
        """
        ratios = []
        for axis, side in (("x", 0), ("y", 1)):
            probability = (self.criterion.beta * outputs[axis].float()).softmax(2).amax(2)
            ratios.append(probability / self._exact(outputs[axis], side))
        keypoints = self.codec.decode(outputs["x"], outputs["y"])
        return {"keypoints": keypoints, "scores": torch.minimum(*ratios).clamp(0, 1)}

    def _exact(self, logits: Tensor, side: int) -> Tensor:
        """The probability of the best bin if the logits are the labels of a point in the middle of the image."""
        middle = torch.tensor([[[self.image_size[1] // 2, self.image_size[0] // 2]]], device=logits.device)
        labels, _ = self.codec.encode(middle, torch.ones_like(middle[..., 0]), self.image_size)
        return (self.criterion.beta * labels[side]).softmax(2).amax()

    def unflip(self, outputs: dict[str, Tensor], swap: Sequence[int]) -> dict[str, Tensor]:
        """Outputs for mirrored images, mirrored back. swap: per keypoint the index of its mirror image."""
        order = list(swap)
        return {"x": self.codec.unflip(outputs["x"][:, order]), "y": outputs["y"][:, order]}

    def average(self, outputs: dict[str, Tensor], others: dict[str, Tensor]) -> dict[str, Tensor]:
        return {axis: (outputs[axis] + others[axis]) / 2 for axis in outputs}


class SimCCHead(CoordinateHead):
    """Logits of bins, with targets, loss and decoding, for images of a fixed size.

    stages: (channels, stride) of each feature map, shallow to deep; the deepest is used. num_classes: number of
        keypoints.
    image_size: (height, width) of the images, on which the linear layers depend. split: bins per pixel. hidden: width
        of the hidden layer. sigma: of the smoothed labels, in bins, along x and y or along both; None: sqrt(bins/16).
    """

    def __init__(
        self,
        stages: Sequence[tuple[int, int]],
        num_classes: int,
        *,
        image_size: Sequence[int] = (256, 192),
        split: float = 2.0,
        hidden: int = 256,
        sigma: float | Sequence[float] | None = None,
        loss: PoseLoss | None = None,
    ) -> None:
        super().__init__(stages, num_classes, image_size=image_size, split=split, hidden=hidden, sigma=sigma, loss=loss)
        channels = stages[-1][0]
        self.maps = nn.Sequential(
            nn.Conv2d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, num_classes, 1),
        )
        self.hidden = nn.Sequential(nn.LayerNorm(self.cells), nn.Linear(self.cells, hidden), nn.ReLU(inplace=True))
        self.x, self.y = self.bin_layers(hidden)

    def features(self, maps: Tensor) -> Tensor:
        return self.hidden(maps.flatten(2))
