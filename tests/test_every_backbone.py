"""Every backbone of the catalog under every head: a step of training, at a size that no stride divides where the task
has such sizes, and decoding; and as a classifier that gives timm's own logits."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from lightseg.backbones import FeaturePyramid
from lightseg.catalog.backbones import CATALOG
from lightseg.cpu_training import optimize_for_cpu
from lightseg.heads.classification import LinearHead
from lightseg.heads.default_boxes import LEVELS
from lightseg.heads.heatmap import HeatmapHead
from lightseg.heads.lraspp import RASPP
from lightseg.heads.simcc import SimCCHead
from lightseg.model import Model, create_model
from tests.nets import every_backbone

CLASSES = 5
BATCH = 2


def images_of(height: int, width: int) -> Tensor:
    images = torch.randint(0, 256, (BATCH, 3, height, width), dtype=torch.uint8)
    return images.contiguous(memory_format=torch.channels_last)


def train_a_step(model: Model, images: Tensor, targets: dict[str, Any], reached: float = 0.75) -> Any:
    """The head's outputs before the step. Every parameter of the head gets a gradient, and more than the share
    `reached` of the backbone's one that is not 0: behind a dead ReLU it is."""
    model = optimize_for_cpu(model).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    outputs = model(images)
    losses = model.head.loss(outputs, targets)
    assert all(loss.isfinite() for loss in losses.values()) and losses["loss"] > 0
    optimizer.zero_grad()
    losses["loss"].backward()
    gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
    assert [key for key, gradient in gradients.items() if key.startswith("head.") and gradient is None] == []
    assert [key for key, gradient in gradients.items() if gradient is not None and not gradient.isfinite().all()] == []
    backbone = [gradient for key, gradient in gradients.items() if key.startswith("backbone.")]
    assert sum(gradient is not None and bool(gradient.any()) for gradient in backbone) > reached * len(backbone)
    optimizer.step()
    model.eval()
    return outputs


@pytest.mark.parametrize("name", every_backbone())
def test_it_trains_under_the_heads_of_segmentation(name):
    torch.manual_seed(0)
    height, width = 67, 101
    lraspp = create_model(name, "seg", 19, head={"name": "lraspp"})
    assert lraspp.spec["output_stride"] == 16
    for model in (lraspp, Model(lraspp.backbone, RASPP(lraspp.backbone.stages, 19), lraspp.contract)):
        images, masks = images_of(height, width), torch.randint(0, 19, (BATCH, height, width))
        masks[:, :5] = 255
        logits = train_a_step(model, images, {"masks": masks})
        assert logits.shape[:2] == (BATCH, 19) and logits.isfinite().all()
        with torch.no_grad():
            prediction = model.head.decode(model(images), (height, width))
        assert prediction.shape == (BATCH, height, width) and prediction.min() >= 0 and prediction.max() < 19


