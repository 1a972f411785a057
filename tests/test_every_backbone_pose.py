"""Every backbone of the catalog under every pose head: two steps of training, and decoding."""

import pytest
import torch

from lightseg.catalog.backbones import CATALOG
from lightseg.cpu_training import optimize_for_cpu
from lightseg.model import create_model

# the lightest of each family; the others take minutes together
LIGHT = (
    "mobilenetv1_025", "mobilenetv2_050", "mobilenetv3_small_050", "shufflenetv1_g3_x0_5", "shufflenetv2_x0_5",
    "squeezenet1_1", "micronet_m0", "mnasnet_small", "efficientnet_lite0", "fbnetv2_f1",
)  # fmt: skip
SIZE = (128, 96)
POINTS = 5
CELL = 4.5  # px of a heatmap's
SKELETON = {"edges": [[0, 1]], "pairs": [[1, 2], [3, 4]], "sigmas": [0.05] * POINTS}
HEADS = {
    "light": {"name": "heatmap", "variant": "light"},
    "simple": {"name": "heatmap", "variant": "simple"},
    "simcc": {"name": "simcc", "image_size": SIZE},
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in LIGHT else pytest.mark.slow) for name in CATALOG]
)
def test_two_steps_and_decoding(name, head):
    torch.manual_seed(0)
    model = create_model(name, "pose", POINTS, head=HEADS[head], skeleton=SKELETON)
    model = optimize_for_cpu(model).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    images = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    batch = {
        "images": images,
        "keypoints": torch.rand(2, POINTS, 2) * torch.tensor([SIZE[1] - 1.0, SIZE[0] - 1.0]),
        "visible": torch.tensor([[2, 2, 1, 2, 0], [2, 0, 2, 2, 2]]),
        "area": torch.tensor([4000.0, 6000.0]),
    }
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    for _ in range(2):
        losses = model.head.loss(model(images), batch)
        assert losses["loss"].isfinite() and losses["loss"] > 0
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    # the heads begin near zero: of deep nets some gradients are too small to move a float32
    assert sum(not torch.equal(p, before[key]) for key, p in model.named_parameters()) > 0.6 * len(before)
    with torch.no_grad():
        found = model.eval().head.decode(model(images), SIZE)
    assert found["keypoints"].shape == (2, POINTS, 2) and found["scores"].shape == (2, POINTS)
    assert found["keypoints"].isfinite().all()
    limits = torch.tensor([SIZE[1], SIZE[0]])  # the refinement of a peak at the border may step a cell beyond it
    assert (found["keypoints"] > -CELL).all() and (found["keypoints"] < limits + CELL).all()
