"""The detector with the state dict of torchvision's ssdlite320_mobilenet_v3_large: the same logits and detections."""

import logging
from pathlib import Path

import cv2
import pytest
import torch
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

from lightseg.errors import LightsegError
from lightseg.model import create_model
from lightseg.streets import render
from lightseg.torchvision_ssdlite import COCO_IDS
from lightseg.torchvision_ssdlite import load as load_torchvision_ssdlite
from tests.marks import slow_except

PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "data" / "coco128"
VARIANT = {"name": "ssdlite", "variant": "torchvision"}
REDUCED = "mobilenetv3_large_reduced"


@pytest.fixture(autouse=True)
def one_thread():
    """With single small images one thread is faster than two, above all when other tests run at the same time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def torchvision_net():
    """Random weights and statistics, about those of the mini images: maps that tell one place from the next, and
    statistics that a wrong epsilon or a swapped layer would show in."""
    torch.manual_seed(0)
    net = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    norms = [layer for layer in net.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.normal_(0, 0.3)
    with torch.no_grad():
        net.head(list(net.backbone(mini_images() / 127.5 - 1).values()))
    for norm in norms:
        norm.running_mean += 0.2 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.5, 2)
    for predictor in net.head.classification_head.module_list:
        predictor[1].weight.data.mul_(2)
        predictor[1].bias.data.view(6, -1)[:, 0] += 4
    return net.eval()


@pytest.fixture(scope="module")
def weights(torchvision_net, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "ssdlite.pth"
    torch.save(torchvision_net.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def model(weights):
    return create_model(REDUCED, "det", 90, pretrained=str(weights), head=VARIANT).eval()


def mini_images():
    return torch.stack([torch.from_numpy(render(seed, 320, 640).image[:, 160:480]) for seed in (3, 4)]).permute(
        0, 3, 1, 2
    )


def assert_same_detections(ours, theirs):
    """The same boxes, labels and scores. torchvision divides pixels by 255 first, which rounds otherwise: neighbours
    whose scores differ by less than that changes may have changed places."""
    assert len(ours["scores"]) == len(theirs["scores"]) > 50 and len(ours["labels"].unique()) > 10
    assert torch.allclose(ours["scores"], theirs["scores"], atol=1e-5)
    same = ours["labels"][:, None] + 1 == theirs["labels"]
    same &= (ours["boxes"][:, None] - theirs["boxes"]).abs().amax(2) < 0.01
    same &= (ours["scores"][:, None] - theirs["scores"]).abs() < 1e-5
    assert same.any(1).all() and same.any(0).all()
    assert same.diagonal().float().mean() > 0.95


def compare(model, net, images):
    """uint8 [B,3,320,320]: both whole, from pixels to boxes; torchvision's takes 0..1 and normalises itself."""
    with torch.no_grad():
        outputs = model(images)
        expected = net.head(list(net.backbone(net.transform(list(images / 255))[0].tensors).values()))
        detections = net(list(images / 255))
    assert expected["cls_logits"].std() > 0.5 and expected["bbox_regression"].std() > 0.1
    assert (outputs["class_logits"] - expected["cls_logits"]).abs().max() <= 1e-4
    assert (outputs["box_deltas"] - expected["bbox_regression"]).abs().max() <= 1e-4
    for ours, theirs in zip(model.head.decode(outputs, (320, 320)), detections, strict=True):
        assert_same_detections(ours, theirs)


def test_a_state_dict_of_torchvisions_detector_restores_its_detections(model, torchvision_net):
    assert sum(p.numel() for p in model.parameters()) == 3_440_060  # as torchvision states
    compare(model, torchvision_net, mini_images())


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs of COCO128 are not beside the repository")
def test_the_same_on_photographs(model, torchvision_net):
    files = sorted(PHOTOS.glob("*2017/*.jpg"))[::16]
    assert len(files) >= 4
    for file in files:
        photo = cv2.resize(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB), (320, 320))
        compare(model, torchvision_net, torch.from_numpy(photo).permute(2, 0, 1)[None])


def test_the_full_tail(caplog):
    torch.manual_seed(0)
    narrow = create_model(REDUCED, "det", 3, head=VARIANT).eval()
    wide = create_model("mobilenetv3_large", "det", 3, head=VARIANT).eval()
    assert [stage.channels for stage in narrow.backbone.stages[3:]] == [672, 480]
    assert [stage.channels for stage in wide.backbone.stages[3:]] == [672, 960]
    # named as torchvision names them, in the same order
    names = list(ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4).state_dict())
    values = [torch.randn_like(v) if v.is_floating_point() else v for v in wide.state_dict().values()]
    load_torchvision_ssdlite(wide, dict(zip(names, values, strict=True)))
    assert all(torch.equal(a, b) for a, b in zip(wide.state_dict().values(), values, strict=True))
    assert "mean and std 0.5" in caplog.text
    with pytest.raises(LightsegError, match=f"do not fit a detector on {REDUCED}"):
        load_torchvision_ssdlite(narrow, dict(zip(names, values, strict=True)))


