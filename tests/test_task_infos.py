"""Every `TaskInfo` against what it names: import paths, variants of heads, metrics, data files, the task's YAML."""

import inspect
import sys

import pytest
import torch
import yaml
from torch import nn

from lightseg.catalog.tasks import TASKS, MetricInfo, TaskInfo, resolve
from lightseg.config.compose import compose, plain
from lightseg.config.data_keys import example_of
from lightseg.config.paths import SHIPPED, choices
from lightseg.errors import LightsegError
from lightseg.task_specs import TaskSpec, task_spec
from tasks.base import Task
from tasks.run.build import set_up, task_class

SHIPPED_TASKS = tuple(TASKS)  # now that no test has registered another
HEADS = [(task, head) for task in SHIPPED_TASKS for head in TASKS[task].heads]
FORMATS = [(task, form) for task in SHIPPED_TASKS for form in TASKS[task].formats]
STAGES = ((16, 4), (24, 8), (48, 16), (96, 32))


@pytest.fixture(params=SHIPPED_TASKS)
def info(request: pytest.FixtureRequest) -> TaskInfo:
    return TASKS[request.param]


def settings(info: TaskInfo) -> dict:
    """The content of configs/task/<name>.yaml."""
    return yaml.safe_load((SHIPPED / "task" / f"{info.name}.yaml").read_text(encoding="utf-8"))


def test_these_are_the_tasks():
    assert {"seg", "cls", "multilabel", "det", "pose"} <= set(SHIPPED_TASKS) == {info.name for info in TASKS.values()}
    assert {path.stem for path in (SHIPPED / "task").glob("*.yaml")} == set(SHIPPED_TASKS)


def test_spec_module_and_loss_are_what_they_should_be(info):
    assert issubclass(resolve(info.spec), TaskSpec) and task_spec(info.name).info is info
    assert issubclass(task_class(info.name), Task)
    assert issubclass(resolve(info.loss), nn.Module)
    resolve(info.loss)(**(settings(info).get("loss") or {}))


@pytest.mark.parametrize(("task", "name"), HEADS)
def test_a_head_is_built_with_exactly_its_variants(task, name):
    head = TASKS[task].heads[name]
    kind = resolve(head.path)
    assert issubclass(kind, nn.Module) and all(hasattr(kind, method) for method in ("forward", "loss", "decode"))
    assert declared_variants(kind) == set(head.variants)
    for variant in head.variants:
        kind(STAGES, 3, variant=variant)
    with pytest.raises((LightsegError, TypeError), match="variant"):
        kind(STAGES, 3, variant="none_of_them")


def declared_variants(kind: type[nn.Module]) -> set[str]:
    """What the class accepts: its table of what each variant asks of a backbone, or its module's list."""
    if "variant" not in inspect.signature(kind).parameters:
        return set()
    table = getattr(kind, "BACKBONE_OPTIONS", None) or sys.modules[kind.__module__].VARIANTS
    return set(table) - {None}


@pytest.mark.parametrize(("task", "name"), HEADS)
def test_weights_that_hold_a_head_can_be_read(task, name):
    head = TASKS[task].heads[name]
    assert bool(head.pretrained) == bool(head.pretrained_hint) and set(head.pretrained) <= {bool, str}
    if head.full_weights:
        module = resolve(head.full_weights)
        assert list(inspect.signature(module.read).parameters) == ["pretrained"]
        assert list(inspect.signature(module.load).parameters) == ["model", "state"]


@pytest.mark.parametrize(("task", "name"), FORMATS)
def test_a_format_is_opened_by_a_function_of_options_split_and_transform(task, name):
    form = TASKS[task].formats[name]
    assert list(inspect.signature(resolve(form.path)).parameters) == ["options", "split", "transform"]
    if form.prepare:
        assert len(inspect.signature(resolve(form.prepare)).parameters) == 1
    example = example_of(name)  # formats with the same keys may share one
    assert example["format"] in TASKS[task].formats and example["augment"] and "root" in example


def test_only_data_that_is_made_here_has_a_root_of_its_own(info):
    for name, form in info.formats.items():
        assert (example_of(name)["root"] is not None) == bool(form.prepare), name


def test_the_default_head_and_data_are_those_of_its_yaml_file(info):
    content = settings(info)
    assert content["head"]["name"] == info.default_head
    form = yaml.safe_load((SHIPPED / "data" / f"{content['data']}.yaml").read_text(encoding="utf-8"))["format"]
    assert info.formats[form].prepare, "the default data needs a folder"
    assert info.search_head in ("", *info.heads)


def test_every_option_of_its_yaml_file_is_one_of_a_head(info):
    options = {name for head in info.heads.values() for name in inspect.signature(resolve(head.path)).parameters}
    native = {"dropout"} if "native" in info.heads else set()  # of the whole net, not of the class NativeHead
    assert set(settings(info)["head"]) - {"name"} <= options | native


def test_searches_and_schedules_are_keys_that_there_are(info):
    assert set(info.searches) <= set(choices("search"))
    schedule = yaml.safe_load((SHIPPED / "train.yaml").read_text(encoding="utf-8"))["schedule"]
    assert all(schedule[key] is None for key in info.schedules)


def test_the_monitor_is_a_key_of_the_metric(info, tmp_path):
    """Of the real LightningModule, after the images of one batch."""
    count = 8 if info.name == "cls" else 2  # an image of each class
    tiny = [
        f"data.count={{train: {count}, val: {count}}}",
        f"data.root={tmp_path}",
        "data.workers=0",
        "data.batch_size=2",
    ]
    config = compose([f"task={info.name}", "backbone=mobilenetv3_small_050", "logger=csv", *tiny])
    _, data, task = set_up(plain(config))
    task.eval()
    with torch.inference_mode():
        task.evaluate(next(iter(data.val_dataloader())))
    figures = task.metric.compute()
    split, _, name = info.monitor.partition("/")
    assert split == "val" and name in figures
    assert info.metric(info.monitor) == MetricInfo(), "it must be a fraction of which more is better"
    assert set(info.metrics) <= set(figures), "it says how a metric is shown that is not computed"
