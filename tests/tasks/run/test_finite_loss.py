"""A loss that is NaN or infinite: all processes stop, and a gradient scaler leaves out a step without a trace."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tasks.run.finite_loss import REPEATS, FiniteLoss, NonFiniteLoss


class Net(pl.LightningModule):
    """A training of a batch norm and a layer, as Task's. bad: the steps whose images are infinite; of `rank` alone."""

    def __init__(self, bad: set[int], rank: int = 0) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
        self.finite_loss, self.bad, self.rank = FiniteLoss(), bad, rank
        self.states: list[dict[str, Tensor]] = []

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        self.finite_loss.before_forward(self.trainer, self.model)
        if index in self.bad and self.global_rank == self.rank:
            batch = batch.index_fill(0, torch.tensor([0]), torch.inf)
        loss = self.model(batch).square().mean()
        self.finite_loss.check(loss, self.trainer, [f"image {index} of process {self.global_rank}"])
        return loss

    def on_after_backward(self) -> None:
        self.finite_loss.after_backward()

    def on_train_batch_end(self, outputs: Any, batch: Tensor, index: int) -> None:
        self.states.append({key: value.clone() for key, value in self.model.state_dict().items()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(net: Net, **options: Any) -> None:
    torch.manual_seed(0)
    images = DataLoader(torch.randn(80, 3), batch_size=4)
    pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **options,
    ).fit(net, images)  # fmt: skip


def scaled() -> dict[str, Any]:
    return {"plugins": [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))]}


def test_in_one_process_the_first_such_loss_stops():
    net = Net({2})
    with pytest.raises(NonFiniteLoss, match=r"loss is (nan|inf) at step 2 \(epoch 0\) on image 2 of process 0: lower"):
        fit(net)
    assert len(net.states) == 2


def test_a_gradient_scaler_leaves_the_step_out_without_a_trace():
    net = Net({2, 5, 6})
    fit(net, **scaled())
    assert len(net.states) == 20
    for before, after in ((1, 2), (4, 5), (5, 6)):
        for key, value in net.states[after].items():
            assert key.endswith("num_batches_tracked") or torch.equal(value, net.states[before][key]), key
    assert not torch.equal(net.states[1]["1.weight"], net.states[4]["1.weight"])
    assert all(value.isfinite().all() for value in net.states[-1].values())


def test_under_a_gradient_scaler_only_repetition_stops():
    net = Net(set(range(3, 3 + REPEATS)))
    with pytest.raises(NonFiniteLoss, match=f"image {2 + REPEATS}"):
        fit(net, **scaled())
    fit(Net(set(range(3, 2 + REPEATS)) | set(range(3 + REPEATS, 15))), **scaled())


def _process(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, timeout=timedelta(seconds=60))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=60))

    class Strategy:
        def reduce(self, tensor: Tensor, reduce_op: str) -> Tensor:
            dist.all_reduce(tensor)
            return tensor

    class Trainer:
        world_size, global_step, current_epoch, strategy, precision_plugin = 2, 7, 0, Strategy(), None

    guard: Any = FiniteLoss()
    guard.check(torch.tensor(1.0), Trainer(), ["first"])
    try:
        guard.check(torch.tensor(torch.nan if rank else 1.0), Trainer(), [f"image of {rank}"])
    except NonFiniteLoss as error:
        (Path(folder) / str(rank)).write_text(str(error))


def test_a_loss_of_one_process_stops_all_with_the_same_line(tmp_path):
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    mp.start_processes(_process, (store.port, str(tmp_path)), nprocs=2, start_method="fork")  # imports nothing again
    lines = [(tmp_path / rank).read_text() for rank in "01"]
    assert lines[0] == lines[1] and "the loss is nan at step 7 (epoch 0) on image of 1: lower optimizer.lr" in lines[0]
