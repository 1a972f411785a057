"""Groups by protocol, rows of seeds, filters, order and matrix."""

import itertools
import statistics

import pytest

from lightseg.errors import LightsegError
from lightseg.leaderboard.matrix import build_matrix
from lightseg.leaderboard.records import read_records
from lightseg.leaderboard.select import select_records, sort_groups
from tests.leaderboard.conftest import net


def test_seeds_make_one_row(make_groups):
    accuracies = [0.70, 0.72, 0.77]
    (group,) = make_groups(*({"seed": i, "metrics": {"val/mIoU": a}} for i, a in enumerate(accuracies)))
    (row,) = group.rows
    value = row.metrics["val/mIoU"]
    assert (value.mean, value.std, value.n) == (
        pytest.approx(statistics.mean(accuracies)),
        pytest.approx(statistics.stdev(accuracies)),
        3,
    )
    assert row.seeds == (0, 1, 2) and len(row.records) == 3


def test_one_seed_has_no_deviation(make_groups):
    (group,) = make_groups({})
    assert group.rows[0].metrics["val/mIoU"].std is None


def test_of_runs_that_repeat_a_seed_the_newest_counts(make_groups):
    (group,) = make_groups(
        {"metrics": {"val/mIoU": 0.5}, "started": "2026-11-22T08:00:00+00:00"},
        {"metrics": {"val/mIoU": 0.6}, "started": "2026-11-22T09:30:00+02:00"},  # 07:30 UTC
    )
    (row,) = group.rows
    assert row.metrics["val/mIoU"].mean == 0.5 and row.metrics["val/mIoU"].n == 1 and group.repeated == 1


def test_a_metric_is_a_mean_over_the_seeds_that_have_it(make_groups):
    (group,) = make_groups(
        {"metrics": {"val/mIoU": 0.5, "val/a": 0.2}},
        {"metrics": {"val/mIoU": 0.6, "val/a": None, "val/b": 0.4}, "seed": 1},
    )
    (row,) = group.rows
    assert row.metrics["val/a"].n == 1 and row.metrics["val/a"].mean == 0.2 and row.metrics["val/mIoU"].n == 2
    assert group.metrics[0] == "val/mIoU" and set(group.metrics) == {"val/mIoU", "val/a", "val/b"}


OTHER_PROTOCOLS = {
    "split": {"protocol.split": "test"},
    "images": {"protocol.images": 100},
    "flip": {"protocol.flip": True},
    "scales": {"protocol.scales": [0.5, 1.0]},
    "checkpoint": {"protocol.checkpoint": "last"},
    "ema": {"protocol.ema": False},
    "precision": {"protocol.precision": "bf16-mixed"},
    "crop": {"protocol.crop": {"size": 224}},
    "a new key": {"protocol.threshold": 0.5},
    "images left out": {"protocol.skipped": [{"path": "a", "reason": "b"}]},
    "files": {"data_fingerprint.val": "0"},
    "classes": {"config.data.classes": ["Sky"]},
    "ignored labels": {"config.data.ignore": [11, 12]},
    "data": {"data": "cityscapes"},
    "task": {"task": "det", "metrics": {"val/mAP": 0.7}},
}


@pytest.mark.parametrize("change", OTHER_PROTOCOLS.values(), ids=OTHER_PROTOCOLS.keys())
def test_another_protocol_is_another_group(make_groups, change):
    first, second = make_groups({}, {}, {**change, "seed": 5})
    assert first.label != second.label
    assert {len(first.rows), len(second.rows)} == {1}
    assert {seed for group in (first, second) for seed in group.rows[0].seeds} == {0, 5}


def test_the_same_protocol_shares_a_table(make_groups, record):
    protocol = record()["protocol"]
    (group,) = make_groups(
        {},
        {"protocol.checkpoint": "/home/me/runs/1/checkpoints/best.ckpt", "seed": 1},
        {"data_fingerprint.train": "0", "seed": 2},
        {"protocol.left_out": ..., "seed": 3},
        {"protocol": dict(reversed(protocol.items())), "seed": 4},
        {"backbone": "micronet_m3", "setting": {"optimizer.lr": 1}, "seed": 5},
    )
    assert group.label == "seg camvid" and sorted(row.seeds for row in group.rows) == [(0, 1, 3, 4), (2,), (5,)]
    told_apart = {row.seeds: row.setting.get("training images") for row in group.rows}
    assert told_apart == {(0, 1, 3, 4): "24503a8a88c1", (2,): "0", (5,): None}


def test_groups_are_sorted_by_task_data_and_number_of_runs(make_groups):
    labels = [
        group.label
        for group in make_groups(
            {"task": "cls", "metrics": {"val/top1": 0.5}},
            {"data": "mini_seg"},
            {"protocol.flip": True},
            {"protocol.flip": False},
            {"protocol.flip": False, "seed": 1},
        )
    ]
    assert labels == ["seg camvid #1", "seg camvid #2", "seg mini_seg", "cls camvid"]


