"""FeaturePyramid: a net that returns a list of feature maps and declares their channels and strides."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from lightseg.backbones.build import fixed_size
from lightseg.backbones.dilation import nominal_stride, probe
from lightseg.errors import LightsegError


class Stage(NamedTuple):
    """A feature map of a pyramid. The stride is nominal: a net without padding (Xception) has slightly smaller maps."""

    channels: int
    stride: int


class FeaturePyramid(nn.Module):
    """A net that returns a list of feature maps, shallow to deep.

    Attributes:
        net: timm's `features_only` net; its parameters keep timm's names.
        name: name of the net.
        stages: one `Stage` per feature map.
        output_stride: stride of the deepest map.
        input_format: channel order and normalization that the net's weights expect.
        fixed_size: (height, width) of the only images that it takes; None: any size.
        mean, std: the normalization, one value per input channel, for pixels in 0..1.
    """

    def __init__(
        self, net: nn.Module, name: str, in_chans: int, taps: Sequence[str | None] = (), input_format: str | None = None
    ) -> None:
        """
        Args:
            taps: for each feature map, a module of `net` whose output replaces it, or None.
            input_format: see `InputFormat.of`.
        """
        super().__init__()
        info: Any = net.feature_info
        self.net = net
        self.name = name
        self.stages = tuple(Stage(c, s) for c, s in zip(info.channels(), info.reduction(), strict=True))
        self.input_format = InputFormat.of(net, in_chans, input_format)
        self.fixed_size = fixed_size(net)
        self._channels_last = getattr(net, "output_fmt", "NCHW") == "NHWC"  # timm's Swin
        self._taps = list(taps)
        self._tapped: dict[str, Tensor] = {}
        for tap in filter(None, taps):
            # a bound method: after copy.deepcopy the hooks write to the copy
            net.get_submodule(tap).register_forward_hook(partial(self._keep, tap))

    @property
    def mean(self) -> tuple[float, ...]:
        return self.input_format.mean

    @property
    def std(self) -> tuple[float, ...]:
        return self.input_format.std

    @property
    def output_stride(self) -> int:
        return self.stages[-1].stride

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: normalized images [B, in_chans, H, W]. Returns a map [B, channels, ~H/stride, ~W/stride] per stage."""
        maps = list(self.net(x))
        for level, tap in enumerate(self._taps):
            if tap is not None:
                maps[level] = self._tapped.pop(tap)
        return [m.permute(0, 3, 1, 2) for m in maps] if self._channels_last else maps

    def _keep(self, tap: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._tapped[tap] = output


class InputFormat(NamedTuple):
    """Input that weights expect: (value in 0..1 - `mean`) / `std`, in RGB or with `bgr` in BGR order."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool = False

    @classmethod
    def of(cls, net: nn.Module, in_chans: int, input_format: str | None) -> "InputFormat":
        """None: timm's statistics for the net. "bgr255": BGR in 0..255 without normalization, as in Caffe."""
        if input_format == "bgr255":
            if in_chans != 3:
                raise LightsegError(f"input_format=bgr255 is for 3 channels, not {in_chans}")
            return cls((0.0,) * 3, (1 / 255,) * 3, bgr=True)
        if input_format is not None:
            raise LightsegError(f"no input_format {input_format!r}: choose bgr255, or None for timm's normalization")
        config: dict[str, Any] = net.pretrained_cfg  # type: ignore[assignment]
        return cls(per_channel(config["mean"], in_chans), per_channel(config["std"], in_chans))


def first_blocks(net: nn.Module) -> list[str] | None:
    """The first module of each stride, and for the deepest map the last. None if the net is not a stem and `blocks`."""
    info: Any = net.feature_info
    if not hasattr(net, "blocks") or not all("stage" in level for level in info.get_dicts()):
        return None
    *shallow, deepest = info.get("stage")  # 0: after the stem; n: after blocks[n - 1]
    starts = [0, *shallow]  # the first block of a stride follows the last block of the stride before
    stem = "act1" if hasattr(net, "act1") else "bn1"
    firsts = [f"blocks.{start}.0" if end else stem for start, end in zip(starts, shallow, strict=False)]
    return [*firsts, f"blocks.{deepest - 1}"]


def expansions(net: nn.Module, image_size: tuple[int, int], in_chans: int) -> list[str | None] | None:
    """Taps that replace the last map but one by the expansion in the first block of the deepest stride, the input of
    SSDLite's first predictor (MobileNetV2, arXiv:1801.04381, section 6.2: "the expansion layer of layer 15").

    Call it before `dilate`. Returns None if that block is not an inverted residual or has no expansion.
    """
    info: Any = net.feature_info
    sizes: dict[str, tuple[int, int]] = {}
    layers = {path: layer for path, block in net.named_modules() if (layer := expansion(block))}
    handles = [net.get_submodule(path).register_forward_hook(_note_sizes(sizes, path)) for path in layers]
    probe(net, image_size, in_chans)
    for handle in handles:
        handle.remove()
    deepest, height = info.reduction()[-1], image_size[0]
    first = next((path for path, (into, out) in sizes.items() if height // into < deepest == height // out), None)
    if first is None:
        return None
    return [None] * (len(info.reduction()) - 2) + [f"{first}.{layers[first]}", None]


def expansion(block: nn.Module) -> str:
    """The name of the last layer of an inverted residual's expansion; empty for every other module.

    timm's batch norm includes the activation.
    """
    if hasattr(block, "expand"):
        return "expand"
    return "bn1" if hasattr(block, "conv_pw") and hasattr(block, "conv_pwl") else ""


def _note_sizes(sizes: dict[str, tuple[int, int]], path: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
    def hook(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        sizes[path] = (inputs[0].shape[2], output.shape[2])

    return hook


def real_stages(pyramid: FeaturePyramid, image_size: tuple[int, int], in_chans: int) -> tuple[Stage, ...]:
    """Channels and strides of the feature maps, measured with a blank image of `image_size` pixels."""
    maps = probe(pyramid, image_size, in_chans)
    return tuple(Stage(m.shape[1], nominal_stride(image_size[0], m.shape[2])) for m in maps)


def per_channel(values: tuple[float, ...], in_chans: int) -> tuple[float, ...]:
    """RGB statistics for `in_chans` channels, as timm adapts RGB weights: the mean for one channel, else repeated."""
    if in_chans == 1:
        return (sum(values) / len(values),)
    return tuple(values[i % len(values)] for i in range(in_chans))
