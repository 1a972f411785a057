"""Codecs of keypoints: encoding as heatmaps or as classes of coordinates (SimCC), and decoding.

Coordinates are pixel indices: 0.0 is the center of the first pixel, and mirroring an image is x -> W-1-x.

MSRA: SimpleBaseline (Xiao et al., ECCV 2018, arXiv:1804.06208). Heatmap coordinates are x*w/W; decoding adds a quarter
    of a cell towards the higher neighbor, so the error is up to a quarter of a cell on either axis: at stride 4 a mean
    of 0.5 px per axis, 0.77 px in all.
UDP: "The Devil is in the Details" (Huang et al., CVPR 2020, arXiv:1911.07524), section 3.2: x*(w-1)/(W-1).
DARK: "Distribution-Aware Coordinate Representation" (Zhang et al., CVPR 2020, arXiv:1910.06278): see subpixel.py.
SimCC: Li et al., ECCV 2022, arXiv:2107.03332, with RTMPose's split and width (arXiv:2303.07399): bin x*split, Gaussian
    label smoothing of sqrt(bins/16); decoding takes the best bin.

Flip test: the prediction for a mirrored image, mirrored back. UDP's cells lie symmetrically, those of the others do
not: w-1 minus the cell of W-1-x is x*w/W - (1 - w/W), so the map must move right by 1 - w/W, 0.75 cells at stride 4,
and SimCC's bins left by split-1. The usual shift is one cell (SHIFT_HEATMAP of SimpleBaseline and mmpose), which leaves
an error of 0.25 cells, 1 px, in the mirrored prediction and half of that in the average, for ideal maps and for trained
nets, which learn from mirrored targets too. Here the shift is exact, by interpolation.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from lightseg.errors import LightsegError, nearest
from lightseg.heads.subpixel import quarter_step, taylor_step

PERSONS_AT_ONCE = 256  # in decoding: 60 MB of working memory for 17 heatmaps of 64x48


@dataclass(frozen=True)
class HeatmapCodec:
    """Heatmaps with a Gaussian per keypoint.

    kind: "udp" or "msra", how coordinates map to cells. dark: refine the peak by DARK instead of by a quarter of a
    cell. rounded: center the Gaussian on the nearest cell, as in training of the published MSRA nets, with an error up
    to half a cell. sigma: of the Gaussian, in cells.
    """

    kind: str = "udp"
    dark: bool = True
    rounded: bool = False
    sigma: float = 2.0

    def __post_init__(self) -> None:
        if self.kind not in ("udp", "msra"):
            raise LightsegError(f"no codec named '{self.kind}': {nearest(str(self.kind), ('udp', 'msra'))}")
        if not self.sigma > 0:
            raise LightsegError(f"sigma={self.sigma} of the heatmaps: must be above 0 cells (2 is usual)")
        if self.rounded and self.kind != "msra":
            raise LightsegError("rounded=true is for codec msra: with udp leave it false")

    def encode(
        self, keypoints: Tensor, visible: Tensor, image_size: tuple[int, int], map_size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """keypoints [B,K,2] px and visible [B,K] -> heatmaps float32 [B,K,h,w] with peaks of 1, and weights [B,K].

        A point that is not visible or outside the image has weight 0 and an empty map, all others have weight 1.
        """
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
        with torch.autocast(heatmaps.device.type, enabled=False):  # of the caller: DARK's blur is matrix products
            parts = list(zip(*(self._decode(part) for part in heatmaps.split(PERSONS_AT_ONCE)), strict=True))
        cells, peaks = map(torch.cat, parts)
        per_pixel = self._cells_per_pixel(image_size, (heatmaps.shape[2], heatmaps.shape[3]))
        return cells / cells.new_tensor(per_pixel), peaks.clamp(0, 1)

    def _decode(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        heatmaps = heatmaps.float().contiguous()
        peaks, index = heatmaps.flatten(2).max(2)
        column, row = index % heatmaps.shape[3], index // heatmaps.shape[3]
        refine = taylor_step if self.dark else quarter_step
        return torch.stack(refine(heatmaps, column, row, self.sigma), -1), peaks

    def unflip(self, heatmaps: Tensor, stride: int) -> Tensor:
        """Heatmaps [B,K,h,w] of mirrored images, mirrored back. stride: pixels per cell."""
        back = heatmaps.flip(-1)
        if self.kind == "udp" or stride == 1:
            return back
        back = _continued(_continued(back, self.sigma), self.sigma)  # two cells on the left
        back = _continued(back.flip(-1), self.sigma).flip(-1)
        # the value at x - shift by the cubic through x-2, x-1, x, x+1: linear interpolation moves peaks by 0.006 cells
        shift, width = 1 - 1 / stride, heatmaps.shape[-1]
        taps = (-2, -1, 0, 1)
        weights = [math.prod((-shift - other) / (tap - other) for other in taps if other != tap) for tap in taps]
        moved = (w * back[..., tap + 2 : tap + 2 + width] for tap, w in zip(taps, weights, strict=True))
        return cast(Tensor, sum(moved))

    def positions(self, image_size: tuple[int, int], map_size: tuple[int, int], device: torch.device) -> list[Tensor]:
        """Positions of the cells in the image: x [w] and y [h] in px."""
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
    """Classes (bins) of x and of y per keypoint.

    split: bins per pixel. sigma: of the smoothed labels, in bins along x and y. None: sqrt(bins/16), (4.9, 5.66) at
    256x192.
    """

    split: float = 2.0
    sigma: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.split >= 1:
            raise LightsegError(f"split={self.split}: must be 1 bin per pixel or more (2 is usual)")
        if self.sigma is not None and (len(self.sigma) != 2 or not min(self.sigma) > 0):
            raise LightsegError(f"sigma={self.sigma} of SimCC: give two numbers of bins above 0, for x and y")

    def bins(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Number of bins along x and y."""
        height, width = image_size
        return round(width * self.split), round(height * self.split)

    def encode(
        self, keypoints: Tensor, visible: Tensor, image_size: tuple[int, int]
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """keypoints [B,K,2] px and visible [B,K] -> labels ([B,K,X], [B,K,Y]), Gaussians with peaks of 1, and weights
        [B,K] as those of heatmaps."""
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
        """Bins [B,K,X] of mirrored images, mirrored back."""
        back = along_x.flip(-1)
        shift = math.floor(self.split) - 1
        fraction = self.split - 1 - shift
        index = torch.arange(back.shape[-1], device=back.device) + shift
        last = back.shape[-1] - 1  # its value is repeated beyond the border
        moved = back[..., index.clamp(max=last)]
        return moved if not fraction else moved * (1 - fraction) + back[..., (index + 1).clamp(max=last)] * fraction

    def positions(self, image_size: tuple[int, int], device: torch.device) -> list[Tensor]:
        """Positions of the bins in the image: x [X] and y [Y] in px."""
        return [torch.arange(side, device=device) / self.split for side in self.bins(image_size)]


def inside(keypoints: Tensor, visible: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Weights float32 [B,K], 1 for visible points inside the image, and the points with all others set to 0."""
    height, width = image_size
    keypoints = keypoints.float()
    high = keypoints.new_tensor([width - 0.5, height - 0.5])
    counts = (visible > 0) & ((keypoints >= -0.5) & (keypoints <= high)).all(-1)  # false for NaN too
    return counts.float(), torch.where(counts[..., None], keypoints, 0.0)


def _continued(maps: Tensor, sigma: float) -> Tensor:
    """Add a column on the left, extrapolated as a Gaussian with its peak at most one cell beyond the border."""
    first, second = maps[..., :1], maps[..., min(1, maps.shape[-1] - 1)][..., None]
    rise = (first / second.clamp(min=1e-6)).clamp(max=math.exp(1.5 / sigma**2))
    return torch.cat([torch.where(first > 0, first * rise * math.exp(-1 / sigma**2), first), maps], -1)


def _gaussian(center: Tensor, cells: int, sigma: float) -> Tensor:
    """[B,K] -> [B,K,cells], 1 at the center."""
    distance = torch.arange(cells, device=center.device) - center[..., None]
    return torch.exp(distance.square() / (-2 * sigma**2))
