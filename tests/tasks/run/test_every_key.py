"""No key changes a record without changing the run: each key with a value that is not its default, on its own.

A key that belongs to the result (`record.config_hash` differs) changes the trained weights, the metrics or the cost. A
key that does not (`record.NOT_HASHED`) leaves all of them as they are, to the bit.
"""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lightseg.config.domains import ALL, SECTIONS
from lightseg.record import NOT_HASHED
from tasks.run import checkpoints, execute, record
from tests.tasks.runs import run

SAME = {  # other values of keys that do not change the result
    "resume_schedule": "restart",
    "log": "jsonl",
    "checkpoints.top_k": 2,
    "profile.runs": 2,
    "logger.images": 1,
    "logger": "none",
    "evaluation.predictions": "true",
    "data.workers": 1,
    "data.cache": "true",
    "data.eval_batch_size": 3,
    "data.on_error": "skip",
    "trainer.accelerator": "cpu",
    "trainer.enable_progress_bar": "false",
    "trainer.enable_model_summary": "true",
    "trainer.profiler": "simple",
    "trainer.log_every_n_steps": 1,
    "trainer.num_sanity_val_steps": 1,
    "trainer.inference_mode": "false",
    "trainer.detect_anomaly": "true",
}
SGD = ("optimizer.name=sgd", "optimizer.lr=0.1")
STEP = ("schedule.name=step", "schedule.milestones=[0.4]")
GROWING = ("trainer.max_epochs=2", "schedule.stages=2")
ALL_TASKS = {  # key: its value, or the overrides on both sides and then its value
    "seed": 1,
    "drop_path_rate": 0.5,
    "backbone": "mobilenetv3_small_075",
    "optimizer.name": "sgd",
    "optimizer.lr": 0.01,
    "optimizer.weight_decay": 0.5,
    "optimizer.momentum": (*SGD, 0.5),
    "optimizer.backbone_lr_mult": 0.1,
    "optimizer.eps": 0.1,
    "optimizer.layer_decay": 0.5,
    "schedule.name": "cosine",
    "schedule.power": 3,
    "schedule.milestones": (*STEP, "[0.9]"),
    "schedule.gamma": (*STEP, 0.5),
    "schedule.decay_epochs": ("schedule.name=exponential", 0.5),
    "schedule.min_lr": 0.002,
    "schedule.warmup_steps": 2,
    "ema.decay": 0.1,
    "ema.warmup": "false",
    "prune.sparsity": 0.5,
    "prune.scope": ("prune.sparsity=0.5", "global"),
    "freeze": "stage2",
    "freeze_bn": "true",
    "data.batch_size": 3,
    "data.augment.extra": "[{RandomGamma: {p: 1.0}}]",
    "trainer.max_epochs": 2,
    "trainer.max_steps": 2,
    "trainer.limit_train_batches": 1,
    "trainer.limit_test_batches": 1,
    "trainer.accumulate_grad_batches": 2,
    "trainer.gradient_clip_val": 0.01,
    "trainer.gradient_clip_algorithm": ("trainer.gradient_clip_val=0.01", "value"),
    "trainer.precision": "bf16-mixed",
    "profile.image_size": "[96,96]",
}
OF_TASKS = {
    "seg": {
        "output_stride": 32,
        "head.name": "raspp",
        "head.variant": "torchvision",
        "head.filters": 64,
        "head.dropout": 0.5,
        "head.strides": ("head.name=mobileseg", "[4,8,16,32]"),
        "head.widths": ("head.name=mobileseg", "[16,32,64]"),
        "head.context": ("head.name=mobileseg", 32),
        "head.bins": ("head.name=mobileseg", "[1,2]"),
        "head.fusion": ("head.name=mobileseg", "attention"),
        "head.auxiliary": ("head.name=mobileseg", 0),
        "loss.class_weights": "[5,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
        "loss.label_smoothing": 0.3,
        "loss.ohem": 0.1,
        "loss.dice": 1,
        "data.augment.crop_size": "[32,64]",
        "data.augment.scale": "[0.5,0.7]",
        "data.augment.color": 0.9,
        "data.augment.hflip": 1,
        "schedule.image_size": (*GROWING, "[32,64]"),
        "schedule.images_per_step": (*GROWING, "schedule.image_size=[48,64]", "true"),
        "schedule.dropout": (*GROWING, "[0.5,0.9]"),
        "schedule.drop_path": (*GROWING, "[0.1,0.8]"),
        "evaluation.flip": "true",
        "evaluation.scales": "[0.5]",
    },
    "cls": {
        "head.name": "linear",
        "head.dropout": 0.9,
        "loss.label_smoothing": 0.5,
        "mix.mixup": 0.5,
        "mix.cutmix": 0.5,
        "mix.prob": ("mix.mixup=0.5", 0),
        "mix.switch_prob": ("mix.mixup=0.5", "mix.cutmix=0.5", 0),
        "data.augment.size": 64,
        "data.augment.scale": "[0.1,0.2]",
        "data.augment.ratio": "[0.2,0.3]",
        "data.augment.color": 0.9,
        "data.augment.randaugment": 20,
        "data.augment.trivialaugment": "true",
        "data.augment.erasing": 1,
        "data.augment.hflip": 1,
        "data.sampler": "balanced",
        "data.eval.size": 64,
        "data.eval.crop_pct": 0.5,
        "data.eval.interpolation": "nearest",
        "schedule.randaugment": (*GROWING, "[5,20]"),
        "schedule.mixup": (*GROWING, "[0.1,0.9]"),
        "schedule.cutmix": (*GROWING, "[0.1,0.9]"),
    },
    "multilabel": {
        "loss.name": "asymmetric",
        "loss.gamma_positive": ("loss.name=asymmetric", 2),
        "loss.gamma_negative": ("loss.name=asymmetric", 0),
        "loss.clip": ("loss.name=asymmetric", 0.4),
        "mix.mixup": 0.5,
    },
    "det": {
        "head.extra_channels": "[32,32,32,32]",
        "head.variant": "torchvision",
        "head.score_threshold": 0.5,
        "head.topk_candidates": 2,
        "head.nms_threshold": 0.1,
        "head.detections_per_image": 1,
        "loss.iou_threshold": 0.3,
        "loss.negative_ratio": 1,
        "loss.focal": "true",
        "loss.focal_alpha": ("loss.focal=true", 0.9),
        "loss.focal_gamma": ("loss.focal=true", 0),
        "data.augment.size": "[96,96]",
        "data.augment.hflip": 1,
        "data.augment.iou_crop": "false",
        "data.augment.expand": "[2,4]",
        "data.augment.photometric": 1 - 1e-6,
        "data.augment.keep_aspect": ("data.augment.size=[96,96]", "true"),
        "data.augment.mosaic": 1,
        "data.augment.multi_scale": "[0.5,0.6]",
        "data.eval.size": "[96,96]",
        "data.eval.keep_aspect": ("data.eval.size=[96,96]", "true"),
    },
    "pose": {
        "head.name": "simcc",
        "head.variant": "simple",
        "head.width": 32,
        "head.blocks": 1,
        "head.last_channels": ("head.variant=simple", 64),
        "head.codec": "msra",
        "head.dark": "false",
        "head.rounded": ("head.codec=msra", "true"),
        "head.sigma": 3,
        "head.split": ("head.name=simcc", 3),
        "head.hidden": ("head.name=simcc", 64),
        "head.attention": ("head.name=rtmcc", 64),
        "head.expansion": ("head.name=rtmcc", 1),
        "head.kernel": ("head.name=rtmcc", 3),
        "loss.oks": "true",
        "loss.oks_weight": ("loss.oks=true", 5),
        "loss.sigmas": ("loss.oks=true", "half a unit for each point"),
        "loss.beta": ("head.name=simcc", 1),
        "data.augment.size": "[96,64]",
        "data.augment.hflip": 1,
        "data.augment.scale": "[0.2,0.3]",
        "data.augment.scale_prob": 0,
        "data.augment.rotation": ("data.augment.rotation_prob=1", 170),
        "data.augment.rotation_prob": 1,
        "data.augment.shift": ("data.augment.shift_prob=1", 0.9),
        "data.augment.shift_prob": 1,
        "data.augment.half_body": 1,
        "data.augment.photometric": 0.9,
        "data.eval.size": "[96,64]",
        "data.pck.unit": "box",
        "data.pck.threshold": 0.9,
        "evaluation.flip": "true",
    },
}
ELSEWHERE = """
    task mode ckpt resume runs_dir experiment pretrained input_format depth width phi head.image_size
    data data.name data.format data.file data.root data.classes data.size data.world_seed data.count.train
    data.count.val data.coarse data.ignore data.palette data.colors data.void_colors data.color_tolerance data.image_end
    data.mask_end data.boxes_on data.category data.max_detections data.least_visibility data.person_boxes
    data.least_box_score data.oks_nms data.skeleton. data.split. launcher launcher. search search. logger. channels_last
    compile schedule.stages trainer trainer. evaluation.checkpoint data.channels data.range data.tile data.merge_classes
    data.single_class data.background data.first_pixel data.images data.columns.
"""  # of data, task, program or machine, tested on their own, or of rounding alone; "x." is a whole group
COUNTED_APART = ("seed", "profile.image_size")  # a seed of the same row, the size at which its cost was measured
EARLY = ("evaluation.checkpoint=last",)  # the weights that were trained, whichever is best


