"""Every backbone of the catalog under both segmentation heads, at a usual and at an odd size; and two steps of training
as a classifier, whole and under a linear head, with timm's own logits to begin with."""

import pytest
import timm
import torch

from lightseg.catalog.backbones import CATALOG
from lightseg.cpu_training import optimize_for_cpu
from lightseg.heads.lraspp import LRASPP, RASPP
from lightseg.model import Model, create_model

LIGHT = [name for name, row in CATALOG.items() if row.params_m is not None and row.params_m <= 10]
HEAVY = [name for name in CATALOG if name not in LIGHT]
every_backbone = pytest.mark.parametrize(
    "name", [*LIGHT, *(pytest.param(name, marks=pytest.mark.slow) for name in HEAVY)]
)


@every_backbone
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


@every_backbone
def test_two_steps_of_classification(name):
    for head in ("native", "linear"):
        torch.manual_seed(0)
        model = create_model(name, "cls", 5, head={"name": head}, loss={"label_smoothing": 0.1})
        model = optimize_for_cpu(model).train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
        before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
        for labels in (torch.tensor([0, 4]), torch.tensor([[0.3, 0.7, 0, 0, 0], [0, 0, 0.5, 0.5, 0]])):
            logits = model(images)
            assert logits.shape == (2, 5)
            loss = model.head.loss(logits, {"labels": labels})["loss"]
            assert loss.isfinite()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        moved = [key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])]
        assert len(moved) > 0.8 * len(before)  # a weight whose gradient is 0 behind a dead ReLU stays
        probabilities = model.eval().head.decode(model(images))
        assert torch.allclose(probabilities.sum(1), torch.ones(2)) and probabilities.min() >= 0


@every_backbone
def test_native_is_timms_own_classifier(name):
    """The same weights, the same logits: uint8 to ours, to timm's what its own configuration makes of the picture."""
    torch.manual_seed(0)
    model = create_model(name, "cls", 1000).eval()
    net = timm.create_model(CATALOG[name].timm_name, num_classes=1000).eval()
    assert type(net) is type(model.backbone.net)
    with torch.no_grad():
        for module in net.modules():  # statistics as after training: fresh ones would hide a wrong epsilon
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
    model.backbone.net.load_state_dict(net.state_dict())
    config = timm.data.resolve_data_config(model=net)
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    normalised = (images / 255 - mean) / std
    assert (model.normalize(images) - normalised).abs().max() <= 1e-6  # other roundings, which depth makes larger
    with torch.no_grad():
        ours, theirs = model(images), net(model.normalize(images))
    assert theirs.shape == (2, 1000) and theirs.std() > 0
    assert (ours - theirs).abs().max() <= 1e-6
