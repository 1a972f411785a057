"""What a user can get wrong about a backbone is one line that says what to do."""

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


def refusal(name: str = SMALL, **options) -> str:
    with pytest.raises(LightsegError) as caught:
        create_backbone(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_unknown_names_are_answered_with_the_nearest():
    assert "did you mean mobilenetv3_large" in refusal("mobilenet_v3_large")
    assert refusal("mobilenet_v3_large") == unknown_message("mobilenet_v3_large")
    assert "resnet18" in refusal("resnet-18")
    assert "resnet18" in unknown_message("resnet_18.a1_in1k")


def test_names_are_known_without_timm():
    registered_here = {row.timm_name for row in CATALOG.values() if row.timm_name not in timm_names()}
    assert timm_names() | registered_here == frozenset(timm.list_models())
    assert registered_here <= CATALOG.keys()
    assert all(map(is_known, ("mobilenetv2", "resnet18", "resnet18.a1_in1k"))) and not is_known("resnet_18")
    assert list_backbones("mobilenetv3_small*") == [name for name in CATALOG if name.startswith("mobilenetv3_small")]
    assert list_backbones() == list(CATALOG)


def test_what_a_net_cannot_give():
    assert refusal(output_stride=4) == "no output stride 4: choose from 8, 16, 32"
    assert "choose from last, first" in refusal(taps="deep")
    assert "xception has no taps 'first'" in refusal("xception", taps="first")
    assert "xception has no taps 'expansion': the first block of its deepest" in refusal("xception", taps="expansion")
    assert "choose from last, first" in refusal(taps=("first", "deep"))
    assert "choose from last, first" in refusal(taps=())
    assert "xception has no stochastic depth" in refusal("xception", drop_path_rate=0.1)
    assert "strides 16, 16, 16" in refusal("vit_tiny_patch16_224")
    assert "levit_128 has no output stride 32, only 64" in refusal("levit_128")
    assert "resnet26d has no output stride 16: its average pooling" in refusal("resnet26d", output_stride=16)
    assert "swin_tiny_patch4_window7_224 has no output stride 16, only 32" in refusal(
        "swin_tiny_patch4_window7_224", output_stride=16
    )
    assert "convnext_atto has no batch norm" in refusal("convnext_atto", bn_eps=1e-3)
    assert "nosuchtag" in refusal("resnet18.nosuchtag")


def test_timm_weights_need_a_network(monkeypatch):
    def no_dns(*_):
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", no_dns)
    monkeypatch.setattr("lightseg.backbones.pretrained.getproxies", dict)
    monkeypatch.setattr("lightseg.backbones.pretrained.try_to_load_from_cache", lambda *_: None)
    message = refusal(pretrained=True)
    assert "cannot be reached" in message and "pretrained=false" in message and ".safetensors" in message


def test_timm_weights_that_do_not_exist_are_not_looked_for(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("asked the network"))
    assert "no weights for mobilenetv2_035 to download" in refusal("mobilenetv2_035", pretrained=True)


def test_a_download_that_fails_is_not_blamed_on_the_net(monkeypatch):
    build = timm.create_model

    def broken(*args, pretrained=False, **options):
        if pretrained:
            raise OSError("connection\nreset")
        return build(*args, **options)

    monkeypatch.setattr("lightseg.backbones.pretrained.can_resolve", lambda _: True)
    monkeypatch.setattr(timm, "create_model", broken)
    assert "connection reset" in refusal(pretrained=True)
    assert "stochastic depth" in refusal("xception", pretrained=True, drop_path_rate=0.1)


def test_cached_timm_weights_need_none(monkeypatch, tmp_path):
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
    assert "no.pth: no such weight file" in refusal(pretrained="no.pth")
    weights = timm.create_model(SMALL).state_dict()
    torch.save(weights, "whole.pth")
    save_file(weights, "whole.safetensors")
    for suffix in ("pth", "safetensors"):
        whole = Path(f"whole.{suffix}").read_bytes()
        Path(f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
        Path(f"empty.{suffix}").touch()
        assert f"cut.{suffix} is damaged" in refusal(pretrained=f"cut.{suffix}")
        assert f"empty.{suffix} is damaged" in refusal(pretrained=f"empty.{suffix}")
    torch.save({"state_dict": weights, "more": Code()}, "code.pth")
    Path("code.pt").write_bytes(pickle.dumps(Code()))
    for name in ("code.pth", "code.pt"):
        assert "never run" in refusal(pretrained=name)
    assert not Path("executed").exists()
    torch.save([1, 2], "list.pth")
    torch.save({"epoch": 3}, "no_tensors.pth")
    for name in ("list.pth", "no_tensors.pth"):
        assert f"{name} holds no state_dict" in refusal(pretrained=name)