@pytest.fixture
def multilabel_words(cls_words, tmp_path):
    """Of twelve images with one, two or none of two classes."""
    random = np.random.default_rng(0)
    lines = ["file,red,blue"]
    for number in range(12):
        lines.append(f"{number}.png,{number % 2},{number // 2 % 2}")
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), random.integers(0, 256, (40, 48, 3), np.uint8))
    for name in ("train.csv", "val.csv"):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    return lambda *more: cls_words("task=multilabel", "data=csv_multilabel", f"data.root={tmp_path}", *more)


@pytest.fixture
def outcome(monkeypatch, tmp_path):
    """A function: words and overrides -> what a run gave, and the hash of its configuration."""
    kept: dict[str, dict] = {}
    weights: list[str] = []

    def save(self, checkpoint, path, storage_options=None):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
        state = {key: value.clone() for key, value in checkpoint["state_dict"].items()}
        kept[str(path)] = {**checkpoint, "state_dict": state}

    def evaluate(trainer, task, *others):
        result = original(trainer, task, *others)
        content = b"".join(value.contiguous().numpy().tobytes() for value in task.state_dict().values())
        weights.append(hashlib.sha256(content).hexdigest())
        return result

    original = execute.evaluate
    monkeypatch.setattr(checkpoints.AtomicCheckpointIO, "save_checkpoint", save)
    monkeypatch.setattr(checkpoints.AtomicCheckpointIO, "load_checkpoint", lambda self, path, *_, **__: kept[str(path)])
    monkeypatch.setattr(execute, "evaluate", evaluate)
    times = {"latency_ms": 1.0, "measured": {}}
    monkeypatch.setattr(
        record, "profile_model", lambda model, size, runs: {"params": count(model), "madds": size[0] * size[1], **times}
    )

    def run_once(words, *overrides: str) -> tuple[tuple, str]:
        content = run(words(*overrides, f"runs_dir={tmp_path / f'runs{len(weights)}'}"))
        protocol = {key: content["protocol"][key] for key in ("images", "resolution")}
        costs = (content["cost"]["params"], content["cost"]["madds"])
        return (weights[-1], json.dumps([content["metrics"], protocol, costs], sort_keys=True)), content["config_hash"]

    return run_once


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def split(value) -> tuple[tuple[str, ...], object]:
    """The overrides on both sides, and the value of one."""
    return (tuple(map(str, value[:-1])), value[-1]) if isinstance(value, tuple) else ((), value)


