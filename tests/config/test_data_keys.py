"""Data files of users: a missing key or wrong value is an error of one line with file and key."""

import pytest
import yaml

import train
from lightseg.catalog.tasks import formats
from lightseg.config.compose import compose, plain
from lightseg.config.paths import SHIPPED, choices
from lightseg.errors import LightsegError
from tests.docs.test_docs import add_data_files, data_files

TASKS = {"rooms": "seg", "fruit": "cls", "birds": "det", "horses": "pose"}  # the smallest files of docs/own_data.md


@pytest.fixture
def write(tmp_path, monkeypatch):
    """`write(rooms=content)` makes such a file and gives the overrides of a run on it."""
    files = data_files(tmp_path)
    add_data_files(files, tmp_path, monkeypatch)

    def make(name: str, change) -> list[str]:
        content = yaml.safe_load(files[name])
        (tmp_path / name).mkdir(exist_ok=True)
        changed = change(content)
        content = content if changed is None or not isinstance(changed, dict) else changed
        (tmp_path / "configs" / "data" / f"{name}.yaml").write_text(yaml.safe_dump(content))
        return [f"data={name}", f"task={TASKS[name]}"]

    return make


def without(key: str):
    def change(content: dict) -> None:
        *tables, last = key.split(".")
        for table in tables:
            content = content[table]
        del content[last]

    return change


def keys(table: dict, prefix: str = "") -> list[str]:
    inner = [key for name, value in table.items() if isinstance(value, dict) for key in keys(value, f"{prefix}{name}.")]
    return [*(f"{prefix}{name}" for name in table), *inner]


FREE = {  # of the smallest files, what has a default all the same
    "rooms": {"augment.scale", "augment.hflip", "augment.color", "classes.wall", "classes.floor", "classes.door"},
    "fruit": {"augment.scale", "augment.hflip", "eval.crop_pct", "eval.interpolation"},
    "birds": {"augment.hflip", "augment.iou_crop"},
    "horses": {"augment.hflip", "augment.scale", "augment.rotation", "skeleton.edges", "skeleton.pairs",
               "skeleton.sigmas"},
}  # fmt: skip


@pytest.mark.parametrize("name", TASKS)
def test_a_missing_key_is_named(name, write, tmp_path):
    example = yaml.safe_load(data_files(tmp_path)[name])
    required = [key for key in keys(example) if key not in FREE[name]]
    assert {"format", "root", "split.train", "split.val", "augment", "batch_size", "workers"} <= set(required)
    for key in required:
        with pytest.raises(LightsegError) as error:
            compose(write(name, without(key)))
        line = str(error.value)
        assert line.startswith(f"configs/data/{name}.yaml lacks {key}: ") and "\n" not in line
    for key in FREE[name]:
        assert compose(write(name, without(key))).data.format == example["format"]


@pytest.mark.parametrize(
    ("name", "key"),
    [("rooms", "classes"), ("fruit", "augment"), ("birds", "augment.multi_scale"), ("horses", "pck.threshold")],
)
def test_the_command_ends_with_code_2(name, key, write, capsys):
    assert train.main(write(name, without(key))) == 2
    message = capsys.readouterr().err
    assert (
        message.startswith(f"error: configs/data/{name}.yaml lacks {key}: {SHIPPED / 'data'}/")
        and message.count("\n") == 1
    )


def test_all_missing_keys_are_named(write):
    def change(content: dict) -> dict:
        return {key: value for key, value in content.items() if key not in ("classes", "cache")} | {"augment": {}}

    with pytest.raises(LightsegError, match=r"lacks classes, cache, augment\.crop_size: /.*/configs/data/folder\."):
        compose(write("rooms", change))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("rooms", lambda c: c.update(format="foldr"), "no format named 'foldr': did you mean folder"),
        ("rooms", lambda c: c.update(augment=None), "augment is None: must have keys and values"),
        ("rooms", lambda c: c.update(split="train"), "split is 'train': must have keys and values"),
        ("rooms", lambda c: c["split"].update(val="masks/val"), "split.val is 'masks/val': must have keys and values"),
        ("rooms", lambda c: c["augment"].update(flip=0.5), "no key 'augment.flip': did you mean hflip?"),
        ("rooms", lambda c: c["augment"].update(crop_size=512), "augment.crop_size is 512: must be a list"),
        ("rooms", lambda c: c["augment"].update(crop_size=None), "augment.crop_size is null: give a value"),
        ("rooms", lambda c: c.update(ignore=0), "ignore is 0: must be a list"),
        ("fruit", lambda c: c["split"].update(train={"images": "x"}), "split.train is {'images': 'x'}: must be a"),
        ("fruit", lambda c: c.update(batch_size="many"), "batch_size is 'many': must be a whole number"),
        ("fruit", lambda c: c["eval"].update(crop=0.9), "no key 'eval.crop': did you mean crop_pct?"),
        ("birds", lambda c: c["eval"].update(size=320), "eval.size is 320: must be a list"),
        ("birds", lambda c: c["eval"].update(keep_aspect="yes please"), "eval.keep_aspect is 'yes please': must be"),
        ("horses", lambda c: c.update(pck=0.2), "pck is 0.2: must have keys and values"),
        ("horses", lambda c: c.update(least_box_score="low"), "least_box_score is 'low': must be a number"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(name, change, message, write):
    with pytest.raises(LightsegError) as error:
        compose(write(name, change))
    assert str(error.value).startswith(f"configs/data/{name}.yaml: {message}") and "\n" not in str(error.value)


def test_null_as_a_valid_value(write):
    for name, change in (
        ("fruit", lambda c: c["eval"].update(size=None)),
        ("horses", lambda c: c.update(oks_nms=None, skeleton=None)),
        ("birds", lambda c: c["augment"].update(expand=None)),
    ):
        assert compose(write(name, change)).data.name == name


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=birds"], "data=birds is for task=det (format: coco), not task=seg"),
        (["task=pose", "data=mini_det"], "data=mini_det is for task=det (format: mini_det), not task=pose"),
        (["task=cls", "data=folder"], "data=folder is for task=seg (format: folder), not task=cls"),
    ],
)
def test_data_of_another_task(overrides, message, write):
    write("birds", lambda c: None)
    with pytest.raises(LightsegError) as error:
        compose(overrides)
    assert str(error.value) == message


def test_every_shipped_file_is_complete(tmp_path):
    for name in choices("data"):
        form = yaml.safe_load((SHIPPED / "data" / f"{name}.yaml").read_text())["format"]
        assert compose([f"task={formats()[form].name}", f"data={name}", f"data.root={tmp_path}"]).data.format == form


def test_an_old_run_without_a_required_key(tmp_path):
    config = plain(compose(["task=pose"]))
    del config["data"]["oks_nms"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(LightsegError) as error:
        compose([f"resume={tmp_path}"])
    assert str(error.value).startswith(f"{tmp_path / 'config.yaml'} (data) lacks oks_nms: ")
