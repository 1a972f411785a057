"""`trainer.patience`, `checkpoints.top_k`, `log`, `optimizer.lr=find` and `data.batch_size=auto` before torch."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lightseg import record
from lightseg.config.compose import compose, defaults_of, plain
from lightseg.config.sweep import identity
from lightseg.errors import LightsegError

FIND, AUTO = "optimizer.lr=find", "data.batch_size=auto"


def error_of(*overrides: str) -> str:
    with pytest.raises(LightsegError) as error:
        compose(["logger=csv", *overrides])
    assert "\n" not in str(error.value)
    return str(error.value)


def config_of(*overrides: str) -> dict:
    return plain(compose(["logger=csv", *overrides]))


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["trainer.patience=0"], "trainer.patience=0 (the command line): must be a whole number, 1 or more, or null"),
        (["trainer.patience=2.5"], "trainer.patience=2.5 (the command line): must be a whole number"),
        (["trainer.patience=3", "trainer.limit_val_batches=0"], "leave one out"),
        (["checkpoints.top_k=0"], "checkpoints.top_k=0 (the command line): must be a whole number"),
        (["checkpoints.top_k=-1"], "checkpoints.top_k=-1 (the command line): must be a whole number"),
        (["log=json"], "log='json' (the command line): must be one of text, jsonl"),
        (["optimizer.lr=fnd"], "must be a number"),
        (["data.batch_size=find"], "must be a whole number"),
        (["data.eval_batch_size=auto"], "must be a whole number"),
        ([FIND, "trainer.devices=2"], "optimizer.lr=find needs one process, trainer.devices=1"),
        ([AUTO, "trainer.num_nodes=2"], "data.batch_size=auto needs one process"),
        ([FIND, "prune.sparsity=0.5"], "without prune.sparsity=0.5"),
        ([AUTO, "schedule.image_size=[64,128]"], "measures images of one size"),
        ([FIND, "search=netadapt"], "is not for search=netadapt"),
    ],
)
def test_what_cannot_work_is_one_line(overrides, line):
    assert line in error_of(*overrides)


def test_options_that_change_no_figure_are_not_in_the_hash():
    plain_run = config_of()
    assert identity(plain_run) == identity(config_of("checkpoints.top_k=3", "log=jsonl"))
    assert identity(plain_run) != identity(config_of("trainer.patience=3"))
    older = {key: value for key, value in plain_run.items() if key not in ("checkpoints", "log")}
    older["trainer"] = {key: value for key, value in older["trainer"].items() if key != "patience"}
    assert identity(older) == identity(plain_run)


def test_a_measured_number_is_the_word_that_asked_for_it_in_hash_and_setting():
    asked = config_of(FIND)
    ran = {**asked, "optimizer": {**asked["optimizer"], "lr": 0.003}, "replaced": {"optimizer.lr": "find"}}
    assert identity(ran) == identity(asked) != identity(config_of("optimizer.lr=0.003"))
    defaults = plain(defaults_of(compose(["logger=csv"])))
    assert record.setting(ran, defaults) == {"optimizer.lr": "find"}
    assert ran["optimizer"]["lr"] == 0.003


def test_a_resumed_run_has_the_number_and_no_measurement(tmp_path: Path):
    ran = compose(["logger=csv", FIND])
    ran.optimizer.lr = 0.003
    ran.replaced = {"optimizer.lr": "find"}
    OmegaConf.save(ran, tmp_path / "config.yaml")
    resumed = config_of(f"resume={tmp_path}")
    assert resumed["optimizer"]["lr"] == 0.003 and identity(resumed) == identity(config_of(FIND))
    assert "which cannot change to find" in error_of(f"resume={tmp_path}", FIND)


def test_the_keys_that_an_older_run_lacks_have_their_defaults(tmp_path: Path):
    run = compose(["logger=csv", "optimizer.lr=0.5", "data=mini_seg"])
    older = run.copy()
    for group, key in (
        (older, "freeze"), (older, "ema"), (older, "prune"), (older, "resume_schedule"), (older, "checkpoints"),
        (older.optimizer, "eps"), (older.schedule, "images_per_step"), (older.trainer, "patience"),
    ):  # fmt: skip
        del group[key]
    OmegaConf.save(older, tmp_path / "config.yaml")
    resumed = plain(compose([f"resume={tmp_path}"]))
    assert resumed == {**plain(run), "resume": str(tmp_path)}


def test_an_older_run_that_is_resumed_may_be_stopped_early(tmp_path: Path):
    older = compose(["logger=csv"])
    for group, key in ((older.trainer, "patience"), (older, "checkpoints"), (older, "log")):
        del group[key]
    OmegaConf.save(older, tmp_path / "config.yaml")
    assert config_of(f"resume={tmp_path}", "trainer.patience=3")["trainer"]["patience"] == 3
