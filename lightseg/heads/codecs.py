"""Keypoints as heatmaps or as classes of coordinates, and back: encode and decode side by side.

Coordinates are pixel indices: 0.0 is the centre of the first pixel, and a mirrored image has x -> W-1-x.

MSRA: SimpleBaseline (Xiao et al., ECCV 2018, arXiv:1804.06208). Heatmap coordinates are x*w/W; a quarter of a cell
    towards the higher neighbour. That alone limits it to a quarter of a cell on either axis: at stride 4, 0.5 px on
    average an axis, 0.77 px in all.
UDP: "The Devil is in the Details" (Huang et al., CVPR 2020, arXiv:1911.07524), section 3.2: x*(w-1)/(W-1).
DARK: "Distribution-Aware Coordinate Representation" (Zhang et al., CVPR 2020, arXiv:1910.06278): see peaks.py.
SimCC: Li et al., ECCV 2022, arXiv:2107.03332, with RTMPose's split and width (arXiv:2303.07399): bin x*split, Gaussian
    label smoothing of sqrt(bins/16), and the best bin as the answer.

The answer for a mirrored image, mirrored back. UDP's cells lie symmetrically, those of the others do not: w-1 minus the
cell of W-1-x is x*w/W - (1 - w/W), so the map must move right by 1 - w/W, 0.75 cells at stride 4, and SimCC's bins left
by split-1. The usual shift is a whole cell (SimpleBaseline's and mmpose's SHIFT_HEATMAP), which leaves an error of 0.25
cells, 1 px, in the mirrored answer and half of that in the average. That holds for ideal maps and for trained nets
alike, which learn both directions from mirrored targets; here the shift is the exact one, by interpolation.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from lightseg.errors import LightsegError, nearest
from lightseg.heads.subpixel import quarter_step, taylor_step

AT_ONCE = 256  # persons decoded together: 60 MB of working memory for 17 heatmaps of 64x48


@dataclass(frozen=True)
class HeatmapCodec:
    """kind: "udp" or "msra", which map coordinates to cells. sigma: of the Gaussian, in cells.

    dark: refine the peak by DARK, not by a quarter of a cell. rounded: the Gaussian stands on the nearest cell, as the
    published MSRA nets were trained, and not on the point itself; it costs up to half a cell.
    """

    kind: str = "udp"
    dark: bool = True
    rounded: bool = False
    sigma: float = 2.0

    def __post_init__(self) -> None:
        if self.kind not in ("udp", "msra"):
            raise LightsegError(f"no codec named '{self.kind}': {nearest(str(self.kind), ('udp', 'msra'))}")
        if not self.sigma > 0:
            raise LightsegError(f"sigma of the heatmaps is a number of cells above 0 (2 is usual), not {self.sigma}")
        if self.rounded and self.kind != "msra":
            raise LightsegError("rounded=true is of codec msra: with udp leave it false")

    def encode(
        self, keypoints: Tensor, visible: Tensor, image_size: tuple[int, int], map_size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """keypoints [B,K,2] px and visible [B,K] -> heatmaps float32 [B,K,h,w] with peaks of 1, and weights [B,K]: 1,
        or 0 for a point that is not visible or outside the image, whose map is empty."""
        weights, points = inside(keypoints, visible, image_size)
        points = points * points.new_tensor(self._cells_per_pixel(image_size, map_size))
        if self.rounded:
            points = (points + 0.5).floor()
        along_x = _gaussian(points[..., 0], map_size[1], self.sigma) * weights[..., None]
        along_y = _gaussian(points[..., 1], map_size[0], self.sigma)
        return along_y[..., :, None] * along_x[..., None, :], weights

    @torch.no_grad()
    def decode(self, heatmaps: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """heatmaps [B,K,h,w] -> keypoints float32 [B,K,2] px and scores [B,K], the peaks' heights within 0..1."""
        found = [self._decode(some) for some in heatmaps.split(AT_ONCE)]
        cells, peaks = torch.cat([cells for cells, _ in found]), torch.cat([peaks for _, peaks in found])
        per_pixel = self._cells_per_pixel(image_size, (heatmaps.shape[2], heatmaps.shape[3]))
        return cells / cells.new_tensor(per_pixel), peaks.clamp(0, 1)

    def _decode(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        heatmaps = heatmaps.float().contiguous()
        peaks, place = heatmaps.flatten(2).max(2)
        column, row = place % heatmaps.shape[3], place // heatmaps.shape[3]
        refine = taylor_step if self.dark else quarter_step
        return torch.stack(refine(heatmaps, column, row, self.sigma), -1), peaks

    def unflip(self, heatmaps: Tensor, stride: int) -> Tensor:
        """Heatmaps [B,K,h,w] of mirrored images, brought back. stride: pixels a cell."""
        back = heatmaps.flip(-1)
        if self.kind == "udp" or stride == 1:
            return back
        back = _continued(_continued(back, self.sigma), self.sigma)  # two cells on the left
        back = _continued(back.flip(-1), self.sigma).flip(-1)
        # the value at x - share by the cubic through x-2, x-1, x, x+1: linear interpolation moves peaks by 0.006 cells
        share, width = 1 - 1 / stride, heatmaps.shape[-1]
        taps = (-2, -1, 0, 1)
        weights = [math.prod((-share - other) / (tap - other) for other in taps if other != tap) for tap in taps]
        moved = (w * back[..., tap + 2 : tap + 2 + width] for tap, w in zip(taps, weights, strict=True))
        return cast(Tensor, sum(moved))

    def positions(self, image_size: tuple[int, int], map_size: tuple[int, int], device: torch.device) -> list[Tensor]:
        """Where the cells lie in the image: x [w] and y [h] in px."""
        per_pixel = self._cells_per_pixel(image_size, map_size)
        sides = (map_size[1], map_size[0])
        return [torch.arange(s, device=device) / scale for s, scale in zip(sides, per_pixel, strict=True)]

    def _cells_per_pixel(self, image_size: tuple[int, int], map_size: tuple[int, int]) -> tuple[float, float]:
        """Along x and y."""
        (height, width), (h, w) = image_size, map_size
        if self.kind == "msra":
            return w / width, h / height
        return max(1, w - 1) / max(1, width - 1), max(1, h - 1) / max(1, height - 1)


@dataclass(frozen=True)
class SimCCCodec:
    """split: bins a pixel. sigma: of the smoothed labels, in bins, along x and y; None: sqrt(bins/16), which is (4.9,
    5.66) at 256x192."""

    split: float = 2.0
    sigma: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.split >= 1:
            raise LightsegError(f"split is a number of bins a pixel, 1 or more (2 is usual), not {self.split}")
        if self.sigma is not None and (len(self.sigma) != 2 or not min(self.sigma) > 0):
            raise LightsegError(f"sigma of SimCC is two numbers of bins above 0, for x and y, not {self.sigma}")

    def bins(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Number of bins along x and y."""
        height, width = image_size
        return round(width * self.split), round(height * self.split)

    def encode(
        self, keypoints: Tensor, visible: Tensor, image_size: tuple[int, int]
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """keypoints [B,K,2] px and visible [B,K] -> labels ([B,K,X], [B,K,Y]), Gaussians with peaks of 1, and weights
        [B,K]: 1, or 0 for a point that is not visible or outside the image, whose labels are empty."""
        weights, points = inside(keypoints, visible, image_size)
        sides = self.bins(image_size)
        sigmas = self.sigma or tuple(math.sqrt(side / 16) for side in sides)
        x, y = (
            _gaussian(points[..., axis] * self.split, sides[axis], sigmas[axis]) * weights[..., None] for axis in (0, 1)
        )
        return (x, y), weights

    @torch.no_grad()
    def decode(self, along_x: Tensor, along_y: Tensor) -> Tensor:
        """Logits or labels [B,K,X] and [B,K,Y] -> keypoints float32 [B,K,2] px."""
        return torch.stack([along_x.argmax(2), along_y.argmax(2)], -1).float() / self.split

    def unflip(self, along_x: Tensor) -> Tensor:
        """Bins [B,K,X] of mirrored images, brought back."""
        back = along_x.flip(-1)
        whole = math.floor(self.split) - 1
        share = self.split - 1 - whole
        place = torch.arange(back.shape[-1], device=back.device) + whole
        last = back.shape[-1] - 1  # what comes in is the last bin's
        moved = back[..., place.clamp(max=last)]
        return moved if not share else moved * (1 - share) + back[..., (place + 1).clamp(max=last)] * share

    def positions(self, image_size: tuple[int, int], device: torch.device) -> list[Tensor]:
        """Where the bins lie in the image: x [X] and y [Y] in px."""
        return [torch.arange(side, device=device) / self.split for side in self.bins(image_size)]


def inside(keypoints: Tensor, visible: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Weights float32 [B,K], 1 for visible points of the image, and the points with all others set to 0."""
    height, width = image_size
    keypoints = keypoints.float()
    high = keypoints.new_tensor([width - 0.5, height - 0.5])
    counts = (visible > 0) & ((keypoints >= -0.5) & (keypoints <= high)).all(-1)  # false for NaN too
    return counts.float(), torch.where(counts[..., None], keypoints, 0.0)


def _continued(maps: Tensor, sigma: float) -> Tensor:
    """One more column on the left, as a Gaussian goes on whose peak is at most one cell beyond the border."""
    first, second = maps[..., :1], maps[..., min(1, maps.shape[-1] - 1)][..., None]
    rise = (first / second.clamp(min=1e-6)).clamp(max=math.exp(1.5 / sigma**2))
    return torch.cat([torch.where(first > 0, first * rise * math.exp(-1 / sigma**2), first), maps], -1)


def _gaussian(centre: Tensor, cells: int, sigma: float) -> Tensor:
    """[B,K] -> [B,K,cells], 1 at the centre."""
    distance = torch.arange(cells, device=centre.device) - centre[..., None]
    return torch.exp(distance.square() / (-2 * sigma**2))
