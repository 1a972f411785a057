"""Decoding of a detector's raw outputs to boxes, in NumPy only. An exported file does not contain this step.

    outputs = dict(zip(names, session.run(None, {"images": images})))   # uint8 [B, 3, H, W]
    predictions = detections(**outputs, image_size=(320, 320))
    predictions[0]["boxes"], predictions[0]["labels"], predictions[0]["scores"]

SSD (Liu et al., arXiv:1512.02325), section 2: offsets are relative to default boxes; scores are a softmax with the
background at index 0; non-maximum suppression is done per class. The results equal those of `SSDLite.decode`.
"""

import numpy as np

WEIGHTS = np.array([10.0, 10.0, 5.0, 5.0], np.float32)  # of the offsets, the inverse of SSD's variances 0.1 and 0.2
MAX_LOG_SIZE = float(np.log(1000 / 16))  # log of the factor by which a box can grow


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
    """Decode the outputs of a batch.

    Args:
        class_logits: [B, N, 1 + classes], background first.
        box_deltas: [B, N, 4].
        default_boxes: [N, 4] xyxy in pixels.
        image_size: (height, width) of the network's input, to which boxes are clipped.
        score_threshold: detections have a score above it.
        nms_threshold: IoU above which the box with the lower score, of two boxes of a class, is dropped.
        topk_candidates: number of best boxes of a class that are considered.
        detections_per_image: number of best detections that are kept.

    Returns:
        Per image, best first: `boxes` [n, 4] xyxy in pixels of the input, `labels` [n] in 0..classes-1, `scores`
        [n].
    """
    height, width = image_size
    boxes = decode_boxes(box_deltas, default_boxes).clip(0, np.array([width, height, width, height], np.float32))
    return [
        _decode_image(scores[:, 1:], image_boxes, score_threshold, nms_threshold, topk_candidates, detections_per_image)
        for scores, image_boxes in zip(softmax(class_logits), boxes, strict=True)
    ]


def decode_boxes(deltas: np.ndarray, defaults: np.ndarray) -> np.ndarray:
    """Offsets [..., 4] and default boxes [..., 4] xyxy -> boxes [..., 4] xyxy, not clipped."""
    default_size = defaults[..., 2:] - defaults[..., :2]
    default_center = defaults[..., :2] + 0.5 * default_size
    scaled = deltas / WEIGHTS
    center = scaled[..., :2] * default_size + default_center
    half = 0.5 * np.exp(scaled[..., 2:].clip(max=MAX_LOG_SIZE)) * default_size
    return np.concatenate([center - half, center + half], -1)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def nms(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Indices of the boxes [n, 4] xyxy that no better box overlaps with an IoU above `threshold`, best first."""
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


def _decode_image(
    scores: np.ndarray, boxes: np.ndarray, min_score: float, max_iou: float, topk: int, max_detections: int
) -> dict[str, np.ndarray]:
    candidates = []
    for label in np.flatnonzero((scores > min_score).any(0)):
        indices = np.flatnonzero(scores[:, label] > min_score)
        indices = indices[np.argsort(-scores[indices, label], kind="stable")[:topk]]
        kept = indices[nms(boxes[indices], scores[indices, label], max_iou)]
        candidates += [(scores[i, label], label, i) for i in kept]
    candidates.sort(key=lambda candidate: -candidate[0])
    best = candidates[:max_detections]
    return {
        "boxes": boxes[[i for _, _, i in best]].reshape(-1, 4),
        "labels": np.array([label for _, label, _ in best], np.int64),
        "scores": np.array([score for score, _, _ in best], np.float32),
    }
