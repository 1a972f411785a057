"""SSDLite on feature maps of many shapes; default boxes and decoding against torchvision and a plain loop."""

import itertools
import math

import pytest
import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from lightseg.errors import LightsegError
from lightseg.heads import ssdlite as module
from lightseg.heads.default_boxes import default_boxes
from lightseg.heads.ssdlite import SSDLite
from lightseg.losses.detection import DetectionLoss

STAGES = ((8, 2), (12, 4), (16, 8), (24, 16), (32, 32))
ENDS_AT_16 = STAGES[:4]
SIZES = [(320, 320), (256, 384), (512, 512), (67, 101), (64, 64), (97, 640)]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    """With small tensors one thread is faster than two, above all when other tests run at the same time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def features(size, stages=STAGES, batch=2):
    generator = torch.Generator().manual_seed(0)
    height, width = size
    return [torch.randn(batch, c, -(-height // s), -(-width // s), generator=generator) for c, s in stages]


def targets(size):
    height, width = size
    boxes = torch.tensor([[1.0, 2, width / 2, height / 2], [width / 3, height / 3, width, height]])
    return {
        "boxes": [boxes, torch.zeros(0, 4)],
        "labels": [torch.tensor([1, 0]), torch.zeros(0, dtype=torch.int64)],
    }


@pytest.mark.parametrize("stages", [STAGES, ENDS_AT_16, (*STAGES, (40, 64))], ids=["32", "16", "64"])
def test_six_maps_of_any_size(stages):
    for number, size in enumerate(SIZES):
        head = SSDLite(stages, 3, extra_channels=(16, 12, 12, 8), loss=DetectionLoss(focal=bool(number % 2)))
        assert len(head.extra) + sum(stride >= 16 for _, stride in stages) == 6
        maps = features(size, stages)
        outputs = head(maps, size)
        sides = [tuple(m.shape[-2:]) for m, (_, stride) in zip(maps, stages, strict=True) if stride >= 16]
        while len(sides) < 6:
            sides.append(tuple(-(-side // 2) for side in sides[-1]))
        boxes = 6 * sum(h * w for h, w in sides)
        assert outputs["class_logits"].shape == (2, boxes, 4)
        assert outputs["box_deltas"].shape == (2, boxes, 4)
        assert outputs["default_boxes"].shape == (boxes, 4)
        head.loss(outputs, targets(size))["loss"].backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
        for prediction in head.decode(outputs, size):
            boxes, labels, scores = (prediction[key] for key in ("boxes", "labels", "scores"))
            assert boxes.dtype == scores.dtype == torch.float32
            assert labels.dtype == torch.int64 and labels.max() <= 2
            assert 0 < len(scores) <= 300
            assert (boxes >= 0).all() and (boxes <= torch.tensor([size[1], size[0]] * 2)).all()


@pytest.mark.parametrize("stages", [STAGES, ENDS_AT_16], ids=["32", "16"])
def test_gradients_reach_every_parameter(stages):
    torch.manual_seed(0)
    head = SSDLite(stages, 3, extra_channels=(16, 12, 12, 8))
    outputs = head(features((320, 320), stages, batch=4), (320, 320))
    sum((outputs[key] * torch.randn_like(outputs[key])).sum() for key in ("class_logits", "box_deltas")).backward()
    assert all(p.grad.count_nonzero() for p in head.parameters())
    parts = {name.split(".")[0] for name, _ in head.named_parameters()}
    assert parts == {"extra", "class_predictors", "box_predictors"}


@pytest.mark.parametrize("size", SIZES)
def test_default_boxes_are_torchvisions(size):
    generator = DefaultBoxGenerator([[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95)
    sides = [tuple(max(1, -(-side // stride)) for side in size) for stride in (16, 32, 64, 128, 256, 512)]
    (expected,) = generator(ImageList(torch.zeros(1, 3, *size), [size]), [torch.zeros(1, 1, *side) for side in sides])
    assert torch.equal(default_boxes(sides, size, CPU), expected)


def test_published_number_of_boxes_and_their_order():
    boxes = default_boxes([(s, s) for s in (20, 10, 5, 3, 2, 1)], (320, 320), CPU)
    assert boxes.shape == (3234, 4)
    width, height = (boxes[:6, 2:] - boxes[:6, :2]).t() / 320
    between = math.sqrt(0.2 * 0.35)
    assert torch.allclose(width * height, torch.tensor([0.04, between**2, 0.04, 0.04, 0.04, 0.04]), atol=1e-6)
    assert torch.allclose(width / height, torch.tensor([1, 1, 2, 1 / 2, 3, 1 / 3]), atol=1e-5)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert torch.allclose(centers[6], torch.tensor([24.0, 8.0])), "the next cell is to the right"


def test_each_row_of_the_outputs_is_of_the_default_box_of_the_same_index():
    head = SSDLite(STAGES, 3).eval()
    maps = features((320, 320), batch=1)
    with torch.no_grad():
        plain = head(maps, (320, 320))["class_logits"]
        conv = head.class_predictors[1][-1]
        conv.bias[2 * 4 + 3] += 5  # third box of each cell, class 2
        changed = head(maps, (320, 320))["class_logits"] - plain
    rows, columns = torch.where(changed[0].abs() > 1e-3)
    assert columns.unique().tolist() == [3]
    assert rows.tolist() == list(range(2400 + 2, 3000, 6))


class Torchvision:
    """A stand-in for torchvision's `SSD` with the attributes that `postprocess_detections` uses."""

    box_coder = BoxCoder((10.0, 10.0, 5.0, 5.0))

    def __init__(self, score_threshold=0.001, nms_threshold=0.55, topk_candidates=300, detections_per_image=300):
        self.score_thresh, self.nms_thresh = score_threshold, nms_threshold
        self.topk_candidates, self.detections_per_img = topk_candidates, detections_per_image

    def decode(self, outputs, size):
        theirs = {"cls_logits": outputs["class_logits"], "bbox_regression": outputs["box_deltas"]}
        images = len(outputs["class_logits"])
        return SSD.postprocess_detections(self, theirs, [outputs["default_boxes"]] * images, [size] * images)


