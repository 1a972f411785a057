"""`optimizer.lr=find` and `data.batch_size=auto`."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import train
from lightseg.config.compose import compose, plain
from lightseg.errors import LightsegError
from tasks.base import Task
from tasks.run import batch_size, lr_range
from tasks.run.build import set_up
from tasks.run.lr_range import choose, plot
from tasks.run.measure import measure
from tests.conftest import only_run
from tests.tasks.runs import run


def rates(count: int = 100) -> np.ndarray:
    return np.geomspace(1e-6, 10, count)


def test_the_rate_is_where_the_loss_falls_most_steeply():
    falls = 3 - 2 / (1 + np.exp(-4 * np.log10(rates() / 1e-2)))  # steepest at 1e-2
    assert choose(rates().tolist(), falls.tolist()) == pytest.approx(1e-2, rel=0.1)
    diverges = np.where(rates() > 0.3, 50.0, falls)
    noise = np.random.default_rng(0).normal(0, 0.1, 100)
    assert choose(rates().tolist(), (diverges + noise).tolist()) == pytest.approx(1e-2, rel=0.5)


@pytest.mark.parametrize("losses", [[1.0] * 100, list(range(100)), [], [1.0, 0.5]])
def test_no_rate_where_the_loss_does_not_fall(losses):
    with pytest.raises(LightsegError, match="the loss falls at no rate from 1e-06 to"):
        choose(rates()[: len(losses)].tolist(), losses)


def state_of(task: Task) -> list:
    tensors = [*task.parameters(), *task.buffers(), torch.get_rng_state()]
    others = [random.getstate(), repr(np.random.get_state()), [module.training for module in task.modules()]]
    return [*(tensor.detach().clone() for tensor in tensors), *others]


def same(one: list, other: list) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


@pytest.fixture
def short(monkeypatch) -> None:
    monkeypatch.setattr(lr_range, "STEPS", 30)


def test_it_leaves_no_trace_and_follows_the_factors_of_the_groups(words, monkeypatch, short):
    config, data, task = set_up(
        plain(compose(words("optimizer.lr=find", "optimizer.backbone_lr_mult=0.1", "freeze_bn=true")))
    )
    used, step = [], Task.training_step

    def training_step(task, batch, index):
        used.append([group["lr"] for group in task.trainer.optimizers[0].param_groups])
        return step(task, batch, index)

    monkeypatch.setattr(Task, "training_step", training_step)
    torch.manual_seed(3)
    before = state_of(task)
    measured, plots = measure(config, task, data)
    assert same(before, state_of(task))
    assert all(parameter.grad is None for parameter in task.parameters())
    assert used[0] == pytest.approx([1e-7, 1e-7, 1e-6, 1e-6]) and used[9][-1] == pytest.approx(used[9][0] * 10)
    assert used[9][-1] == pytest.approx(1e-6 * 1e7 ** (9 / 29))
    lr = measured["optimizer"]["lr"]
    assert 1e-6 < lr < 10 and measured["replaced"] == {"optimizer.lr": "find"} and config["optimizer"]["lr"] == "find"
    assert task.optimizer_options["lr"] == task.hparams["optimizer"]["lr"] == lr
    assert plots["lr_find"].shape == (380, 640, 3)


def test_the_plot_has_a_line_at_the_rate():
    test = lr_range.RangeTest(rates().tolist(), np.linspace(3, 1, 100).tolist(), 1e-3)
    other = plot(test._replace(chosen=1e-2))
    assert (plot(test) != other).any()


def test_a_loss_that_is_not_finite_ends_the_test(words, monkeypatch, short):
    config, data, task = set_up(plain(compose(words("optimizer.lr=find", "optimizer.name=sgd"))))
    step = Task.training_step

    def training_step(task, batch, index):
        if task.global_step >= 26:
            task.model.head.loss = lambda outputs, batch: {"loss": torch.tensor(float("inf"))}
        return step(task, batch, index)

    monkeypatch.setattr(Task, "training_step", training_step)
    monkeypatch.setattr(lr_range, "choose", lambda rates, losses: len(losses))
    before = state_of(task)
    assert lr_range.find_rate(config, task, data).chosen == 26
    assert same(before, state_of(task))


def test_one_batch_is_one_line_and_leaves_no_run_folder(words, tmp_path, capsys):
    assert train.main(words("optimizer.lr=find", "data.batch_size=6")) == 2
    assert "optimizer.lr=find needs at least 2 training batches, there is 1" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_the_run_is_that_of_the_number_and_resumes_with_it(words, tmp_path):
    found = run(words("optimizer.lr=find", "trainer.max_epochs=1", f"runs_dir={tmp_path / 'a'}"))
    lr = found["config"]["optimizer"]["lr"]
    run(words(f"optimizer.lr={lr}", "trainer.max_epochs=1", f"runs_dir={tmp_path / 'b'}"))
    a, b = (only_run(tmp_path / name) for name in "ab")
    assert (a / "metrics.csv").read_text() == (b / "metrics.csv").read_text()
    assert (a / "images" / "lr_find.png").is_file() and found["setting"]["optimizer.lr"] == "find"
    weights = [torch.load(f / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for f in (a, b)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert train.main([f"resume={a}", "trainer.max_epochs=2"]) == 0
    assert run([f"resume={a}", "trainer.max_epochs=2", f"runs_dir={tmp_path / 'a'}"])["config"]["optimizer"]["lr"] == lr


# -- data.batch_size=auto ----------------------------------------------------------------------------------------------


def test_the_largest_power_of_two_that_fits():
    assert batch_size.largest(lambda size: size <= 48, 1000) == 32
    assert batch_size.largest(lambda size: True, 100) == 64
    with pytest.raises(LightsegError, match="memory holds no batch of 2 images; give"):
        batch_size.largest(lambda size: False, 100)
    with pytest.raises(LightsegError, match="needs 2 training images, there is 1"):
        batch_size.largest(lambda size: True, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing without a GPU")
def test_without_a_gpu_it_is_one_line_before_the_data(words, tmp_path, capsys):
    assert train.main(words("data.batch_size=auto")) == 2
    assert "data.batch_size=auto needs a CUDA GPU" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    with pytest.raises(LightsegError, match="needs a CUDA GPU"):
        batch_size.check_device("cpu")


def test_on_a_gpu_out_of_memory_ends_the_trials(words, monkeypatch):
    """With the GPU's part replaced: 8 images are too many, 4 take more than the share of memory."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    config, data, task = set_up(plain(compose(words("data.batch_size=auto"))))
    monkeypatch.undo()
    assert data.options["batch_size"] == 2 and config["data"]["batch_size"] == "auto"
    tried = []

    def run_trial(config, task, data, steps, callbacks):
        tried.append(data.options["batch_size"])
        if tried[-1] > 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(batch_size, "run_trial", run_trial)
    for name in ("reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 10 * tried[-1])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: type("P", (), {"total_memory": 42}))
    monkeypatch.setattr(type(data.dataset("train")), "__len__", lambda dataset: 100)
    measured, plots = measure(config, task, data)
    assert tried == [2, 4] and data.options["batch_size"] == measured["data"]["batch_size"] == 2 and not plots
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 1)
    assert batch_size.find_batch_size(config, task, data) == 4 and tried[2:] == [2, 4, 8]


def test_an_error_of_another_kind_is_no_lack_of_memory(monkeypatch):
    def run_trial(*arguments):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(batch_size, "run_trial", run_trial)
    for name in ("reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    data = SimpleNamespace(options={}, dataset=lambda split: range(9))
    with pytest.raises(RuntimeError, match="shapes differ"):
        batch_size.find_batch_size({}, None, data)
