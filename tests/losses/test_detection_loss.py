"""The detection loss against torchvision's SSD, plain loops, and inputs that break such losses."""

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from lightseg.boxes import decode, encode
from lightseg.errors import LightsegError
from lightseg.heads.default_boxes import default_boxes
from lightseg.losses import detection as module
from lightseg.losses.detection import DetectionLoss, match

DEFAULTS = default_boxes([(s, s) for s in (20, 10, 5, 3, 2, 1)], (320, 320), torch.device("cpu"))
CLASSES = 9


@pytest.fixture(autouse=True)
def one_thread():
    """With small tensors one thread is faster than two, above all when other tests run at the same time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_boxes(count, generator, side=320):
    corner = torch.rand(count, 2, generator=generator) * (side - 12)
    size = 4 + torch.rand(count, 2, generator=generator) ** 2 * side
    return torch.cat([corner, (corner + size).clamp(max=side)], 1)


def batch(counts, seed=0, defaults=DEFAULTS):
    generator = torch.Generator().manual_seed(seed)
    boxes = [random_boxes(count, generator) for count in counts]
    labels = [torch.randint(0, CLASSES, (count,), generator=generator) for count in counts]
    logits = 2 * torch.randn(len(counts), len(defaults), CLASSES + 1, generator=generator)
    deltas = torch.randn(len(counts), len(defaults), 4, generator=generator)
    return logits.requires_grad_(), deltas.requires_grad_(), boxes, labels


def torchvision_matches(boxes, defaults, threshold=0.5):
    matcher, unmatched = SSDMatcher(threshold), torch.full((len(defaults),), -1)
    return [matcher(box_iou(b, defaults)) if len(b) else unmatched for b in boxes]


class TorchvisionLoss:
    """A stand-in for torchvision's `SSD` with the attributes that `compute_loss` uses."""

    box_coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    neg_to_pos_ratio = 3.0

    def __call__(self, logits, deltas, defaults, boxes, labels):
        targets = [{"boxes": b, "labels": numbers + 1} for b, numbers in zip(boxes, labels, strict=True)]
        outputs = {"cls_logits": logits, "bbox_regression": deltas}
        matches = torchvision_matches(boxes, defaults)
        return SSD.compute_loss(self, targets, outputs, [defaults] * len(boxes), matches)


@pytest.mark.parametrize("counts", [(7, 0, 3, 1), (1,), (0, 40, 2), (100, 100)])
def test_value_and_gradients_are_torchvisions(counts):
    logits, deltas, boxes, labels = batch(counts)
    parts = DetectionLoss()(logits, deltas, DEFAULTS, boxes, labels)
    expected = TorchvisionLoss()(logits, deltas, DEFAULTS, boxes, labels)
    assert parts["loss_box"] > 0.1 and parts["loss_class"] > 0.1
    assert (parts["loss_box"] - expected["bbox_regression"]).abs() <= 1e-5
    assert (parts["loss_class"] - expected["classification"]).abs() <= 1e-5
    assert torch.allclose(parts["loss"], parts["loss_box"] + parts["loss_class"])
    assert parts["loss"].requires_grad and not (parts["loss_box"].requires_grad or parts["loss_class"].requires_grad)
    gradients = torch.autograd.grad(parts["loss"], [logits, deltas])
    for ours, theirs in zip(gradients, torch.autograd.grad(sum(expected.values()), [logits, deltas]), strict=True):
        assert theirs.abs().max() > 1e-4
        assert torch.allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize("max_overlaps", [2**20, 1])  # several images at once, and one by one
@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_matches_are_torchvisions(monkeypatch, threshold, max_overlaps):
    monkeypatch.setattr(module, "MAX_OVERLAPS", max_overlaps)
    for seed in range(5):
        _, _, boxes, _ = batch((4, 0, 30, 1, 0, 100), seed)
        expected = torch.stack(torchvision_matches(boxes, DEFAULTS, threshold))
        assert torch.equal(match(boxes, DEFAULTS, threshold), expected)


