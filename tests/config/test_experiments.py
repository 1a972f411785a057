"""The experiment files: each composes, documents its expected result, and has a valid net and values; those of
EfficientNetV2 have the published values in the published epochs."""

import re
from pathlib import Path

import pytest
import torch

from lightseg.catalog.backbones import CATALOG
from lightseg.config.compose import compose, plain
from lightseg.config.paths import SHIPPED, choices
from lightseg.model import create_model
from lightseg.task_specs import task_spec
from tasks.run.optimization import build_optimizer
from tasks.run.progressive import Progressive
from tests.marks import slow_except

EXPERIMENTS = choices("experiment")

# EfficientNetV2 (arXiv:2104.00298), table 6: minimum and maximum of image size, RandAugment, mixup and dropout, in four
# stages that algorithm 1 of the paper spaces evenly.
PAPER = {
    "s": {
        "image_size": (128, 185, 242, 300),
        "randaugment": (5, 8.3333, 11.6667, 15),
        "mixup": (0, 0, 0, 0),
        "dropout": (0.1, 0.1667, 0.2333, 0.3),
    },
    "m": {
        "image_size": (128, 212, 296, 380),
        "randaugment": (5, 10, 15, 20),
        "mixup": (0, 0.0667, 0.1333, 0.2),
        "dropout": (0.1, 0.2, 0.3, 0.4),
    },
    "l": {
        "image_size": (128, 212, 296, 380),
        "randaugment": (5, 11.6667, 18.3333, 25),
        "mixup": (0, 0.1667, 0.3333, 0.5),
        "dropout": (0.1, 0.2333, 0.3667, 0.5),
    },
}
# Their code (google/automl, efficientnetv2: main.py and effnetv2_configs.py): int(128 + (300 - 128) * 1 / 4) pixels in
# the first phase and so on, RandAugment from 5, mixup and CutMix alike from 0, and one dropout throughout.
REPOSITORY = {
    "s": {"image_size": (171, 214, 257, 300), "randaugment": (5, 6.6667, 8.3333, 10)},
    "m": {
        "image_size": (192, 256, 320, 384),
        "randaugment": (5, 8.3333, 11.6667, 15),
        "mixup": (0, 0.0667, 0.1333, 0.2),
        "cutmix": (0, 0.0667, 0.1333, 0.2),
    },
    "l": {
        "image_size": (192, 256, 320, 384),
        "randaugment": (5, 10, 15, 20),
        "mixup": (0, 0.1667, 0.3333, 0.5),
        "cutmix": (0, 0.1667, 0.3333, 0.5),
    },
}
TABLES = {f"imagenet_efficientnetv2_{letter}_paper": table for letter, table in PAPER.items()} | {
    f"imagenet_efficientnetv2_{letter}": table for letter, table in REPOSITORY.items()
}


# mmpose's SimpleBaseline on COCO at 256x192 (configs/body_2d_keypoint/topdown_heatmap/coco, mobilenetv2 and
# shufflenetv2): AP and AR in a detector's boxes, channels of the map its deconvolutions take, and the parameters.
POSE = {
    "coco_pose_mobilenetv2": ("64.8", "70.9", 1280, 9.57),
    "coco_pose_shufflenetv2": ("60.2", "66.8", 1024, 7.55),
}


def composed(experiment: str, root: Path) -> dict:
    return plain(compose([f"experiment={experiment}", f"data.root={root}"]))


def header(experiment: str) -> str:
    text = (SHIPPED / "experiment" / f"{experiment}.yaml").read_text()
    return "".join(line.lstrip("# ") + "\n" for line in text.splitlines() if line.startswith("#"))


def test_every_experiment_composes_and_says_what_to_expect(tmp_path):
    for experiment in EXPERIMENTS:
        config, text = composed(experiment, tmp_path), header(experiment)
        assert config["experiment"] == experiment
        assert config["backbone"] in CATALOG
        for part in (f"python train.py experiment={experiment} ", "What to expect", "Hardware"):
            assert part in text, (experiment, part)
        Progressive(config["schedule"], config["trainer"]["max_epochs"])  # what train.py refuses, this refuses
        if not experiment.startswith("imagenet"):
            continue
        row = CATALOG[config["backbone"]]
        assert row.top1 is not None and re.search(rf"\b{row.top1:.1f}\b", text), experiment
        # devices (of the command) x images of each x accumulation is the number that the header tells to keep
        devices = int(re.search(r"trainer\.devices=(\d+)", text)[1])
        images = int(re.search(r"accumulate_grad_batches at (\d+)", text)[1])
        batch = config["data"]["batch_size"] * config["trainer"]["accumulate_grad_batches"]
        assert devices * batch == images, experiment