def random_outputs(background, classes=20, batch=2, size=(256, 384), spread=1.0):
    generator = torch.Generator().manual_seed(0)
    defaults = default_boxes([(16, 24), (8, 12), (4, 6), (2, 3), (1, 2), (1, 1)], size, CPU)
    logits = 2 * torch.randn(batch, len(defaults), classes + 1, generator=generator)
    logits[..., 0] += background
    deltas = spread * torch.randn(batch, len(defaults), 4, generator=generator)
    return {"class_logits": logits, "box_deltas": deltas, "default_boxes": defaults}


@pytest.mark.parametrize(
    "settings",
    [{}, {"nms_threshold": 0.2, "topk_candidates": 30}, {"score_threshold": 0.05, "detections_per_image": 7}],
    ids=["default", "few kept", "few returned"],
)
def test_detections_are_torchvisions(settings):
    """Numbers of boxes from all boxes of all classes to a few, for every branch of the decoder."""
    for classes, background in itertools.product((1, 2, 20), (0, 5, 9, 11, 13, 16)):
        outputs = random_outputs(background, classes)
        expected = Torchvision(**settings).decode(outputs, (256, 384))
        for ours, other in zip(SSDLite(STAGES, classes, **settings).decode(outputs, (256, 384)), expected, strict=True):
            assert torch.equal(ours["labels"] + 1, other["labels"]), (classes, background)
            assert torch.allclose(ours["scores"], other["scores"]), (classes, background)
            assert torch.allclose(ours["boxes"], other["boxes"], atol=1e-3), (classes, background)


def test_all_branches_of_the_decoder_are_tested_above(monkeypatch):
    branches = []

    def watched(self, boxes, scores, labels, complete):
        branches.append((complete, len(boxes) <= module.MAX_OFFSET_BOXES))
        return original(self, boxes, scores, labels, complete)

    original = SSDLite._nms
    monkeypatch.setattr(SSDLite, "_nms", watched)
    for background, settings in ((0, {}), (0, {"nms_threshold": 0.2, "topk_candidates": 30}), (13, {}), (16, {})):
        SSDLite(STAGES, 20, **settings).decode(random_outputs(background), (256, 384))
    monkeypatch.setattr(module, "MAX_OFFSET_BOXES", 10)
    SSDLite(STAGES, 20).decode(random_outputs(16), (256, 384))
    assert set(branches) >= {(True, True), (True, False), (False, True), (False, False)}


def test_detections_are_those_of_a_plain_loop():
    outputs = random_outputs(6, classes=3, batch=1)
    head = SSDLite(STAGES, 3, score_threshold=0.02, nms_threshold=0.4, topk_candidates=25, detections_per_image=20)
    prediction = head.decode(outputs, (256, 384))[0]
    scores = outputs["class_logits"][0].softmax(1)
    deltas, (x0, y0, x1, y1) = outputs["box_deltas"][0] / torch.tensor([10.0, 10, 5, 5]), outputs["default_boxes"].t()
    x, y = (x0 + x1) / 2 + deltas[:, 0] * (x1 - x0), (y0 + y1) / 2 + deltas[:, 1] * (y1 - y0)
    w, h = (x1 - x0) * deltas[:, 2].exp(), (y1 - y0) * deltas[:, 3].exp()
    boxes = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1)
    boxes = torch.stack([boxes[:, i].clamp(0, (384, 256)[i % 2]) for i in range(4)], 1)
    expected = []
    for label in (1, 2, 3):
        ranked = sorted(((s, i) for i, s in enumerate(scores[:, label].tolist()) if s > 0.02), reverse=True)[:25]
        kept = []
        for score, index in ranked:
            if all(box_iou(boxes[index][None], boxes[other][None]) <= 0.4 for _, other, _ in kept):
                kept.append((score, index, label - 1))
        expected += kept
    expected = sorted(expected, reverse=True)[:20]
    assert len(expected) == 20 and len({label for *_, label in expected}) == 3
    assert prediction["labels"].tolist() == [label for *_, label in expected]
    assert torch.allclose(prediction["scores"], torch.tensor([score for score, *_ in expected]))
    assert torch.allclose(prediction["boxes"], boxes[[index for _, index, _ in expected]], atol=1e-3)


