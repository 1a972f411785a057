"""Outlines as masks, as COCO's tools make them: polygons, and run-length encodings (RLE, column by column).

Source: the mask API of pycocotools, in faster-coco-eval's build of it.
"""

from typing import Any

import numpy as np

Polygon = list[float]  # x1, y1, x2, y2, ... in pixels; 0, 0 is the corner of the image


def polygon_mask(polygons: list[Polygon], size: tuple[int, int]) -> np.ndarray:
    """bool [H, W]: the pixels that the polygons of an object cover. size: height, width."""
    api = _api()
    return api.decode(api.merge(api.frPyObjects(polygons, *size))).view(bool)


def rle_mask(rle: Any, size: tuple[int, int]) -> np.ndarray | None:
    """bool [H, W] of an RLE: `counts`, a list or COCO's text, and `size`. None if it is none, or of another size."""
    if not isinstance(rle, dict) or rle.get("size") != list(size):
        return None
    mask = _of_rle("decode", rle)
    return None if mask is None else mask[..., 0].view(bool)


def rle_box(rle: Any) -> list[float] | None:
    """[x, y, width, height] of an RLE. None if it is none."""
    boxes = _of_rle("toBbox", rle)
    return None if boxes is None else [float(value) for value in boxes[0]]


def _of_rle(function: str, rle: Any) -> np.ndarray | None:
    """What a function of the mask API makes of a list of a single RLE. None if it is none."""
    try:
        counts, (height, width) = rle["counts"], rle["size"]
        if isinstance(counts, list):
            if sum(counts) != height * width or min(counts) < 0:
                return None
            encoded = _api().frPyObjects([rle], height, width)
        else:
            encoded = [{"size": [height, width], "counts": counts.encode()}]
        return getattr(_api(), function)(encoded)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RuntimeError):
        return None


def _api() -> Any:
    from faster_coco_eval import mask  # 0.2 s that other formats need not spend

    return mask
