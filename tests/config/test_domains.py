"""The table of domains: it has every key of the shipped files, whose defaults fit; a value outside is one line."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from lightseg.catalog.tasks import formats
from lightseg.config.check_key import expected
from lightseg.config.compose import compose, plain
from lightseg.config.domains import ALL, PARENTS, SECTIONS, domain_of
from lightseg.config.paths import SHIPPED, choices
from lightseg.config.sweep import read_sweep
from lightseg.errors import LightsegError

ROOT = Path(__file__).parents[2]
OUTSIDE = (-1, 2, 0, -0.5, 1.5, 7, 2**40, "no_such", True, None, [], [0], [-1, 2], ["a", "b"], {"no_such": -1})


def leaves(values: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, dict) and value and name != "data.classes"
        flat |= leaves(value, f"{name}.") if nested else {name: value}
    return flat


def shipped() -> list[tuple[str, tuple[str, ...], str, object]]:
    """File, sections, key and value of every line of configs/."""
    rows = []
    for path in sorted(SHIPPED.rglob("*.yaml")):
        group = path.parent.name
        if group == "sweeps":  # of `wandb sweep`
            continue
        values = OmegaConf.to_container(OmegaConf.load(path))
        task = values.get("task") if group == "experiment" else path.stem if group == "task" else None
        if group == "data":
            task = formats()[values["format"]].name
        prefix = "" if group in ("configs", "task", "experiment") else f"{group}."
        sections = (str(task or "seg"), f"search={path.stem}", ALL)
        rows += [(str(path.relative_to(SHIPPED)), sections, key, v) for key, v in leaves(values, prefix).items()]
    return rows


def test_every_key_of_the_shipped_files_has_a_domain_that_its_value_is_in():
    rows = shipped()
    assert len(rows) > 500 and len({file for file, *_ in rows}) > 40
    lacking = {key for _, sections, key, _ in rows if domain_of(key, sections) is None}
    assert lacking - PARENTS == set()  # head: {} is filled by the task
    for file, sections, key, value in rows:
        if key not in lacking:
            assert expected(key, value, None, sections) is None, f"{file}: {key}={value}"


@pytest.mark.parametrize("section", SECTIONS)
def test_a_value_outside_is_one_line_with_key_value_and_range(section, tmp_path):
    """Every key of every section, through `compose`."""
    task = section if section in choices("task") else "seg"
    search = section.removeprefix("search=") if section.startswith("search=") else "none"
    base = {"task": task, "search": search, "launcher": "submitit" if section == ALL else "local"}
    keys = set(leaves(plain(compose({"task": task, "launcher": base["launcher"]})))) | {
        key for key in SECTIONS[section] if key.startswith(("trainer.", "search."))
    }
    checked = 0
    for key, domain in SECTIONS[section].items():
        if key not in keys or key.endswith(".name") or key in (*base, "logger", "trainer", "experiment", "resume"):
            continue
        value = next(value for value in OUTSIDE if not domain.fits(value) and not isinstance(value, dict))
        with pytest.raises(LightsegError) as error:
            compose({**base, key: value})
        shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
        assert str(error.value).startswith(f"{key}={shown} (the command line): must be {domain.description}")
        assert "\n" not in str(error.value)
        checked += 1
    assert checked >= (70 if section == ALL else 4)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["seed=-1"], "seed=-1 (the command line): must be a whole number from 0 to 4294967295"),
        (["data.batch_size=0"], "data.batch_size=0 (the command line): must be a whole number, 1 or more, or auto"),
        (["data.workers=-1"], "data.workers=-1 (the command line): must be a whole number, 0 or more"),
        (["drop_path_rate=2"], "drop_path_rate=2 (the command line): must be a number from 0 to below 1"),
        (["ema.decay=2"], "ema.decay=2 (the command line): must be a number from 0 to below 1"),
        (["optimizer.lr=-1e-3"], "optimizer.lr=-0.001 (the command line): must be a number above 0, or find"),
        (["optimizer.lr=.nan"], "optimizer.lr=nan (the command line): must be a number above 0, or find"),
        (["optimizer.weight_decay=null"],
         "optimizer.weight_decay=null (the command line): must be a number, 0 or more"),
        (["schedule.power=-1"], "schedule.power=-1 (the command line): must be a number above 0"),
        (["loss.dice=-1"], "loss.dice=-1 (the command line): must be a number, 0 or more"),
        (["evaluation.scales=[0]"],
         "evaluation.scales=[0] (the command line): must be a list of one or more numbers from 0.1 to 8"),
        (["evaluation.scales=[]"],
         "evaluation.scales=[] (the command line): must be a list of one or more numbers from 0.1 to 8"),
        (["profile.image_size=128"],
         "profile.image_size=128 (the command line): must be a list of two whole numbers, 32 or more, or null"),
        (["profile.image_size=[16,16]"],
         "profile.image_size=[16, 16] (the command line): must be a list of two whole numbers, 32 or more, or null"),
        (["schedule.milestones=[0.9,0.5]"],
         "schedule.milestones=[0.9, 0.5] (the command line): must be a list, each item a number from 0 to 1, "
         "the lowest first"),
        (["data.augment.scale=[2,1]"],
         "data.augment.scale=[2, 1] (the command line): must be a list of two numbers above 0, the lower first"),
        (["schedule.min_lr=1"], "schedule.min_lr=1 is above optimizer.lr=0.004: give less"),
        (["optimizer.name=sgd", "optimizer.momentum=0"],
         "optimizer.momentum=0: sgd is Nesterov's and needs momentum above 0: give some, or optimizer.name=momentum"),
    ],
)  # fmt: skip
def test_lines(overrides, line):
    with pytest.raises(LightsegError) as error:
        compose(overrides)
    assert str(error.value) == line


def test_the_file_of_a_value_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("optimizer.lr: -1\n")
    with pytest.raises(LightsegError, match=r"^optimizer\.lr=-1 \(mine\.yaml\): must be a number above 0, or find$"):
        compose(["experiment=./mine.yaml"])
    (tmp_path / "few.yaml").write_text((SHIPPED / "data" / "mini_seg.yaml").read_text().replace(" 8\n", " 0\n"))
    with pytest.raises(
        LightsegError, match=r"^few\.yaml: batch_size is 0: must be a whole number, 1 or more, or auto$"
    ):
        compose(["data=./few.yaml"])


# -- a saved configuration ---------------------------------------------------------------------------------------------

BROKEN = {  # key -> a broken value, and one that mends it
    "seed": (-1, 3),
    "optimizer.lr": ("fast", 0.1),
    "data.batch_size": ([8], 4),
    "data.augment.crop_size": (128, [64, 64]),
    "data.cache": ("perhaps", True),
    "trainer.max_epochs": ("many", 2),
    "drop_path_rate": (None, 0.5),
    "schedule.milestones": (0.5, [0.5]),
}


@pytest.mark.parametrize("key", BROKEN)
def test_a_broken_saved_value_is_mended_by_a_right_one(key, tmp_path):
    broken, right = BROKEN[key]
    file = tmp_path / "config.yaml"
    config = compose([])
    OmegaConf.update(config, key, broken)
    file.write_text(yaml.safe_dump(plain(config)))
    (tmp_path / "checkpoints").mkdir()
    checkpoint = tmp_path / "checkpoints" / "best.ckpt"
    checkpoint.touch()
    starts = [{"resume": str(tmp_path)}, {"mode": "test", "ckpt": str(checkpoint)}]
    for start in starts[: 1 if key == "drop_path_rate" else 2]:  # in a test the checkpoint has that one
        with pytest.raises(LightsegError, match=r"must be|give a value") as error:
            compose(start)
        assert str(file) in str(error.value) and "\n" not in str(error.value)
        mended = OmegaConf.select(compose({**start, key: right}), key)
        assert (list(mended) if isinstance(right, list) else mended) == right
        with pytest.raises(LightsegError, match=r"\(the command line\): must be"):
            compose({**start, key: {"no": 1} if not isinstance(mended, DictConfig) else -1})


# -- before torch ------------------------------------------------------------------------------------------------------

REFUSED = [
    ["seed=-1"],
    ["data.batch_size=0"],
    ["evaluation.scales=[0]"],
    ["trainer.precision=64"],
    ["trainer.barebones=true"],
    ["trainer.devices=[0,0]"],
    ["trainer.max_epochs=-1"],
    ["--lr", "0.1"],
    ["lr=0.1"],
    ["search=netadapt", "search.target=2"],
]


def test_refusals_import_neither_torch_nor_timm():
    code = f"""
import sys
from lightseg.commands.train import main
for overrides in {REFUSED!r}:
    assert main(overrides) == 2, overrides
loaded = {{"torch", "timm", "pytorch_lightning", "numpy"}} & sys.modules.keys()
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(REFUSED) and all(line.startswith("error: ") for line in lines)


def test_a_sweep_names_the_run_of_the_value():
    with pytest.raises(LightsegError, match=r"^seed=-1 \(the command line\): .* \(in seed=-1\)$"):
        read_sweep(["seed=0,-1"])


def test_the_page_of_the_keys_is_that_of_the_table():
    from tools import key_table

    assert key_table.PAGE.read_text(encoding="utf-8") == key_table.page(), "python -m tools.key_table writes it"
