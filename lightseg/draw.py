"""Pictures of what a model answers, as uint8 RGB arrays [H, W, 3]."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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


def confusion_picture(confusion: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """Counts [C, C], rows = labels, columns = predictions, as a chart: each row's shares from white to dark blue.

    Up to 20 classes have their shares in per cent in the cells, up to 80 their names at the sides; a class without a
    sample has an empty row.
    """
    counts = np.asarray(confusion, np.float64)
    classes = len(class_names)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    cell = max(1, min(40, 960 // classes))
    named = classes <= 80
    font = ImageFont.load_default(min(12, max(9, cell - 1)))
    names = [name if len(name) <= 24 else f"{name[:23]}…" for name in class_names]
    side = max(round(font.getlength(name)) for name in names) + 8 if named else 4
    line = 20  # for the titles of the axes
    left, top, extent = side + line, side + line, cell * classes
    sheet = Image.new("RGB", (left + extent + 8, top + extent + 8), "white")
    depth = np.sqrt(shares)[..., None]  # so that a confusion of a few per cent can be seen
    colours = (255 - depth * (247, 207, 148)).round().astype(np.uint8)
    sheet.paste(Image.fromarray(colours.repeat(cell, 0).repeat(cell, 1)), (left, top))
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((left - 1, top - 1, left + extent, top + extent), outline="grey")
    draw.text((left + extent / 2, line / 2), "prediction", fill="black", font=font, anchor="mm")
    _upright(sheet, "truth", (0, top + extent // 2), line, font, centred=True)
    for i, name in enumerate(names if named else []):
        middle = (i + 0.5) * cell
        draw.text((left - 5, top + middle), name, fill="black", font=font, anchor="rm")
        _upright(sheet, name, (left + i * cell, top - 5), cell, font)
    if classes <= 20:
        for row, column in zip(*np.nonzero(counts), strict=True):
            share = shares[row, column]
            at = (left + (column + 0.5) * cell, top + (row + 0.5) * cell)
            text = f"{100 * share:.0f}" if share >= 0.005 else "<1"
            draw.text(at, text, fill="white" if share > 0.3 else "black", font=font, anchor="mm")
    return np.asarray(sheet)


def classification_row(
    image: np.ndarray, truth_name: str | None, predictions: Sequence[tuple[str, float]]
) -> list[np.ndarray]:
    """One picture, and its predictions (name, probability) as bars: the true class's is green, the others' are grey.

    truth_name: None where the picture has no label.
    """
    width, bar, gap = 480, 34, 8
    panel = Image.new("RGB", (width, (bar + gap) * (len(predictions) + 1)), "white")
    draw = ImageDraw.Draw(panel)
    font = ImageFont.load_default(17)
    draw.text((6, bar / 2), f"truth: {truth_name}" if truth_name is not None else "", "black", font, anchor="lm")
    for number, (name, probability) in enumerate(predictions, start=1):
        y = number * (bar + gap)
        fill = (150, 210, 150) if name == truth_name else (205, 205, 205)
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
    """The image, `width` pixels wide (its own by default), with boxes [n, 4] xyxy, labels [n] and perhaps scores [n].

    Lines and letters are drawn after the picture has its size, so that they are sharp however small it was. Small boxes
    lie over large ones; a box's tag goes above it, or inside or below where other tags or the border are in the way.
    """
    picture = Image.fromarray(image if width is None else _resize(image, width))
    scale = np.array([picture.width / image.shape[1], picture.height / image.shape[0]] * 2)
    draw = ImageDraw.Draw(picture)
    line = max(2, round(picture.width / 240))
    letters = max(10, round(picture.width / 44))
    font = ImageFont.load_default(letters)
    frames = np.asarray(boxes, np.float64).reshape(-1, 4) * scale
    largest_first = np.argsort(-(frames[:, 2:] - frames[:, :2]).prod(1), kind="stable")
    for i in largest_first:
        x0, y0, x1, y1 = frames[i].round().tolist()
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=tuple(palette[labels[i]]), width=line)
    tags: list[tuple[float, float, float, float]] = []
    for i in largest_first[::-1] if scores is None else np.argsort(-np.asarray(scores), kind="stable"):
        text = class_names[labels[i]] + ("" if scores is None else f" {scores[i]:.2f}")
        colour = tuple(palette[labels[i]])
        tag = _place_tag(frames[i], round(font.getlength(text)) + 4, letters + 3, line, picture.size, tags)
        tags.append(tag)
        draw.rectangle(tag, fill=colour)
        bright = np.dot(colour, (0.299, 0.587, 0.114)) > 120
        draw.text((tag[0] + 2, (tag[1] + tag[3]) / 2), text, "black" if bright else "white", font, anchor="lm")
    return np.asarray(picture)


def detection_row(
    image: np.ndarray,
    truth: Mapping[str, np.ndarray],
    prediction: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    palette: Palette,
    least_score: float = 0.3,
    width: int = 480,
) -> list[np.ndarray]:
    """One picture with its true boxes, and with the predicted ones from `least_score` on, both `width` pixels wide.

    truth: boxes [N, 4] xyxy in pixels of `image`, labels [N]. prediction: the same and scores [n].
    """
    sure = np.asarray(prediction["scores"]) >= least_score
    found = [np.asarray(prediction[key])[sure] for key in ("boxes", "labels", "scores")]
    return [
        draw_boxes(image, truth["boxes"], truth["labels"], None, class_names, palette, width),
        draw_boxes(image, found[0], found[1], found[2], class_names, palette, width),
    ]


def save_picture(picture: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def _resize(picture: np.ndarray, width: int) -> np.ndarray:
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def _place_tag(
    frame: np.ndarray, width: float, height: float, line: int, size: Sequence[int], tags: Sequence[tuple]
) -> tuple[float, float, float, float]:
    """Where a tag of that size goes: the first place inside the picture that meets no other tag, else above."""
    x0, y0, x1, y1 = frame.round().tolist()
    places = [(x0, y0 - height), (x1 - width, y0 - height), (x0, y0), (x0, y1), (x0, y1 - height), (x1 - width, y1)]
    inside = [
        (min(max(0.0, x), max(0.0, size[0] - width)), min(max(0.0, y), max(0.0, size[1] - height)))
        for x, y in places
    ]  # fmt: skip
    for x, y in inside:
        if all(x > right or x + width < left or y > low or y + height < top for left, top, right, low in tags):
            return x, y, x + width, y + height
    x, y = inside[0]
    return x, y, x + width, y + height


def _upright(sheet: Image.Image, text: str, at: tuple[int, int], width: int, font: Any, centred: bool = False) -> None:
    """Text read from below in a column `width` pixels wide whose left edge and lower end (or middle) are `at`."""
    length = round(font.getlength(text)) + 2
    strip = Image.new("RGB", (length, width), "white")
    ImageDraw.Draw(strip).text((0, width / 2), text, fill="black", font=font, anchor="lm")
    sheet.paste(strip.rotate(90, expand=True), (at[0], at[1] - (length // 2 if centred else length)))
