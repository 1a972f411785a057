"""Layers of a super-network: a single weight, of the widest choice, narrowed by channel masks.

FBNetV2 (arXiv:2004.05565), section 3.2: the output of a layer with channel choices is y = b(x) * sum_i g_i 1_i, where
1_i has ones for the channels of choice i and zeros behind. A mask is a vector, so any number of choices takes a single
forward pass and a single feature map. Here the mask needs no feature map either: on the output of a batch norm it is
applied to scale and shift, on the input of a convolution to the weight. Kernels of several sizes are a single
convolution too, because a sum of convolutions is the convolution with the sum of the kernels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightseg.cpu_training import DepthwiseConv2d


def prefixes(widths: Sequence[int], widest: int) -> Tensor:
    """Channel masks [n, widest]: row i has ones up to the i-th width."""
    return (torch.arange(widest) < torch.tensor(widths)[:, None]).float()


def fit_channels(x: Tensor, channels: int) -> Tensor:
    """x [B, C, H, W] cropped or zero-padded to [B, channels, H, W]."""
    missing = channels - x.shape[1]
    return F.pad(x, (0, 0, 0, 0, 0, missing)) if missing > 0 else x[:, :channels]


def activate(x: Tensor, weights: Tensor, acts: Sequence[str]) -> Tensor:
    """The sum of the activations `acts` of x, weighted by `weights` [n]."""
    functions = {"relu": F.relu, "hswish": F.hardswish}
    if len(acts) == 1:
        return functions[acts[0]](x)
    return sum(weight * functions[act](x) for weight, act in zip(weights, acts, strict=True))  # type: ignore[return-value]


class MaskedConv(nn.Conv2d):
    """A convolution with input channels multiplied by `mask` [in_chans]."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        weight = self.weight if mask is None else self.weight * mask[:, None, None]
        return self._conv_forward(x, weight, self.bias)


class MaskedBatchNorm(nn.BatchNorm2d):
    """A batch norm with output channels multiplied by `mask` [C]. With `frozen`, running statistics stay unchanged."""

    frozen = False

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        weight, bias = (self.weight, self.bias) if mask is None else (self.weight * mask, self.bias * mask)
        mean, var = self.running_mean, self.running_var
        if self.training and self.frozen:
            mean, var = mean.clone(), var.clone()  # type: ignore[union-attr]
        elif self.training:
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        return F.batch_norm(x, mean, var, weight, bias, self.training, self.momentum or 0.0, self.eps)


class ConvBN(nn.Module):
    """Convolution and batch norm, with masks for input and output channels."""

    def __init__(self, in_chans: int, out_chans: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = MaskedConv(in_chans, out_chans, kernel, stride, kernel // 2, bias=False)
        self.bn = MaskedBatchNorm(out_chans)

    def forward(self, x: Tensor, in_mask: Tensor | None = None, out_mask: Tensor | None = None) -> Tensor:
        return self.bn(self.conv(x, in_mask), out_mask)


class MixedDepthwise(DepthwiseConv2d):
    """A depthwise convolution with a weight for each of its odd kernel sizes `kernels`, in ascending order."""

    def __init__(self, channels: int, kernels: Sequence[int], stride: int) -> None:
        *smaller, largest = kernels
        super().__init__(channels, channels, largest, stride, largest // 2, groups=channels, bias=False)
        self.smaller = nn.ParameterList([nn.Parameter(torch.empty(channels, 1, k, k)) for k in smaller])

    def kernels(self) -> list[Tensor]:
        """The weight [channels, 1, k, k] of each choice."""
        return [*self.smaller, self.weight]

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """weights: [n] of the kernels; None: the largest kernel alone."""
        weight = self.weight
        if weights is not None and len(self.smaller):
            weight = weight * weights[-1]
            for kernel_weight, kernel in zip(weights, self.smaller, strict=False):
                weight = weight + F.pad(kernel * kernel_weight, [(self.kernel_size[0] - kernel.shape[-1]) // 2] * 4)
        if self.kernel_size[0] == 3 and self.dilation == (1, 1):  # oneDNN's gradients are fast
            return nn.Conv2d._conv_forward(self, x, weight, None)
        return self._conv_forward(x, weight, None)


class DepthwiseBN(nn.Module):
    def __init__(self, channels: int, kernels: Sequence[int], stride: int) -> None:
        super().__init__()
        self.conv = MixedDepthwise(channels, kernels, stride)
        self.bn = MaskedBatchNorm(channels)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        return self.bn(self.conv(x, weights))


class MaskedSqueezeExcite(nn.Module):
    """`fbnet_blocks.SqueezeExcite` with channel masks."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(
        self, x: Tensor, mask: Tensor, squeezed: Tensor, se_weight: Tensor | None, acts: Sequence[str], weights: Tensor
    ) -> Tensor:
        """
        Args:
            mask: [channels].
            squeezed: mask [squeezed channels].
            se_weight: scalar weight of squeeze-and-excitation against the identity; None: 1.
            acts, weights: activations between the two convolutions, and their weights [n].
        """
        mean = x.mean((2, 3), keepdim=True) * mask[:, None, None]
        hidden = activate(self.squeeze(mean), weights, acts) * squeezed[:, None, None]
        gate = F.hardsigmoid(self.excite(hidden))
        return x * (gate if se_weight is None else 1 - se_weight + se_weight * gate)
