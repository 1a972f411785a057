"""From the highest cell of a heatmap to a place between cells, for all maps of a batch at once.

The quarter of a cell is SimpleBaseline's (arXiv:1804.06208); the Taylor step is DARK's (Zhang et al., CVPR 2020,
arXiv:1910.06278, section 3.2): Gaussian blur, logarithm, one Newton step to the peak. Deviations from DARK: second
derivatives from neighbours one cell away, as in UDP's release; no rescaling after the blur, which the logarithm makes
superfluous; near a border the blur narrows to what is symmetric there and the step starts one cell inside it, so that
it is as exact as elsewhere.
"""

import math

import torch
from torch import Tensor

LEAST = 1e-3  # of the peak, before the logarithm: nets answer below 0 too


def quarter_step(heatmaps: Tensor, column: Tensor, row: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """A quarter of a cell towards the higher neighbour on either axis.

    heatmaps [B,K,h,w]; column and row [B,K] of the peaks; sigma of their Gaussians, in cells -> refined x and y [B,K]
    in cells. Beyond the border stands what a Gaussian has beside its peak; published decoders stay on the cell there.
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
    cells, at most one cell away. A peak that is none (no maximum of the blurred map) stays.
    """
    height, width = heatmaps.shape[2:]
    if min(height, width) < 3:
        return column.float(), row.float()
    x, y = column.clamp(1, width - 2), row.clamp(1, height - 2)
    kernels = _blur_kernels(math.ceil(2.5 * sigma), sigma, heatmaps.device)  # 11 cells for sigma 2, as DARK's
    most = len(kernels) - 1
    offsets = torch.arange(-most - 1, most + 2, device=heatmaps.device)
    columns = (x[..., None] + offsets).clamp(0, width - 1)  # those beyond the border have no part in the blur
    rows = (y[..., None] + offsets).clamp(0, height - 1)
    places = rows[..., :, None] * width + columns[..., None, :]
    patches = _at(heatmaps, places.flatten(2)).view(-1, len(offsets), len(offsets))
    blur_x = kernels[torch.minimum(x - 1, width - 2 - x).clamp(max=most).flatten()]  # [P,3,n]
    blur_y = kernels[torch.minimum(y - 1, height - 2 - y).clamp(max=most).flatten()]
    blurred = blur_y @ patches @ blur_x.mT  # [P,3,3]
    centre = blurred[:, 1, 1]
    log = (blurred / centre[:, None, None]).clamp(min=LEAST).log()
    slope_x, slope_y = (log[:, 1, 2] - log[:, 1, 0]) / 2, (log[:, 2, 1] - log[:, 0, 1]) / 2
    bend_x, bend_y = log[:, 1, 2] + log[:, 1, 0], log[:, 2, 1] + log[:, 0, 1]  # the centre's logarithm is 0
    twist = (log[:, 2, 2] + log[:, 0, 0] - log[:, 0, 2] - log[:, 2, 0]) / 4
    determinant = bend_x * bend_y - twist.square()
    peak = (centre > 0) & (bend_x < 0) & (determinant > 0)
    refined = []
    for start, at, step in (
        (column, x, (twist * slope_y - bend_y * slope_x) / determinant),
        (row, y, (twist * slope_x - bend_x * slope_y) / determinant),
    ):
        there = (at - start + step.view_as(at)).clamp(-1, 1)
        refined.append(start + torch.where(peak.view_as(at), there, 0.0))
    return refined[0], refined[1]


def _blur_kernels(most: int, sigma: float, device: torch.device) -> Tensor:
    """[most+1, 3, 2*most+3]: for each radius, the weights with which three neighbouring cells are blurred."""
    offset = torch.arange(-most - 1, most + 2, device=device)
    from_cell = offset - torch.tensor([-1, 0, 1], device=device)[:, None]
    weights = torch.exp(from_cell.square() / (-2 * sigma**2))
    radius = torch.arange(most + 1, device=device)
    weights = weights * (from_cell.abs() <= radius[:, None, None])
    return weights / weights.sum(-1, keepdim=True)


def _at(heatmaps: Tensor, places: Tensor) -> Tensor:
    """Values of heatmaps [B,K,h,w] at places [B,K,...] in the order of rows."""
    flat = heatmaps.flatten(2)
    return flat.gather(2, places) if places.ndim == 3 else flat.gather(2, places[..., None])[..., 0]
