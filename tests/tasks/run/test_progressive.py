"""Progressive learning, from inside the run: what the model, the transforms and the optimiser get in each epoch."""

import pytest
import torch
from timm.layers import DropPath
from torch import nn

import train
from lightseg.data.transforms import classification as class_transforms
from lightseg.data.transforms.auto_augment import RandAugment
from lightseg.errors import LightsegError
from lightseg.model import Model, create_model
from tasks.base import Task
from tasks.run.regularization import check_dropout, set_drop_path, set_dropout
from tests.marks import slow_except
from tests.tasks.runs import killed_and_resumed, run


@pytest.fixture
def seen(monkeypatch) -> list[dict]:
    """One entry an epoch of training: `sizes` (shapes of the images the model took), `dropout`, `drop_path`, `rates`
    (learning rates that steps were taken with), `values` (the stage's)."""
    epochs: list[dict] = []
    start, forward, end = Task.on_train_epoch_start, Model.forward, Task.lr_scheduler_step

    def on_train_epoch_start(task):
        start(task)
        modules = list(task.model.modules())
        epochs.append(
            {
                "epoch": task.current_epoch,
                "sizes": [],
                "rates": [],
                "values": dict(task.scheduled),
                "dropout": {m.p for m in modules if isinstance(m, nn.Dropout)}
                | {m.drop_rate for m in modules if hasattr(m, "drop_rate")},
                "drop_path": max((m.drop_prob for m in modules if isinstance(m, DropPath)), default=None),
            }
        )

    def model_forward(model, images, **options):
        if model.training:
            epochs[-1]["sizes"].append(tuple(images.shape))
        return forward(model, images, **options)

    def lr_scheduler_step(task, scheduler, metric):
        end(task, scheduler, metric)
        epochs[-1]["rates"].append(scheduler.optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(Task, "on_train_epoch_start", on_train_epoch_start)
    monkeypatch.setattr(Model, "forward", model_forward)
    monkeypatch.setattr(Task, "lr_scheduler_step", lr_scheduler_step)
    return epochs


def test_what_each_stage_trains_with(cls_words, seen, monkeypatch):
    magnitudes: list[float] = []
    built: list[float] = []

    class Spy(RandAugment):
        def __init__(self, magnitude):
            super().__init__(magnitude)
            self.magnitude = magnitude
            built.append(magnitude)

        def __call__(self, draw, image):
            magnitudes.append(self.magnitude)
            return super().__call__(draw, image)

    alphas: list[tuple[float, float]] = []
    from tasks import classification

    class Mixing(classification.Mixup):
        def __init__(self, mixup_alpha, cutmix_alpha, **options):
            super().__init__(mixup_alpha=mixup_alpha, cutmix_alpha=cutmix_alpha, **options)
            alphas.append((mixup_alpha, cutmix_alpha))

    monkeypatch.setattr(class_transforms, "RandAugment", Spy)
    monkeypatch.setattr(classification, "Mixup", Mixing)
    stages = ["schedule.stages=3", "schedule.image_size=[32,64]", "schedule.randaugment=[5,15]",
              "schedule.mixup=[0,0.2]", "schedule.dropout=[0.1,0.2,0.4]", "schedule.drop_path=[0.0,0.2]"]  # fmt: skip
    assert train.main(cls_words(*stages, "trainer.max_epochs=3", "head.name=linear",
                                "backbone=mobilenetv3_small_050")) == 0  # fmt: skip
    assert [epoch["sizes"] for epoch in seen] == [[(4, 3, side, side)] * 4 for side in (32, 48, 64)]
    assert [0.1 in seen[0]["dropout"], 0.2 in seen[1]["dropout"], 0.4 in seen[2]["dropout"]] == [True] * 3
    assert [epoch["drop_path"] for epoch in seen] == pytest.approx([0.0, 0.1 * 10 / 11, 0.2 * 10 / 11], abs=0.01)
    assert magnitudes == [5.0] * 16 + [10.0] * 16 + [15.0] * 16 and sorted(set(built)) == [5.0, 10.0, 15.0]
    assert alphas == [(pytest.approx(0.1), 0.0)] * 4 + [(pytest.approx(0.2), 0.0)] * 4  # the first stage: nothing mixed


def test_magnitudes_reach_the_worker_processes(cls_words, seen):
    """Workers live as long as the run: the stage comes with the sample's key."""
    options = ["schedule.stages=2", "schedule.image_size=[32,64]", "data.workers=1", "trainer.max_epochs=2"]
    assert train.main(cls_words(*options)) == 0
    assert [epoch["sizes"] for epoch in seen] == [[(4, 3, 32, 32)] * 4, [(4, 3, 64, 64)] * 4]


def test_batches_grow_as_images_shrink(cls_words, seen, tmp_path):
    """18 images; 4 at 64 pixels are 7 at 48 and 16 at 32. The learning rate follows the share of the run."""
    options = ["schedule.stages=3", "schedule.image_size=[32,64]", "schedule.images_per_step=true",
               "trainer.max_epochs=6", "schedule.name=cosine", "schedule.min_lr=1e-6", "optimizer.lr=1e-3",
               "ema.decay=0"]  # fmt: skip
    assert train.main(cls_words(*options)) == 0
    shapes = [(16, 32, 1), (7, 48, 2), (4, 64, 4)]  # batch, size, batches an epoch
    wanted = [[(batch, 3, side, side)] * count for batch, side, count in shapes for _ in range(2)]
    assert [epoch["sizes"] for epoch in seen] == wanted
    rates = [epoch["rates"] for epoch in seen]
    assert [len(epoch) for epoch in rates] == [1, 1, 2, 2, 4, 4]
    cosine = [1e-6 + (1e-3 - 1e-6) * (1 + torch.cos(torch.tensor(torch.pi * done / 6)).item()) / 2 for done in range(7)]
    assert [epoch[-1] for epoch in rates] == pytest.approx(cosine[1:], rel=1e-3)  # after each epoch
    assert rates[-1][-1] == pytest.approx(1e-6, rel=1e-3)
    flat = [rate for epoch in rates for rate in epoch]
    assert flat == sorted(flat, reverse=True)


@pytest.mark.parametrize("name", slow_except(["poly"], ["poly", "exponential"]))
def test_a_schedule_of_unequal_epochs_ends_where_it_should(cls_words, seen, name):
    options = ["schedule.stages=2", "schedule.image_size=[32,64]", "schedule.images_per_step=true",
               "trainer.max_epochs=4", f"schedule.name={name}", "schedule.min_lr=1e-5", "optimizer.lr=1e-3",
               "schedule.decay_epochs=1", "schedule.gamma=0.5", "schedule.warmup_steps=0"]  # fmt: skip
    assert train.main(cls_words(*options)) == 0
    ends = [epoch["rates"][-1] for epoch in seen]
    if name == "poly":
        assert ends[-1] == pytest.approx(1e-5, rel=1e-3) and ends == sorted(ends, reverse=True)
    else:
        assert ends == pytest.approx([1e-3 * 0.5**epoch for epoch in (1, 2, 3, 4)])


def test_segmentation_crops_shrink_and_batches_grow(words, seen):
    """64x128 crops with a shorter side of 48, then 64."""
    options = ["data.augment.crop_size=[64,128]", "schedule.image_size=[48,64]", "schedule.stages=2",
               "schedule.images_per_step=true", "data.batch_size=3", "trainer.max_epochs=2"]  # fmt: skip
    assert train.main(words(*options)) == 0
    assert [epoch["sizes"] for epoch in seen] == [[(5, 3, 48, 96)], [(3, 3, 64, 128)] * 2]


@pytest.mark.slow
def test_resumed_in_the_middle_of_a_stage_it_goes_on_there(cls_words, seen, tmp_path):
    options = ["trainer.max_epochs=4", "schedule.stages=2", "schedule.image_size=[32,64]", "data.batch_size=3",
               "schedule.randaugment=[5,15]", "schedule.mixup=[0.1,0.4]", "schedule.dropout=[0.1,0.3]",
               "schedule.images_per_step=true", "ema.decay=0.9", "optimizer.lr=1e-3"]  # fmt: skip
    whole, uninterrupted = run(cls_words(*options, f"runs_dir={tmp_path / 'whole'}")), list(seen)
    seen.clear()
    resumed = killed_and_resumed(cls_words(*options, f"runs_dir={tmp_path / 'cut'}"))
    # the same shapes, rates and values in the epochs that were left
    assert seen and seen == uninterrupted[-len(seen) :]
    assert resumed["metrics"].keys() == whole["metrics"].keys()
    for key, value in whole["metrics"].items():
        assert resumed["metrics"][key] == pytest.approx(value, abs=1e-6), key


@pytest.mark.parametrize("head", ["lraspp", "raspp", "mobileseg"])
def test_dropout_reaches_heads_that_drop_channels(head):
    model = create_model("mobilenetv3_small_050", "seg", 3, head={"name": head}).train()
    set_dropout(model, 0.7)
    rates = [module.p for module in model.head.modules() if isinstance(module, nn.Dropout2d)]
    assert rates and set(rates) == {0.7}


def test_a_schedule_of_dropout_needs_dropout():
    model = create_model("mobilenetv3_small_050", "det", 3)
    check_dropout(model, {"drop_path": [0.1, 0.2]})
    line = "schedule.dropout: mobilenetv3_small_050 with head.name=ssdlite has no dropout: leave it out"
    with pytest.raises(LightsegError, match=line):
        check_dropout(model, {"dropout": [0.1, 0.2]})


@pytest.mark.parametrize(
    "name", ["mobilenetv1_025", "shufflenetv2_x0_5", "squeezenet1_1", "micronet_m0", "efficientnet_b0", "fbnetv2_f1"]
)
def test_dropout_reaches_every_family(name):
    """Built without dropout, then told 0.9: two passes in training mode differ, and no longer when it is 0 again."""
    torch.manual_seed(0)
    model = create_model(name, "cls", 50, head={"name": "native", "dropout": 0.0}).train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    for rate, same in ((0.9, False), (0.0, True)):
        set_dropout(model, rate)
        with torch.no_grad():
            assert torch.equal(model(images), model(images)) is same


def test_stochastic_depth_is_scaled_block_by_block():
    model = create_model("efficientnetv2_b0", "cls", 10, drop_path_rate=0.2)
    paths = [module for module in model.modules() if isinstance(module, DropPath)]
    before = [path.drop_prob for path in paths]
    for rate in (0.1, 0.0, 0.2):  # nothing is lost on the way through 0
        set_drop_path(model, rate, 0.2)
        assert [path.drop_prob for path in paths] == pytest.approx([value * rate / 0.2 for value in before])
    assert before == sorted(before) and 0.18 < before[-1] <= 0.2
