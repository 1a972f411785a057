"""Decoding of a pose net's raw outputs to keypoints, in NumPy only. An exported file does not contain this step.

    outputs = dict(zip(names, session.run(None, {"images": crops})))   # uint8 [B, 3, H, W], a person each
    poses = heatmap_keypoints(**outputs, image_size=(256, 192), **metadata["decoding"])     # of head heatmap
    poses = simcc_keypoints(**outputs, image_size=(256, 192), **metadata["decoding"])       # of head simcc
    poses[0]["keypoints"], poses[0]["scores"]

Coordinates are pixel indices of the crop: 0 is the center of the first pixel. The results equal those of the heads'
`decode`. The methods and their papers are in lightseg/heads/codecs.py and lightseg/heads/subpixel.py.
"""

import math

import numpy as np

from lightseg.decoding.boxes import softmax

MIN_RATIO = 1e-3  # to the peak, before DARK's logarithm
Poses = list[dict[str, np.ndarray]]  # per image `keypoints` float32 [K, 2] in pixels, `scores` float32 [K] in 0..1


def heatmap_keypoints(
    heatmaps: np.ndarray, *, image_size: tuple[int, int], kind: str = "udp", dark: bool = True, sigma: float = 2.0
) -> Poses:
    """Decode heatmaps.

    Args:
        heatmaps: [B, K, h, w].
        image_size: (height, width) of the network's input in pixels.
        kind: how cells lie in the image, `udp` or `msra`.
        dark: refine peaks by DARK, otherwise by a quarter of a cell.
        sigma: of the Gaussians of the training targets, in cells.
    """
    height, width = heatmaps.shape[2:]
    flat = heatmaps.astype(np.float32).reshape(*heatmaps.shape[:2], -1)
    peak = flat.argmax(2)
    column, row = peak % width, peak // width
    refine = _taylor_step if dark and min(height, width) >= 3 else _cell if dark else _quarter_step
    x, y = refine(flat, column, row, height, width, sigma)
    if kind == "msra":
        per_pixel = width / image_size[1], height / image_size[0]
    else:
        per_pixel = tuple(
            max(1, cells - 1) / max(1, side - 1) for cells, side in zip((width, height), image_size[::-1], strict=True)
        )
    keypoints = np.stack([x, y], -1) / np.array(per_pixel)
    return _persons(keypoints, flat.max(2).clip(0, 1))


