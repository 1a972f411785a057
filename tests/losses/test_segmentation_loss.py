"""The loss and its gradients against plain re-implementations: torch's own functions, and loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lightseg.errors import LightsegError
from lightseg.losses import upsampled_cross_entropy as module
from lightseg.losses.segmentation import SegmentationLoss, dice_loss
from lightseg.losses.upsampled_cross_entropy import upsampled_cross_entropy, upsampled_pixel_losses

SIZES = [((8, 16), (64, 128)), ((5, 7), (67, 101)), ((9, 9), (9, 9)), ((9, 9), (4, 5)), ((1, 1), (33, 17))]


def batch(low, full, classes=7, dtype=torch.float32):
    torch.manual_seed(0)
    logits = (3 * torch.randn(3, classes, *low, dtype=dtype)).requires_grad_()
    masks = torch.randint(0, classes, (3, *full))
    masks[0] = 255  # an image without labels
    masks[1:, :2] = 255
    return logits, masks


def upsampled(logits, masks):
    return F.interpolate(logits, size=masks.shape[-2:], mode="bilinear", align_corners=False)


@pytest.mark.parametrize("band", [2**18, 300])  # one band per image, and one or two rows per band
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("low", "full"), SIZES)
def test_value_and_gradient_are_those_of_interpolate_and_cross_entropy(
    monkeypatch, low, full, weighted, smoothing, band
):
    monkeypatch.setattr(module, "BAND_ELEMENTS", band)
    logits, masks = batch(low, full, dtype=torch.float64)
    weights = torch.rand(7, dtype=torch.float64) + 0.1 if weighted else None
    loss = upsampled_cross_entropy(logits, masks, class_weights=weights, label_smoothing=smoothing)
    expected = F.cross_entropy(
        upsampled(logits, masks), masks, weight=weights, ignore_index=255, label_smoothing=smoothing
    )
    gradient, expected_gradient = (torch.autograd.grad(2 * value, logits)[0] for value in (loss, expected))
    assert expected > 0.5 and expected_gradient.abs().max() > 1e-5
    assert torch.allclose(loss, expected, rtol=1e-10)
    assert torch.allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-12)


def test_gradcheck():
    logits, masks = batch((2, 3), (5, 8), classes=3, dtype=torch.float64)
    weights = torch.tensor([0.5, 1.0, 2.0])
    assert torch.autograd.gradcheck(
        lambda x: upsampled_cross_entropy(x, masks, class_weights=weights, label_smoothing=0.1), (logits,)
    )


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_single_and_half_precision(dtype, memory_format):
    logits, masks = batch((8, 16), (64, 128))
    logits = logits.detach().to(dtype).contiguous(memory_format=memory_format).requires_grad_()
    loss = SegmentationLoss()(logits, masks.to(torch.uint8))["loss"]
    expected = F.cross_entropy(upsampled(logits.float(), masks), masks, ignore_index=255)
    gradient, expected_gradient = (torch.autograd.grad(value, logits)[0] for value in (loss, expected))
    assert loss.dtype == torch.float32 and gradient.dtype == dtype
    assert torch.allclose(loss, expected, rtol=1e-5)
    assert torch.allclose(gradient, expected_gradient, rtol=2e-2 if dtype == torch.bfloat16 else 1e-4, atol=1e-7)


def test_logits_of_very_different_size_do_not_overflow():
    logits = torch.tensor([1e4, -1e4, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2).clone().requires_grad_()
    masks = torch.ones(1, 8, 8, dtype=torch.int64)
    loss = SegmentationLoss()(logits, masks)["loss"]
    loss.backward()
    assert math.isclose(loss.item(), 2e4, rel_tol=1e-6) and logits.grad.isfinite().all()


@pytest.mark.parametrize(
    "options", [{}, {"class_weights": [1, 2, 3, 4, 5, 6, 7]}, {"ohem": 0.7}, {"dice": 1.0}, {"label_smoothing": 0.1}]
)
def test_a_batch_without_a_label_has_loss_zero_and_zero_gradients(options):
    logits, masks = batch((4, 4), (16, 16))
    parts = SegmentationLoss(**options)(logits, masks.fill_(255))
    parts["loss"].backward()
    assert all(value == 0 for value in parts.values())
    assert logits.grad.count_nonzero() == 0


@pytest.mark.parametrize("threshold", [0.7, 0.02])  # many pixels below it, and fewer than a sixteenth
def test_ohem_is_the_mean_over_hard_pixels(threshold):
    _, masks = batch((8, 8), (32, 32))
    confident = F.one_hot(masks[:, ::4, ::4].clamp(max=6), 7).permute(0, 3, 1, 2) * 9.0  # and right nearly everywhere
    logits = (confident + torch.randn_like(confident)).requires_grad_()
    losses = F.cross_entropy(upsampled(logits, masks), masks, ignore_index=255, reduction="none")
    labeled = sorted((loss.item() for loss in losses[masks != 255]), reverse=True)
    hard = [loss for loss in labeled if loss > -math.log(threshold)]
    if len(hard) < len(labeled) // 16:
        hard = labeled[: len(labeled) // 16]
    loss = SegmentationLoss(ohem=threshold)(logits, masks)["loss"]
    assert len(hard) < len(labeled)
    assert math.isclose(loss.item(), sum(hard) / len(hard), rel_tol=1e-4)
    keep = masks.masked_fill(losses < hard[-1] * (1 - 1e-6), 255)
    expected = F.cross_entropy(upsampled(logits, masks), keep, ignore_index=255)
    gradient, expected_gradient = (torch.autograd.grad(value, logits)[0] for value in (loss, expected))
    assert torch.allclose(gradient, expected_gradient, atol=1e-6)


def test_pixel_losses_equal_cross_entropy():
    logits, masks = batch((5, 7), (67, 101))
    expected = F.cross_entropy(upsampled(logits, masks), masks, ignore_index=255, reduction="none")
    assert torch.allclose(upsampled_pixel_losses(logits, masks), expected, atol=1e-5)


def test_dice_is_the_overlap_in_loops():
    logits, masks = batch((3, 4), (6, 8), classes=4)
    masks[masks == 2] = 1  # class 2 does not occur
    probabilities = upsampled(logits, masks).softmax(1)
    scores = []
    for index in (0, 1, 3):
        overlap = size = 0.0
        for image, row, column in (masks != 255).nonzero().tolist():
            probability = probabilities[image, index, row, column].item()
            true = masks[image, row, column].item() == index
            overlap += probability * true
            size += probability + true
        scores.append(2 * overlap / size)
    dice = dice_loss(logits, masks)
    assert math.isclose(dice.item(), 1 - sum(scores) / 3, rel_tol=1e-5)
    parts = SegmentationLoss(dice=0.5)(logits, masks)
    assert torch.allclose(parts["loss"], parts["cross_entropy"] + 0.5 * dice)
    assert torch.autograd.grad(dice, logits)[0].abs().max() > 0


def test_invalid_labels_and_options_are_an_error_of_one_line():
    logits, masks = batch((4, 4), (16, 16))
    with pytest.raises(LightsegError, match="label 7 in a mask"):
        SegmentationLoss()(logits, masks.clone().fill_(7))
    with pytest.raises(LightsegError, match="3 values for 7 classes"):
        SegmentationLoss(class_weights=[1, 2, 3])(logits, masks)
    with pytest.raises(LightsegError, match="ohem"):
        SegmentationLoss(ohem=1.5)
    with pytest.raises(LightsegError, match="label_smoothing"):
        SegmentationLoss(label_smoothing=1.0)
    assert list(SegmentationLoss(class_weights=[1, 2]).state_dict()) == []  # a head has the state of torchvision's


def test_the_loss_is_float32_under_autocast():
    """Lightning's bf16-mixed runs the training step under autocast."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 8, 16, generator=generator, requires_grad=True)
    masks = torch.randint(0, 5, (2, 64, 128), generator=generator)
    expected = SegmentationLoss(dice=0.5, ohem=0.7)(logits, masks)["loss"]
    (gradient,) = torch.autograd.grad(expected, logits)
    with torch.autocast("cpu", torch.bfloat16):
        loss = SegmentationLoss(dice=0.5, ohem=0.7)(logits, masks)["loss"]
    assert loss.dtype == torch.float32 and torch.equal(loss, expected)
    assert torch.equal(torch.autograd.grad(loss, logits)[0], gradient)


