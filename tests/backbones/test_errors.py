"""Errors of backbones are one line that says what to do."""

import pickle
import socket
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from lightseg.backbones import create_backbone, list_backbones
from lightseg.catalog.backbones import CATALOG, is_known, timm_names, unknown_message
from lightseg.errors import LightsegError

SMALL = "mobilenetv3_small_050"


def error_of(name: str = SMALL, **options) -> str:
    with pytest.raises(LightsegError) as caught:
        create_backbone(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_unknown_names_are_an_error_with_the_nearest():
    assert "did you mean mobilenetv3_large" in error_of("mobilenet_v3_large")
    assert error_of("mobilenet_v3_large") == unknown_message("mobilenet_v3_large")
    assert "resnet18" in error_of("resnet-18")
    assert "resnet18" in unknown_message("resnet_18.a1_in1k")


def test_names_are_known_without_timm():
    registered_here = {row.timm_name for row in CATALOG.values() if row.timm_name not in timm_names()}
    assert timm_names() | registered_here == frozenset(timm.list_models())
    assert registered_here <= CATALOG.keys()
    assert all(map(is_known, ("mobilenetv2", "resnet18", "resnet18.a1_in1k"))) and not is_known("resnet_18")
    assert list_backbones("mobilenetv3_small*") == [name for name in CATALOG if name.startswith("mobilenetv3_small")]
    assert list_backbones() == list(CATALOG)


def test_options_that_a_net_does_not_support():
    assert error_of(output_stride=4) == "no output stride 4: choose from 8, 16, 32, 64"
    assert "choose from last, projection, first" in error_of(taps="deep")
    assert "xception has no taps 'first'" in error_of("xception", taps="first")
    assert "xception has no taps 'expansion': the first block of its deepest" in error_of("xception", taps="expansion")
    assert "choose from last, projection, first" in error_of(taps=("first", "deep"))
    assert "choose from last, projection, first" in error_of(taps=())
    assert "xception has no stochastic depth" in error_of("xception", drop_path_rate=0.1)
    assert "levit_128 has no output stride 32, only 64" in error_of("levit_128")
    assert "resnet26d has no output stride 16: its average pooling" in error_of("resnet26d", output_stride=16)
    assert "swin_tiny_patch4_window7_224 has no output stride 16, only 32" in error_of(
        "swin_tiny_patch4_window7_224", output_stride=16
    )
    assert "convnext_atto has no batch norm" in error_of("convnext_atto", bn_eps=1e-3)
    assert "nosuchtag" in error_of("resnet18.nosuchtag")


def test_timm_weights_need_a_network(monkeypatch):
    def no_dns(*_):
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", no_dns)
    monkeypatch.setattr("lightseg.backbones.pretrained.getproxies", dict)
    monkeypatch.setattr("lightseg.backbones.pretrained.try_to_load_from_cache", lambda *_: None)
    message = error_of(pretrained=True)
    assert "cannot be reached" in message and "pretrained=false" in message and ".safetensors" in message


def test_weights_that_timm_does_not_have_need_no_network(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("asked the network"))
    assert "no weights for mobilenetv2_035 to download" in error_of("mobilenetv2_035", pretrained=True)


def test_a_failed_download_is_not_an_error_of_the_net(monkeypatch):
    build = timm.create_model

    def broken(*args, pretrained=False, **options):
        if pretrained:
            raise OSError("connection\nreset")
        return build(*args, **options)

    monkeypatch.setattr("lightseg.backbones.pretrained.can_resolve", lambda _: True)
    monkeypatch.setattr(timm, "create_model", broken)
    assert "connection reset" in error_of(pretrained=True)
    assert "stochastic depth" in error_of("xception", pretrained=True, drop_path_rate=0.1)


def test_cached_timm_weights_need_no_network(monkeypatch, tmp_path):
    torch.manual_seed(0)
    weights = timm.create_model(SMALL).state_dict()
    save_file(weights, tmp_path / "model.safetensors")
    asked = []
    monkeypatch.setattr("lightseg.backbones.pretrained.getproxies", dict)
    monkeypatch.setattr("lightseg.backbones.pretrained.can_resolve", lambda _: False)
    monkeypatch.setattr(
        "lightseg.backbones.pretrained.try_to_load_from_cache",
        lambda *repository: asked.append(repository) or str(tmp_path / "model.safetensors"),
    )
    pyramid = create_backbone(SMALL, pretrained=True)
    assert asked == [("timm/mobilenetv3_small_050.lamb_in1k", "model.safetensors")]
    assert all(torch.equal(value, weights[key]) for key, value in pyramid.net.state_dict().items())


class Code:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def test_files_that_are_not_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no.pth: no such weight file" in error_of(pretrained="no.pth")
    weights = timm.create_model(SMALL).state_dict()
    torch.save(weights, "complete.pth")
    save_file(weights, "complete.safetensors")
    for suffix in ("pth", "safetensors"):
        content = Path(f"complete.{suffix}").read_bytes()
        Path(f"cut.{suffix}").write_bytes(content[: len(content) // 2])
        Path(f"empty.{suffix}").touch()
        assert f"cut.{suffix} is damaged" in error_of(pretrained=f"cut.{suffix}")
        assert f"empty.{suffix} is damaged" in error_of(pretrained=f"empty.{suffix}")
    torch.save({"state_dict": weights, "more": Code()}, "code.pth")
    Path("code.pt").write_bytes(pickle.dumps(Code()))
    for name in ("code.pth", "code.pt"):
        assert "never run" in error_of(pretrained=name)
    assert not Path("executed").exists()
    torch.save([1, 2], "list.pth")
    torch.save({"epoch": 3}, "no_tensors.pth")
    for name in ("list.pth", "no_tensors.pth"):
        assert f"{name} holds no state_dict" in error_of(pretrained=name)
