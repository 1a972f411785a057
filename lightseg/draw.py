"""Visualization of labels and predictions as uint8 RGB arrays [H, W, 3]: masks, boxes, classes, contact sheets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lightseg.text import shorten

Palette = Sequence[Sequence[int]]


def color_mask(mask: np.ndarray, palette: Palette) -> np.ndarray:
    """Class ids [H, W] -> colors uint8 [H, W, 3]. Ids without a color (255 = ignored) are black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = np.asarray(palette, np.uint8)
    return table[mask.astype(np.uint8)]


def overlay_mask(image: np.ndarray, mask: np.ndarray, palette: Palette, opacity: float = 0.6) -> np.ndarray:
    """The image [H, W, 3] blended with the class colors of a mask [H, W]. Ignored pixels keep the image."""
    mixed = (image * (1 - opacity) + color_mask(mask, palette) * opacity).astype(np.uint8)
    return np.where((mask < len(palette))[..., None], mixed, image)


def segmentation_row(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, palette: Palette
) -> list[np.ndarray]:
    """The image, its ground truth and its prediction (masks [H, W]), for a row of `contact_sheet`."""
    return [image, overlay_mask(image, truth, palette, 0.8), overlay_mask(image, prediction, palette, 0.8)]


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    headings: Sequence[str],
    legend: Sequence[tuple[str, Sequence[int]]] = (),
    width: int = 480,
) -> np.ndarray:
    """Rows of images under headings, each image `width` pixels wide, with a legend of (name, color) at the bottom."""
    cells = [[resize_to_width(image, width) for image in row] for row in rows]
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
    for index, (name, color) in enumerate(legend):
        left, top = (index % per_line) * 130 + 4, y + (index // per_line) * bar + 4
        draw.rectangle((left, top, left + 14, top + 12), fill=tuple(color), outline="black")
        draw.text((left + 19, top), name, fill="black")
    return np.asarray(sheet)


def confusion_image(confusion: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """A confusion matrix as an image, normalized by row, from white to dark blue.

    confusion: counts [C, C], rows = labels, columns = predictions. With up to 20 classes the cells contain per cent,
    with up to 80 classes rows and columns have names. The row of a class without samples is empty.
    """
    counts = np.asarray(confusion, np.float64)
    classes = len(class_names)
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    cell = max(1, min(40, 960 // classes))
    named = classes <= 80
    font = ImageFont.load_default(min(12, max(9, cell - 1)))
    names = [name if len(name) <= 24 else f"{name[:23]}…" for name in class_names]
    side = max(round(font.getlength(name)) for name in names) + 8 if named else 4
    line = 20  # for the titles of the axes
    left, top, extent = side + line, side + line, cell * classes
    sheet = Image.new("RGB", (left + extent + 8, top + extent + 8), "white")
    depth = np.sqrt(fractions)[..., None]  # so that a confusion of a few per cent is visible
    colors = (255 - depth * (247, 207, 148)).round().astype(np.uint8)
    sheet.paste(Image.fromarray(colors.repeat(cell, 0).repeat(cell, 1)), (left, top))
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((left - 1, top - 1, left + extent, top + extent), outline="grey")
    draw.text((left + extent / 2, line / 2), "prediction", fill="black", font=font, anchor="mm")
    _upright(sheet, "truth", (0, top + extent // 2), line, font, centered=True)
    for i, name in enumerate(names if named else []):
        middle = (i + 0.5) * cell
        draw.text((left - 5, top + middle), name, fill="black", font=font, anchor="rm")
        _upright(sheet, name, (left + i * cell, top - 5), cell, font)
    if classes <= 20:
        for row, column in zip(*np.nonzero(counts), strict=True):
            fraction = fractions[row, column]
            center = (left + (column + 0.5) * cell, top + (row + 0.5) * cell)
            text = f"{100 * fraction:.0f}" if fraction >= 0.005 else "<1"
            draw.text(center, text, fill="white" if fraction > 0.3 else "black", font=font, anchor="mm")
    return np.asarray(sheet)


def classification_row(
    image: np.ndarray, truth: Sequence[str] | None, predictions: Sequence[tuple[str, float]]
) -> list[np.ndarray]:
    """The image, and a panel with its predictions (name, probability) as bars: true classes green, the others gray.

    truth: names of the true classes. None: the image is not labeled.
    """
    width, bar, gap = 480, 34, 8
    panel = Image.new("RGB", (width, (bar + gap) * (len(predictions) + 1)), "white")
    draw = ImageDraw.Draw(panel)
    font = ImageFont.load_default(17)
    title = "" if truth is None else f"truth: {shorten(list(truth), 4) if truth else 'no class'}"
    draw.text((6, bar / 2), title, "black", font, anchor="lm")
    for number, (name, probability) in enumerate(predictions, start=1):
        y = number * (bar + gap)
        fill = (150, 210, 150) if name in (truth or ()) else (205, 205, 205)
        draw.rectangle((0, y, max(2, round(probability * (width - 1))), y + bar), fill=fill)
        draw.text((6, y + bar / 2), name, "black", font, anchor="lm")
        draw.text((width - 6, y + bar / 2), f"{100 * probability:.1f} %", "black", font, anchor="rm")
    return [image, np.asarray(panel)]


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray | None,
    class_names: Sequence[str],
    palette: Palette,
    width: int | None = None,
) -> np.ndarray:
    """Draw boxes with tags on an image.

    Lines and letters are drawn after resizing, so they are sharp on small images too. Small boxes are drawn over large
    ones. The tag of a box is above it, or inside or below where other tags or the border are in the way.

    Args:
        boxes: [N, 4] xyxy in pixels of `image`.
        labels: [N], indices into class_names and palette.
        scores: [N], or None for ground truth.
        width: of the result in pixels; None: that of the image.
    """
    canvas = Image.fromarray(image if width is None else resize_to_width(image, width))
    scale = np.array([canvas.width / image.shape[1], canvas.height / image.shape[0]] * 2)
    draw = ImageDraw.Draw(canvas)
    line = max(2, round(canvas.width / 240))
    letters = max(10, round(canvas.width / 44))
    font = ImageFont.load_default(letters)
    frames = np.asarray(boxes, np.float64).reshape(-1, 4) * scale
    largest_first = np.argsort(-(frames[:, 2:] - frames[:, :2]).prod(1), kind="stable")
    for i in largest_first:
        x0, y0, x1, y1 = frames[i].round().tolist()
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=tuple(palette[labels[i]]), width=line)
    tags: list[tuple[float, float, float, float]] = []
    for i in largest_first[::-1] if scores is None else np.argsort(-np.asarray(scores), kind="stable"):
        text = class_names[labels[i]] + ("" if scores is None else f" {scores[i]:.2f}")
        color = tuple(palette[labels[i]])
        tag = _tag_box(frames[i], round(font.getlength(text)) + 4, letters + 3, line, canvas.size, tags)
        tags.append(tag)
        draw.rectangle(tag, fill=color)
        bright = np.dot(color, (0.299, 0.587, 0.114)) > 120
        draw.text((tag[0] + 2, (tag[1] + tag[3]) / 2), text, "black" if bright else "white", font, anchor="lm")
    return np.asarray(canvas)


def detection_row(
    image: np.ndarray,
    truth: Mapping[str, np.ndarray],
    prediction: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    palette: Palette,
    min_score: float = 0.3,
    width: int = 480,
) -> list[np.ndarray]:
    """The image with its true boxes, and with the predicted boxes from `min_score` on, both `width` pixels wide.

    truth: boxes [N, 4] xyxy in pixels of `image`, labels [N]. prediction: boxes [M, 4], labels [M], scores [M].
    """
    shown = np.asarray(prediction["scores"]) >= min_score
    boxes, labels, scores = [np.asarray(prediction[key])[shown] for key in ("boxes", "labels", "scores")]
    return [
        draw_boxes(image, truth["boxes"], truth["labels"], None, class_names, palette, width),
        draw_boxes(image, boxes, labels, scores, class_names, palette, width),
    ]


def save_image(image: np.ndarray, path: Path) -> None:
    """Write a uint8 image [H, W] or [H, W, 3] and create its folder. A PNG is compressed quickly: a quarter larger than
    at zlib's default level, and written in a third of the time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, compress_level=1)  # other formats than PNG have no such option


def resize_to_width(image: np.ndarray, width: int) -> np.ndarray:
    """The image at this width in pixels, its aspect ratio kept."""
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _tag_box(
    frame: np.ndarray, width: float, height: float, line: int, size: Sequence[int], tags: Sequence[tuple]
) -> tuple[float, float, float, float]:
    """The box xyxy of a tag: the first position inside the image that overlaps no other tag, else above the frame."""
    x0, y0, x1, y1 = frame.round().tolist()
    positions = [(x0, y0 - height), (x1 - width, y0 - height), (x0, y0), (x0, y1), (x0, y1 - height), (x1 - width, y1)]
    inside = [
        (min(max(0.0, x), max(0.0, size[0] - width)), min(max(0.0, y), max(0.0, size[1] - height)))
        for x, y in positions
    ]  # fmt: skip
    for x, y in inside:
        if all(x > right or x + width < left or y > low or y + height < top for left, top, right, low in tags):
            return x, y, x + width, y + height
    x, y = inside[0]
    return x, y, x + width, y + height


def _upright(sheet: Image.Image, text: str, at: tuple[int, int], width: int, font: Any, centered: bool = False) -> None:
    """Draw text rotated by 90 degrees in a column `width` px wide; `at`: its left edge and its lower end or middle."""
    length = round(font.getlength(text)) + 2
    strip = Image.new("RGB", (length, width), "white")
    ImageDraw.Draw(strip).text((0, width / 2), text, fill="black", font=font, anchor="lm")
    sheet.paste(strip.rotate(90, expand=True), (at[0], at[1] - (length // 2 if centered else length)))