@pytest.mark.slow
@pytest.mark.parametrize("task", OF_TASKS)
def test_a_key_changes_the_record_and_the_run_or_neither(task, request, outcome):
    words = request.getfixturevalue({"seg": "words"}.get(task, f"{task}_words"))
    net = "backbone=mobilenetv3_small_050"  # with a variant of torchvision
    short = (net, "trainer.max_epochs=1", "head.name=ssdlite" if task == "det" else "schedule.name=poly", *EARLY)
    bases: dict[tuple[str, ...], tuple[tuple, str]] = {}
    wrong: list[str] = []
    for key, value in {**(SAME | ALL_TASKS if task == "seg" else {}), **OF_TASKS[task]}.items():
        context, other = split(value)
        if key == "loss.sigmas":
            other = json.dumps([0.5] * 17).replace(" ", "")
        if context not in bases:
            bases[context] = outcome(words, *short, *context)
        (base, base_hash), (changed, changed_hash) = bases[context], outcome(words, *short, *context, f"{key}={other}")
        same = key.split(".")[0] in NOT_HASHED or key in NOT_HASHED
        changes = not same or key in COUNTED_APART
        if changes == (changed == base) or same != (changed_hash == base_hash):
            wrong.append(f"{key}={other} {'changes' if changed != base else 'does not change'} the run")
    assert not wrong, "\n".join(wrong)


def test_every_key_is_in_a_table():
    elsewhere = ELSEWHERE.split()
    groups = tuple(name for name in elsewhere if name.endswith("."))
    for section, keys in SECTIONS.items():
        tested = set(SAME) | set(ALL_TASKS) | set(OF_TASKS.get(section, {}))
        tested |= {key for table in OF_TASKS.values() for key in table} if section == ALL else set()
        tested |= set(OF_TASKS["cls"]) if section == "multilabel" else set()  # the same code
        tested |= set(keys) if section.startswith("search=") else set()  # tests/tasks/search
        assert [key for key in set(keys) - tested - set(elsewhere) if not key.startswith(groups)] == []
