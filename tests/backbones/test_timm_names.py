"""Any name of timm as a backbone: sizes, strides, two classifiers, the hub, and files of timm's own training."""

import argparse
import json

import pytest
import timm
import torch

from lightseg.backbones import create_backbone, create_classifier, hub
from lightseg.backbones.build import published_preprocessing
from lightseg.catalog.backbones import is_known
from lightseg.errors import LightsegError
from lightseg.model import create_model
from tools import timm_table

IMAGES = torch.zeros(2, 3, 96, 128, dtype=torch.uint8)


def test_a_transformer_of_a_fixed_size_takes_any_where_timm_can():
    model = create_model("vit_tiny_patch16_224", "cls", 3).eval()
    assert model.backbone.fixed_size is None
    assert model(IMAGES).shape == (2, 3)
    assert model(IMAGES[..., :90, :100]).shape == (2, 3)  # not multiples of the patch
    native = timm.create_model("vit_tiny_patch16_224")
    assert native.pos_embed.shape == model.backbone.net.pos_embed.shape  # weights fit at every size


def test_elsewhere_it_is_built_for_the_size_of_the_images_and_names_it():
    model = create_model("visformer_tiny", "cls", 3, input={"train_size": [96, 128], "size": [96, 128]}).eval()
    assert model.backbone.fixed_size == (96, 128) and model(IMAGES).shape == (2, 3)
    with pytest.raises(LightsegError, match="built for images of 96x128 and takes no others, not 64x64"):
        model(IMAGES[..., :64, :64])
    again = create_model(**model.spec)
    again.load_state_dict(model.state_dict())
    with pytest.raises(LightsegError, match="halonet_h1 cannot take images of 100x100"):
        create_model("halonet_h1", "cls", 3, input={"size": [100, 100]})


def test_equal_strides_serve_the_heads_that_need_no_finer_map():
    pyramid = create_backbone("vit_tiny_patch16_224")
    assert [stride for _, stride in pyramid.stages] == [16, 16, 16]
    outputs = create_model("vit_tiny_patch16_224", "det", 3)(IMAGES)
    assert outputs["class_logits"].shape[::2] == (2, 4)
    assert create_model("vit_tiny_patch16_224", "seg", 3, head={"name": "raspp"}).eval()(IMAGES).shape[:2] == (2, 3)
    with pytest.raises(LightsegError, match=r"head\.name=raspp"):
        create_model("vit_tiny_patch16_224", "seg", 3)


def test_without_a_wish_a_net_keeps_the_stride_it_can_have(caplog):
    model = create_model("resnet10t", "seg", 3)
    assert model.spec["output_stride"] == 32 == model.backbone.output_stride
    (record,) = caplog.records
    assert "no output stride 16: its average pooling" in record.message and "output stride 32" in record.message
    with pytest.raises(LightsegError, match="resnet10t has no output stride 16"):
        create_model("resnet10t", "seg", 3, output_stride=16)
    again = create_model(**model.spec)  # as from a checkpoint
    assert again.backbone.stages == model.backbone.stages


def test_stride_64_is_taken_where_the_net_has_it():
    model = create_model("efficientvit_m0", "pose", 3).eval()
    assert model.spec["output_stride"] == 64 and create_model(**model.spec).backbone.output_stride == 64
    with pytest.raises(LightsegError, match="no output stride 64: its largest is 32"):
        create_backbone("resnet18", output_stride=64)


def test_two_classifiers_have_the_rate_of_the_head():
    from tasks.run.optimization import build_optimizer

    model = create_model("deit_tiny_distilled_patch16_224", "cls", 3)
    options = {"name": "sgd", "lr": 1.0, "backbone_lr_mult": 0.1, "weight_decay": 0.0, "momentum": 0.9}
    options |= {"eps": None, "layer_decay": 1.0, "fused": False}
    rates = {id(p): group["lr"] for group in build_optimizer(model, **options).param_groups for p in group["params"]}
    net = model.backbone.net
    assert {rates[id(layer.weight)] for layer in (net.head, net.head_dist)} == {1.0}
    assert rates[id(net.patch_embed.proj.weight)] == pytest.approx(0.1)