def detects(model: Model) -> None:
    shapes: list[tuple[int, ...]] = []  # of the backbone's maps
    hook = model.backbone.register_forward_hook(
        lambda _, __, maps: shapes.__setitem__(slice(None), [m.shape[2:] for m in maps])
    )
    height, width = 128, 192
    images = images_of(height, width)
    # one image with a large and a small object, one with none
    boxes = [torch.tensor([[10.0, 15, 100, 90], [120, 100, 131, 115]]), torch.zeros(0, 4)]
    targets = {"boxes": boxes, "labels": [torch.tensor([4, 0]), torch.zeros(0, dtype=torch.int64)]}
    outputs = train_a_step(model, images, targets)
    maps = [shapes[index] for index in model.head.feature_indices]
    assert [round(height / h / 16) for h, _ in maps] in ([1, 2], [1]), "strides 16 and 32, or 16 alone"
    while len(maps) < LEVELS:  # the extra blocks halve
        maps.append(tuple(-(-side // 2) for side in maps[-1]))
    defaults = 6 * sum(h * w for h, w in maps)
    assert outputs["default_boxes"].shape == (defaults, 4)
    assert outputs["class_logits"].shape == (BATCH, defaults, CLASSES + 1)
    assert outputs["box_deltas"].shape == (BATCH, defaults, 4)
    with torch.no_grad():
        detections = model.head.decode(model(images), (height, width))
    hook.remove()
    assert len(detections) == BATCH
    for detection in detections:
        assert 0 < len(detection["scores"]) <= 300 and detection["boxes"].shape == (len(detection["scores"]), 4)
        assert (detection["boxes"] >= 0).all()
        assert (detection["boxes"] <= torch.tensor([width, height, width, height])).all()
        assert detection["labels"].min() >= 0 and detection["labels"].max() < CLASSES
        assert (detection["scores"].diff() <= 0).all() and detection["scores"].min() > 0.001


def finds_keypoints(model: Model) -> None:
    height, width = 96, 64
    cell = 4.5  # pixels of a heatmap's cell
    images = images_of(height, width)
    targets = {
        "images": images,
        "keypoints": torch.rand(BATCH, CLASSES, 2) * torch.tensor([width - 1.0, height - 1.0]),
        "visible": torch.tensor([[2, 2, 1, 2, 0], [2, 0, 2, 2, 2]]),
        "area": torch.tensor([2000.0, 3000.0]),
    }
    train_a_step(model, images, targets)
    with torch.no_grad():
        prediction = model.head.decode(model(images), (height, width))
    assert prediction["keypoints"].shape == (BATCH, CLASSES, 2) and prediction["scores"].shape == (BATCH, CLASSES)
    assert prediction["keypoints"].isfinite().all()
    limits = torch.tensor([width, height])  # the refinement of a peak at the border may step a cell beyond it
    assert (prediction["keypoints"] > -cell).all() and (prediction["keypoints"] < limits + cell).all()


def classifies(model: Model) -> None:
    images = images_of(64, 64)
    labels = torch.tensor([[0.3, 0.7, 0, 0, 0], [0, 0, 0.5, 0.5, 0]])
    assert train_a_step(model, images, {"labels": labels}).shape == (BATCH, CLASSES)
    with torch.no_grad():
        probabilities = model.head.decode(model(images))
    assert torch.allclose(probabilities.sum(1), torch.ones(BATCH)) and probabilities.min() >= 0


@pytest.mark.parametrize("name", every_backbone())
def test_it_trains_under_the_heads_of_the_other_tasks(name):
    torch.manual_seed(0)
    detector = create_model(name, "det", CLASSES, head={"name": "ssdlite", "extra_channels": [128, 64, 64, 32]})
    backbone, contract = detector.backbone, detector.contract
    assert isinstance(backbone, FeaturePyramid) and detector.spec["output_stride"] == 32
    detects(detector)
    pose_heads: tuple[nn.Module, ...] = (
        HeatmapHead(backbone.stages, CLASSES, variant="light"),
        HeatmapHead(backbone.stages, CLASSES, variant="simple"),
        SimCCHead(backbone.stages, CLASSES, image_size=(96, 64)),
    )
    for head in pose_heads:
        finds_keypoints(Model(backbone, head, contract))
    classifies(Model(backbone, LinearHead(backbone.stages, CLASSES), contract))


@pytest.mark.parametrize("name", every_backbone())
def test_native_is_timms_own_classifier(name):
    """The same weights, the same logits: uint8 to ours, to timm's what its own configuration makes of the image."""
    torch.manual_seed(0)
    model = create_model(name, "cls", CLASSES, loss={"label_smoothing": 0.1}).eval()
    net = timm.create_model(CATALOG[name].timm_name, num_classes=CLASSES).eval()
    assert type(net) is type(model.backbone.net)
    with torch.no_grad():
        for module in net.modules():  # statistics as after training: fresh ones would hide a wrong epsilon
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
    model.backbone.net.load_state_dict(net.state_dict())
    config = timm.data.resolve_data_config(model=net)
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    images = torch.randint(0, 256, (BATCH, 3, 96, 96), dtype=torch.uint8)
    normalized = (images / 255 - mean) / std
    assert (model.normalize(images) - normalized).abs().max() <= 1e-6  # other roundings, which depth makes larger
    with torch.no_grad():
        ours, theirs = model(images), net(model.normalize(images))
    assert theirs.shape == (BATCH, CLASSES) and theirs.std() > 0
    assert (ours - theirs).abs().max() <= 1e-6
    classifies(model)