@pytest.mark.parametrize("experiment", TABLES)
def test_progressive_learning_has_the_published_values_at_each_epoch(experiment, tmp_path):
    config, table = composed(experiment, tmp_path), TABLES[experiment]
    assert config["trainer"]["max_epochs"] == 350
    progressive = Progressive(config["schedule"], 350)
    phases = [progressive.phase(epoch) for epoch in range(350)]
    assert phases == [(epoch >= 87) + (epoch >= 175) + (epoch >= 262) for epoch in range(350)]
    for phase in range(4):
        values = progressive.at(phase)
        assert values == {name: pytest.approx(column[phase], abs=1e-4) for name, column in table.items()}, phase
    assert progressive.batch_size(0, 128) == 128  # their batches do not grow


@pytest.mark.parametrize(("letter", "dropout"), [("s", 0.2), ("m", 0.3), ("l", 0.4)])
def test_the_constant_values_of_the_authors_code(letter, dropout, tmp_path):
    config = composed(f"imagenet_efficientnetv2_{letter}", tmp_path)
    assert (config["head"]["dropout"], config["drop_path_rate"]) == (dropout, 0.2)
    assert config["data"]["augment"]["size"] == REPOSITORY[letter]["image_size"][-1]
    assert config["data"]["eval"]["size"] == {"s": 384, "m": 480, "l": 480}[letter]
    optimizer, schedule = config["optimizer"], config["schedule"]
    assert (optimizer["name"], optimizer["lr"], optimizer["weight_decay"]) == ("rmsproptf", 0.016 * 4096 / 256, 1e-5)
    assert (schedule["name"], schedule["gamma"], schedule["decay_epochs"]) == ("exponential", 0.97, 2.4)
    assert config["ema"]["decay"] == 0.9999


IMAGENET = [name for name in EXPERIMENTS if name.startswith("imagenet")]


@pytest.mark.parametrize("experiment", slow_except(["imagenet_efficientnetv2_s"], IMAGENET))
def test_net_optimizer_and_the_image_size_of_each_phase(experiment, tmp_path):
    config = composed(experiment, tmp_path)
    progressive = Progressive(config["schedule"], config["trainer"]["max_epochs"])
    for phase in range(progressive.phases):
        transform = task_spec("cls").train_transform(config["data"], progressive.at(phase))
        assert transform.size == progressive.at(phase).get("image_size", config["data"]["augment"]["size"])
    with torch.device("meta"):
        model = create_model(
            config["backbone"],
            "cls",
            num_classes=1000,
            head=config["head"],
            loss=config["loss"],
            input_format=config["input_format"],
            drop_path_rate=progressive.max_value("drop_path", config["drop_path_rate"]),
        )
    optimizer = build_optimizer(model, fused=False, **config["optimizer"])
    groups = {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert (config["optimizer"]["lr"], config["optimizer"]["weight_decay"]) in groups
    dropouts = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    dropouts += [getattr(model.backbone.net, "drop_rate", 0.0)]
    assert config["head"]["dropout"] in (None, *dropouts)


@pytest.mark.parametrize("experiment", POSE)
def test_poses_are_trained_as_published(experiment, tmp_path):
    config, (ap, ar, channels, millions) = composed(experiment, tmp_path), POSE[experiment]
    text, data = header(experiment), config["data"]
    for figure in (f"{ap} OKS AP", f"({ar} AR)", f"{millions} M parameters", "56.4 AP", "data.person_boxes"):
        assert figure in text, figure
    images = int(re.search(r"devices x data\.batch_size at (\d+)", text)[1])
    assert config["trainer"]["devices"] * data["batch_size"] == images == 8 * 64
    schedule, epochs = config["schedule"], config["trainer"]["max_epochs"]
    assert [round(fraction * epochs) for fraction in schedule["milestones"]] == [170, 200] and epochs == 210
    assert (schedule["name"], schedule["gamma"], schedule["warmup_steps"]) == ("step", 0.1, 500)
    assert (config["optimizer"]["name"], config["optimizer"]["lr"]) == ("adam", 5e-4)
    assert (config["head"]["codec"], config["head"]["sigma"], config["head"]["rounded"]) == ("msra", 2.0, True)
    assert config["head"]["last_channels"] == channels and config["evaluation"]["flip"] is True
    augment = data["augment"]
    assert augment["size"] == data["eval"]["size"] == [256, 192]
    assert (augment["scale"], augment["rotation"], augment["rotation_prob"]) == ([0.5, 1.5], 80.0, 0.6)
    assert (augment["shift"], augment["shift_prob"], augment["half_body"], augment["hflip"]) == (0.16, 0.3, 0.3, 0.5)
    task_spec("pose").train_transform(data, {})  # refuses what the transforms cannot do
    with torch.device("meta"):
        model = create_model(config["backbone"], "pose", 17, head=config["head"], loss=config["loss"])
        outputs = model(torch.zeros(1, 3, 256, 192, dtype=torch.uint8))
    assert outputs.shape == (1, 17, 64, 48)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)
    build_optimizer(model, fused=False, **config["optimizer"])
