"""Images with a depth each: `root/images/<name>.png` and `root/<split>.csv` with the columns name and depth."""

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lightseg.data.datasets.base import Arrays, ImageDataset
from lightseg.data.io.images import read_size
from lightseg.data.transforms.phase_transform import Transform


class DepthCSV(ImageDataset):
    """A sample has `depth`, a float in meters."""

    def __init__(self, root: Path, split: str, transform: Transform | None) -> None:
        self.folder, self.file = root / "images", root / f"{split}.csv"
        with open(self.file, newline="") as file:
            rows = list(csv.DictReader(file))
        self.depths = np.array([float(row["depth"]) for row in rows], np.float32)
        super().__init__([row["name"] for row in rows], ["depth"], [[255, 200, 0]], transform)

    def check(self, index: int) -> None:
        read_size(self._path(self._image_number(index)))

    def _path(self, image: int) -> Path:
        return self.folder / f"{self._names[image]}.png"

    def _targets(self, arrays: Arrays, original: Arrays, sample: int) -> dict[str, Any]:
        return {"depth": float(self.depths[sample])}

    def _renumber(self, new: np.ndarray, first: np.ndarray) -> None:
        """There is one number."""


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> DepthCSV:
    return DepthCSV(Path(options["root"]), options["split"][split], transform)


def prepare(options: dict[str, Any]) -> None:
    """Gray squares, brighter where they are near: the nearer, the larger."""
    root, rng = Path(options["root"]), np.random.default_rng(0)
    (root / "images").mkdir(parents=True, exist_ok=True)
    for split, count in options["count"].items():
        with open(root / f"{split}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["name", "depth"])
            for number in range(count):
                depth = float(rng.uniform(1, 9))
                image = rng.integers(0, 60, (48, 48, 3), dtype=np.uint8)
                side = round(40 / depth) + 2
                image[4 : 4 + side, 4 : 4 + side] = round(255 - 20 * depth)
                cv2.imwrite(str(root / "images" / f"{split}{number}.png"), image)
                writer.writerow([f"{split}{number}", depth])