def test_protocol_text(make_groups):
    plain, flipped = make_groups({}, {"seed": 1}, {"protocol.flip": True, "protocol.crop": {"size": [64, 96]}})
    assert plain.protocol_text == (
        "val, 101 images, resolution: the label's own, best checkpoint, ema, 32-true, ids [11] ignored, "
        "files 7582276648db"
    )
    assert "flip" in flipped.protocol_text and "input (size: [64, 96])" in flipped.protocol_text


def test_shared_settings_are_not_in_the_rows(make_groups):
    (group,) = make_groups(
        net("a", 0.5, setting={"trainer.max_epochs": 24, "optimizer.lr": 0.1}),
        net("b", 0.6, setting={"trainer.max_epochs": 24, "optimizer.lr": 0.2}),
    )
    assert group.shared == {"trainer.max_epochs": "24"}
    assert [(row.backbone, row.setting_text) for row in group.rows] == [
        ("b", "optimizer.lr=0.2"),
        ("a", "optimizer.lr=0.1"),
    ]


def test_rows_that_look_alike_have_their_config_hash(make_groups):
    (group,) = make_groups({"config_hash": "aaa"}, {"config_hash": "bbb"})
    assert sorted(row.setting_text for row in group.rows) == ["config=aaa", "config=bbb"]


def test_other_weights_are_another_row(make_groups):
    (group,) = make_groups({}, {"config.pretrained": True, "config_hash": "other"})
    assert sorted(row.weights for row in group.rows) == ["pretrained", "scratch"]
    assert [row.setting_text for row in group.rows] == ["", ""]


def test_an_evaluation_has_no_training_time(make_groups):
    tested = {"config.mode": "test", "config.ckpt": "runs/1/checkpoints/best.ckpt", "setting": {"mode": "test"}}
    (group,) = make_groups({"setting": {}}, {**tested, "config_hash": "other", "wall_s": 3.0})
    assert {(row.setting_text, row.train_s) for row in group.rows} == {("", 629.7), ("mode=test", None)}


def test_filters(write_run, runs):
    for name, data in itertools.product(
        ("mobilenetv3_large", "mobilenetv2_100", "micronet_m3"), ("camvid", "mini_seg")
    ):
        write_run({"backbone": name, "data": data})
    records = read_records([runs]).records

    def names(**patterns):
        return {(record.backbone, record.data) for record in select_records(records, patterns)}

    assert len(names()) == len(names(task="seg", data=None)) == 6
    assert names(backbone="mobilenet*", data="camvid") == {
        ("mobilenetv3_large", "camvid"),
        ("mobilenetv2_100", "camvid"),
    }
    assert names(backbone="micronet_m3, mobilenetv2_100", data="mini_*") == {
        ("micronet_m3", "mini_seg"),
        ("mobilenetv2_100", "mini_seg"),
    }
    with pytest.raises(LightsegError, match=r"^no run has data 'camvit': did you mean camvid\?$"):
        names(data="camvit")
    with pytest.raises(
        LightsegError, match=r"^no run has weights 'pretrained' among the data chosen: choose from scratch"
    ):
        names(data="camvid", weights="pretrained")


def test_order(make_groups):
    contents = [
        net("a", 0.5, **{"cost.params": 3, "metrics": {"val/mIoU": 0.5, "val/loss": 0.3}}),
        net("c", 0.7, **{"cost.params": 2, "metrics": {"val/mIoU": 0.7, "val/loss": 0.1}}),
        net("b", 0.6, **{"cost.params": ..., "metrics": {"val/mIoU": 0.6}}),
    ]
    groups = make_groups(*contents)

    def names(*arguments):
        return "".join(row.backbone for row in sort_groups(groups, *arguments)[0].rows)

    assert names(None) == names("mIoU") == names("val/mIoU") == "cba"
    assert names(None, True) == "abc"
    assert names("params") == "cab" and names("params", True) == "acb"  # rows without the value are last
    assert names("loss") == "cab"  # the lowest first
    assert names("backbone") == "abc" and names("backbone", True) == "cba"
    with pytest.raises(LightsegError, match=r"^no column or metric 'parms' to sort by: did you mean params"):
        names("parms")
    with pytest.raises(LightsegError, match=r"^no row has a reward to sort by: give --reward"):
        names("reward")


def test_a_metric_of_another_task_does_not_change_the_order_of_a_group(make_groups):
    groups = make_groups(net("a", 0.5), net("b", 0.6), {"task": "det", "metrics": {"val/mAP": 0.1, "val/mAP50": 0.2}})
    first, _ = sort_groups(groups, "mAP50")
    assert [row.backbone for row in first.rows] == ["b", "a"]


def test_matrix_has_the_best_row_of_each_model(make_groups):
    groups = make_groups(
        net("a", 0.5),
        net("a", 0.6, config_hash="other", setting={"optimizer.lr": 1}),
        net("b", 0.55),
        net("a", 0.3, data="mini_seg"),
        net("c", 0.4, data="mini_seg"),
    )
    result = build_matrix(groups)
    assert [group.label for group in result.groups] == ["seg camvid", "seg mini_seg"]
    assert result.models == (("a", "scratch"), ("b", "scratch"), ("c", "scratch"))
    means = [[row and row.metrics["val/mIoU"].mean for row in line] for line in result.cells]
    assert means == [[0.6, 0.3], [0.55, None], [None, 0.4]]
