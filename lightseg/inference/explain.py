"""`lightseg predict --explain CLASS`: a sheet an image, of the network's input, its heat map and its prediction."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.io.frame import Frame
from lightseg.data.io.pixels import PixelFormat
from lightseg.draw import contact_sheet
from lightseg.draw_pose import heatmap_overlay
from lightseg.errors import LightsegError, nearest, one_line
from lightseg.inference.heat_map import heat_map
from lightseg.inference.runners import CheckpointRunner, Runner
from lightseg.result_files import write_image
from lightseg.task_specs import Results

EVERYTHING = "all"  # in place of a class
WIDTH = 480  # of a sheet's column in pixels
BLANK = (64, 64)  # of an image to try the net with, where it takes any size
MAX_ROWS = 8  # persons of an image


class Explainer:
    """Draws sheets of the evidence for a class.

    Raises:
        LightsegError: an exported file, which has no gradients, an unknown class, or as `heat_map`.
    """

    def __init__(self, runner: Runner, name: str, *, stage: int | None, score: float, where: str | Path) -> None:
        """name: of a class or keypoint, or `all`. stage: see `heat_map`. where: the checkpoint, for error texts."""
        if not isinstance(runner, CheckpointRunner):
            raise LightsegError(f"--explain needs gradients, and {where} is an exported file: give its checkpoint")
        self.runner, self.stage, self.score = runner, stage, score
        self.label, self.title = _label(name, runner.contract.class_names or (), where)
        self.pixels = PixelFormat.of(runner.contract)
        blank = self.pixels.blank(*(runner.fixed_size or runner.contract.size or BLANK))
        with suppress(RuntimeError):  # too small for the net: its images are not
            self._heat_map(blank)  # before a file is written

    def write(self, folder: Path, frame: Frame, inputs: Sequence[np.ndarray], results: Results) -> str | None:
        """Write explained/<name>.png, a row an input [h, w, C] of the network.

        Returns None, or why there is no sheet.
        """
        try:
            rows = [self._row(pixels, results) for pixels in inputs[:MAX_ROWS]]
        except (RuntimeError, MemoryError) as error:  # no memory for the gradients, or a layer without any
            return f"no heat map ({one_line(error)[:150]})"
        if not rows:
            return None
        heats = [heat for _, heat in rows if heat is not None]
        heading = self.title
        if not heats:
            heading += ": not predicted"
        elif not any(heat.any() for heat in heats):
            heading += ": nothing in the image speaks for it"
        sheet = contact_sheet([row for row, _ in rows], ["input of the network", heading, "prediction"], width=WIDTH)
        write_image(folder / "explained" / f"{frame.name}.png", sheet)
        return None

    def _row(self, pixels: np.ndarray, results: Results) -> tuple[list[np.ndarray], np.ndarray | None]:
        heat, prediction = self._heat_map(pixels)
        shown = np.zeros(pixels.shape[:2], np.float32) if heat is None else heat
        image = self.pixels.shown(pixels)
        drawn = results.draw(image, prediction)
        return [image, heatmap_overlay(image, shown[None], WIDTH), drawn], heat

    def _heat_map(self, pixels: np.ndarray) -> tuple[np.ndarray | None, Any]:
        model, task = self.runner.model, self.runner.task
        return heat_map(model, task, pixels, self.label, stage=self.stage, score=self.score)


def _label(name: str, names: Sequence[str], where: str | Path) -> tuple[int | None, str]:
    """The label of a class, None for `all`, and what the sheet calls it."""
    same = [known for known in names if known == name] or [known for known in names if known.lower() == name.lower()]
    if same:
        return list(names).index(same[0]), same[0]
    if name.lower() == EVERYTHING:
        return None, "all that is predicted"
    raise LightsegError(f"--explain {name}: {where} has no class of this name: {nearest(name, [*names, EVERYTHING])}")
