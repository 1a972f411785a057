"""The model against torchvision's, saving and loading, and errors."""

import pytest
import torch
from torch.nn import functional as F

from lightseg.backbones.fbnet_tables import ARCHS
from lightseg.catalog.arch_yaml import write_arch
from lightseg.checkpoint import load_model
from lightseg.errors import LightsegError
from lightseg.model import create_model

IMAGES = torch.randint(0, 256, (2, 3, 96, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(96, 160), (67, 101)])
def test_the_torchvision_variant_has_torchvisions_logits(size):
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    torch.manual_seed(0)
    theirs = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21).eval()
    for module in theirs.modules():  # fresh statistics would hide a wrong eps or a swapped layer
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    ours = create_model("mobilenetv3_large", "seg", 21, head={"name": "lraspp", "variant": "torchvision"}).eval()
    state = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))  # they correspond in order
    ours.load_state_dict(state)
    images = IMAGES[..., : size[0], : size[1]]
    with torch.no_grad():
        expected = theirs(ours.normalize(images))["out"]
        logits = ours(images)
        full = F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
    assert expected.std() > 0.01
    assert (full - expected).abs().max() <= 1e-4
    assert torch.equal(ours.head.decode(logits, images.shape[-2:]), expected.argmax(1))


def test_images_are_normalized_with_the_statistics_of_the_backbone():
    lite = create_model("efficientnet_lite0", "seg", 3)
    large = create_model("mobilenetv3_small_050", "seg", 3)
    white = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    assert torch.allclose(lite.normalize(white), torch.ones(1, 3, 2, 2))  # (1 - 0.5) / 0.5
    assert torch.allclose(large.normalize(white)[0, :, 0, 0], torch.tensor([2.2489, 2.4286, 2.64]), atol=1e-4)
    with pytest.raises(LightsegError, match="uint8"):
        lite(torch.rand(1, 3, 32, 32))


def test_a_checkpoint_restores_the_model(tmp_path):
    model = create_model("mobilenetv3_small_050", "seg", 5, head={"name": "raspp", "filters": 16}).eval()
    state = {f"model.{key}": value for key, value in model.state_dict().items()} | {"metric.confusion": torch.zeros(2)}
    torch.save({"hyper_parameters": {"model": model.spec}, "state_dict": state}, tmp_path / "best.ckpt")
    again = load_model(tmp_path / "best.ckpt")
    assert again.spec == model.spec
    with torch.no_grad():
        assert torch.equal(again(IMAGES), model(IMAGES))


def test_a_checkpoint_with_code_is_an_error_and_the_code_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "was_run"), "w"))

    torch.save({"hyper_parameters": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(LightsegError, match="can be read safely"):
        load_model(tmp_path / "evil.ckpt")
    assert not (tmp_path / "was_run").exists()


def test_other_files_are_errors(tmp_path):
    with pytest.raises(LightsegError, match="no such checkpoint"):
        load_model(tmp_path / "none.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(LightsegError, match="not a checkpoint"):
        load_model(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(LightsegError, match="names no model"):
        load_model(tmp_path / "foreign.ckpt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mobilenetv3_lrage", "seg", 3), "mobilenetv3_large"),
        (("mobilenetv3_large", "sge", 3), "seg"),
        (("mobilenetv3_large", "seg", 3, {"name": "lrasp"}), "lraspp"),
        (("mobilenetv3_large", "seg", 3, {"name": "raspp", "variant": "paper"}), "no option 'variant'"),
        (("mobilenetv3_large", "seg", 3, {"name": "lraspp", "variant": "papre"}), "paper"),
    ],
)
def test_invalid_arguments_are_an_error_of_one_line(arguments, message):
    *plain, head = arguments if len(arguments) == 4 else (*arguments, None)
    with pytest.raises(LightsegError) as error:
        create_model(*plain, head=head)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_checkpoint_contains_the_architecture(tmp_path):
    arch = next(arch for arch in ARCHS if arch.name == "fbnetv2_f1")
    write_arch(arch, tmp_path / "arch.yaml")
    model = create_model(str(tmp_path / "arch.yaml"), "seg", 3).eval()
    assert model.spec["backbone"] == "fbnetv2_f1"
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    torch.save({"hyper_parameters": {"model": model.spec}, "state_dict": state}, tmp_path / "best.ckpt")
    (tmp_path / "arch.yaml").unlink()
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(load_model(tmp_path / "best.ckpt")(images), model(images))
    with pytest.raises(LightsegError, match=r"arch.yaml: cannot be read"):
        create_model(str(tmp_path / "arch.yaml"), "seg", 3)


def test_a_checkpoint_contains_the_input_format():
    rgb = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    model = create_model("shufflenetv1_g3_x0_5", "seg", 3, input_format="bgr255")
    torch.testing.assert_close(model.normalize(rgb), rgb.flip(1).float())
    assert create_model(**model.spec).contract.channel_order == "BGR"


def test_the_head_of_a_checkpoint_is_loaded_if_it_is_the_same(tmp_path, caplog):
    def build(classes: int, head: str, **options):
        return create_model("mobilenetv3_small_050", "seg", classes, head={"name": head}, **options)

    model, path = build(5, "lraspp"), str(tmp_path / "best.ckpt")
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    torch.save({"hyper_parameters": {"model": model.spec}, "state_dict": state}, path)
    again = build(5, "lraspp", pretrained=path).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in model.state_dict().items()) and not caplog.text
    for classes, head in ((4, "lraspp"), (5, "raspp")):
        caplog.clear()
        other = build(classes, head, pretrained=path)
        assert "its head differs or is for other classes and was not loaded" in caplog.text
        loaded = other.backbone.state_dict()
        assert all(torch.equal(value, loaded[key]) for key, value in model.backbone.state_dict().items())
