"""`search=netadapt`: narrows a trained net until its cost reaches the target.

<runs_dir>/<task>/<data>/<backbone>/netadapt-<hash>/
    steps.json   every net that was tried, and the chosen nets; written after each, so that a search can be resumed
    steps.md     the same as a table with a row per step
    arch.yaml    the resulting net, for backbone=<this file> pretrained=<the checkpoint below>
    checkpoints/best.ckpt, config.yaml, record.json    as a run has them
"""

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from lightseg import process_tuning, record
from lightseg.catalog.arch_yaml import read_arch, write_arch
from lightseg.catalog.backbones import is_arch
from lightseg.checkpoint import load_model
from lightseg.config import usage
from lightseg.config.compose import defaults_of, plain
from lightseg.config.sweep import Sweep
from lightseg.errors import LightsegError
from lightseg.model import Model
from lightseg.search.netadapt.channel_selection import arch_of, build_model, to_block_table
from lightseg.search.netadapt.steps_table import markdown

from ..data import DataModule
from ..run import run_folder
from ..run.build import match_class_names
from ..run.callbacks import SampleImages
from ..run.checkpoints import AtomicCheckpointIO
from ..run.evaluate import evaluate
from ..run.progressive import NAMES, Progressive
from ..run.record import summary, write_record
from ..run.resolve import complete_config, resolve_config
from ..run.trainer import quiet, seed_everything
from .netadapt_search import Search


def run_netadapt(sweep: Sweep) -> int:
    """Run a search, or print the result of a finished one. Returns the exit code 0."""
    started = time.time()
    config, options = sweep.runs[0].config, sweep.search
    process_tuning.tune_process()
    quiet()
    wide = trained_model(config)
    folder = run_folder.parent_of(config) / f"netadapt-{search_hash(sweep)}"
    if (folder / "record.json").is_file():
        print(f"there already: {folder / 'arch.yaml'}\n{(folder / 'steps.md').read_text()}", flush=True)
        return 0
    progressive = Progressive({**config["schedule"], **dict.fromkeys(NAMES), "images_per_step": False}, None)
    config = resolve_config(config, progressive, None)
    data = DataModule(config["data"], config["seed"], progressive)
    data.prepare_data()
    data.check()
    config = complete_config(config, wide, data.evaluation_size())
    match_class_names(config["pretrained"], wide.spec, wide.contract, data)
    seed_everything(config["seed"])
    search = Search(to_block_table(wide), data, config, options, folder)
    folder.mkdir(parents=True, exist_ok=True)
    claimed = run_folder.claim(folder)
    result = search.evolve() if options["variant"] == "evolution" else search.adapt()
    write_result(search, result, plain(defaults_of(sweep.first)), started)
    run_folder.release(claimed)
    return 0


def trained_model(config: dict[str, Any]) -> Model:
    """The model of the checkpoint `pretrained`. LightsegError unless its task, backbone, stride and head match."""
    path = config["pretrained"]
    model = load_model(path)
    backbone = str(config["backbone"])
    expected = {
        "task": config["task"],
        "backbone": read_arch(backbone).name if is_arch(backbone) else backbone,
        "output_stride": config["output_stride"],
        "head.name": config["head"]["name"],
    }
    actual = {**model.spec, "head.name": model.spec["head"]["name"]}
    for key, value in expected.items():
        if value is not None and actual[key] != value:
            raise LightsegError(
                f"{path} is of {key}={actual[key]}, not {value}: give {key}={actual[key]}, or another checkpoint"
            )
    return model


def search_hash(sweep: Sweep) -> str:
    """12 hex digits of everything that the result depends on, with the weights of the trained net."""
    run = sweep.runs[0]
    weights = hashlib.sha256(Path(run.config["pretrained"]).read_bytes()).hexdigest()
    options = {key: value for key, value in sweep.search.items() if key != "table"}
    return record.config_hash({"run": run.identity, "weights": weights, "netadapt": options})


def write_result(search: Search, model: Model, defaults: dict[str, Any], started: float) -> None:
    """Write arch.yaml, the configuration, the checkpoint and, last, the record."""
    folder, options = search.folder, search.options
    fraction = search.cost(arch_of(model)) / search.full_cost
    arch = replace(arch_of(model), name=f"{search.arch.name}_{options['variant']}{round(100 * fraction)}")
    named = build_model(model.spec, arch)
    named.load_state_dict(model.state_dict())
    write_arch(arch, folder / "arch.yaml")
    # the record is that of the resulting net, evaluated like any run
    config = {**search.config, "backbone": str(folder / "arch.yaml")}
    run_folder.save_config(config, folder)
    task = search.proxy.task(named)
    parts = ("model", "optimizer", "schedule", "freeze_bn")
    AtomicCheckpointIO().save_checkpoint(
        {
            "state_dict": task.state_dict(),
            "hyper_parameters": {key: task.hparams[key] for key in parts},
            "pytorch-lightning_version": pl.__version__,
            "epoch": 0,
            "global_step": 0,
        },
        folder / "checkpoints" / "best.ckpt",
    )
    sample_images = SampleImages(folder / "images", config["logger"]["images"])
    evaluation = evaluate(search.proxy.trainer([sample_images]), task, search.data, config, folder)
    content = write_record(folder, config, defaults, evaluation, task, search.data, started)
    for path in (folder / "checkpoints").glob("step-*.ckpt"):
        path.unlink()
    print(f"{markdown(search.content)}\n{summary(content, folder, search.data.unit)}", flush=True)
    print(f"  {usage.command(follow_up(search.config, folder))}", flush=True)


def follow_up(config: dict[str, Any], folder: Path) -> list[str]:
    """The overrides that train the resulting net from its weights."""
    best = folder / "checkpoints" / "best.ckpt"
    return [*usage.task_and_data(config), f"backbone={folder / 'arch.yaml'}", f"pretrained={best}"]