class Operations(TorchDispatchMode):
    """The operations that have no deterministic kernel on CUDA."""

    def __init__(self) -> None:
        super().__init__()
        self.raising: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "nll_loss2d_forward" in str(func) and args[3] != 0:  # a reduction
            self.raising.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("options", [{}, {"ohem": 0.7, "label_smoothing": 0.1}, {"dice": 1.0}])
def test_accelerators_can_be_deterministic(options, monkeypatch):
    """trainer.deterministic=true: the pixels of images are not reduced by the loss's kernel, and the value is the
    same."""
    logits, masks = torch.randn(2, 5, 8, 8, requires_grad=True), torch.randint(0, 5, (2, 32, 32))
    loss = SegmentationLoss(**options)
    on_a_cpu = loss(logits, masks)["loss"]
    (gradient,) = torch.autograd.grad(on_a_cpu, logits)
    monkeypatch.setattr("lightseg.losses.upsampled_cross_entropy._in_bands", lambda logits: False)
    with Operations() as operations:
        on_a_gpu = loss(logits, masks)["loss"]
    assert operations.raising == []
    assert torch.allclose(on_a_cpu, on_a_gpu, atol=1e-6)
    assert torch.allclose(torch.autograd.grad(on_a_gpu, logits)[0], gradient, atol=1e-6)
