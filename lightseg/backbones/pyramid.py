"""FeaturePyramid: a net that gives a list of maps, and says which before it is run."""

from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from lightseg.backbones.dilation import nominal_stride, probe
from lightseg.errors import LightsegError


class Stage(NamedTuple):
    """One map of a pyramid. The stride is nominal: a net that pads nothing (Xception) has slightly smaller maps."""

    channels: int
    stride: int


class FeaturePyramid(nn.Module):
    """A net that gives a list of maps, shallow to deep.

    Attributes:
        net: timm's `features_only` net; its parameters keep timm's names.
        name: the name it was asked for by.
        stages: one `Stage` for each map of `forward`.
        output_stride: stride of the deepest map.
        mean, std: the normalisation that the net's weights were trained with, one value an input channel, for pixels
            in 0..1.
    """

    def __init__(self, net: nn.Module, name: str, in_chans: int, taps: list[str] | None = None) -> None:
        """
        Args:
            taps: modules of `net` whose outputs stand in for its own maps, one for each; None: its own maps.
        """
        super().__init__()
        info: Any = net.feature_info
        config: dict[str, Any] = net.pretrained_cfg  # type: ignore[assignment]
        self.net = net
        self.name = name
        self.stages = tuple(Stage(c, s) for c, s in zip(info.channels(), info.reduction(), strict=True))
        self.mean = per_channel(config["mean"], in_chans)
        self.std = per_channel(config["std"], in_chans)
        self._channels_last = getattr(net, "output_fmt", "NCHW") == "NHWC"  # timm's Swin
        self._taps = taps
        self._tapped: dict[str, Tensor] = {}
        for tap in taps or []:
            # a bound method, so that a copy's hooks write to the copy
            net.get_submodule(tap).register_forward_hook(partial(self._keep, tap))

    @property
    def output_stride(self) -> int:
        return self.stages[-1].stride

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: normalised images [B, in_chans, H, W]. Returns one map [B, channels, ~H/stride, ~W/stride] a stage."""
        maps = list(self.net(x))
        if self._taps is not None:
            maps = [self._tapped.pop(tap) for tap in self._taps]
        return [m.permute(0, 3, 1, 2) for m in maps] if self._channels_last else maps

    def _keep(self, tap: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._tapped[tap] = output


def first_blocks(net: nn.Module, name: str) -> list[str]:
    """The modules whose outputs are the first of their stride, the deepest map staying the net's last.

    Raises:
        LightsegError: the net is not a stem and a sequence of `blocks`.
    """
    info: Any = net.feature_info
    if not hasattr(net, "blocks") or not all("stage" in level for level in info.get_dicts()):
        raise LightsegError(
            f"{name} has no taps 'first': it is not a stem and a sequence of blocks; it has taps 'last'"
        )
    *shallow, deepest = info.get("stage")  # 0: after the stem; n: after blocks[n - 1]
    starts = [0, *shallow]  # the first block of a stride follows the last one of the stride before
    stem = "act1" if hasattr(net, "act1") else "bn1"
    firsts = [f"blocks.{start}.0" if end else stem for start, end in zip(starts, shallow, strict=False)]
    return [*firsts, f"blocks.{deepest - 1}"]


def real_stages(pyramid: FeaturePyramid, image_size: tuple[int, int], in_chans: int) -> tuple[Stage, ...]:
    """What the maps of one blank image of `image_size` pixels measure."""
    maps = probe(pyramid, image_size, in_chans)
    return tuple(Stage(m.shape[1], nominal_stride(image_size[0], m.shape[2])) for m in maps)


def per_channel(values: tuple[float, ...], in_chans: int) -> tuple[float, ...]:
    """RGB statistics for `in_chans` channels, as timm adapts RGB weights: one takes their mean, more repeat them."""
    if in_chans == 1:
        return (sum(values) / len(values),)
    return tuple(values[i % len(values)] for i in range(in_chans))
