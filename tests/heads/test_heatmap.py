"""The heatmap head: maps of many pyramids, its cost, SimpleBaseline's layout, the flip test, training, and export."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lightseg.errors import LightsegError
from lightseg.heads import heatmap as module
from lightseg.heads.heatmap import HeatmapHead
from lightseg.losses.pose import PoseLoss

STAGES = ((8, 2), (12, 4), (16, 8), (24, 16), (32, 32))
PYRAMIDS = {
    "32": STAGES,
    "ends at 16": STAGES[:4],
    "output stride 16": (*STAGES[:4], (32, 16)),
    "output stride 8": (*STAGES[:3], (24, 8), (32, 8)),
    "begins at 8": STAGES[2:],
    "ends at 4": STAGES[:2],
    "64": (*STAGES, (40, 64)),
}
MOBILENETV2 = ((16, 2), (24, 4), (32, 8), (96, 16), (320, 32))
variants = pytest.mark.parametrize("variant", ["light", "simple"])


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def features(size, stages=STAGES, batch=2, device="cpu"):
    generator = torch.Generator(device).manual_seed(0) if device == "cpu" else None
    height, width = size
    return [
        torch.randn(batch, c, -(-height // s), -(-width // s), generator=generator, device=device) for c, s in stages
    ]


def batch_of(size, persons=2, count=3):
    generator = torch.Generator().manual_seed(1)
    height, width = size
    return {
        "images": torch.zeros(persons, 3, height, width, dtype=torch.uint8),
        "keypoints": torch.rand(persons, count, 2, generator=generator) * torch.tensor([width - 1, height - 1]),
        "visible": torch.full((persons, count), 2),
        "area": torch.full((persons,), 0.3 * height * width),
    }


@variants
@pytest.mark.parametrize("size", [(64, 48), (67, 101), (96, 96)])
@pytest.mark.parametrize("stages", PYRAMIDS.values(), ids=PYRAMIDS)
def test_maps_at_stride_4_of_any_pyramid(stages, size, variant, monkeypatch):
    monkeypatch.setattr(module, "DECONVOLUTION", 16)
    torch.manual_seed(0)
    head = HeatmapHead(stages, 3, variant=variant, width=8, loss=PoseLoss(oks=True))
    outputs = head(features(size, stages), size)
    coarse = -(-size[0] // 8) * 2, -(-size[1] // 8) * 2  # without a map of stride 4: twice the map of stride 8
    exact = -(-size[0] // 4), -(-size[1] // 4)
    expected = coarse if variant == "light" and stages is PYRAMIDS["begins at 8"] else exact
    assert outputs.shape == (2, 3, *expected)
    losses = head.loss(outputs + 0.1, batch_of(size))
    losses["loss"].backward()
    assert losses["loss"].isfinite() and losses.keys() == {"loss", "loss_heatmap", "loss_oks"}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    prediction = head.decode(outputs, size)
    assert prediction["keypoints"].shape == (2, 3, 2) and prediction["scores"].shape == (2, 3)
    assert prediction["scores"].min() >= 0 and prediction["scores"].max() <= 1


@variants
def test_gradients_reach_every_parameter(variant):
    torch.manual_seed(0)
    head = HeatmapHead(STAGES, 3, variant=variant, width=8)
    (head(features((64, 48)), (64, 48)) * torch.randn(2, 3, 16, 12)).sum().backward()
    assert all(p.grad.count_nonzero() for p in head.parameters())


def cost(head, size, stages):
    """Parameters and multiply-adds of one image."""
    head = head.to("meta").eval()
    with FlopCounterMode(display=False) as counter:
        head(features(size, stages, batch=1, device="meta"), size)
    return sum(p.numel() for p in head.parameters()), counter.get_total_flops() / 2


def test_light_costs_a_fraction_of_simple():
    size = (256, 192)
    simple = cost(HeatmapHead(MOBILENETV2, 17, variant="simple"), size, MOBILENETV2)
    light = cost(HeatmapHead(MOBILENETV2, 17), size, MOBILENETV2)
    for of_light, of_simple in zip(light, simple, strict=True):
        assert of_light <= 0.15 * of_simple
    published = ((320, 32),)
    as_published = cost(HeatmapHead(published, 17, variant="simple", last_channels=1280), size, published)
    for of_light, of_simple in zip(light, as_published, strict=True):
        assert of_light <= 0.15 * of_simple


@pytest.mark.parametrize(
    ("channels", "last", "params", "madds", "total_m", "total_g"),
    # parameters and multiply-adds of the backbone up to its deepest map, and mmpose's totals in M and G
    [
        (320, 1280, 1_811_712, 273_721_344, 9.57, 1.565),  # MobileNetV2
        (464, 1024, 776_420, 118_141_056, 7.55, 1.362),  # ShuffleNetV2
        (960, None, 904_728, 133_714_944, 6.94, 1.342),  # ShuffleNetV1 g3
    ],
)
def test_simple_has_the_published_cost(channels, last, params, madds, total_m, total_g):
    stages = ((channels, 32),)
    head_params, head_madds = cost(HeatmapHead(stages, 17, variant="simple", last_channels=last), (256, 192), stages)
    assert (head_params + params) / 1e6 == pytest.approx(total_m, abs=0.006)
    assert (head_madds + madds) / 1e9 == pytest.approx(total_g, abs=0.001)


def simple_baseline(channels, count):
    """Three deconvolutions and the last layer with mmpose's order and names."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.ConvTranspose2d(channels, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.ReLU()]
        channels = 256
    return nn.ModuleDict({"deconv_layers": nn.Sequential(*layers), "final_layer": nn.Conv2d(256, count, 1)})


