"""Every backbone of the catalog under both segmentation heads: forward and backward, at a usual and at an odd size."""

import pytest
import torch

from lightseg.backbones.catalog import CATALOG
from lightseg.heads.lraspp import LRASPP, RASPP
from lightseg.model import Model, create_model

LIGHT = [name for name, row in CATALOG.items() if row.params_m is not None and row.params_m <= 10]
HEAVY = [name for name in CATALOG if name not in LIGHT]


@pytest.mark.parametrize("name", [*LIGHT, *(pytest.param(name, marks=pytest.mark.slow) for name in HEAVY)])
def test_forward_and_backward(name):
    torch.manual_seed(0)
    lraspp = create_model(name, "seg", 19, output_stride=16, head={"name": "lraspp"})
    raspp = Model(lraspp.backbone, RASPP(lraspp.backbone.stages, 19))
    for height, width in ((64, 96), (67, 101)):
        images = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8)
        masks = torch.randint(0, 19, (2, height, width))
        masks[:, :5] = 255
        for model in (lraspp, raspp):
            model.zero_grad()
            logits = model(images)
            assert logits.shape[:2] == (2, 19) and logits.isfinite().all()
            loss = model.head.loss(logits, {"masks": masks})["loss"]
            loss.backward()
            assert loss.isfinite()
            for key, parameter in model.head.named_parameters():
                assert parameter.grad is not None and parameter.grad.isfinite().all(), key
            assert sum(float(p.grad.abs().sum()) for p in model.backbone.parameters() if p.grad is not None) > 0
            prediction = model.head.decode(logits, (height, width))
            assert prediction.shape == (2, height, width) and prediction.min() >= 0 and prediction.max() < 19
    assert isinstance(lraspp.head, LRASPP)
