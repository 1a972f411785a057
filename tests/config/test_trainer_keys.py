"""Lightning's arguments: each is checked, or refused with what to do instead."""

import pytest

import lightseg
from lightseg.commands import train as command
from lightseg.config.compose import compose
from lightseg.config.python_overrides import merge_overrides
from lightseg.config.trainer_keys import OWN, REFUSED, TRAINER, trainer_arguments
from lightseg.errors import LightsegError


def test_every_argument_of_the_installed_trainer_is_known():
    assert trainer_arguments() == (TRAINER.keys() - set(OWN)) | REFUSED.keys()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("devices=2", 2),
        ("devices=-1", -1),
        ("devices=auto", "auto"),
        ("devices='2'", 2),
        ("devices=[0,1]", [0, 1]),
        ("devices='0,1'", [0, 1]),
        ("precision=32", "32-true"),
        ("precision=16", "16-mixed"),
        ("precision=bf16", "bf16-mixed"),
        ("precision=bf16-mixed", "bf16-mixed"),
        ("limit_train_batches=1", 1),
        ("limit_train_batches=1.0", 1.0),
        ("limit_val_batches=0", 0),
        ("val_check_interval=0.5", 0.5),
        ("max_time=00:12:00:00", "00:12:00:00"),
        ("max_time={hours: 12}", {"hours": 12}),
        ("fast_dev_run=true", True),
        ("deterministic=warn", "warn"),
        ("gradient_clip_val=None", None),
        ("strategy=ddp_find_unused_parameters_true", "ddp_find_unused_parameters_true"),
    ],
)
def test_values_that_work(text, value):
    key = text.partition("=")[0]
    result = compose([f"trainer.{text}"]).trainer[key]
    assert result == value and isinstance(result, int) == isinstance(value, int)
    assert compose(merge_overrides({}, {"trainer": {key: value}})).trainer[key] == value


def test_a_run_of_steps_has_no_epochs():
    for epochs in ("-1", "null"):
        trainer = compose([f"trainer.max_epochs={epochs}", "trainer.max_steps=100"]).trainer
        assert (trainer.max_epochs, trainer.max_steps) == (None, 100)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["trainer.accumulate_grad_batches={0: 4, 5: 8}"],
         "trainer.accumulate_grad_batches={0: 4, 5: 8} (the command line): must be a whole number, 1 or more "
         "(a number for each epoch is not supported; batches can grow with schedule.images_per_step)"),
        (["trainer.max_epochs=-1"], "trainer.max_epochs=null: the learning rate follows the length of the run: "),
        (["trainer.max_epochs=0"], "trainer.max_epochs=0 (the command line): must be a whole number, 1 or more, or -1"),
        (["trainer.max_epochs=-1", "trainer.max_steps=9", "schedule.name=exponential"],
         "schedule.name=exponential counts in epochs: give trainer.max_epochs"),
        (["trainer.overfit_batches=4"], "trainer.overfit_batches is not supported, as each epoch draws"),
        (["trainer.barebones=true"], "trainer.barebones switches off checkpoints and logs"),
        (["trainer.val_check_interval=1.5"],
         "trainer.val_check_interval=1.5 (the command line): must be a whole number, 1 or more, or a number above 0 "
         "and at most 1, or null"),
        (["trainer.check_val_every_n_epoch=null"], "trainer.check_val_every_n_epoch=null counts batches across epochs"),
        (["trainer.precision=64"], "trainer.precision=64 (the command line): must be one of 32-true, bf16-mixed, "
         "16-mixed (images are normalized in float32)"),
        (["trainer.precision=16-true"], "trainer.precision='16-true' (the command line): must be one of 32-true, "),
        (["trainer.precision=transformer-engine"], "trainer.precision='transformer-engine' (the command line): must"),
        (["trainer.accelerator=tpu"], "trainer.accelerator='tpu' (the command line): must be one of auto, cpu, gpu, "
         "cuda, mps (lightseg runs on CPUs, CUDA and Apple GPUs)"),
        (["trainer.strategy=ddp_spawn"], "trainer.strategy='ddp_spawn' (the command line): must be one of auto, ddp, "),
        (["trainer.strategy=fsdp"], "trainer.strategy='fsdp' (the command line): must be one of auto, ddp, "),
        (["trainer.devices=0"], "trainer.devices=0 (the command line): must be a number of devices"),
        (["trainer.devices=[0,0]"], "trainer.devices=[0, 0] (the command line): must be a number of devices"),
        (["trainer.devices=[0,1]", "trainer.accelerator=cpu"], "trainer.devices=[0, 1]: trainer.accelerator=cpu has"),
        (["trainer.max_time=12h"], "trainer.max_time='12h' (the command line): must be days:hours:minutes:seconds"),
        (["trainer.callbacks=1"], "trainer.callbacks is set by lightseg itself"),
        (["trainer.default_root_dir=x"], "trainer.default_root_dir is set by lightseg itself"),
        (["trainer={max_epoch: 1}"], "no key 'trainer.max_epoch': did you mean max_epochs"),
        (["trainer={precision: 64}"], "trainer.precision=64 (the command line): must be one of"),
    ],
)  # fmt: skip
def test_lines(overrides, line, monkeypatch):
    with pytest.raises(LightsegError) as error:
        compose(overrides)
    assert str(error.value).startswith(line) and "\n" not in str(error.value)
    monkeypatch.setattr(command, "_run", lambda config: pytest.fail("it began"))
    with pytest.raises(LightsegError) as error:
        lightseg.train(overrides)
    assert str(error.value).startswith(line)


def test_a_whole_dictionary_of_the_trainer():
    values = {"max_epochs": 2, "devices": "2", "precision": 16, "max_time": {"hours": 1}}
    for trainer in (
        compose(["trainer={max_epochs: 2, devices: '2', precision: 16, max_time: {hours: 1}}"]).trainer,
        compose(merge_overrides({}, {"trainer": values})).trainer,
    ):
        assert (trainer.max_epochs, trainer.devices, trainer.precision, trainer.max_time) == (
            2, 2, "16-mixed", {"hours": 1}
        )  # fmt: skip
        assert (trainer.name, trainer.accelerator) == ("default", "auto")