def test_with_other_classes_backbone_and_extra_blocks_are_loaded_with_a_warning(weights, torchvision_net, caplog):
    with caplog.at_level(logging.WARNING):
        ours = create_model(REDUCED, "det", 5, pretrained=str(weights), head=VARIANT)
    assert "know 90 classes and the data has 5" in caplog.text and "eps" not in caplog.text
    source = torchvision_net.state_dict()
    backbone = [value for key, value in source.items() if key.startswith("backbone.") and "num_batches" not in key]
    mine = {key: value for key, value in ours.state_dict().items() if "num_batches" not in key}
    loaded = [value for key, value in mine.items() if "_predictors." not in key]
    assert len(loaded) == len(backbone) > 200
    assert all(torch.equal(a, b) for a, b in zip(loaded, backbone, strict=True))
    assert mine["head.class_predictors.0.3.weight"].shape[0] == 6 * 6
    assert abs(mine["head.class_predictors.0.3.weight"].std() - 0.03) < 0.003


def test_without_the_variant_a_warning_names_it(weights, caplog):
    with caplog.at_level(logging.WARNING):
        create_model(REDUCED, "det", 90, pretrained=str(weights))
    assert "head.variant=torchvision" in caplog.text


def test_a_file_of_another_detector_is_an_error(weights, tmp_path):
    with pytest.raises(LightsegError, match="do not fit a detector on mobilenetv3_small_050"):
        create_model("mobilenetv3_small_050", "det", 90, pretrained=str(weights), head=VARIANT)
    with pytest.raises(LightsegError, match="no such weight file"):
        create_model(REDUCED, "det", 90, pretrained=str(tmp_path / "none.pth"))


@pytest.mark.parametrize(
    ("name", "channels", "extras"),
    [
        ("mobilenetv3_small", [288, 576], 4),  # the expansion of the first block of stride 32
        ("mobilenetv1_025", [128, 256], 4),  # no inverted residuals
        ("shufflenetv2_x0_5", [96, 192], 4),
        ("squeezenet1_1", [512], 5),  # ends at stride 16
    ],
)
@pytest.mark.parametrize("size", slow_except([(256, 384)], [(320, 320), (256, 384)]))
def test_taps_and_extra_blocks_for_nets_of_all_kinds(name, channels, extras, size):
    torch.manual_seed(0)
    model = create_model(name, "det", 3, head={"detections_per_image": 5}).train()
    assert [stage.channels for stage in model.backbone.stages if stage.stride >= 16] == channels
    assert len(model.head.extra) == extras and model.spec["output_stride"] == 32
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    targets = {"boxes": [torch.tensor([[10.0, 20, 150, 200]])] * 2, "labels": [torch.tensor([2])] * 2}
    losses = []
    for _ in range(4):
        outputs = model(images)
        parts = model.head.loss(outputs, targets)
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        losses.append(parts["loss"].item())
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert losses[-1] < losses[0]
    assert [len(found["scores"]) for found in model.head.decode(outputs, size)] == [5, 5]


def test_a_wrong_name_is_named_once_in_the_error():
    with pytest.raises(LightsegError, match="mobilenetv3_large"):
        create_model("mobilenetv3_lrage", "det", 3)
    with pytest.raises(LightsegError, match="stride 16"):
        create_model("mobilenetv1_025", "det", 3, output_stride=8)


@pytest.mark.slow
def test_raw_outputs_are_exported_with_any_batch():
    model = create_model("mobilenetv3_small_050", "det", 3).eval()
    images = torch.randint(0, 256, (3, 3, 96, 160), dtype=torch.uint8)
    exported = torch.export.export(model, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    with torch.no_grad():
        expected, outputs = model(images), exported.module()(images)
    assert expected.keys() == outputs.keys() == {"class_logits", "box_deltas", "default_boxes"}
    for key, value in expected.items():
        assert torch.allclose(outputs[key], value, atol=1e-5)
    assert torch.equal(outputs["default_boxes"], expected["default_boxes"])


def test_the_80_categories_of_cocos_90_ids_are_loaded(weights, torchvision_net):
    ours = create_model(REDUCED, "det", 80, pretrained=str(weights), head=VARIANT).eval()
    whole = create_model(REDUCED, "det", 90, pretrained=str(weights), head=VARIANT).eval()
    images = mini_images()
    with torch.no_grad():
        eighty, ninety = ours(images), whole(images)
    assert len(COCO_IDS) == 80 and COCO_IDS[11] == 13 and COCO_IDS[-1] == 90  # stop sign, toothbrush
    torch.testing.assert_close(eighty["class_logits"], ninety["class_logits"][..., [0, *COCO_IDS]])
    torch.testing.assert_close(eighty["box_deltas"], ninety["box_deltas"])
