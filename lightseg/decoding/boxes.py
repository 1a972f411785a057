"""From a detector's raw outputs to boxes, in numpy alone: the step that an exported file leaves to whoever runs it.

    outputs = dict(zip(names, session.run(None, {"images": images})))   # uint8 [B, 3, H, W]
    found = detections(**outputs, image_size=(320, 320))
    found[0]["boxes"], found[0]["labels"], found[0]["scores"]

SSD (Liu et al., arXiv:1512.02325), section 2: offsets are relative to default boxes; scores are a softmax with the
background at index 0; non-maximum suppression goes class by class. It gives what `SSDLite.decode` gives.
"""

import numpy as np

WEIGHTS = np.array([10.0, 10.0, 5.0, 5.0], np.float32)  # of the offsets: the inverse of SSD's variances 0.1 and 0.2
MAX_LOG_SIZE = float(np.log(1000 / 16))  # no box grows by more than this factor


def detections(
    class_logits: np.ndarray,
    box_deltas: np.ndarray,
    default_boxes: np.ndarray,
    *,
    image_size: tuple[int, int],
    score_threshold: float = 0.001,
    nms_threshold: float = 0.55,
    topk_candidates: int = 300,
    detections_per_image: int = 300,
) -> list[dict[str, np.ndarray]]:
    """
    Args:
        class_logits: [B, N, 1 + classes], background first. box_deltas: [B, N, 4]. default_boxes: [N, 4] xyxy pixels.
        image_size: (height, width) of the network's input, to which boxes are clipped.
        score_threshold: detections must score more. topk_candidates: best boxes of one class that are looked at.
        nms_threshold: overlap beyond which the lower-scored of two boxes of a class is dropped.
        detections_per_image: best detections that are kept.

    Returns:
        For each image, best first, `boxes` [n, 4] xyxy in pixels of the input, `labels` [n] in 0..classes-1, `scores`
        [n].
    """
    height, width = image_size
    boxes = decode_boxes(box_deltas, default_boxes).clip(0, np.array([width, height, width, height], np.float32))
    return [
        _one_image(scores[:, 1:], places, score_threshold, nms_threshold, topk_candidates, detections_per_image)
        for scores, places in zip(softmax(class_logits), boxes, strict=True)
    ]


def decode_boxes(deltas: np.ndarray, defaults: np.ndarray) -> np.ndarray:
    """Offsets [..., 4] from default boxes [..., 4] xyxy -> boxes [..., 4] xyxy, not clipped."""
    default_size = defaults[..., 2:] - defaults[..., :2]
    default_centre = defaults[..., :2] + 0.5 * default_size
    scaled = deltas / WEIGHTS
    centre = scaled[..., :2] * default_size + default_centre
    half = 0.5 * np.exp(scaled[..., 2:].clip(max=MAX_LOG_SIZE)) * default_size
    return np.concatenate([centre - half, centre + half], -1)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def nms(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Indices of the boxes [n, 4] xyxy that no better one overlaps by more than `threshold`, best first."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        corners = np.maximum(boxes[best, :2], boxes[order, :2]), np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = (corners[1] - corners[0]).clip(0).prod(1)
        with np.errstate(invalid="ignore"):  # two boxes without area: nan, which is not beyond the threshold
            overlap = shared / (areas[best] + areas[order] - shared)
        order = order[~(overlap > threshold)]
    return np.array(kept, np.int64)


def _one_image(
    scores: np.ndarray, boxes: np.ndarray, least: float, overlap: float, topk: int, most: int
) -> dict[str, np.ndarray]:
    found = []
    for label in np.flatnonzero((scores > least).any(0)):
        place = np.flatnonzero(scores[:, label] > least)
        place = place[np.argsort(-scores[place, label], kind="stable")[:topk]]
        kept = place[nms(boxes[place], scores[place, label], overlap)]
        found += [(scores[i, label], label, i) for i in kept]
    found.sort(key=lambda one: -one[0])
    best = found[:most]
    return {
        "boxes": boxes[[i for _, _, i in best]].reshape(-1, 4),
        "labels": np.array([label for _, label, _ in best], np.int64),
        "scores": np.array([score for score, _, _ in best], np.float32),
    }