def test_an_image_without_detections_has_empty_tensors():
    outputs = random_outputs(16, batch=2)
    outputs["class_logits"][0, :, 0] = 100
    empty, other = SSDLite(STAGES, 20).decode(outputs, (256, 384))
    assert len(other["scores"]) > 0
    assert {key: tuple(value.shape) for key, value in empty.items()} == {
        "boxes": (0, 4),
        "labels": (0,),
        "scores": (0,),
    }
    assert empty["labels"].dtype == torch.int64 and empty["boxes"].dtype == torch.float32


def test_initialization_and_batch_norms_are_torchvisions():
    torch.manual_seed(0)
    head = SSDLite(((112, 16), (480, 32)), 90)
    for layer in head.modules():
        if isinstance(layer, torch.nn.Conv2d):
            assert math.isclose(layer.weight.detach().std(), 0.03, rel_tol=0.1) and (
                layer.bias is None or not layer.bias.any()
            )
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert (layer.eps, layer.momentum) == (1e-3, 0.03)
    sizes = [tuple(block[-3].weight.shape[:2]) for block in head.extra]
    assert sizes == [(512, 256), (256, 128), (256, 128), (128, 64)]


def test_focal_loss_begins_with_mostly_background():
    head = SSDLite(STAGES, 80, loss=DetectionLoss(focal=True)).eval()
    with torch.no_grad():
        outputs = head([m.zero_() for m in features((320, 320))], (320, 320))
    background = outputs["class_logits"].softmax(2)[..., 0]
    assert torch.allclose(background, torch.tensor(0.99), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_default_boxes_cached_in_inference_mode_can_be_trained_with(dtype):
    size = (96, 224)  # in no other test, because the boxes are cached
    head = SSDLite(STAGES, 3)
    with torch.inference_mode():
        head.eval()(features(size), size)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        outputs = head.train()(features(size), size)
    head.loss(outputs, targets(size))["loss"].backward()
    assert outputs["default_boxes"].dtype == torch.float32 and not outputs["default_boxes"].is_inference()
    assert len(head.decode(outputs, size)[0]["boxes"]) > 0


@pytest.mark.parametrize(
    ("stages", "options", "message"),
    [
        (STAGES[:3], {}, r"stride 16; .* \[2, 4, 8\]"),
        (STAGES, {"variant": "torchvison"}, "torchvision"),
        (STAGES, {"extra_channels": (512, 256)}, r"\[512, 256\]: give four widths"),
        (STAGES, {"score_threshold": 1.5}, "score_threshold"),
        (STAGES, {"nms_threshold": 0}, "nms_threshold"),
        (STAGES, {"topk_candidates": 0}, "topk_candidates"),
    ],
)
def test_invalid_options_are_an_error_of_one_line(stages, options, message):
    with pytest.raises(LightsegError, match=message):
        SSDLite(stages, 3, **options)


def test_training_on_a_batch_of_one_needs_a_last_map_of_several_cells():
    with pytest.raises(LightsegError, match="batch of one at 320x320"):
        SSDLite(STAGES, 3)(features((320, 320), batch=1), (320, 320))
    assert SSDLite(STAGES, 3)(features((640, 640), batch=1), (640, 640))["class_logits"].isfinite().all()
    assert SSDLite(STAGES, 3).eval()(features((64, 64), batch=1), (64, 64))["class_logits"].shape[0] == 1


def test_bfloat16_gradients_are_finite_for_maps_of_a_single_cell():
    """oneDNN leaves a part of them uninitialized, here with NaN."""
    torch.manual_seed(0)
    head = SSDLite(((8, 16), (16, 32)), 3, extra_channels=(32, 32, 32, 32)).to(memory_format=torch.channels_last)
    maps = [torch.randn(2, 8, 2, 2), torch.randn(2, 16, 1, 1)]

    def spoil_memory():
        sizes = (16, 36, 64, 72, 144, 256, 1000, 4000, 16000, 100000) * 2
        for dtype in (torch.float32, torch.bfloat16):
            spoilt = [torch.full((size,), torch.nan, dtype=dtype) for size in sizes]
            del spoilt

    for _ in range(20):
        spoil_memory()
        head.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = head(maps, (32, 32))
        loss = outputs["class_logits"].float().square().sum() + outputs["box_deltas"].float().square().sum()
        spoil_memory()
        loss.backward()
        for key, parameter in head.extra.named_parameters():
            assert parameter.grad.isfinite().all(), key