def test_matches_are_those_of_a_plain_loop():
    def overlap(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        common = max(width, 0) * max(height, 0)
        return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)

    defaults = DEFAULTS[::23]
    _, _, (boxes,), _ = batch((6,), seed=3, defaults=defaults)
    table = [[overlap(box, default) for default in defaults.tolist()] for box in boxes.tolist()]
    expected = []
    for column in zip(*table, strict=True):
        expected.append(column.index(max(column)) if max(column) >= 0.5 else -1)
    for index, row in enumerate(table):
        expected[row.index(max(row))] = index
    assert len(set(expected)) == 7  # every box, and -1
    assert match([boxes], defaults)[0].tolist() == expected


def test_of_two_boxes_with_the_same_best_default_box_the_last_is_matched():
    boxes = torch.tensor([[3.0, 3, 9, 9], [4, 4, 8, 8]])  # far smaller than any default box
    matches = match([boxes], DEFAULTS)[0]
    assert torch.equal(matches, torchvision_matches([boxes], DEFAULTS)[0])
    assert (matches == 1).sum() == 1 and (matches == 0).sum() == 0


def test_the_number_of_overlaps_in_memory_is_limited(monkeypatch):
    sizes = []

    def watched(boxes, defaults):
        overlaps = measure(boxes, defaults)
        sizes.append(overlaps.numel())
        return overlaps

    measure = module._overlaps
    monkeypatch.setattr(module, "_overlaps", watched)
    _, _, boxes, _ = batch((100,) * 24, defaults=DEFAULTS[:1])
    assert (match(boxes, DEFAULTS) >= 0).any(1).all()
    assert sum(sizes) == 24 * 100 * 3234 and max(sizes) <= module.MAX_OVERLAPS


