"""Top-1 of ImageNet weights on a folder of pictures of a few of its classes, from the 1000-way logits.

    pip install -e ".[weights,train]"
    python benchmarks/imagenet_subset.py --root hymenoptera/val ants=310 bees=309

The folder is an ImageFolder; each of its class folders is given its number among ImageNet's 1000 classes. Two figures
are printed: the share of pictures whose largest logit among the given classes is the right one, and among all 1000.
Pictures are resized and cropped as the weights' publisher says (timm's `crop_pct` and interpolation).
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
    """(logits [B, 1000], labels [B]) of the pictures in the class folders."""
    # the publisher's size, crop and interpolation, and what the model itself declares of pixels
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
    parser.add_argument("--pretrained", default=True, help="a weight file; without it the official weights")
    parser.add_argument(
        "classes", nargs="+", metavar="folder=number", help="for each folder its ImageNet class, 0..999"
    )
    words = parser.parse_args()
    classes = {name: int(number) for name, _, number in (word.partition("=") for word in words.classes)}
    try:
        if missing := [str(words.root / name) for name in classes if not (words.root / name).is_dir()]:
            raise LightsegError(f"{missing[0]}: no such folder")
        model = create_classifier(words.backbone, pretrained=words.pretrained).eval()
    except LightsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with torch.inference_mode():
        logits, labels = (torch.cat(parts) for parts in zip(*predictions(model, words.root, classes), strict=True))
    among = torch.tensor(sorted(classes.values()))
    few = (among[logits[:, among].argmax(1)] == labels).float().mean()
    every = (logits.argmax(1) == labels).float().mean()
    print(f"{words.backbone}, {len(labels)} pictures of {words.root}")
    print(f"right among {len(among)} classes: {few:.1%}; among all 1000: {every:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
