"""The trainer's command as the user typed it, and its page of `--help`."""

import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightseg.config.paths import NAMED, SHIPPED, USER_CONFIGS, choices, shown, user_choices


def command(overrides: Iterable[str] = ()) -> str:
    """`lightseg train`, or `python train.py` if the process was started so. The overrides are quoted for a shell."""
    script = sys.argv[0] if sys.argv else ""
    in_checkout = Path(script).name == "train.py" and Path(script).resolve() == SHIPPED.parent / "train.py"
    return shlex.join(["python", script, *overrides] if in_checkout else ["lightseg", "train", *overrides])


def task_and_data(config: Mapping[str, Any]) -> list[str]:
    """The overrides that choose the task and data of a run."""
    return [f"task={config['task']}", f"data={config['data'].get('file') or config['data']['name']}"]


def help_text() -> str:
    """The page of `--help`: examples, choices of the groups, and train.yaml with its comments."""
    train = command()
    examples = [
        "task=seg backbone=mobilenetv3_large",
        "backbone=mobilenetv3_small data=cityscapes data.root=/data/cityscapes",
        "backbone=mobilenetv2,micronet_m3 seed=0,1,2        every combination: docs/sweeps.md",
        "resume=runs/seg/mini_seg/mobilenetv3_large/<time>",
        "mode=test ckpt=runs/seg/.../checkpoints/best.ckpt evaluation.flip=true",
    ]
    lines = [
        f"{train} [key=value ...]      train, evaluate and record one backbone on one task",
        "",
        *(f"  {train} {example}" for example in examples),
        "",
        "  --help   this page        --cfg   print the composed configuration and stop",
        "",
        f"Choices: a name, of your own files {USER_CONFIGS}/<group>/<name>.yaml or of these; or the path of a file",
        *(f"  {group + '=':<13}{', '.join(choices(group))}{_listed_user_choices(group)}" for group in NAMED),
        "  With data=auto data.root=<folder> the format is recognized by what lies in the folder",
        "  backbone=    a name of docs/backbones.md, any timm name, or efficientnet with depth=, width= or phi=",
        f"  Shipped files, to copy from: {shown(SHIPPED)}/<group>/",
        "",
        "Keys (configs/train.yaml; with the values that each may have: docs/keys.md)",
        (SHIPPED / "train.yaml").read_text(encoding="utf-8").replace("python train.py", train),
    ]
    return "\n".join(lines)


def _listed_user_choices(group: str) -> str:
    names = user_choices(group)
    return f"   (your own: {', '.join(names)})" if names else ""
