"""EfficientNet at any width and depth: EfficientNet (arXiv:1905.11946), section 3.3, `efficientnet_w1.1_d1.2`.

B0's stages (Table 1) with every number of channels times the width, rounded to a multiple of 8 (never more than 10 %
down), and every number of blocks times the depth, rounded up: the rule by which B1 to B7 were made. So
`efficientnet_w1.0_d1.0` is `efficientnet_b0` and `efficientnet_w1.1_d1.2` is `efficientnet_b2`, tensor by tensor, with
TensorFlow's padding and its epsilon of batch norm as all of them. The size of the pictures, the third of the paper's
coefficients, is no part of the net, and dropout, which the paper raises by the model (0.2 to 0.5), is the caller's.

The net is timm's class, built by timm's own generator; a name with a dot in it cannot be one of timm's, where what
follows the dot is a choice of weights, so it is built here and not registered.
"""

from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models._efficientnet_builder import BN_EPS_TF_DEFAULT
from timm.models.efficientnet import _gen_efficientnet
from torch import nn

from lightseg.catalog.scaling import scales


def scaled_efficientnet(name: str, **options: Any) -> nn.Module:
    """What `timm.create_model` would build if it took such names.

    Args:
        name: `efficientnet_w<width>_d<depth>`, as `lightseg.catalog.scaling.scaled_name` writes it.
        options: timm's: `features_only`, `in_chans`, `num_classes`, `drop_rate`, `drop_path_rate`.

    Raises:
        LightsegError: a width or depth that makes no net.
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
    """timm's description of `tf_efficientnet_b0`, under the name of a net that nobody has published weights of."""
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
