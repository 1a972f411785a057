"""Which backbones the fast tests take: a shallow one for runs, and of each family of the catalog the lightest one with
the layers that make the family."""

import json
from typing import Any

from lightseg.catalog.backbones import CATALOG, COUNTED
from tests.marks import slow_except

SHALLOW = "test_efficientnet"  # timm's net for tests: a run of it is a third of one of mobilenetv3_small_050

LIGHTEST = {
    "mobilenetv1": "mobilenetv1_025",
    "mobilenetv2": "mobilenetv2_035",
    "mobilenetv3": "mobilenetv3_small_050",  # h-swish, squeeze-and-excitation, 5x5
    "shufflenetv1": "shufflenetv1_g3_x0_25",  # grouped convolutions and their shuffle
    "shufflenetv2": "shufflenetv2_x0_5",
    "mnasnet": "mnasnet_a1_035",  # squeeze-and-excitation, which B1 lacks
    "efficientnet": "efficientnet_b0",
    "efficientnet_lite": "efficientnet_lite0",
    "efficientnetv2": "efficientnetv2_b0",
    "fbnet": "fbnet_a",
    "fbnetv2": "fbnetv2_f0",
    "micronet": "micronet_m0",
    "squeezenet": "squeezenet1_1",
    "xception": "xception",
}

PARAMS: dict[str, int] = {
    name: counts["params"] for name, counts in json.loads(COUNTED.read_text(encoding="utf-8")).items()
}


def every_backbone() -> list[Any]:
    """Parameters of a test over the catalog: one backbone of each family is fast, the others are slow."""
    return slow_except(LIGHTEST.values(), CATALOG)
