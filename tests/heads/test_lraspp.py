"""LR-ASPP against torchvision's head; the paper's pooling; map sizes; errors."""

import pytest
import torch
from torch import nn

from lightseg.errors import LightsegError
from lightseg.heads.lraspp import LRASPP, RASPP, _PaperPool

STAGES = ((16, 2), (24, 4), (40, 8), (112, 16), (960, 16))


def features(height, width, stages=STAGES, batch=2):
    torch.manual_seed(0)
    return [torch.randn(batch, channels, -(-height // stride), -(-width // stride)) for channels, stride in stages]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(64, 96), (67, 101)])
def test_the_torchvision_variant_equals_torchvisions_head(size, training):
    from torchvision.models.segmentation.lraspp import LRASPPHead

    ours, theirs = LRASPP(STAGES, 19, variant="torchvision"), LRASPPHead(40, 960, 19, 128)
    state = theirs.state_dict()
    assert len(ours.state_dict()) == len(state)
    ours.load_state_dict(dict(zip(ours.state_dict(), state.values(), strict=True)))  # in order
    ours.train(training)
    theirs.train(training)
    maps = features(*size)
    logits = ours(maps, size)
    expected = theirs({"low": maps[2], "high": maps[-1]})
    assert logits.shape == expected.shape and expected.std() > 0.01
    assert (logits - expected).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("size", "grid"), [((64, 128), (1, 4)), ((8, 16), (1, 1)), ((1, 1), (1, 1)), ((65, 49), (2, 1))]
)
def test_the_kernel_of_the_papers_pooling_shrinks_to_the_map(size, grid):
    x = torch.randn(2, 3, *size)
    pooled = _PaperPool()(x)
    assert pooled.shape[-2:] == grid
    height, width = min(49, size[0]), min(49, size[1])
    for row in range(grid[0]):
        for column in range(grid[1]):
            window = x[:, :, row * 16 : row * 16 + height, column * 20 : column * 20 + width]
            assert torch.allclose(pooled[:, :, row, column], window.mean((2, 3)), atol=1e-5)


def test_the_variants_agree_where_the_paper_pools_globally_and_differ_elsewhere():
    paper, torchvision = LRASPP(STAGES, 5).eval(), LRASPP(STAGES, 5, variant="torchvision").eval()
    torchvision.load_state_dict(paper.state_dict())
    small, large = features(128, 256), features(1024, 2048, batch=1)
    assert torch.allclose(paper(small), torchvision(small), atol=1e-5)
    assert (paper(large) - torchvision(large)).abs().max() > 1e-4


@pytest.mark.parametrize("head", [LRASPP, RASPP])
@pytest.mark.parametrize("size", [(64, 96), (67, 101), (16, 16)])
def test_gradients_reach_every_parameter_and_predictions_have_the_image_size(head, size):
    stages = ((8, 2), (12, 4), (16, 8), (24, 16))
    torch.manual_seed(0)
    built = head(stages, 4, filters=8, dropout=0.1)
    outputs = built(features(*size, stages), size)
    built.loss(outputs, {"masks": torch.randint(0, 4, (2, *size))})["loss"].backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in built.parameters())
    classes = built.decode(outputs, size)
    assert classes.shape == (2, *size) and classes.dtype == torch.int64
    full = nn.functional.interpolate(outputs, size=size, mode="bilinear", align_corners=False)
    assert torch.equal(classes, full.argmax(1))


def test_the_low_level_map_is_the_first_of_stride_8_or_the_deepest_shallower_one():
    assert LRASPP(((8, 2), (12, 4), (16, 8), (24, 8), (32, 8)), 3).low_index == 2  # output stride 8
    assert LRASPP(((8, 2), (12, 4), (24, 16)), 3).low_index == 1
    with pytest.raises(LightsegError, match=r"\[16, 32\]"):
        LRASPP(((24, 16), (48, 32)), 3)


def test_an_unknown_variant_and_a_batch_of_one_are_errors():
    with pytest.raises(LightsegError, match="torchvision"):
        LRASPP(STAGES, 3, variant="torchvison")
    with pytest.raises(LightsegError, match="batch of one"):
        RASPP(STAGES, 3)(features(64, 64, batch=1))
    assert RASPP(STAGES, 3).eval()(features(64, 64, batch=1)).shape == (1, 3, 4, 4)