def test_of_timms_own_training_the_moving_average_is_loaded(tmp_path):
    nets = [timm.create_model("mobilenetv3_small_050", num_classes=3) for _ in range(2)]
    content = {
        "epoch": 3,
        "arch": "mobilenetv3_small_050",
        "args": argparse.Namespace(model="mobilenetv3_small_050", lr=0.1),
        "state_dict": nets[0].state_dict(),
        "state_dict_ema": nets[1].state_dict(),
    }
    torch.save(content, tmp_path / "model_best.pth.tar")
    loaded = create_classifier("mobilenetv3_small_050", 3, pretrained=tmp_path / "model_best.pth.tar")
    assert torch.equal(loaded.net.conv_stem.weight, nets[1].conv_stem.weight)


class TestHub:
    """With a stand-in of the hub: the config file of a repository, and weights in a file."""

    NAME = "hf-hub:somebody/street-net"

    @pytest.fixture(autouse=True)
    def repository(self, monkeypatch, tmp_path):
        config = {
            "architecture": "efficientnet_b0",  # whose name means another net in the catalog
            "num_classes": 1000,
            "pretrained_cfg": {
                "input_size": [3, 192, 192],
                "crop_pct": 1.0,
                "interpolation": "bicubic",
                "mean": [0.1, 0.2, 0.3],
                "std": [0.4, 0.5, 0.6],
                "num_classes": 1000,
                "first_conv": "conv_stem",
                "classifier": "classifier",
            },
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        hub.hub_config.cache_clear()
        monkeypatch.setattr(hub, "reachable", lambda host: True)
        monkeypatch.setattr("timm.models._hub.download_from_hf", lambda *_, **__: tmp_path / "config.json")
        yield config
        hub.hub_config.cache_clear()

    def test_its_architecture_and_preprocessing_are_those_of_the_repository(self):
        assert is_known(self.NAME) and not is_known("hf-hub:nothing")
        model = create_model(self.NAME, "cls", 3)
        assert model.spec["backbone"] == "efficientnet_b0.ra_in1k" and model.contract.mean == (0.1, 0.2, 0.3)
        assert model.contract.size == (192, 192) and published_preprocessing(self.NAME)["crop_pct"] == 1.0
        assert type(model.backbone.net.conv_stem) is torch.nn.Conv2d  # timm's efficientnet_b0, not TensorFlow's
        hub.hub_config.cache_clear()
        with pytest.MonkeyPatch.context() as patched:  # a checkpoint needs no hub
            patched.setattr(hub, "reachable", lambda host: False)
            again = create_model(**model.spec)
        assert again.contract == model.contract

    def test_without_network_it_is_one_line(self, monkeypatch):
        monkeypatch.setattr(hub, "reachable", lambda host: False)
        with pytest.raises(LightsegError, match=r"huggingface\.co cannot be reached and it is not cached"):
            create_model(self.NAME, "cls", 3)

    def test_arguments_of_its_own_are_one_line(self, repository, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps({**repository, "model_args": {"depth": 3}}))
        with pytest.raises(LightsegError, match="has arguments of its own"):
            create_model(self.NAME, "cls", 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "levit_128s", "coat_tiny", "nextvit_small", "csatv2"])
@pytest.mark.parametrize("task", ["cls", "det", "pose"])
def test_nets_that_were_refused_train(name, task):
    assert timm_table.attempt(name, task).kind == timm_table.TRAINS


def test_the_table_lists_every_family_of_timm():
    families = json.loads(timm_table.FAMILIES.read_text(encoding="utf-8"))
    assert set(families) == set(timm_table.families())
