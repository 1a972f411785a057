"""Widths and tails of timm's mobile nets that timm does not register.

mobilenetv1_025, _050, _075: MobileNets (arXiv:1704.04861), Table 6: 41, 149 and 325 M multiply-adds.
mnasnet_a1_035: MnasNet (arXiv:1807.11626), Table 4: 63 M multiply-adds.
mobilenetv3_large_reduced, _small_reduced: MobileNetV3 (arXiv:1905.02244), section 6.4, "RF2": for dense tasks, the
channels of the blocks at stride 32 are halved. The classifier's layer is halved too, as in torchvision's
`reduced_tail`, whose parameters these nets have in the same order.

The nets are timm's classes, built by timm's own functions; only the numbers differ.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD
from timm.models import generate_default_cfgs, register_model
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.efficientnet import _gen_mnasnet_a1, _gen_mobilenet_v1
from timm.models.mobilenetv3 import _create_mnv3
from torch import nn

# timm's notation: r repeats, k kernel, s stride, e expansion, c channels, se squeeze-and-excitation, nre ReLU
LARGE_REDUCED = [
    ["ds_r1_k3_s1_e1_c16_nre"],
    ["ir_r1_k3_s2_e4_c24_nre", "ir_r1_k3_s1_e3_c24_nre"],
    ["ir_r3_k5_s2_e3_c40_se0.25_nre"],
    ["ir_r1_k3_s2_e6_c80", "ir_r1_k3_s1_e2.5_c80", "ir_r2_k3_s1_e2.3_c80"],
    ["ir_r2_k3_s1_e6_c112_se0.25"],
    ["ir_r3_k5_s2_e6_c80_se0.25"],  # 160 unreduced
    ["cn_r1_k1_s1_c480"],  # 960
]
SMALL_REDUCED = [
    ["ds_r1_k3_s2_e1_c16_se0.25_nre"],
    ["ir_r1_k3_s2_e4.5_c24_nre", "ir_r1_k3_s1_e3.67_c24_nre"],
    ["ir_r1_k5_s2_e4_c40_se0.25", "ir_r2_k5_s1_e6_c40_se0.25"],
    ["ir_r2_k5_s1_e3_c48_se0.25"],
    ["ir_r3_k5_s2_e6_c48_se0.25"],  # 96 unreduced
    ["cn_r1_k1_s1_c288"],  # 576
]


def _config(mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": mean,
        "std": std,
        "first_conv": "conv_stem",
        "classifier": "classifier",
    }


INCEPTION = _config(IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD)  # that of timm's mobilenetv1_100
IMAGENET = _config(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)

default_cfgs = generate_default_cfgs(
    {
        "mobilenetv1_025": INCEPTION,
        "mobilenetv1_050": INCEPTION,
        "mobilenetv1_075": INCEPTION,
        "mnasnet_a1_035": IMAGENET,
        # that of torchvision's SSDLite, the only published weights with this tail
        "mobilenetv3_large_reduced": INCEPTION,
        "mobilenetv3_small_reduced": INCEPTION,
    }
)


@register_model
def mobilenetv1_025(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    return _gen_mobilenet_v1("mobilenetv1_025", 0.25, pretrained=pretrained, **kwargs)


@register_model
def mobilenetv1_050(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    return _gen_mobilenet_v1("mobilenetv1_050", 0.5, pretrained=pretrained, **kwargs)


@register_model
def mobilenetv1_075(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    return _gen_mobilenet_v1("mobilenetv1_075", 0.75, pretrained=pretrained, **kwargs)


@register_model
def mnasnet_a1_035(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    return _gen_mnasnet_a1("mnasnet_a1_035", 0.35, pretrained=pretrained, **kwargs)


@register_model
def mobilenetv3_large_reduced(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    return _mobilenetv3("mobilenetv3_large_reduced", LARGE_REDUCED, 640, pretrained, kwargs)


@register_model
def mobilenetv3_small_reduced(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    return _mobilenetv3("mobilenetv3_small_reduced", SMALL_REDUCED, 512, pretrained, kwargs)


def _mobilenetv3(
    name: str, table: list[list[str]], num_features: int, pretrained: bool, kwargs: dict[str, Any]
) -> nn.Module:
    squeeze: Callable[..., nn.Module] = partial(
        SqueezeExcite, gate_layer="hard_sigmoid", force_act_layer=nn.ReLU, rd_round_fn=round_channels
    )
    return _create_mnv3(
        name,
        pretrained,
        block_args=decode_arch_def(table),
        num_features=num_features,
        stem_size=16,
        act_layer=nn.Hardswish,
        se_layer=squeeze,
        **kwargs,
    )
