"""Codecs against plain loops: decoding of encoded points, mirrored images, invisible points, and errors."""

import math

import numpy as np
import pytest
import torch

from lightseg.errors import LightsegError
from lightseg.heads.codecs import HeatmapCodec, SimCCCodec
from lightseg.heads.subpixel import taylor_step

SIZE, MAP = (256, 192), (64, 48)
CODECS = {
    "udp": HeatmapCodec(),
    "udp quarter": HeatmapCodec(dark=False),
    "msra": HeatmapCodec("msra", dark=False),
    "msra rounded": HeatmapCodec("msra", dark=False, rounded=True),
    "msra dark": HeatmapCodec("msra"),
}
each = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_points(persons, size=SIZE, count=17):
    """Points in the image, from the left border of the first pixel to the right border of the last."""
    generator = torch.Generator().manual_seed(0)
    height, width = size
    points = torch.rand(persons, count, 2, generator=generator) * torch.tensor([width, height]) - 0.5
    return points, torch.full((persons, count), 2)


def encoded_and_decoded(codec, points, visible, size=SIZE, map_size=MAP):
    heatmaps, weights = codec.encode(points, visible, size, map_size)
    assert weights.all()
    keypoints, scores = codec.decode(heatmaps, size)
    assert keypoints.dtype == scores.dtype == torch.float32
    assert scores.min() > 0.4 and scores.max() <= 1  # the peak is between cells, or beyond the last
    return keypoints


@pytest.mark.parametrize(
    ("name", "max_distance"),  # mean in px; a quarter of a cell leaves +-1 px on either axis, with a mean of 0.765
    [("udp", 0.005), ("msra dark", 0.005), ("udp quarter", 0.8), ("msra", 0.8), ("msra rounded", 1.6)],
)
def test_decoding_inverts_encoding_of_random_points(name, max_distance):
    points, visible = random_points(60)
    distance = (encoded_and_decoded(CODECS[name], points, visible) - points).norm(dim=-1)
    assert distance.mean() < max_distance
    if "quarter" in name or name == "msra":
        assert distance.mean() / 4 < 0.5, "in cells"
        inner = ((points > 8) & (points < torch.tensor([184.0, 248]))).all(-1)
        assert distance[inner].max() < math.hypot(1, 1) * 1.05


@pytest.mark.parametrize("sigma", [1.0, 1.5, 3.0])
@pytest.mark.parametrize(("size", "map_size"), [((67, 101), (17, 26)), ((256, 192), (64, 48)), ((64, 32), (16, 8))])
def test_dark_is_exact_up_to_the_border_for_any_width_and_size(size, map_size, sigma):
    points, visible = random_points(20, size)
    for kind in ("udp", "msra"):
        keypoints = encoded_and_decoded(HeatmapCodec(kind, sigma=sigma), points, visible, size, map_size)
        assert (keypoints - points).norm(dim=-1).mean() < 0.05


@each
def test_heatmaps_are_those_of_a_plain_loop(codec):
    points, visible = random_points(2, count=3)
    heatmaps, _ = codec.encode(points, visible, SIZE, MAP)
    for person in range(2):
        for index in range(3):
            x, y = points[person, index].tolist()
            if codec.kind == "udp":
                x, y = x * 47 / 191, y * 63 / 255
            else:
                x, y = x / 4, y / 4
            if codec.rounded:
                x, y = math.floor(x + 0.5), math.floor(y + 0.5)
            expected = np.array([[math.exp(-((c - x) ** 2 + (r - y) ** 2) / 8) for c in range(48)] for r in range(64)])
            assert np.abs(heatmaps[person, index].numpy() - expected).max() < 1e-5


def noisy_maps(codec, persons=20):
    points, visible = random_points(persons)
    heatmaps, _ = codec.encode(points, visible, SIZE, MAP)
    return heatmaps + 0.05 * torch.randn(heatmaps.shape, generator=torch.Generator().manual_seed(1))


def test_quarter_offset_is_that_of_a_plain_loop():
    codec = CODECS["msra"]
    heatmaps = noisy_maps(codec)
    keypoints, scores = codec.decode(heatmaps, SIZE)
    compared = 0
    maps = heatmaps.flatten(0, 1).numpy()
    for heatmap, point, score in zip(maps, keypoints.flatten(0, 1), scores.flatten(), strict=True):
        row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
        assert score == min(1, heatmap.max())
        if 0 < row < 63 and 0 < column < 47:
            x = column + 0.25 * np.sign(heatmap[row, column + 1] - heatmap[row, column - 1])
            y = row + 0.25 * np.sign(heatmap[row + 1, column] - heatmap[row - 1, column])
            assert point.tolist() == [4 * x, 4 * y]
            compared += 1
    assert compared > 300


