"""Top-1 of ImageNet weights on a folder of images of a few ImageNet classes.

    pip install -e ".[weights,train]"
    python benchmarks/imagenet_subset.py --root hymenoptera/val ants=310 bees=309

The folder is an ImageFolder; the arguments map its class folders to indices of ImageNet's 1000 classes. Two accuracies
are printed: among these classes, and among all 1000. The preprocessing is that of the published weights (timm's
`crop_pct` and interpolation).
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

from lightseg.backbones import Classifier, create_classifier
from lightseg.errors import LightsegError


def predictions(
    model: Classifier, root: Path, classes: dict[str, int], batch_size: int = 16
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(logits [B, 1000], labels [B]) of the images in the class folders."""
    # timm's size, crop and interpolation, and the model's normalization
    config = resolve_data_config(model=model.net)
    transform = create_transform(**{**config, "mean": model.input_format.mean, "std": model.input_format.std})
    files = [(path, label) for name, label in classes.items() for path in sorted((root / name).glob("*"))]
    for start in range(0, len(files), batch_size):
        batch = files[start : start + batch_size]
        images = torch.stack([transform(Image.open(path).convert("RGB")) for path, _ in batch])  # type: ignore[operator]
        yield (
            model(images.flip(1) if model.input_format.bgr else images)[0],
            torch.tensor([label for _, label in batch]),
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--pretrained", default=True, help="a weight file (default: the official weights)")
    parser.add_argument("classes", nargs="+", metavar="folder=index", help="for each folder its ImageNet class, 0..999")
    options = parser.parse_args()
    classes = {name: int(index) for name, _, index in (text.partition("=") for text in options.classes)}
    try:
        if missing := [str(options.root / name) for name in classes if not (options.root / name).is_dir()]:
            raise LightsegError(f"{missing[0]}: no such folder")
        model = create_classifier(options.backbone, pretrained=options.pretrained).eval()
    except LightsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with torch.inference_mode():
        logits, labels = (torch.cat(parts) for parts in zip(*predictions(model, options.root, classes), strict=True))
    subset = torch.tensor(sorted(classes.values()))
    subset_top1 = (subset[logits[:, subset].argmax(1)] == labels).float().mean()
    top1 = (logits.argmax(1) == labels).float().mean()
    print(f"{options.backbone}, {len(labels)} images of {options.root}")
    print(f"top-1 among {len(subset)} classes: {subset_top1:.1%}; among all 1000: {top1:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
