"""Tiles of large images: where they lie, what is trained on, and how their predictions are merged."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from lightseg.data.tiles import RandomTile, Tile, Tiling, merged_classes
from lightseg.decoding.tiles import merged_boxes


@pytest.mark.parametrize("length", [20, 32, 33, 57, 100])
def test_tiles_cover_an_image_and_share_what_is_asked(length: int) -> None:
    (row,) = Tiling((64, 32), 8).rows((10, length))
    assert row[0].left == 0 and row[-1].left + row[-1].width == length
    assert {tile.height for tile in row} == {10} and {tile.width for tile in row} == {min(32, length)}
    assert all(before.left + before.width - after.left >= 8 for before, after in pairwise(row))
    assert len(row) == max(1, -(-(length - 8) // 24))  # and no more of them


@pytest.mark.parametrize(
    ("image", "size", "overlap"), [((50, 65), (32, 24), 8), ((40, 49), (32, 48), 16), ((49, 100), (20, 20), 19)]
)
@pytest.mark.parametrize("batch", [1, 3])
def test_scores_are_averaged_over_all_tiles(image: tuple, size: tuple, overlap: int, batch: int) -> None:
    tiling, generator = Tiling(size, overlap), torch.Generator().manual_seed(0)
    rows = tiling.rows(image)
    scores = {t: torch.rand((4, t.height, t.width), generator=generator) for row in rows for t in row}
    total = torch.zeros(4, *image, dtype=torch.float64)
    for r, row in enumerate(rows):
        for c, tile in enumerate(row):
            above = rows[r - 1][c].top + tile.height - tile.top if r else 0
            below = tile.top + tile.height - rows[r + 1][c].top if r + 1 < len(rows) else 0
            left = row[c - 1].left + tile.width - tile.left if c else 0
            right = tile.left + tile.width - row[c + 1].left if c + 1 < len(row) else 0
            weights = ramp(tile.height, above, below)[:, None] * ramp(tile.width, left, right)
            tile.cut(total.permute(1, 2, 0)).add_((scores[tile] * weights).permute(1, 2, 0))
    merged = merged_classes(image, tiling, lambda tiles: torch.stack([scores[tile] for tile in tiles]), batch)
    assert merged.dtype == torch.uint8
    assert (merged != total.argmax(0)).float().mean() < 1e-3  # equal but for rounding


def ramp(side: int, before: int, after: int) -> torch.Tensor:
    position = torch.arange(side) + 0.5
    falls = [position / before] * bool(before) + [(side - position) / after] * bool(after)
    return torch.stack([torch.ones(side), *falls]).amin(0)


def test_an_image_smaller_than_a_tile_is_one_tile() -> None:
    calls: list[list[Tile]] = []

    def scores(tiles: list[Tile]) -> torch.Tensor:
        calls.append(tiles)
        return torch.eye(2)[None, :, :, None].expand(1, 2, 2, 3)

    assert merged_classes((2, 3), Tiling((512, 512), 64), scores).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert calls == [[Tile(0, 0, 2, 3)]]


def test_training_takes_random_tiles_with_their_boxes() -> None:
    image = np.arange(100 * 80, dtype=np.int32).reshape(100, 80, 1)
    boxes = np.array([[0, 0, 80, 100], [10, 10, 14, 14]], np.float32)
    seen = []

    def keep(seed: int, **arrays):
        seen.append(arrays)
        return arrays

    transform = RandomTile(keep, Tiling((40, 30)))
    for seed in range(40):
        cut = transform(seed, image=image, boxes=boxes, labels=np.array([0, 1]))
        top, left = divmod(int(cut["image"][0, 0, 0]), 80)
        assert cut["image"].shape == (40, 30, 1)
        small = [label for label in cut["labels"].tolist() if label == 1]
        inside = top <= 10 and left <= 10 and top + 40 >= 14 and left + 30 >= 14
        assert bool(small) >= inside  # all of it is there
        for box, label in zip(cut["boxes"], cut["labels"], strict=True):
            assert label == 1 and (box[:2] >= 0).all() and box[2] <= 30 and box[3] <= 40
            assert (box[2:] - box[:2]).prod() >= 0.25 * 16
    again = transform(39, image=image, boxes=boxes, labels=np.array([0, 1]))
    np.testing.assert_array_equal(again["image"], cut["image"])
    assert len({int(arrays["image"][0, 0, 0]) for arrays in seen}) > 20
    mask = np.zeros((20, 20), np.uint8)
    assert transform(0, image=image[:20, :20], mask=mask)["mask"].shape == (20, 20)  # smaller than a tile


def part(*rows: tuple[list[float], int, float]) -> dict[str, np.ndarray]:
    boxes, labels, scores = zip(*rows, strict=True) if rows else ((), (), ())
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "labels": np.array(labels, np.int64),
        "scores": np.array(scores, np.float32),
    }


def test_boxes_of_tiles_become_those_of_the_image() -> None:
    tiles = [(0, 0, 100, 100), (0, 60, 100, 100)]  # columns 60 to 100 are shared
    left = part(
        ([70, 20, 90, 40], 0, 0.9),  # in both
        ([80, 60, 100, 90], 1, 0.8),  # cut by the right edge
        ([5, 5, 25, 25], 0, 0.5),
    )
    right = part(
        ([10, 20, 30, 40], 0, 0.7),
        ([20, 60, 60, 90], 1, 0.6),  # the whole of the cut one
        ([0, 5, 8, 25], 0, 0.4),  # cut by the left edge, under no other box: kept
    )
    merged = merged_boxes([left, right], tiles, (100, 160), 0.5)
    assert merged["labels"].tolist() == [0, 1, 0, 0]
    assert merged["scores"].tolist() == pytest.approx([0.9, 0.6, 0.5, 0.4])
    assert merged["boxes"].tolist() == [[70, 20, 90, 40], [80, 60, 120, 90], [5, 5, 25, 25], [60, 5, 68, 25]]
    nothing = merged_boxes([part(), part()], tiles, (100, 160), 0.5)
    assert nothing["boxes"].shape == (0, 4) and nothing["scores"].dtype == np.float32