@pytest.mark.parametrize("training", [True, False])
def test_simple_is_simple_baselines_head(training):
    ours, theirs = HeatmapHead(STAGES, 5, variant="simple"), simple_baseline(32, 5)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    nn.init.normal_(theirs["final_layer"].weight)
    ours.load_state_dict(theirs.state_dict())
    ours.train(training)
    theirs.train(training)
    maps = features((64, 96))
    expected = theirs["final_layer"](theirs["deconv_layers"](maps[-1]))
    assert expected.std() > 0.01
    assert torch.equal(ours(maps, (64, 96)), expected)


@pytest.mark.parametrize("codec", ["udp", "msra"])
def test_flip_test_mirrors_predictions_back_and_exchanges_left_and_right(codec):
    size, swap = (256, 192), [0, 2, 1]
    head = HeatmapHead(STAGES, 3, codec=codec, dark=True, width=8)
    batch = batch_of(size, persons=40)
    mirrored = batch["keypoints"][:, swap]
    mirrored[..., 0] = 191 - mirrored[..., 0]
    plain, _ = head.codec.encode(batch["keypoints"], batch["visible"], size, (64, 48))
    other, _ = head.codec.encode(mirrored, batch["visible"], size, (64, 48))
    back = head.unflip(other, swap)
    for outputs in (back, head.average(plain, back)):
        prediction = head.decode(outputs, size)
        assert (prediction["keypoints"] - batch["keypoints"]).norm(dim=-1).mean() < 0.05
        assert prediction["scores"].min() > 0.8
    assert torch.equal(head.average(plain, plain), plain)


@variants
@pytest.mark.parametrize("codec", ["udp", "msra"])
def test_a_few_steps_overfit_a_batch(variant, codec, monkeypatch):
    monkeypatch.setattr(module, "DECONVOLUTION", 64)
    torch.manual_seed(0)
    size = (64, 48)
    stages = STAGES[:4]
    head = HeatmapHead(stages, 2, variant=variant, width=16, blocks=1, codec=codec, dark=True, sigma=1.5)
    batch, maps = batch_of(size, persons=4, count=2), features(size, stages, batch=4)
    batch["visible"][0, 0] = 0
    optimizer = torch.optim.Adam(head.parameters(), lr=0.005)
    losses = []
    for _ in range(60):
        loss = head.loss(head(maps, size), batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    prediction = head.decode(head(maps, size), size)
    distance = (prediction["keypoints"] - batch["keypoints"]).norm(dim=-1)
    assert distance[batch["visible"] > 0].max() < 2, "half a cell"
    assert prediction["scores"][batch["visible"] > 0].min() > 0.6


@variants
def test_zero_persons_and_a_single_keypoint(variant):
    head = HeatmapHead(STAGES, 1, variant=variant, width=8).eval()
    assert head(features((64, 48)), (64, 48)).shape == (2, 1, 16, 12)
    outputs = head(features((64, 48), batch=0), (64, 48))
    assert head.loss(outputs, batch_of((64, 48), persons=0, count=1))["loss"] == 0
    prediction = head.decode(head.average(outputs, head.unflip(outputs, [0])), (64, 48))
    assert prediction["keypoints"].shape == (0, 1, 2) and prediction["scores"].shape == (0, 1)


@variants
def test_forward_is_exported(variant):
    size = (67, 101)
    head = HeatmapHead(STAGES, 3, variant=variant, width=8).eval()
    nn.init.normal_(head.final_layer.weight)
    maps = features(size)
    exported = torch.export.export(head, (maps, size)).module()
    assert torch.allclose(exported(maps, size), head(maps, size), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "ligth"}, "did you mean light"),
        ({"codec": "dark"}, "choose from udp, msra"),
        ({"width": 0}, "width"),
        ({"blocks": 0}, "blocks"),
        ({"sigma": 0.0}, "sigma"),
        ({"rounded": True}, "rounded"),
        ({"last_channels": 1280}, "variant simple"),
    ],
)
def test_invalid_options_are_an_error_of_one_line(options, message):
    with pytest.raises(LightsegError, match=message) as caught:
        HeatmapHead(STAGES, 3, **options)
    assert "\n" not in str(caught.value)


def test_a_pyramid_or_a_batch_that_does_not_fit_is_an_error():
    with pytest.raises(LightsegError, match="stride 4"):
        HeatmapHead(STAGES[:1], 3)
    head = HeatmapHead(STAGES, 3, width=8)
    outputs = head(features((64, 48)), (64, 48))
    with pytest.raises(LightsegError, match=r"\[2, 4, 2\].*2 persons of 3 points"):
        head.loss(outputs, batch_of((64, 48), count=4))