def test_taylor_step_is_that_of_a_plain_loop():
    """Away from the border: blur of 11x11 with sigma 2, logarithm, gradient and Hessian, one Newton step."""
    heatmaps = noisy_maps(CODECS["msra dark"])
    line = torch.exp(-(torch.arange(-5.0, 6) ** 2) / 8)
    kernel = (line[:, None] * line / line.sum() ** 2)[None, None]
    blurred = torch.nn.functional.conv2d(heatmaps.flatten(0, 1)[:, None], kernel, padding=5)[:, 0].double().numpy()
    index = heatmaps.flatten(2).argmax(2)
    column, row = index % 48, index // 48
    refined = torch.stack(taylor_step(heatmaps, column, row, 2.0), -1).flatten(0, 1).numpy()
    compared = 0
    for heatmap, c, r, point in zip(blurred, column.flatten().tolist(), row.flatten().tolist(), refined, strict=True):
        if not (6 <= c < 42 and 6 <= r < 58):
            continue
        log = np.log(np.maximum(heatmap[r - 1 : r + 2, c - 1 : c + 2] / heatmap[r, c], 1e-3))
        gradient = np.array([log[1, 2] - log[1, 0], log[2, 1] - log[0, 1]]) / 2
        xx, yy = log[1, 2] - 2 * log[1, 1] + log[1, 0], log[2, 1] - 2 * log[1, 1] + log[0, 1]
        xy = (log[2, 2] + log[0, 0] - log[0, 2] - log[2, 0]) / 4
        step = np.clip(-np.linalg.solve([[xx, xy], [xy, yy]], gradient), -1, 1)
        assert np.abs(point - (np.array([c, r]) + step)).max() < 2e-3
        compared += 1
    assert compared > 150


def test_maps_without_a_peak_have_finite_keypoints():
    blank, flat, below = torch.zeros(1, 1, 8, 6), torch.ones(1, 1, 8, 6), torch.full((1, 1, 8, 6), -0.5)
    saddle = torch.ones(1, 1, 8, 6)
    saddle[..., 3] = 2  # a ridge, without a peak along it
    for heatmaps in (blank, flat, below, saddle, torch.randn(1, 1, 8, 6)):
        for codec in CODECS.values():
            keypoints, scores = codec.decode(heatmaps, (32, 24))
            assert keypoints.isfinite().all() and (keypoints.abs() < 36).all() and 0 <= scores <= 1
    assert CODECS["udp"].decode(torch.rand(2, 1, 1, 1), (4, 4))[0].tolist() == [[[0.0, 0.0]], [[0.0, 0.0]]]
    assert CODECS["msra"].decode(torch.rand(2, 1, 2, 2), (8, 8))[0].isfinite().all()


def spread_points():
    """1700 points whose x are equally spaced over 44 cells, two from either border."""
    points, visible = random_points(100)
    x = 8 + (torch.arange(1700) + 0.5) * 176 / 1700
    points[..., 0] = x[torch.randperm(1700, generator=torch.Generator().manual_seed(2))].view(100, 17)
    mirrored = points.clone()
    mirrored[..., 0] = 191 - points[..., 0]
    return points, mirrored, visible


@each
def test_unflipped_maps_of_mirrored_points_decode_to_the_points(codec):
    points, mirrored, visible = spread_points()
    plain, _ = codec.encode(points, visible, SIZE, MAP)
    back = codec.unflip(codec.encode(mirrored, visible, SIZE, MAP)[0], 4)
    offset = (codec.decode(back, SIZE)[0] - codec.decode(plain, SIZE)[0])[..., 0].mean()
    assert abs(offset) < 0.02, f"{offset} px"
    assert abs((codec.decode(back, SIZE)[0] - points)[..., 0].mean()) < 0.02


@pytest.mark.parametrize("name", ["udp", "msra dark"])
def test_unflipped_maps_of_mirrored_points_at_the_border_decode_to_the_points(name):
    points, visible = random_points(100)
    mirrored = points.clone()
    mirrored[..., 0] = 191 - points[..., 0]
    back = CODECS[name].unflip(CODECS[name].encode(mirrored, visible, SIZE, MAP)[0], 4)
    error = CODECS[name].decode(back, SIZE)[0] - points
    assert error.mean(dim=(0, 1)).abs().max() < 0.02 and error.norm(dim=-1).mean() < 0.05


def test_the_usual_shift_of_msra_by_a_cell_leaves_an_error_of_a_pixel():
    points, mirrored, visible = spread_points()
    codec = CODECS["msra dark"]
    flipped = codec.encode(mirrored, visible, SIZE, MAP)[0].flip(-1)
    unshifted = (codec.decode(flipped, SIZE)[0] - points)[..., 0].mean()
    assert abs(unshifted + 3) < 0.02  # 0.75 cells too far to the left
    shifted = torch.cat([flipped[..., :1], flipped[..., :-1]], -1)
    error = (codec.decode(shifted, SIZE)[0] - points)[..., 0]
    assert abs(error[points[..., 0] > 40].mean() - 1) < 0.02  # away from the border, where a column is missing


@each
def test_flipping_twice_is_the_identity(codec):
    points, visible = random_points(3)
    heatmaps, _ = codec.encode(points, visible, SIZE, MAP)
    twice = codec.unflip(codec.unflip(heatmaps, 4), 4)
    if codec.kind == "udp":
        assert torch.equal(twice, heatmaps)
    else:  # values beyond the border are lost
        assert (twice - heatmaps).abs()[..., 4:-4].max() < 0.01


