"""Images of any number of bands and of values that are not 8 bit: what is read, what is refused, and their range."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from lightseg.data.datasets.coco import CocoDetection
from lightseg.data.io.bands import check_pixels, read_layout, read_pixels
from lightseg.data.io.cache import DecodedCache
from lightseg.data.io.images import read_size
from lightseg.data.io.lenient import read_image_leniently
from lightseg.data.io.pixels import PixelFormat
from lightseg.data.io.value_range import dark_note, format_of
from lightseg.errors import DataError

SIZE = (6, 7)


def values(dtype: str, *shape: int) -> np.ndarray:
    return (np.random.default_rng(0).random((*SIZE, *shape)) * (200 if dtype == "uint8" else 4000)).astype(dtype)


def tiff(path: Path, *pages: np.ndarray) -> Path:
    """Gray pages by Pillow."""
    images = [Image.fromarray(page) for page in pages]
    images[0].save(path, "TIFF", save_all=True, append_images=images[1:])
    return path


def npy(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_bands_of_an_array_file(tmp_path: Path, dtype: str) -> None:
    array = values(dtype, 5)
    path = npy(tmp_path / "a.npy", array)
    assert read_size(path) == SIZE and read_layout(path).bands == 5
    np.testing.assert_array_equal(read_pixels(path, PixelFormat(5, None, dtype, (0, 4000))), array)
    chosen = read_pixels(path, PixelFormat(2, (3, 1), dtype, (0, 4000)))
    np.testing.assert_array_equal(chosen, array[..., [3, 1]])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_of_a_png_are_kept_with_a_range_in_rgb_order(tmp_path: Path, channels: int) -> None:
    array = values("uint16", channels)
    stored = array[..., 0] if channels == 1 else array[..., [2, 1, 0, 3][:channels]]
    assert cv2.imwrite(str(tmp_path / "a.png"), stored)
    form = PixelFormat(channels, None, "uint16", (0, 4095))
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png", form), array)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png", PixelFormat(channels)), array >> 8)


def test_one_channel_of_rgb_is_its_luma_and_three_of_gray_are_equal(tmp_path: Path) -> None:
    rgb = values("uint8", 3)
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    luma = np.array(Image.fromarray(rgb).convert("L"), np.int16)
    one = read_pixels(tmp_path / "rgb.png", PixelFormat(1))
    assert one.shape == (*SIZE, 1) and np.abs(one[..., 0] - luma).max() <= 1
    three = read_pixels(tiff(tmp_path / "gray.tif", rgb[..., 0]), PixelFormat())
    np.testing.assert_array_equal(three, rgb[..., :1].repeat(3, 2))


@pytest.mark.parametrize("kind", ["int32", "float32"])
def test_what_is_not_8_bit_needs_a_range(tmp_path: Path, kind: str) -> None:
    array = values(kind)
    path = tiff(tmp_path / "a.tif", array)
    for refuse in (check_pixels, read_pixels):
        with pytest.raises(DataError, match=rf"holds {kind} values: set data.range=\[lowest, highest\], or data"):
            refuse(path, PixelFormat())
    pixels = read_pixels(path, PixelFormat(1, None, "float32", (0, 4000)))
    np.testing.assert_array_equal(pixels[..., 0], array.astype(np.float32))


def test_values_without_a_number_are_the_lowest(tmp_path: Path) -> None:
    array = values("float32", 2)
    array[0, 0, 0], array[1, 1, 1] = np.nan, np.inf
    pixels = read_pixels(npy(tmp_path / "a.npy", array), PixelFormat(2, None, "float32", (-5, 5)))
    assert pixels[0, 0, 0] == -5 and np.isfinite(pixels).all()


@pytest.mark.parametrize(
    ("shape", "form", "error"),
    [
        (
            (5,),
            PixelFormat(),
            r"has 5 channels, not 3: set data.channels=5, or some of them, as in data.channels=",
        ),
        ((2,), PixelFormat(4), r"has 2 channels, not 4: set data.channels=2$"),
        ((3,), PixelFormat(2, (0, 3)), r"has 3 channels, and data.channels=\[0, 3\] asks for number 3, counted from 0"),
        ((3,), PixelFormat(3, None, "uint16", (0, 99)), "holds uint8 values, where uint16 from 0 to 99 is read"),
        ((3, 2), PixelFormat(), r"holds an array of shape \[6, 7, 3, 2\]: save \[height, width, bands\]"),
    ],
)
def test_channels_and_types_that_a_file_lacks(tmp_path: Path, shape: tuple, form: PixelFormat, error: str) -> None:
    path = npy(tmp_path / "a.npy", values("uint8", *shape))
    for refuse in (check_pixels, read_pixels):
        with pytest.raises(DataError, match=error):
            refuse(path, form)


def test_several_pages_are_refused_for_training_and_noted_in_prediction(tmp_path: Path) -> None:
    page = values("uint8")
    path = tiff(tmp_path / "a.tif", page, page)
    with pytest.raises(DataError, match=r"a\.tif has 2 pages: save each as a file of its own"):
        check_pixels(path, PixelFormat())
    image, note = read_image_leniently(path)
    np.testing.assert_array_equal(image, page[..., None].repeat(3, 2))
    assert note == "animated or of several pages: the first of 2 is used"


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("bands", [2, 3, 5])
def test_a_tiff_of_bands(tmp_path: Path, bands: int, planar: str) -> None:
    array = values("uint16", bands)
    stored = array if planar == "contig" else np.moveaxis(array, 2, 0)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored, photometric="minisblack", planarconfig=planar)
    assert read_size(path) == SIZE
    np.testing.assert_array_equal(read_pixels(path, PixelFormat(bands, None, "uint16", (0, 4000))), array)


def test_the_range_of_a_sample(tmp_path: Path) -> None:
    arrays = [np.full((64, 64), 100 + 10 * number, np.uint16) for number in range(3)]
    arrays[0][0, 0] = 65535  # a hot pixel
    arrays[2][:32] = 4000
    paths = [npy(tmp_path / f"{number}.npy", array) for number, array in enumerate(arrays)]
    form = format_of(paths, 1, None, "auto", "the set")
    assert form == PixelFormat(1, None, "uint16", (100, 4000))
    assert format_of(paths, 1, None, [0, 4095], "the set").value_range == (0, 4095)
    with pytest.raises(DataError, match=r"the set: data.range=auto sees the value 110 alone: give data.range=\["):
        format_of(paths[1:2], 1, None, "auto", "the set")
    other = npy(tmp_path / "b.npy", arrays[0].astype(np.float32))
    with pytest.raises(DataError, match=r"is read as uint16 and .*b\.npy as float32: save all as one type"):
        format_of([*paths, other], 1, None, "auto", "the set")


def test_12_bits_in_16_are_named(tmp_path: Path) -> None:
    dim, bright = values("uint16"), values("uint16") * 16
    assert "hold values up to" in (note := dark_note([npy(tmp_path / "dim.npy", dim)]) or "")
    assert f"set data.range=[0, {dim.max()}], or data.range=auto" in note
    assert dark_note([npy(tmp_path / "bright.npy", bright)]) is None


def test_the_cache_keeps_the_values() -> None:
    form = PixelFormat(5, None, "uint16", (0, 9))
    cache = DecodedCache([SIZE, (3, 3)], pixels=form)
    sample = {"image": values("uint16", 5), "mask": np.ones(SIZE, np.uint8)}
    cache.put(0, sample)
    kept = cache.get(0)
    assert kept is not None
    for key, array in sample.items():
        np.testing.assert_array_equal(kept[key], array)


def test_what_is_shown_of_an_image() -> None:
    form = PixelFormat(5, None, "float32", (-1.0, 1.0))
    image = np.zeros((2, 2, 5), np.float32)
    image[0, 0] = [-1, 1, 3, 0, 0]
    assert form.shown(image)[0, 0].tolist() == [0, 255, 255]
    assert form.fill[:3] == pytest.approx([-1 + 2 * c / 255 for c in (124, 116, 104)])
    assert PixelFormat().fill == (124, 116, 104)


def test_a_data_set_checks_and_reads_its_channels(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        '{"images": [{"id": 1, "file_name": "a.npy", "height": 6, "width": 7}], "categories": [{"id": 1, "name": "x"}],'
        '"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 3, 3], "area": 9, "iscrowd": 0}]}'
    )
    npy(tmp_path / "a.npy", values("uint8", 5))
    dataset = CocoDetection(tmp_path, images=".", annotations="a.json")
    with pytest.raises(DataError, match="has 5 channels, not 3"):
        dataset.check(0)
    dataset.pixels = PixelFormat(5)
    dataset.check(0)
    assert dataset[0]["image"].shape == (5, 6, 7)


def test_a_file_of_a_stream_is_read_like_a_path(tmp_path: Path) -> None:
    from lightseg.data.io.bands import decode_pixels

    buffer = io.BytesIO()
    np.save(buffer, values("uint8", 5))
    assert decode_pixels(buffer.getvalue(), "bytes", PixelFormat(5)).shape == (*SIZE, 5)
