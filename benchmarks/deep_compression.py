"""Deep Compression of SqueezeNet 1.0: sizes against the published sizes, and accuracy on mini_cls.

    python benchmarks/deep_compression.py                                # writes docs/deep_compression.md
    python benchmarks/deep_compression.py --epochs 1 --finetune-epochs 1 --print

Trains squeezenet1_0 on mini_cls with train.py, fine-tunes it with two thirds of every layer's weights pruned, shares
the weights with 8 and with 6 bits, and evaluates each file with train.py (`mode=test`) on the same images. Sizes are of
files, in MB of 10^6 bytes; the published ones are in 2^20 (4.8 MB are 4,993,696 bytes), so the limit of 0.66 MB is
stricter here by 30,000 bytes.

The size of the published net, with 1000 classes, needs no ImageNet weights: it is measured with the trained backbone
and a new classifier, and with random weights, both pruned to the same sparsity of every layer. `--folder` keeps the
runs: the same command continues after an interruption.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.runs import ROOT, page_parser, publish, run
from lightseg.compress.api import compress, compress_model
from lightseg.model import create_model
from lightseg.profile.machine import machine

PAGE = ROOT / "docs" / "deep_compression.md"
NET = "squeezenet1_0"
SPARSITY = 0.67  # 33 % are kept, as in the paper
MEASURED = ["weights", "not zero %", "bits", "MB", "top-1 %"]
SIZES = ["weights", "bits", "not zero %", "MB", "published", "met", "positions", "codes", "tables", "biases", "header"]
PUBLISHED_MB = {8: 0.66, 6: 0.47}  # by bits: arXiv:1602.07360, table 2
COMMON = (
    f"task=cls backbone={NET} data=mini_cls schedule.warmup_steps=20 optimizer.lr={{lr}} trainer.max_epochs={{epochs}}"
)


def train(overrides: str, runs: Path) -> dict[str, Any]:
    """The record of a run of train.py, and the path of its best checkpoint."""
    folder, record = run(overrides.split(), runs)
    return {**record, "best": folder / "checkpoints" / "best.ckpt"}


def top1(file: Path, runs: Path) -> float:
    """Of a compressed file, in per cent."""
    return 100 * train(f"mode=test ckpt={file}", runs)["metrics"]["val/top1"]


def accuracies(folder: Path, dense: dict[str, Any], pruned: dict[str, Any]) -> list[list[str]]:
    shared = [(f"the same, {bits} bits", compress(pruned["best"], bits=bits, overwrite=True)) for bits in PUBLISHED_MB]
    at_once = compress(dense["best"], sparsity=SPARSITY, bits=8, overwrite=True)
    plain, share = size(4 * dense["cost"]["params"]), kept(shared[0][1])
    rows = [
        ["as trained", "100.0", "32", plain, f"{100 * dense['metrics']['val/top1']:.1f}"],
        ["pruned, fine-tuned", share, "32", plain, f"{100 * pruned['metrics']['val/top1']:.1f}"],
    ]
    for number, (name, report) in enumerate([*shared, ("pruned, not fine-tuned, 8 bits", at_once)]):
        accuracy = top1(Path(report["file"]), folder / f"test{number}")
        rows.append([name, kept(report), str(report["bits"]), size(report["bytes"]), f"{accuracy:.1f}"])
    return rows


def published_net(folder: Path, pruned: Path) -> list[list[str]]:
    """Sizes of the net with its classifier of 1000 classes."""
    rows = []
    for weights, pretrained in (("backbone as above, new classifier", str(pruned)), ("random", False)):
        for bits, published_mb in PUBLISHED_MB.items():
            torch.manual_seed(0)
            model = create_model(NET, "cls", 1000, pretrained=pretrained)
            for parameter in model.parameters():
                if not parameter.any():  # initial biases: zeros would take no bytes
                    torch.nn.init.normal_(parameter)
            report = compress_model(model, folder / "1000.compressed", sparsity=SPARSITY, bits=bits)
            met = "yes" if report["bytes"] <= 1e6 * published_mb else "no"
            parts = [size(length) for length in report["parts"].values()]
            rows.append([weights, str(bits), kept(report), size(report["bytes"]), f"{published_mb}", met, *parts])
            print(f"1000 classes, {weights}, {bits} bits: {report['bytes']} bytes", flush=True)
    return rows


def size(length: int) -> str:
    return f"{length / 1e6:.3f}"


def kept(report: dict[str, Any]) -> str:
    return f"{100 * report['kept']:.1f}"


def table(heads: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["--:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))


def page(
    options: argparse.Namespace, overrides: dict[str, str], measured: list[list[str]], sizes: list[list[str]]
) -> str:
    arguments = f"--epochs {options.epochs} --finetune-epochs {options.finetune_epochs} --lr {options.lr}"
    commands = "\n".join(f"    python train.py {text}" for text in overrides.values())
    return f"""\
# Deep Compression, measured

Written by `python benchmarks/deep_compression.py {arguments}`; do not edit.
MB are 10^6 bytes, of whole files. Machine: {machine()}, torch {torch.__version__}.

## SqueezeNet 1.0 on mini_cls

8 classes, 400 validation images: the figures compare with nothing but each other. {SPARSITY:.0%} of every layer's
weights are pruned, biases are not.

{table(MEASURED, measured)}

{commands}
    lightseg compress PRUNED/checkpoints/best.ckpt --bits 8
    lightseg compress PRUNED/checkpoints/best.ckpt --bits 6

## SqueezeNet 1.0 with its classifier of 1000 classes

The published net (4.8 MB) and the published sizes (arXiv:1602.07360, table 2). Its ImageNet weights were not at hand:
what was compressed is the fine-tuned backbone of above with a new, random classifier, and a net of random weights, all
layers pruned to the same share, new biases random too. Accuracy on ImageNet was not measured. The last five columns add
up to the file's MB.

{table(SIZES, sizes)}
"""


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--epochs", type=int, default=20, help="of training (20)")
    parser.add_argument("--finetune-epochs", type=int, default=20, help="with pruned weights (20)")
    # a tenth of the other nets' rate: without batch norm training diverges at a higher one
    parser.add_argument("--lr", type=float, default=4e-4, help="of training and fine-tuning (4e-4)")
    parser.add_argument("--folder", type=Path, help="for the runs, which are kept and not repeated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        overrides = {"dense": COMMON.format(lr=options.lr, epochs=options.epochs)}
        dense = train(overrides["dense"], folder / "dense")
        finetuning = f"{COMMON.format(lr=options.lr, epochs=options.finetune_epochs)} prune.sparsity={SPARSITY}"
        overrides["pruned"] = f"{finetuning} pretrained=DENSE/checkpoints/best.ckpt"
        pruned = train(f"{finetuning} pretrained={dense['best']}", folder / "pruned")
        measured = accuracies(folder, dense, pruned)
        text = page(options, overrides, measured, published_net(folder, pruned["best"]))
    publish(text, PAGE, options)


if __name__ == "__main__":
    main()