def test_offsets_are_torchvisions_and_decode_to_the_boxes():
    _, _, (boxes,), _ = batch((50,))
    defaults, coder = DEFAULTS[:3200:64], BoxCoder((10.0, 10.0, 5.0, 5.0))
    offsets = encode(boxes, defaults)
    assert torch.allclose(offsets, coder.encode_single(boxes, defaults), atol=1e-5)
    assert torch.allclose(decode(offsets, defaults), boxes, atol=1e-3)
    wild = 40 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(decode(wild, defaults), coder.decode_single(wild, defaults), rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("focal", [False, True])
def test_a_batch_without_boxes_has_a_finite_loss_and_gradients(focal):
    logits, deltas, boxes, labels = batch((0, 0, 0))
    parts = DetectionLoss(focal=focal)(logits, deltas, DEFAULTS, boxes, labels)
    parts["loss"].backward()
    assert logits.grad.isfinite().all() and deltas.grad.count_nonzero() == 0 and parts["loss_box"] == 0
    if focal:  # the background has a loss
        assert parts["loss_class"] > 0 and logits.grad.count_nonzero() > 0
    else:
        assert parts["loss"] == 0 and logits.grad.count_nonzero() == 0


@pytest.mark.parametrize("focal", [False, True])
def test_large_wrong_logits_do_not_overflow(focal):
    logits, deltas, boxes, labels = batch((3, 0))
    with torch.no_grad():
        logits.mul_(1e4)
        deltas.mul_(1e4)
    parts = DetectionLoss(focal=focal)(logits, deltas, DEFAULTS, boxes, labels)
    parts["loss"].backward()
    assert parts["loss"].isfinite() and logits.grad.isfinite().all() and deltas.grad.isfinite().all()


def test_every_negative_counts_at_most_once():
    defaults = DEFAULTS[2400:2410].clone()
    box = defaults[:1]
    defaults[:4] = box  # four of ten match: there are fewer than three times as many negatives
    logits, deltas, _, _ = batch((1,), defaults=defaults)
    parts = DetectionLoss()(logits, deltas, defaults, [box], [torch.tensor([2])])
    matches = match([box], defaults)[0]
    targets = torch.where(matches >= 0, 3, 0)
    assert (matches >= 0).sum() >= 4 and 3 * (matches >= 0).sum() > 10 - (matches >= 0).sum()
    expected = F.cross_entropy(logits[0], targets, reduction="sum") / (matches >= 0).sum()
    assert torch.allclose(parts["loss_class"], expected)


def test_the_hardest_negatives_are_those_of_a_plain_loop():
    logits, deltas, boxes, labels = batch((2, 0, 5), seed=4)
    logits, total, matched = logits.detach(), 0.0, 0
    for image in range(3):
        matches = match(boxes, DEFAULTS)[image].tolist()
        losses = []
        for default, box in enumerate(matches):
            target = int(labels[image][box]) + 1 if box >= 0 else 0
            loss = -float(logits[image, default].log_softmax(0)[target])
            if box >= 0:
                total, matched = total + loss, matched + 1
            else:
                losses.append(loss)
        total += sum(sorted(losses, reverse=True)[: 2 * sum(box >= 0 for box in matches)])
    parts = DetectionLoss(negative_ratio=2)(logits, deltas, DEFAULTS, boxes, labels)
    assert matched > 10
    assert math.isclose(parts["loss_class"].item(), total / matched, rel_tol=1e-5)


def test_focal_loss_is_that_of_a_plain_loop():
    logits, deltas, boxes, labels = batch((2, 0), seed=5)
    logits = logits.detach()
    total = 0.0
    matches = match(boxes, DEFAULTS)
    for image in range(2):
        for default, box in enumerate(matches[image].tolist()):
            target = int(labels[image][box]) + 1 if box >= 0 else 0
            p = float(logits[image, default].softmax(0)[target])
            total -= (0.3 if box >= 0 else 0.7) * (1 - p) ** 1.5 * math.log(p)
    parts = DetectionLoss(focal=True, focal_alpha=0.3, focal_gamma=1.5)(logits, deltas, DEFAULTS, boxes, labels)
    assert math.isclose(parts["loss_class"].item(), total / int((matches >= 0).sum()), rel_tol=1e-4)
    plain = DetectionLoss(focal=True, focal_alpha=0.5, focal_gamma=0)(logits, deltas, DEFAULTS, boxes, labels)
    targets = torch.stack([torch.zeros(3234, dtype=torch.int64)] * 2)
    targets[0] = torch.where(matches[0] >= 0, labels[0][matches[0].clamp(min=0)] + 1, 0)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum") / 2 / (matches >= 0).sum()
    assert torch.allclose(plain["loss_class"], expected, rtol=1e-4)


def test_half_precision_outputs_have_a_single_precision_loss():
    logits, deltas, boxes, labels = batch((3, 1))
    halves = [x.detach().bfloat16().requires_grad_() for x in (logits, deltas)]
    parts = DetectionLoss()(*halves, DEFAULTS, boxes, labels)
    same = DetectionLoss()(*(x.float() for x in halves), DEFAULTS, boxes, labels)
    assert parts["loss"].dtype == torch.float32 and torch.allclose(parts["loss"], same["loss"])
    assert all(gradient.dtype == torch.bfloat16 for gradient in torch.autograd.grad(parts["loss"], halves))


@pytest.mark.parametrize(
    ("boxes", "labels", "message"),
    [
        ([[1.0, 1, 9, 9]], [CLASSES], r"label 9 .* 0\.\.8"),
        ([[1.0, 1, 9, 9]], [-1], "label -1"),
        ([[1.0, 1, 1, 9]], [0], "no area"),
        ([[1.0, 1, math.nan, 9]], [0], "no area"),
        ([[1.0, 1, 9, 9]], [0, 1], "2 labels"),
    ],
)
def test_invalid_targets_are_an_error_of_one_line(boxes, labels, message):
    logits, deltas, _, _ = batch((0,))
    with pytest.raises(LightsegError, match=message):
        DetectionLoss()(logits, deltas, DEFAULTS, [torch.tensor(boxes)], [torch.tensor(labels)])


@pytest.mark.parametrize(
    "options", [{"iou_threshold": 0}, {"negative_ratio": 0}, {"focal_alpha": 1}, {"focal_gamma": -1}]
)
def test_invalid_options_are_an_error_of_one_line(options):
    with pytest.raises(LightsegError, match=next(iter(options))):
        DetectionLoss(**options)
