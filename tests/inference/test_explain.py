"""Heat lies where the evidence is: hand-built nets that know colours, and their evidence in corners."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from lightseg.backbones.pyramid import Stage
from lightseg.checkpoint import load_model
from lightseg.cli import main
from lightseg.errors import LightsegError
from lightseg.heads.classification import LinearHead
from lightseg.heads.heatmap import HeatmapHead
from lightseg.heads.lraspp import LRASPP
from lightseg.heads.simcc import SimCCHead
from lightseg.heads.ssdlite import SSDLite
from lightseg.inference.api import predict
from lightseg.inference.heat_map import heat_map
from lightseg.input_contract import InputContract
from lightseg.model import Model, create_model
from lightseg.task_specs import task_spec
from tests.toy_task.spec import INFO, DepthSpec

from .conftest import NAMES
from .test_predict_exported import describe, write_onnx

SIDE = 128
RED, GREEN = np.s_[96:, 96:], np.s_[:32, :32]  # a sixteenth of the image each


class Colours(nn.Module):
    """The mean red, green and blue of cells of 4, 8, 16 and 32 pixels."""

    name = "colours"
    stages = tuple(Stage(3, stride) for stride in (4, 8, 16, 32))
    net = nn.Identity()

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [avg_pool2d(x, 4)]
        while len(maps) < 4:
            maps.append(avg_pool2d(maps[-1], 2))
        return maps


def identity(layer: nn.Module) -> None:
    """A convolution that hands its first channels on; a deconvolution doubles them in size."""
    for part in layer.modules():
        if isinstance(part, nn.ConvTranspose2d):
            kernel = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
            part.weight.data.zero_()
            for channel in range(3):
                part.weight.data[channel, channel] = kernel[:, None] * kernel
        elif isinstance(part, nn.Conv2d):
            part.weight.data.zero_()
            middle = part.kernel_size[0] // 2
            for channel in range(min(part.out_channels, 3)):
                part.weight.data[channel, 0 if part.groups > 1 else channel, middle, middle] = 1
            if part.bias is not None:
                part.bias.data.zero_()


def classifier() -> LinearHead:
    head = LinearHead(Colours.stages, 3)
    head.classifier.weight.data = torch.eye(3)
    return head


def segmenter() -> LRASPP:
    head = LRASPP(Colours.stages, 3, filters=3)
    identity(head)
    return head


def detector() -> SSDLite:
    """A box of red or green scores above 0.99 where its cell has that colour alone."""
    head = SSDLite(Colours.stages, 3, extra_channels=(6, 6, 6, 6))
    for predictor in [*head.class_predictors, *head.box_predictors, *head.extra]:
        identity(predictor)
    for predictor in head.class_predictors:
        last = predictor[-1]
        last.weight.data.zero_()
        last.bias.data = torch.tensor([0.0, -4, -4, -4]).repeat(6)
        for box in range(6):
            for channel in range(3):
                last.weight.data[4 * box + 1 + channel, channel] = 9
    for predictor in head.box_predictors:
        predictor[-1].weight.data.zero_()
    return head


def heatmaps() -> HeatmapHead:
    head = HeatmapHead(Colours.stages, 3, variant="simple")
    identity(head)
    return head


def bins() -> SimCCHead:
    """A bin's logit is the colour in the columns (rows) of its cell."""
    head = SimCCHead(Colours.stages, 3, image_size=(SIDE, SIDE), hidden=16)
    identity(head.maps)
    linear = head.hidden[1]
    linear.weight.data, linear.bias.data = torch.eye(16), torch.zeros(16)
    cell = torch.arange(16)
    for axis, of_cell in ((head.x, cell % 4), (head.y, cell // 4)):
        of_bin = torch.arange(axis.out_features) * 4 // axis.out_features
        axis.weight.data, axis.bias.data = (of_bin[:, None] == of_cell).float(), torch.zeros(axis.out_features)
    return head


HEADS = {
    "cls": ("cls", classifier),
    "seg": ("seg", segmenter),
    "det": ("det", detector),
    "pose": ("pose", heatmaps),
    "simcc": ("pose", bins),
}


def build(kind: str) -> tuple[Model, object]:
    task, head = HEADS[kind]
    contract = InputContract(mean=(0.0,) * 3, std=(1.0,) * 3, class_names=("red", "green", "blue"))
    return Model(Colours(), head(), contract).eval(), task_spec(task)


@pytest.fixture(scope="module")
def corners() -> np.ndarray:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[RED] = (250, 0, 0)
    image[GREEN] = (0, 250, 0)
    return image


@pytest.mark.parametrize("kind", HEADS)
def test_the_heat_of_a_colour_lies_in_its_corner(kind, corners):
    model, task = build(kind)
    for label, inside, other in ((0, RED, GREEN), (1, GREEN, RED)):
        for stage in (None, 2):
            heat, _ = heat_map(model, task, corners, label, stage=stage)
            assert heat is not None and heat.shape == (SIDE, SIDE) and heat.max() == pytest.approx(1)
            shares = heat[inside].sum() / heat.sum(), heat[other].sum() / heat.sum()
            assert shares[0] > 0.7 and shares[1] < 0.001  # by chance a sixteenth; the rest is the smooth border
    heat, _ = heat_map(model, task, corners, None)
    if kind != "cls":  # whose most likely class is one of them
        assert min(heat[RED].mean(), heat[GREEN].mean()) > 5 * heat[np.s_[48:80, 48:80]].mean()


@pytest.mark.parametrize("kind", ["det", "pose"])
def test_a_box_and_a_keypoint_have_no_heat_of_what_looks_like_them(kind, corners):
    """Averaged over the map, as in Grad-CAM, the gradient of the bright square would mark the dim square too."""
    image = corners.copy()
    image[GREEN] = (80, 0, 0)
    heat, _ = heat_map(*build(kind), image, 0, score=0.9)
    assert heat is not None and heat[RED].max() == pytest.approx(1) and heat[GREEN].max() < 0.01


def test_what_is_not_predicted_has_no_heat(corners):
    for kind in ("seg", "det"):
        heat, prediction = heat_map(*build(kind), corners, 2)
        assert heat is None and prediction is not None
    assert not heat_map(*build("cls"), corners, 2)[0].any()


@pytest.mark.slow
def test_maps_with_channels_last_count_on_the_way_to_later_ones():
    """timm's Swin passes [B, h, w, C] on, and the pyramid hands its head [B, C, h, w]."""
    torch.manual_seed(1)
    model = create_model("swin_tiny_patch4_window7_224", "cls", 3, head={"name": "linear"}).eval()
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    heat, _ = heat_map(model, task_spec("cls"), image, 0, stage=2)
    assert heat is not None and heat.shape == (224, 224) and heat.max() == pytest.approx(1)


def test_of_average_pooling_and_a_linear_layer_it_is_the_class_activation_map():
    """Zhou et al., arXiv:1512.04150: the weighted sum of the deepest map."""
    model, task = build("cls")
    model.head.classifier.weight.data[1] = torch.tensor([1.0, -2.0, 1.1])
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    weight = model.head.classifier.weight.detach()[1]
    deepest = model.backbone(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)[-1][0]
    expected = (weight[:, None, None] * deepest).sum(0).clamp(min=0)
    heat, _ = heat_map(model, task, image, 1, stage=4)
    expected = nn.functional.interpolate(expected[None, None], (SIDE, SIDE), mode="bilinear")[0, 0]
    np.testing.assert_allclose(heat, expected / expected.max(), atol=1e-5)


@pytest.mark.parametrize(("kind", "name"), [("cls", "Kind 2"), ("seg", "all"), ("simcc", "left_hand")])
def test_a_sheet_an_image(checkpoints, pixels, tmp_path, kind, name):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    words = ["predict", str(checkpoints[kind]), str(tmp_path / "a.png"), "--output", str(tmp_path / "out")]
    assert main([*words, "--explain", name]) == 0
    with Image.open(tmp_path / "out" / "explained" / "a.png") as sheet:
        assert sheet.width == 3 * 480 + 2 * 4  # input, heat, prediction
        heat = np.asarray(sheet)[30:-30, 484 : 484 + 480].astype(int)
    assert (heat[..., 0] - heat[..., 2]).max() > 100  # red to yellow on gray
    assert (tmp_path / "out" / "results.json").is_file()


@pytest.mark.parametrize(
    ("heat", "heading"),
    [
        (np.eye(SIDE, dtype=np.float32), "car"),
        (np.zeros((SIDE, SIDE), np.float32), "car: nothing in the image speaks for it"),
        (None, "car: not predicted"),
    ],
)
def test_the_heading_says_where_there_is_no_heat(checkpoints, pixels, tmp_path, monkeypatch, heat, heading):
    from lightseg.inference import explain

    drawn, headings = explain.contact_sheet, []

    def contact_sheet(rows, titles, **options):
        headings.append(titles[1])
        return drawn(rows, titles, **options)

    original = explain.heat_map
    monkeypatch.setattr(explain, "heat_map", lambda *args, **options: (heat, original(*args, **options)[1]))
    monkeypatch.setattr(explain, "contact_sheet", contact_sheet)
    Image.fromarray(pixels).resize((SIDE, SIDE)).save(tmp_path / "a.png")
    predict(checkpoints["seg"], tmp_path / "a.png", output=tmp_path / "out", explain="car")
    assert headings == [heading]


def test_a_row_a_person(checkpoints, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    boxes = [{"file_name": "a.png", "category_id": 1, "bbox": [x, 5, 30, 50], "score": 0.9} for x in (0, 60)]
    (tmp_path / "boxes.json").write_text(str(boxes).replace("'", '"'))
    done = predict(
        checkpoints["pose"], tmp_path / "a.png", output=tmp_path / "out", persons=tmp_path / "boxes.json", explain="all"
    )
    assert done.done == 1 and not done.notes
    with Image.open(tmp_path / "out" / "explained" / "a.png") as sheet:
        assert sheet.height == 22 + 2 * (480 * 64 // 48 + 4)


def test_what_cannot_be_explained_is_one_line_and_writes_nothing(checkpoints, pixels, tmp_path, capsys):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    exported = write_onnx(tmp_path / "model.onnx", describe("seg"))
    stages = len(load_model(checkpoints["seg"]).backbone.stages)
    for model, words, said in (
        (checkpoints["seg"], ["--explain", "caar"], "has no class of this name: did you mean car?"),
        (checkpoints["det"], ["--explain", "zebra"], f"choose from {', '.join(NAMES['det'])}, all"),
        (checkpoints["seg"], ["--explain", "car", "--explain-layer", "9"], f"has stages 1 to {stages}: give one"),
        (checkpoints["cls"], ["--explain", "all", "--explain-layer", "2"], "has stage 1 alone before its own"),
        (checkpoints["seg"], ["--explain-layer", "2"], "--explain-layer is for --explain CLASS"),
        (exported, ["--explain", "red"], "model.onnx is an exported file: give its checkpoint"),
    ):
        assert main(["predict", str(model), str(tmp_path / "a.png"), "--output", str(tmp_path / "out"), *words]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_a_task_that_does_not_say_its_score_refuses():
    with pytest.raises(LightsegError, match="--explain is not for task depth: leave it out"):
        DepthSpec(INFO).explained_score(nn.Identity(), torch.zeros(1), (8, 8), None, 0.3)


def test_an_image_without_a_heat_map_is_predicted_and_noted(checkpoints, pixels, tmp_path, monkeypatch):
    from lightseg.inference import explain

    Image.fromarray(pixels).save(tmp_path / "a.png")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(explain, "heat_map", fail)
    done = predict(checkpoints["seg"], tmp_path / "a.png", output=tmp_path / "out", explain="car")
    assert done.done == 1 and done.notes == [("a.png", "no heat map (out of memory)")]
    assert not (tmp_path / "out" / "explained").exists()