@each
def test_outside_and_invisible_points_have_weight_zero(codec):
    points = torch.tensor([[[10.0, 10], [-0.6, 10], [10, 255.6], [191.4, 255.4], [math.nan, 3], [20, 20], [30, 30]]])
    visible = torch.tensor([[2, 2, 2, 1, 2, 0, 1]])
    heatmaps, weights = codec.encode(points, visible, SIZE, MAP)
    assert weights.tolist() == [[1, 0, 0, 1, 0, 0, 1]]
    assert heatmaps.isfinite().all() and heatmaps.dtype == torch.float32
    assert (heatmaps.flatten(2).amax(2) > 0.5).tolist() == [[True, False, False, True, False, False, True]]
    assert not heatmaps[weights == 0].any()


@each
def test_zero_persons_a_single_point_and_half_precision(codec):
    points, visible = random_points(0)
    heatmaps, weights = codec.encode(points, visible, SIZE, MAP)
    assert heatmaps.shape == (0, 17, 64, 48) and weights.shape == (0, 17)
    keypoints, scores = codec.decode(heatmaps, SIZE)
    assert keypoints.shape == (0, 17, 2) and scores.shape == (0, 17)
    assert codec.unflip(heatmaps, 4).shape == heatmaps.shape
    points, visible = random_points(300, count=1)  # more persons than are decoded at once
    heatmaps, _ = codec.encode(points, visible, SIZE, MAP)
    keypoints, _ = codec.decode(heatmaps, SIZE)
    assert keypoints.shape == (300, 1, 2)
    for person in (0, 255, 256, 299):
        alone, _ = codec.decode(heatmaps[person : person + 1], SIZE)
        assert torch.allclose(alone[0], keypoints[person], atol=1e-3)
    half, _ = codec.decode(heatmaps.bfloat16(), SIZE)
    assert half.dtype == torch.float32 and (half - keypoints).norm(dim=-1).mean() < 2


@pytest.mark.parametrize("split", [1.0, 1.5, 2.0, 3.0])
def test_simcc_decoding_inverts_encoding_also_of_mirrored_points(split):
    codec = SimCCCodec(split)
    assert codec.bins(SIZE) == (192 * split, 256 * split)
    points, visible = random_points(50)
    (x, y), weights = codec.encode(points, visible, SIZE)
    assert weights.all() and x.dtype == torch.float32
    keypoints = codec.decode(x, y)
    assert (keypoints - points).abs().max() <= 0.5 + 0.5 / split
    assert (keypoints - points).norm(dim=-1).mean() < 0.41 / split  # a square's mean distance from its center: 0.383
    points, mirrored, visible = spread_points()
    (x, y), _ = codec.encode(points, visible, SIZE)
    (mirrored_x, mirrored_y), _ = codec.encode(mirrored, visible, SIZE)
    back = codec.decode(codec.unflip(mirrored_x), mirrored_y)
    assert abs((back - codec.decode(x, y))[..., 0].mean()) < 0.02
    assert abs((back - points)[..., 0].mean()) < 0.02
    assert torch.allclose(codec.unflip(codec.unflip(x))[..., 16:-16], x[..., 16:-16], atol=0.03)


def test_simcc_labels_are_those_of_a_plain_loop():
    codec = SimCCCodec()
    points, visible = random_points(1, count=2)
    (x, y), _ = codec.encode(points, visible, SIZE)
    for index in range(2):
        for labels, axis, side in ((x, 0, 192), (y, 1, 256)):
            sigma = math.sqrt(2 * side / 16)  # 4.9 and 5.66 at 256x192
            center = points[0, index, axis].item() * 2
            expected = [math.exp(-((b - center) ** 2) / (2 * sigma**2)) for b in range(2 * side)]
            assert np.abs(labels[0, index].numpy() - expected).max() < 1e-5
    points = torch.tensor([[[-0.6, 3.0], [3, 3]]])
    (x, y), weights = codec.encode(points, torch.tensor([[2, 0]]), SIZE)
    assert not weights.any() and not x.any()
    (x, y), weights = codec.encode(torch.zeros(0, 5, 2), torch.zeros(0, 5), SIZE)
    assert codec.decode(codec.unflip(x), y).shape == (0, 5, 2) and weights.shape == (0, 5)


def test_invalid_options_are_an_error_of_one_line():
    for build, option in (
        (lambda: HeatmapCodec("upd"), "udp"),
        (lambda: HeatmapCodec(sigma=0), "sigma"),
        (lambda: HeatmapCodec("udp", rounded=True), "rounded"),
        (lambda: SimCCCodec(0.5), "split"),
        (lambda: SimCCCodec(2.0, (4.9, 0.0)), "sigma"),
    ):
        with pytest.raises(LightsegError, match=option) as caught:
            build()
        assert "\n" not in str(caught.value)
