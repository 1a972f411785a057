"""Under a mixed precision only the network runs in it: coordinates and metrics are those of float32."""

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from lightseg.config.compose import compose, plain
from lightseg.task_specs import task_spec
from tasks.run.build import set_up


def float32(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs.float()
    return {key: value.float() for key, value in outputs.items()}


def as_arrays(prediction: Any) -> dict[str, np.ndarray]:
    if not isinstance(prediction, dict):
        prediction = {"prediction": prediction}
    return {key: np.asarray(value) for key, value in prediction.items()}


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("seg", ()),
        ("cls", ()),
        ("det", ()),
        ("pose", ("head.name=heatmap",)),
        ("pose", ("head.name=simcc",)),
    ],
)
def test_decoding_is_that_of_float32_and_of_predict(task, more, request, monkeypatch):
    """To the bit, for the same raw outputs."""
    words = request.getfixturevalue("words" if task == "seg" else f"{task}_words")
    torch.manual_seed(0)
    _, data, module = set_up(plain(compose(words(*more))))
    weights = [parameter for parameter in module.model.head.parameters() if parameter.ndim > 1]
    for parameter in weights[-1:]:  # random weights give flat maps
        torch.nn.init.normal_(parameter)
    raw, half, predictions, updates, states = [], [], [], [], []

    def watch(model, inputs, outputs):
        raw.append(float32(outputs))
        half.extend(v.dtype for v in ([outputs] if isinstance(outputs, Tensor) else outputs.values()))

    module.model.register_forward_hook(watch)
    update = module.metric.update

    def watched_update(*args):
        states.append(torch.is_autocast_enabled("cpu"))
        updates.append(args)
        update(*args)

    monkeypatch.setattr(module.metric, "update", watched_update)

    class Keep(pl.Callback):
        def on_validation_batch_end(self, trainer, module, outputs, batch, *args):
            predictions.append((batch, outputs))

    trainer = pl.Trainer(
        precision="bf16-mixed", accelerator="cpu", limit_val_batches=1, logger=False, callbacks=[Keep()],
        enable_progress_bar=False, enable_checkpointing=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.validate(module, datamodule=data, verbose=False)
    assert torch.bfloat16 in half and states == [False]
    ((batch, ours),) = predictions
    size = tuple(batch["images"].shape[-2:])
    spec = task_spec(task)
    theirs = spec.predict(module.head, raw[0], size, [size] * len(batch["images"]))
    with torch.autocast("cpu", torch.bfloat16):  # of a caller
        again = spec.predict(module.head, raw[0], size, [size] * len(batch["images"]))
    assert len(ours) == len(theirs) == len(batch["images"])
    for index, (one, other, third) in enumerate(zip(ours, theirs, again, strict=True)):
        one, other, third = as_arrays(one), as_arrays(other), as_arrays(third)
        assert all(np.array_equal(third[key], value) for key, value in other.items())
        if task == "det":
            original = tuple(int(side) for side in batch["sizes"][index])
            other = spec.preprocessing(module.model.contract, size).restore(other, original)
        assert other.keys() <= one.keys()
        for key, value in other.items():
            assert np.array_equal(one[key], value), key
    if task == "pose":
        matrices = batch["matrices"]
        points = torch.stack([prediction["keypoints"] for prediction in ours])
        exact = torch.einsum("bkj,bij->bki", points, matrices[:, :, :2]) + matrices[:, None, :, 2]
        assert torch.equal(updates[0][0], exact)
