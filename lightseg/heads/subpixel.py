"""Sub-cell refinement of the highest cell of a heatmap, for all maps of a batch at once.

The quarter of a cell is SimpleBaseline's (arXiv:1804.06208); the Taylor step is DARK's (Zhang et al., CVPR 2020,
arXiv:1910.06278, section 3.2): Gaussian blur, logarithm, one Newton step to the peak. Deviations from DARK: second
derivatives from neighbors one cell away, as in UDP's release; no rescaling after the blur, because it cancels in the
logarithm; near a border the blur has the largest radius that is symmetric there and the step starts one cell inside,
which makes it as exact as elsewhere.
"""

import math

import torch
from torch import Tensor

MIN_RATIO = 1e-3  # to the peak, before the logarithm: heatmaps of nets have values below 0 too


def quarter_step(heatmaps: Tensor, column: Tensor, row: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """A quarter of a cell towards the higher neighbor on either axis.

    heatmaps [B,K,h,w]; column and row [B,K] of the peaks; sigma of their Gaussians, in cells -> refined x and y [B,K]
    in cells. Cells beyond the border have the value of a Gaussian; published decoders do not move a peak there.
    """
    height, width = heatmaps.shape[2:]
    peak = row * width + column
    beyond = _at(heatmaps, peak) * math.exp(-0.5 / sigma**2)
    refined = []
    for start, side, step in ((column, width, 1), (row, height, width)):
        low = torch.where(start > 0, _at(heatmaps, (peak - step).clamp(min=0)), beyond)
        high = torch.where(start < side - 1, _at(heatmaps, (peak + step).clamp(max=height * width - 1)), beyond)
        refined.append(start + 0.25 * (high - low).sign())
    return refined[0], refined[1]


def taylor_step(heatmaps: Tensor, column: Tensor, row: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """DARK: the peak of the Gaussian whose logarithm has the slopes and curvatures around the highest cell.

    heatmaps [B,K,h,w]; column and row [B,K] of the peaks; sigma of the blur, in cells -> refined x and y [B,K] in
    cells, at most one cell away. A peak that is not a maximum of the blurred map is not moved.
    """
    height, width = heatmaps.shape[2:]
    if min(height, width) < 3:
        return column.float(), row.float()
    x, y = column.clamp(1, width - 2), row.clamp(1, height - 2)
    radius = math.ceil(2.5 * sigma)  # 11 cells for sigma 2, as in DARK
    kernels = _blur_kernels(radius, sigma, heatmaps.device)
    offsets = torch.arange(-radius - 1, radius + 2, device=heatmaps.device)
    columns = (x[..., None] + offsets).clamp(0, width - 1)  # those beyond the border have weight 0 in the blur
    rows = (y[..., None] + offsets).clamp(0, height - 1)
    cells = rows[..., :, None] * width + columns[..., None, :]
    patches = _at(heatmaps, cells.flatten(2)).view(-1, len(offsets), len(offsets))
    blur_x = kernels[torch.minimum(x - 1, width - 2 - x).clamp(max=radius).flatten()]  # [P,3,n]
    blur_y = kernels[torch.minimum(y - 1, height - 2 - y).clamp(max=radius).flatten()]
    blurred = blur_y @ patches @ blur_x.mT  # [P,3,3]
    center = blurred[:, 1, 1]
    log = (blurred / center[:, None, None]).clamp(min=MIN_RATIO).log()
    slope_x, slope_y = (log[:, 1, 2] - log[:, 1, 0]) / 2, (log[:, 2, 1] - log[:, 0, 1]) / 2
    bend_x, bend_y = log[:, 1, 2] + log[:, 1, 0], log[:, 2, 1] + log[:, 0, 1]  # the center's logarithm is 0
    twist = (log[:, 2, 2] + log[:, 0, 0] - log[:, 0, 2] - log[:, 2, 0]) / 4
    determinant = bend_x * bend_y - twist.square()
    peak = (center > 0) & (bend_x < 0) & (determinant > 0)
    refined = []
    for start, at, step in (
        (column, x, (twist * slope_y - bend_y * slope_x) / determinant),
        (row, y, (twist * slope_x - bend_x * slope_y) / determinant),
    ):
        offset = (at - start + step.view_as(at)).clamp(-1, 1)
        refined.append(start + torch.where(peak.view_as(at), offset, 0.0))
    return refined[0], refined[1]


def _blur_kernels(max_radius: int, sigma: float, device: torch.device) -> Tensor:
    """[max_radius+1, 3, 2*max_radius+3]: for each radius, the weights that blur three neighboring cells."""
    offset = torch.arange(-max_radius - 1, max_radius + 2, device=device)
    from_cell = offset - torch.tensor([-1, 0, 1], device=device)[:, None]
    weights = torch.exp(from_cell.square() / (-2 * sigma**2))
    radius = torch.arange(max_radius + 1, device=device)
    weights = weights * (from_cell.abs() <= radius[:, None, None])
    return weights / weights.sum(-1, keepdim=True)


def _at(heatmaps: Tensor, cells: Tensor) -> Tensor:
    """Values of heatmaps [B,K,h,w] at indices [B,K] or [B,K,n] of the flattened map."""
    flat = heatmaps.flatten(2)
    return flat.gather(2, cells) if cells.ndim == 3 else flat.gather(2, cells[..., None])[..., 0]
