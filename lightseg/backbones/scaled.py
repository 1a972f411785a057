"""EfficientNet at any width and depth: EfficientNet (arXiv:1905.11946), section 3.3, `efficientnet_w1.1_d1.2`.

B0's stages (Table 1) with channels multiplied by the width, rounded to a multiple of 8 (at most 10 % down), and numbers
of blocks multiplied by the depth, rounded up: the rule that gave B1 to B7. `efficientnet_w1.0_d1.0` is
`efficientnet_b0` and `efficientnet_w1.1_d1.2` is `efficientnet_b2`, tensor by tensor, with TensorFlow's padding and
batch norm epsilon. The image size, the paper's third coefficient, is not part of the net; dropout, which the paper
raises with the model (0.2 to 0.5), is an option.

The net is timm's class, built by timm's generator. It is not registered: in timm's names a dot begins a weights tag.
"""

from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models._efficientnet_builder import BN_EPS_TF_DEFAULT
from timm.models.efficientnet import _gen_efficientnet
from torch import nn

from lightseg.catalog.scaling import scales


def scaled_efficientnet(name: str, **options: Any) -> nn.Module:
    """The net of a name, with the interface of `timm.create_model`.

    Args:
        name: `efficientnet_w<width>_d<depth>`, as `lightseg.catalog.scaling.scaled_name` writes it.
        options: timm's: `features_only`, `in_chans`, `num_classes`, `drop_rate`, `drop_path_rate`.

    Raises:
        LightsegError: a width or depth outside the limits.
    """
    width, depth = scales(name)
    net: nn.Module = _gen_efficientnet(
        name,
        channel_multiplier=width,
        depth_multiplier=depth,
        bn_eps=BN_EPS_TF_DEFAULT,
        pad_type="same",
        pretrained_cfg=scaled_config(name),
        **options,
    )
    return net


def scaled_config(name: str) -> dict[str, Any]:
    """The `pretrained_cfg` of timm's `tf_efficientnet_b0`, without weights, for the net `name`."""
    return {
        "architecture": name,
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "conv_stem",
        "classifier": "classifier",
    }
