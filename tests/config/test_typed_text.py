"""Values as they are typed: names and paths keep their text, numbers in lists are numbers, `~` is a folder."""

import pytest
import yaml
from omegaconf import OmegaConf

from lightseg.config.compose import compose, plain
from lightseg.config.paths import SHIPPED
from lightseg.config.values import Unread, parse
from lightseg.errors import LightsegError

TEXTS = ["2026-11-30", "1e5", "on", "#1", "010", "no", "001", "1_000", "0x10", "12:30:00", "true", "a: b", "[x", "a b"]


@pytest.mark.parametrize("text", TEXTS)
def test_names_and_paths_keep_the_text(text):
    config = compose([f"runs_dir={text}", f"logger.project={text}", f"data.root={text}"])
    assert (config.runs_dir, config.logger.project, config.data.root) == (text, text, text)
    assert parse("pretrained", text) == (True if text in ("on", "true") else False if text == "no" else text)
    assert compose([f'runs_dir="{text}"']).runs_dir == text  # in quotes that the shell did not take


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[no,yes]", ["no", "yes"]),
        ("[no, wall]", ["no", "wall"]),
        ("[2026-11-30,#1,1e5,010]", ["2026-11-30", "#1", "1e5", "010"]),
        ("['a, b', \"c\"]", ["a, b", "c"]),
        ("[road, car]", ["road", "car"]),
        ("{no: 7, yes: [26, 27]}", {"no": 7, "yes": [26, 27]}),
        ("None", None),
        ("null", None),
    ],
)
def test_lists_of_names(text, value):
    assert parse("data.classes", text) == value


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("schedule.milestones", "[6e-1,9e-1]", [0.6, 0.9]),
        ("schedule.milestones", "[6e-1, 0.9]", [0.6, 0.9]),
        ("optimizer.lr", "1e-3", 1e-3),
        ("optimizer.lr", "'1e-3'", 1e-3),
        ("seed", "010", 10),
        ("head.sigma", "[6e-1,5]", [0.6, 5]),
        ("search.space", "{optimizer.lr: [1e-4, 1e-2, log]}", {"optimizer.lr": [1e-4, 1e-2, "log"]}),
        ("data.augment.extra", "[{RandomRain: {p: 2e-1}}]", [{"RandomRain": {"p": 0.2}}]),
        ("data.augment.expand", "None", None),
        ("optimizer.eps", "None", None),
        ("data.cache", "yes", True),
        ("data.cache", "off", False),
        ("data.pck.unit", "[left_hip,right_hip]", ["left_hip", "right_hip"]),
        ("data.pck.unit", "torso", "torso"),
        ("logger", "{project: 010, images: 4}", {"project": "010", "images": 4}),
        ("data", "{cache: yes, classes: [no]}", {"cache": True, "classes": ["no"]}),
    ],
)
def test_values(key, text, value):
    assert parse(key, text) == value and type(parse(key, text)) is type(value)


def test_the_default_decides_for_a_key_of_another_package():
    reads = [Unread("1e-3").read(1.0), Unread("010").read("relu"), Unread("yes").read(False), Unread("null").read("x")]
    assert reads == [1e-3, "010", True, None]
    assert isinstance(parse("head.key_of_another_package", "010"), Unread)


def test_a_home_folder_is_expanded_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "weights.pth").touch()
    text = (SHIPPED / "data" / "mini_seg.yaml").read_text()
    (tmp_path / "few.yaml").write_text(text.replace("root: datasets/mini_seg", "root: ~/few"))
    (tmp_path / "mine.yaml").write_text("data: ~/few.yaml\nruns_dir: ~/runs\npretrained: ~/weights.pth\n")
    config = compose(["experiment=~/mine.yaml"])
    assert (config.data.root, config.data.file) == (f"{tmp_path}/few", f"{tmp_path}/few.yaml")
    assert (config.runs_dir, config.pretrained) == (f"{tmp_path}/runs", f"{tmp_path}/weights.pth")
    for overrides in (["runs_dir=~/runs", "data.root=~"], {"runs_dir": "~/runs", "data": {"root": "~"}}):
        assert (compose(overrides).runs_dir, compose(overrides).data.root) == (f"{tmp_path}/runs", str(tmp_path))
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "best.ckpt").touch()
    saved = {**plain(compose([])), "runs_dir": "~/runs", "backbone": "micronet_m3"}  # of an older release
    (run / "config.yaml").write_text(yaml.safe_dump(saved))
    assert compose(["resume=~/run"]).runs_dir == f"{tmp_path}/runs"
    assert compose(["mode=test", "ckpt=~/run/checkpoints/best.ckpt"]).ckpt == f"{run}/checkpoints/best.ckpt"
    with pytest.raises(LightsegError, match=rf"^resume={tmp_path}/nowhere: no run folder"):
        compose(["resume=~/nowhere"])


def test_files_keep_names_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (SHIPPED / "data" / "folder.yaml").read_text().replace("root: null", f"root: {tmp_path}")
    text = text.replace("\nclasses: null", "\nclasses: [no, 010, 1e5, 'on']").replace('image_end: ""', "image_end: 001")
    (tmp_path / "few.yaml").write_text(text)
    data = compose(["data=./few.yaml"]).data
    assert (list(data.classes), data.image_end) == (["no", "010", "1e5", "on"], "001")
    (tmp_path / "few.yaml").write_text(text.replace("[no, 010, 1e5, 'on']", "{no: 7, yes: [8, 010]}"))
    assert OmegaConf.to_container(compose(["data=./few.yaml"]).data.classes) == {"no": 7, "yes": [8, 10]}
    (tmp_path / "csv.yaml").write_text("name: wandb\nproject: 2026-11-30\nentity: None\n")
    logger = compose(["logger=./csv.yaml"]).logger
    assert (logger.project, logger.entity) == ("2026-11-30", None)
    (tmp_path / "mine.yaml").write_text("seed: 010\nlogger.project: no\nhead: {variant: None}\n")
    config = compose(["experiment=./mine.yaml"])
    assert (config.seed, config.logger.project, config.head.variant) == (10, "no", None)