def simcc_keypoints(
    x: np.ndarray,
    y: np.ndarray,
    *,
    image_size: tuple[int, int],
    split: float = 2.0,
    sigma: tuple[float, float] | None = None,
    beta: float = 10.0,
) -> Poses:
    """Decode SimCC's logits.

    Args:
        x: logits [B, K, bins] along the width.
        y: logits [B, K, bins] along the height.
        image_size: (height, width) of the network's input in pixels.
        split: bins per pixel.
        sigma: of the training targets, in bins along x and y. None: sqrt(bins/16).
        beta: factor of the logits before the softmax.
    """
    ratios = []
    for axis, logits in enumerate((x, y)):
        bins, side = logits.shape[-1], image_size[1 - axis]
        width = math.sqrt(bins / 16) if sigma is None else sigma[axis]
        exact = np.exp(-((np.arange(bins, dtype=np.float32) - side // 2 * split) ** 2) / (2 * width**2))
        ratios.append(softmax(beta * logits).max(2) / softmax(beta * exact).max())
    keypoints = np.stack([x.argmax(2), y.argmax(2)], -1) / split
    return _persons(keypoints, np.minimum(*ratios).clip(0, 1))


def _persons(keypoints: np.ndarray, scores: np.ndarray) -> Poses:
    pairs = zip(keypoints.astype(np.float32), scores.astype(np.float32), strict=True)
    return [{"keypoints": points, "scores": marks} for points, marks in pairs]


# -- refinement: the highest cell (column, row) [B, K] of the maps `flat` [B, K, h*w] -> x and y [B, K] between cells --

Steps = tuple[np.ndarray, np.ndarray]


def _cell(flat: np.ndarray, column: np.ndarray, row: np.ndarray, height: int, width: int, sigma: float) -> Steps:
    return column, row


def _quarter_step(
    flat: np.ndarray, column: np.ndarray, row: np.ndarray, height: int, width: int, sigma: float
) -> Steps:
    """A quarter of a cell towards the higher neighbor. Cells beyond the border have the value of a Gaussian."""
    peak = row * width + column
    beyond = _at(flat, peak) * math.exp(-0.5 / sigma**2)
    refined = []
    for start, side, step in ((column, width, 1), (row, height, width)):
        low = np.where(start > 0, _at(flat, (peak - step).clip(0)), beyond)
        high = np.where(start < side - 1, _at(flat, (peak + step).clip(max=height * width - 1)), beyond)
        refined.append(start + 0.25 * np.sign(high - low))
    return refined[0], refined[1]


def _taylor_step(flat: np.ndarray, column: np.ndarray, row: np.ndarray, height: int, width: int, sigma: float) -> Steps:
    """DARK (Zhang et al., arXiv:1910.06278, section 3.2): blur, logarithm, one Newton step; at most one cell."""
    x, y = column.clip(1, width - 2), row.clip(1, height - 2)
    radius = math.ceil(2.5 * sigma)
    kernels = _blur_kernels(radius, sigma)
    offsets = np.arange(-radius - 1, radius + 2)
    columns = (x[..., None] + offsets).clip(0, width - 1)
    rows = (y[..., None] + offsets).clip(0, height - 1)
    cells = rows[..., :, None] * width + columns[..., None, :]
    patches = np.take_along_axis(flat, cells.reshape(*x.shape, -1), 2).reshape(-1, len(offsets), len(offsets))
    blur_x = kernels[np.minimum(x - 1, width - 2 - x).clip(max=radius).ravel()]  # [P, 3, n]
    blur_y = kernels[np.minimum(y - 1, height - 2 - y).clip(max=radius).ravel()]
    blurred = blur_y @ patches @ blur_x.transpose(0, 2, 1)  # [P, 3, 3]
    center = blurred[:, 1, 1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # maps without a peak: not moved
        log = np.log(np.maximum(blurred / center[:, None, None], MIN_RATIO))
        slope_x, slope_y = (log[:, 1, 2] - log[:, 1, 0]) / 2, (log[:, 2, 1] - log[:, 0, 1]) / 2
        bend_x, bend_y = log[:, 1, 2] + log[:, 1, 0], log[:, 2, 1] + log[:, 0, 1]  # the center's logarithm is 0
        twist = (log[:, 2, 2] + log[:, 0, 0] - log[:, 0, 2] - log[:, 2, 0]) / 4
        determinant = bend_x * bend_y - twist**2
        steps = (twist * slope_y - bend_y * slope_x) / determinant, (twist * slope_x - bend_x * slope_y) / determinant
    peak = ((center > 0) & (bend_x < 0) & (determinant > 0)).reshape(x.shape)
    refined = [
        start + np.where(peak, (at - start + step.reshape(x.shape)).clip(-1, 1), 0)
        for start, at, step in zip((column, row), (x, y), steps, strict=True)
    ]
    return refined[0], refined[1]


def _blur_kernels(max_radius: int, sigma: float) -> np.ndarray:
    """float32 [max_radius+1, 3, 2*max_radius+3]: for each radius, the weights that blur three neighboring cells."""
    from_cell = np.arange(-max_radius - 1, max_radius + 2) - np.array([-1, 0, 1])[:, None]
    weights = np.exp(from_cell**2 / (-2 * sigma**2)) * (np.abs(from_cell) <= np.arange(max_radius + 1)[:, None, None])
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def _at(flat: np.ndarray, cells: np.ndarray) -> np.ndarray:
    return np.take_along_axis(flat, cells[..., None], 2)[..., 0]
