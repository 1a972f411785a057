"""Overrides: valid ones, and errors, which are one line without importing torch."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lightseg.config.compose import compose, defaults_of, plain
from lightseg.config.paths import choices
from lightseg.errors import LightsegError
from lightseg.record import setting

ROOT = Path(__file__).parents[2]


def train(*overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "train.py", *overrides], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_the_task_names_its_default_data_and_choices_take_their_names():
    config = compose(["task=seg"])
    assert (config.task, config.data.name, config.trainer.name, config.logger.name) == (
        "seg",
        "mini_seg",
        "default",
        "wandb",
    )
    assert config.head.name == "lraspp"


def test_the_command_line_has_precedence_over_the_experiment_and_the_groups(tmp_path):
    overrides = ["experiment=camvid_lraspp", f"data.root={tmp_path}"]
    assert compose(overrides).optimizer.backbone_lr_mult == 0.25
    assert compose(overrides).data.augment.crop_size == [360, 480]
    config = compose([*overrides, "optimizer.backbone_lr_mult=1", "logger=csv", "data.augment.crop_size=[64,96]"])
    assert (config.optimizer.backbone_lr_mult, config.logger.name, list(config.data.augment.crop_size)) == (
        1,
        "csv",
        [64, 96],
    )


def test_numbers_in_scientific_notation_and_without_decimals():
    config = compose(["optimizer.lr=1e-2", "optimizer.weight_decay=0", "trainer.max_epochs=3"])
    assert config.optimizer.lr == 0.01 and config.optimizer.weight_decay == 0 and config.trainer.max_epochs == 3


def test_any_argument_of_the_trainer_passes_through():
    assert compose(["trainer.limit_train_batches=2"]).trainer.limit_train_batches == 2


def test_setting_is_what_differs_from_the_defaults():
    config = compose(["optimizer.lr=0.5", "trainer.limit_val_batches=1", "seed=7", "backbone=mobilenetv2"])
    assert setting(plain(config), plain(defaults_of(config))) == {"optimizer.lr": 0.5, "trainer.limit_val_batches": 1}


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "efficientnet_w1.0_d1.0"),
        (["depth=1.2", "width=1.1"], "efficientnet_w1.1_d1.2"),
        (["depth=2"], "efficientnet_w1.0_d2.0"),
        (["phi=1"], "efficientnet_w1.1_d1.2"),
        (["phi=1.5"], "efficientnet_w1.1537_d1.3145"),
        (["phi=-1"], "efficientnet_w0.9091_d0.8333"),
    ],
)
def test_efficientnet_is_scaled_by_depth_and_width_or_by_phi(overrides, name):
    config = compose(["backbone=efficientnet", *overrides])
    assert config.backbone == name
    assert (config.depth, config.width, config.phi) == (None, None, None)  # so that it composes to itself


@pytest.mark.parametrize(
    ("overrides", "size", "eval_size"),
    [
        (["phi=1.5"], 280, 280),  # 224 * 1.15 ** 1.5 is 276.2; the nearest multiple of 8 is 280 (272 is further)
        (["phi=0"], 224, 224),
        (["phi=1.5", "data.augment.size=64"], 64, 96),
        (["phi=1.5", "data.eval.size=64"], 280, 64),
        (["depth=1.2"], 96, 96),
    ],
)
def test_phi_sets_the_image_size_of_classification(overrides, size, eval_size):
    config = compose(["task=cls", "backbone=efficientnet", *overrides])
    assert (config.data.augment.size, config.data.eval.size) == (size, eval_size)


def test_a_scaled_net_is_in_the_record_and_can_be_resumed(tmp_path):
    config = compose(["task=cls", "backbone=efficientnet", "phi=1"])
    assert setting(plain(config), plain(defaults_of(config))) == {"data.augment.size": 256, "data.eval.size": 256}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain(config)))
    assert plain(compose([f"resume={tmp_path}"])) == {**plain(config), "resume": str(tmp_path)}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=sge"], "did you mean seg"),
        (["backbone=mobilenetv3_lrage"], "mobilenetv3_large"),
        (["data=cityscape"], "did you mean cityscapes"),
        (["optimiser.lr=1"], "did you mean optimizer.lr"),
        (["trainer.max_epoch=1"], "max_epochs"),
        (["trainer.callbacks=1"], "set by lightseg"),
        (["trainer.max_epochs=many"], "must be a whole number"),
        (["optimizer.lr=fast"], "must be a number"),
        (["channels_last=yes please"], "must be true or false"),
        (["data.augment.crop_size=128"], "must be a list"),
        (["optimizer=sgd"], "optimizer.name"),
        (["output_stride=4"], "must be one of 8, 16, 32, 64"),
        (["head.name=deeplab"], "choose from lraspp, raspp"),
        (["data=cityscapes"], "data=mini_seg needs none"),
        (["data=cityscapes", "data.root=/nowhere"], "/nowhere"),
        (["pretrained=/nowhere/weights.pth"], "no such file"),
        (["mode=test"], "ckpt="),
        (["mode=test", "ckpt=/nowhere/best.ckpt"], "no such file"),
        (["resume=/nowhere"], "no run folder"),
        (["experiment=imagenet"], "no experiment named"),
        (["seed=1", "seed=2"], "given twice"),
        (["mobilenetv3_large"], "key=value"),
        (["backbone=efficientnet", "depth=0"], "must be a number above 0 and at most 8"),
        (["backbone=efficientnet", "width=9"], "must be a number above 0 and at most 8"),
        (["backbone=efficientnet", "width=.inf"], "width=inf (the command line): must be a number above 0"),
        (["backbone=efficientnet", "depth=deep"], "depth='deep' (the command line): must be a number"),
        (["backbone=efficientnet", "phi=1", "depth=1.2"], "phi alone"),
        (["backbone=efficientnet", "phi=12"], "from -11 to 11"),
        (["backbone=efficientnet_b0", "phi=1"], "phi scales backbone=efficientnet, not backbone=efficientnet_b0"),
        (["depth=1.2"], "depth scales backbone=efficientnet, not backbone=mobilenetv3_large"),
        (["backbone=efficientnet_w0.0_d1.0"], "width must be above 0"),
        (["data.augment.scale=[oops"], "cannot be read"),
    ],
)
def test_errors_are_one_line(overrides, message):
    with pytest.raises(LightsegError) as error:
        compose(overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_error_is_one_line_with_exit_code_2():
    result = train("task=seg", "backbone=mobilenetv3_lrage")
    assert result.returncode == 2
    assert result.stderr.startswith("error: unknown backbone 'mobilenetv3_lrage'") and result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_help_names_every_group_and_choice():
    result = train("--help")
    assert result.returncode == 0
    for group in ("task", "data", "trainer", "logger", "experiment"):
        assert group + "=" in result.stdout
        for choice in choices(group):
            assert choice in result.stdout


def test_cfg_prints_a_configuration_that_composes_to_itself():
    result = train("--cfg", "backbone=mobilenetv2")
    assert result.returncode == 0
    assert yaml.safe_load(result.stdout) == plain(compose(["backbone=mobilenetv2"]))


def test_the_configuration_is_checked_without_torch():
    code = (
        "import sys, lightseg.config.compose as c; c.compose(['backbone=resnet18']); sys.exit('torch' in sys.modules)"
    )
    started = time.monotonic()
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0
    assert time.monotonic() - started < 30  # a hang, not a figure
