"""Every backbone of the catalog under SSDLite: two steps of training, at 320x320 and at 256x384, and decoding."""

import pytest
import torch

from lightseg.catalog.backbones import CATALOG
from lightseg.cpu_training import optimize_for_cpu
from lightseg.heads.default_boxes import LEVELS
from lightseg.model import create_model

# the lightest of each family; the others take minutes together
LIGHT = (
    "mobilenetv1_025", "mobilenetv2_050", "mobilenetv3_small_050", "shufflenetv1_g3_x0_5", "shufflenetv2_x0_5",
    "squeezenet1_1", "micronet_m0", "mnasnet_small", "efficientnet_lite0", "fbnetv2_f1",
)  # fmt: skip
MOST_PARAMS_M = 10  # beyond them one step at the odder size
SIZES = ((320, 320), (256, 384))
CLASSES = 5


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in LIGHT else pytest.mark.slow) for name in CATALOG]
)
def test_two_steps_and_decoding(name):
    torch.manual_seed(0)
    model = create_model(name, "det", CLASSES, head={"name": "ssdlite", "extra_channels": [128, 64, 64, 32]})
    heavy = sum(p.numel() for p in model.backbone.parameters()) > MOST_PARAMS_M * 1e6
    model = optimize_for_cpu(model).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    shapes: list[tuple[int, ...]] = []  # of the backbone's maps
    model.backbone.register_forward_hook(
        lambda _, __, maps: shapes.__setitem__(slice(None), [m.shape[2:] for m in maps])
    )
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    for height, width in SIZES[1:] if heavy else SIZES:
        images = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8)
        images = images.contiguous(memory_format=torch.channels_last)
        # one picture with a large and a small object, one with none
        boxes = [torch.tensor([[20.0, 30, 200, 180], [240, 200, 262, 230]]), torch.zeros(0, 4)]
        labels = [torch.tensor([4, 0]), torch.zeros(0, dtype=torch.int64)]
        outputs = model(images)
        defaults = len(outputs["default_boxes"])
        maps = [shapes[index] for index in model.head.feature_indices]
        assert [round(height / h / 16) for h, _ in maps] in ([1, 2], [1]), "strides 16 and 32, or 16 alone"
        while len(maps) < LEVELS:  # the extra blocks halve
            maps.append(tuple(-(-side // 2) for side in maps[-1]))
        assert defaults == 6 * sum(h * w for h, w in maps)
        assert outputs["class_logits"].shape == (2, defaults, CLASSES + 1)
        assert outputs["box_deltas"].shape == (2, defaults, 4)
        losses = model.head.loss(outputs, {"boxes": boxes, "labels": labels})
        assert losses["loss"].isfinite() and losses["loss_box"] > 0 and losses["loss_class"] > 0
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    moved = [key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])]
    assert len(moved) > 0.8 * len(before)  # a weight whose gradient is 0 behind a dead ReLU stays
    with torch.no_grad():
        found = model.eval().head.decode(model(images), (height, width))
    assert len(found) == 2
    limits = torch.tensor([width, height, width, height])
    for one in found:
        assert 0 < len(one["scores"]) <= 300 and one["boxes"].shape == (len(one["scores"]), 4)
        assert (one["boxes"] >= 0).all() and (one["boxes"] <= limits).all()
        assert one["labels"].min() >= 0 and one["labels"].max() < CLASSES
        assert (one["scores"].diff() <= 0).all() and one["scores"].min() > 0.001
