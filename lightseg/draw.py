"""Pictures of what a model answers, as uint8 RGB arrays [H, W, 3]."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

Palette = Sequence[Sequence[int]]


def colour_mask(mask: np.ndarray, palette: Palette) -> np.ndarray:
    """Class ids [H, W] -> colours; every id without a colour (255 = ignored) is black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = np.asarray(palette, np.uint8)
    return table[mask.astype(np.uint8)]


def overlay_mask(image: np.ndarray, mask: np.ndarray, palette: Palette, opacity: float = 0.6) -> np.ndarray:
    """The image with the class colours laid over it; ignored pixels keep the image."""
    mixed = (image * (1 - opacity) + colour_mask(mask, palette) * opacity).astype(np.uint8)
    return np.where((mask < len(palette))[..., None], mixed, image)


def segmentation_row(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, palette: Palette
) -> list[np.ndarray]:
    """Image, truth and prediction of one picture. Pixels without a label are black in the truth only."""
    return [image, overlay_mask(image, truth, palette, 0.8), overlay_mask(image, prediction, palette, 0.8)]


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    headings: Sequence[str],
    legend: Sequence[tuple[str, Sequence[int]]] = (),
    width: int = 480,
) -> np.ndarray:
    """Rows of pictures under headings, each picture `width` pixels wide, a legend of (name, colour) at the foot."""
    cells = [[_resize(picture, width) for picture in row] for row in rows]
    gap, bar = 4, 22
    columns = len(headings)
    sheet_width = columns * width + (columns - 1) * gap
    per_line = max(1, sheet_width // 130)
    legend_height = bar * -(-len(legend) // per_line)
    height = bar + sum(max(c.shape[0] for c in row) + gap for row in cells) + legend_height
    sheet = Image.new("RGB", (sheet_width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for column, heading in enumerate(headings):
        draw.text((column * (width + gap) + 4, 5), heading, fill="black")
    y = bar
    for row in cells:
        for column, cell in enumerate(row):
            sheet.paste(Image.fromarray(cell), (column * (width + gap), y))
        y += max(c.shape[0] for c in row) + gap
    for index, (name, colour) in enumerate(legend):
        left, top = (index % per_line) * 130 + 4, y + (index // per_line) * bar + 4
        draw.rectangle((left, top, left + 14, top + 12), fill=tuple(colour), outline="black")
        draw.text((left + 19, top), name, fill="black")
    return np.asarray(sheet)


def save_picture(picture: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def _resize(picture: np.ndarray, width: int) -> np.ndarray:
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
