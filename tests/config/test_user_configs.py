"""Files of users: `./configs/<group>/<name>.yaml` before the shipped files, paths, and errors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import train
from lightseg.catalog.tasks import TASKS
from lightseg.config import paths
from lightseg.config.compose import compose, defaults_of, plain
from lightseg.config.sweep import identity, read_sweep
from lightseg.config.usage import help_text
from lightseg.errors import LightsegError
from lightseg.record import setting
from tests.docs.test_docs import data_files

ROOT = Path(__file__).parents[2]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """`write("trainer/short", "max_epochs: 3")` makes ./configs/trainer/short.yaml of a folder that is worked in."""
    monkeypatch.chdir(tmp_path)
    for name in ("_user_files_read", "_foreign_files", "_remarks_printed"):
        monkeypatch.setattr(paths, name, set())

    def make(name: str, text: str, folder: str = "configs") -> Path:
        path = Path(folder) / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return make


@pytest.fixture
def rooms(write, tmp_path) -> str:
    """The text of a data file; its root is there."""
    (tmp_path / "rooms").mkdir()
    return data_files(tmp_path)["rooms"]


def setting_of(overrides: list[str]) -> dict:
    config = compose(overrides)
    return setting(plain(config), plain(defaults_of(config)))


def error_of(overrides: list[str]) -> str:
    with pytest.raises(LightsegError) as error:
        compose(overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


# -- valid files ---------------------------------------------------------------------------------------------------


def test_a_trainer_file_holds_what_differs_and_wins_over_the_tasks_values(write):
    write("trainer/short", "max_epochs: 3\nlimit_val_batches: 2\n")
    config = compose(["task=cls", "trainer=short"])
    assert compose(["task=cls"]).trainer.max_epochs == 26  # the task's own
    assert (config.trainer.name, config.trainer.max_epochs, config.trainer.precision) == ("short", 3, "32-true")
    assert compose(["task=cls", "trainer=short", "trainer.max_epochs=4"]).trainer.max_epochs == 4
    assert setting_of(["task=cls", "trainer=short"]) == {
        "trainer.name": "short",
        "trainer.max_epochs": 3,
        "trainer.limit_val_batches": 2,
    }


def test_a_default_of_the_user_is_part_of_the_setting(write):
    write("trainer/default", "max_epochs: 5\n")
    assert setting_of([]) == {"trainer.max_epochs": 5}
    write("task/seg", "optimizer: {lr: 0.1}\ntrainer: {precision: bf16-mixed}\n")
    assert setting_of([]) == {"optimizer.lr": 0.1, "trainer.max_epochs": 5, "trainer.precision": "bf16-mixed"}


def test_files_of_the_groups_whose_name_is_a_kind_say_which_one(write):
    write("logger/team", "name: wandb\nproject: rooms\n")
    write("logger/csv", "pictures: 0\n")  # the key of an older release
    write("search/mine", "name: optuna\ntrials: 3\nspace: {optimizer.lr: [1.0e-3, 1.0e-2]}\n")
    logger = compose(["logger=team"]).logger
    assert (logger.name, logger.project, logger.mode) == ("wandb", "rooms", "auto")
    assert compose(["logger=csv"]).logger == {"name": "csv", "images": 0}
    sweep = read_sweep(["search=mine"])
    assert (sweep.search["name"], sweep.search["trials"], list(sweep.space)) == ("optuna", 3, ["optimizer.lr"])
    write("logger/other", "project: rooms\n")
    assert error_of(["logger=other"]) == (
        "configs/logger/other.yaml must say which logger it is for: add a line "
        "`name: <comet or csv or mlflow or none or tensorboard or wandb>`"
    )


def test_a_task_file_of_the_user(write, rooms):
    write("task/small_rooms", "name: seg\ndata: rooms\noutput_stride: 32\nhead: {variant: torchvision}\n")
    write("data/rooms", rooms)
    config = compose(["task=small_rooms"])
    assert (config.task, config.data.name, config.output_stride) == ("seg", "rooms", 32)
    assert (config.head.name, config.head.variant) == ("lraspp", "torchvision")
    assert compose(["task=small_rooms", "data=mini_seg"]).data.name == "mini_seg"
    assert setting_of(["task=small_rooms"]) == {"output_stride": 32, "head.variant": "torchvision"}


def test_an_experiment_of_the_user_by_name_and_by_path(write):
    text = "task: cls\nbackbone: micronet_m3\noptimizer.lr: 1.0e-3\ntrainer: {max_epochs: 2}\n"
    write("experiment/mine", text)
    by_name = compose(["experiment=mine", "seed=3"])
    assert (by_name.task, by_name.backbone, by_name.optimizer.lr) == ("cls", "micronet_m3", 1e-3)
    assert (by_name.trainer.max_epochs, by_name.seed, by_name.experiment) == (2, 3, "mine")
    path = write("mine", text, folder="elsewhere")
    assert identity(plain(compose([f"experiment={path}", "seed=3"]))) == identity(plain(by_name))


def test_data_by_name_and_by_path_are_the_same_run(write, rooms):
    write("data/rooms", rooms)
    path = write("rooms", rooms, folder="elsewhere")
    by_name, by_path = compose(["data=rooms"]), compose([f"data={path}"])
    assert by_name.data.name == by_path.data.name == "rooms" and by_path.data.file == "elsewhere/rooms.yaml"
    assert identity(plain(by_name)) == identity(plain(by_path))
    for data in ("rooms", path, path.absolute()):
        assert setting_of([f"data={data}", "data.batch_size=3"]) == {"data.batch_size": 3}


def test_a_run_with_data_of_the_user_is_resumed_and_tested(write, rooms, tmp_path):
    path = write("rooms", rooms, folder="elsewhere")
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "best.ckpt").touch()
    started = compose([f"data={path}", "data.batch_size=3"])
    (run / "config.yaml").write_text(yaml.safe_dump(plain(started)))
    test = ["mode=test", f"ckpt={run / 'checkpoints' / 'best.ckpt'}"]
    for overrides in ([f"resume={run}"], [f"resume={run}", f"data={path}"], test):
        of_checkpoint = {"channels": None} if overrides == test else {}
        assert plain(compose(overrides).data) == plain(started.data) | of_checkpoint
        assert setting_of(overrides).get("data.batch_size") == 3
    path.unlink()  # then the setting cannot tell what was given, and the run ends all the same
    assert setting_of([f"resume={run}"]) == {}


def test_every_group_accepts_a_path(write, rooms):
    files = {
        "data": write("rooms", rooms, folder="my"),
        "task": write("seg", "output_stride: 8\n", folder="my"),
        "trainer": write("long", "max_epochs: 99\n", folder="my"),
        "logger": write("csv", "images: 1\n", folder="my"),
        "launcher": write("slow", "name: local\n", folder="my"),
        "search": write("none", "", folder="my"),
        "experiment": write("mine", "seed: 7\n", folder="my"),
    }
    assert files.keys() == set(paths.NAMED)
    config = compose([f"{group}={path}" for group, path in files.items()])
    assert (config.data.name, config.output_stride, config.trainer.max_epochs) == ("rooms", 8, 99)
    assert (config.logger.images, config.launcher.name, config.search.name, config.seed) == (1, "local", "none", 7)
    for group in paths.NAMED:
        assert error_of([f"{group}=my/nowhere.yaml"]).startswith(f"{group}=my/nowhere.yaml: no such file (/")


def test_a_sweep_over_files_of_the_user(write, rooms):
    write("data/rooms", rooms)
    path = write("halls", rooms, folder="my")
    write("trainer/short", "max_epochs: 3\n")
    runs = read_sweep([f"data=rooms,{path}", "trainer=short,default"]).runs
    names = [(run.config["data"]["name"], run.config["trainer"]["max_epochs"]) for run in runs]
    assert names == [("rooms", 3), ("rooms", 12), ("halls", 3), ("halls", 12)]


def test_help_lists_the_choices_of_the_user(write, rooms):
    write("data/rooms", rooms)
    write("data/mini_seg", rooms)
    text = help_text()
    (line,) = [line for line in text.splitlines() if line.startswith("  data=")]
    assert line.endswith("   (your own: mini_seg, rooms)") and ", rooms, " in line and line.count("mini_seg") == 2
    assert text.startswith("lightseg train [key=value ...]") and "python train.py" not in text


def test_in_a_checkout_the_shipped_folder_is_not_the_users(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(paths, "_remarks_printed", set())
    compose([])
    assert capsys.readouterr().err == "" and "(your own: " not in help_text()
    assert paths.choices("task") == sorted(TASKS)
    assert error_of(["data=cityscape"]) == "no data named 'cityscape': did you mean cityscapes? (configs/data/)"


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("trainer/mine", "max_epoch: 3", "no key 'trainer.max_epoch': did you mean max_epochs, "),
        ("trainer/mine", "max_epochs: many", "trainer.max_epochs='many' ({}): must be a whole number"),
        ("trainer/mine", "callbacks: []", "trainer.callbacks is set by lightseg itself"),
        ("logger/csv", "projekt: x", "no key 'logger.projekt' ({}): "),
        ("logger/wandb", "projekt: x", "no key 'logger.projekt' ({}): did you mean logger.project"),
        ("launcher/local", "gpus: 1", "no key 'launcher.gpus' ({}): "),
        ("search/optuna", "trials: some", "search.trials='some' ({}): must be a whole number"),
        ("task/seg", "heads: {}", "no key 'heads' ({}): did you mean head"),
        ("task/seg", "head: {filter: 3}", "no key 'head.filter' ({}): did you mean head.filters"),
        ("experiment/mine", "optimizer.learning_rate: 1", "no key 'optimizer.learning_rate' ({}): "),
        ("experiment/mine", "seed: one", "seed='one' ({}): must be a whole number"),
        ("trainer/mine", "[1, 2]", "{} must hold `key: value` lines"),
        ("trainer/mine", "text", "no key 'trainer.text'"),
        ("trainer/mine", "a: [", "{} is not readable YAML: "),
        ("trainer/mine", "a: 1\na: 2", "{} is not readable YAML: "),
        ("trainer/mine", "x: !!python/name:os.system", "{} is not readable YAML: "),
    ],
)  # fmt: skip
def test_the_file_is_named(name, text, message, write):
    path = write(name, text)
    group, choice = name.split("/")
    line = error_of([f"{group}={path}"])
    assert line.startswith(message.format(path)) and str(path) in line
    if choice == "mine":  # else the shipped file of that name is read, as this one has no key of lightseg
        assert error_of([f"{group}={choice}"]) == line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("format: folder\n", "configs/data/rooms.yaml lacks root, "),
        ("cach: true\n", "configs/data/rooms.yaml: no key 'cach': did you mean cache"),
        ("image_ends: .jpg\n", "configs/data/rooms.yaml: no key 'image_ends': did you mean image_end"),
        ("name: halls\n", "configs/data/rooms.yaml: no key 'name': data is named after its file, rooms"),
        ("workers: two\n", "configs/data/rooms.yaml: workers is 'two': must be a whole number"),
        ("format: foldr\n", "configs/data/rooms.yaml: no format named 'foldr': did you mean folder"),
    ],
)
def test_a_data_file_is_named(change, message, write, rooms):
    key = change.split(":")[0]
    kept = "" if change == "format: folder\n" else "\n".join(
        line for line in rooms.splitlines() if not line.startswith(f"{key}:")
    )  # fmt: skip
    write("data/rooms", f"{change}{kept}\n")
    assert error_of(["data=rooms"]).startswith(message)


def test_an_unknown_nested_key(write, tmp_path):
    (tmp_path / "horses").mkdir()
    text = data_files(tmp_path)["horses"].replace("skeleton: {edges", "skeleton: {edge: null, edges")
    write("data/horses", text)
    message = error_of(["task=pose", "data=horses"])
    assert message.startswith("configs/data/horses.yaml: no key 'skeleton.edge': did you mean edges")


def test_an_unresolved_reference_is_an_error_of_one_line(write, rooms, capsys):
    write("data/rooms", rooms.replace("batch_size: 8", "batch_size: ${nowhere}"))
    assert train.main(["--cfg", "data=rooms"]) == 2
    message = capsys.readouterr().err
    assert "nowhere" in message and message.count("\n") == 1


# -- ./configs of another program ----------------------------------------------------------------------------------

HYDRA = {  # the folders and names of lightning-hydra-template
    "train": "defaults:\n  - _self_\n  - data: mnist\nseed: null\n",
    "data/mnist": "_target_: src.data.mnist_datamodule.MNISTDataModule\nbatch_size: 128\n",
    "trainer/default": "_target_: lightning.pytorch.trainer.Trainer\nmax_epochs: 10\naccelerator: cpu\n",
    "logger/csv": "csv:\n  _target_: lightning.pytorch.loggers.csv_logs.CSVLogger\n",
    "logger/wandb": "wandb:\n  _target_: lightning.pytorch.loggers.wandb.WandbLogger\n  project: x\n",
    "experiment/example": "# @package _global_\ndefaults:\n  - override /data: mnist\nseed: 12345\n",
}
YOLO = {"data/coco": "path: ../datasets/coco\ntrain: train2017.txt\nval: val2017.txt\nnames: {0: person}\n"}


@pytest.mark.parametrize("files", [HYDRA, YOLO])
def test_configs_of_another_program_are_ignored_with_a_remark(files, write, tmp_path, capsys):
    with_it = {
        group: plain(compose([f"{group}={name}"])) for group, name in (("logger", "csv"), ("trainer", "default"))
    }
    capsys.readouterr()
    for name, text in files.items():
        write(name, text)
    for group, name in (("logger", "csv"), ("trainer", "default")):
        assert plain(compose([f"{group}={name}"])) == with_it[group]
    assert compose(["task=det", "data=coco", f"data.root={tmp_path}"]).data.format == "coco"
    message = capsys.readouterr().err
    assert message == f"{tmp_path / 'configs'} is ignored: no <group>/<name>.yaml in it has keys of lightseg\n"
    assert "(your own: " not in help_text()


def test_the_line_is_on_stderr_and_the_exit_code_0(write):
    for name, text in HYDRA.items():
        write(name, text)
    command = [sys.executable, "-m", "lightseg", "train", "--cfg"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and yaml.safe_load(done.stdout)["trainer"]["max_epochs"] == 12
    assert done.stderr.count("\n") == 1 and " is ignored: " in done.stderr


def test_one_file_of_the_user_among_another_programs(write, rooms, capsys):
    for name, text in HYDRA.items():
        write(name, text)
    write("data/rooms", rooms)
    config = compose(["data=rooms"])
    assert (config.data.name, config.trainer.max_epochs, config.logger.mode) == ("rooms", 12, "auto")
    assert capsys.readouterr().err.splitlines() == [
        "configs/logger/wandb.yaml is ignored: no key in it is one of lightseg's for logger",
        "configs/trainer/default.yaml is ignored: no key in it is one of lightseg's for trainer",
    ]
    # named outright it is read, and says what is wrong with it
    assert error_of(["data=mnist"]).startswith("configs/data/mnist.yaml lacks format: choose from ")
    assert error_of(["experiment=example"]).startswith("no key 'defaults' (configs/experiment/example.yaml)")


def test_a_short_file_without_a_telling_key_is_read_where_it_is_named(write, capsys):
    write("trainer/quick", "fast_dev_run: true\n")
    assert compose(["trainer=quick"]).trainer.fast_dev_run is True
    assert capsys.readouterr().err == ""
