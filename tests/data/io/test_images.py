"""Decoding of every kind of image equals PIL's, and errors name the broken file."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, TiffTags, features
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lightseg.data.io.images import read_header, read_image, read_mask, read_size
from lightseg.errors import DataError, LightsegError


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """uint8 [67, 101, 3], smooth colors at an odd size: JPEG blocks are cut, every channel differs."""
    noise = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return cv2.resize(noise, (101, 67), interpolation=cv2.INTER_CUBIC)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(values: np.ndarray, depth: int, color: int) -> bytes:
    """A PNG of packed samples, for the bit depths that PIL cannot write; values [H, W] or [H, W, C]."""
    height, width = values.shape[:2]
    rows = values.reshape(height, -1)
    if depth == 16:
        packed = rows.astype(">u2").view(np.uint8).reshape(height, -1)
    else:
        bits = ((rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1).reshape(height, -1).astype(np.uint8)
        packed = np.packbits(bits, axis=1)
    data = zlib.compress(np.hstack([np.zeros((height, 1), np.uint8), packed]).tobytes())

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def write(folder: Path, data: bytes, name: str = "image") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def by_pil(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


KINDS = {
    "PNG": ["RGB", "RGBA", "L", "LA", "P", "1"],
    "JPEG": ["RGB", "L", "CMYK"],
    "WEBP": ["RGB", "RGBA", "L"],
    "BMP": ["RGB", "RGBA", "L", "P", "1"],
    "TIFF": ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"],
    "GIF": ["RGB", "RGBA", "L", "P", "1"],
}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in KINDS.items() for mode in modes])
def test_every_mode_and_format_reads_as_pil_reads_it(tmp_path: Path, pixels: np.ndarray, kind: str, mode: str) -> None:
    image = Image.fromarray(pixels)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(pixels[..., 0]))
    path = write(tmp_path, encode(image.convert(mode), kind))
    result = read_image(path)
    assert result.dtype == np.uint8 and result.shape == (67, 101, 3)
    np.testing.assert_array_equal(result, by_pil(path))
    assert read_size(path) == (67, 101)


@pytest.mark.parametrize("options", [{"quality": q, "subsampling": s} for q in (30, 92) for s in (0, 1, 2)])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_equal_to_pil_to_the_bit(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, int], progressive: bool
) -> None:
    path = write(tmp_path, encode(Image.fromarray(pixels), "JPEG", progressive=progressive, **options))
    np.testing.assert_array_equal(read_image(path), by_pil(path))


TURNS = {  # what the values of orientation mean
    0: lambda image: image, 1: lambda image: image, 2: np.fliplr, 3: lambda image: np.rot90(image, 2), 4: np.flipud,
    5: lambda image: image.swapaxes(0, 1), 6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1), 8: np.rot90, 9: lambda image: image, 65535: lambda image: image,
}  # fmt: skip


def oriented(pixels: np.ndarray, kind: str, carrier: str, orientation: int) -> bytes:
    """An encoded image with an orientation in its EXIF data, in XMP alone, or different ones in both."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="{6 if carrier == "both" else orientation}"/>'
    options: dict[str, object] = {} if carrier == "xmp" else {"exif": exif}
    if carrier != "exif" and kind == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp)
    elif carrier != "exif" and kind == "TIFF":
        options["tiffinfo"] = ImageFileDirectory_v2()
        options["tiffinfo"].tagtype[700] = TiffTags.BYTE
        options["tiffinfo"][700] = xmp.encode()
        if carrier == "both":
            options["tiffinfo"][0x0112] = orientation
    elif carrier != "exif":
        options["xmp"] = xmp.encode()
    if kind in ("WEBP", "AVIF"):
        options |= {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": "4:4:4"}
    return encode(Image.fromarray(pixels), kind, **options)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(
    ("kind", "carrier"),
    [(kind, carrier) for kind in ("JPEG", "PNG", "WEBP", "TIFF") for carrier in ("exif", "xmp", "both")]
    + [("AVIF", "exif")],
)
def test_header_and_pixels_have_the_same_orientation(
    tmp_path: Path, pixels: np.ndarray, kind: str, carrier: str, orientation: int
) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    if carrier != "exif" and orientation > 9:
        pytest.skip("XMP has a digit")
    path = write(tmp_path, oriented(pixels, kind, carrier, orientation))
    stored = read_image(write(tmp_path, oriented(pixels, kind, "exif", 1), "plain"))
    result, expected = read_image(path), TURNS[orientation](stored)
    np.testing.assert_array_equal(result, expected)
    assert result.flags.c_contiguous
    assert read_size(path) == expected.shape[:2]
    np.testing.assert_array_equal(read_image(path, oriented=False), stored)
    assert read_size(path, oriented=False) == stored.shape[:2] == (67, 101)
    assert read_header(path).orientation == (orientation if 1 <= orientation <= 8 else 1)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_label_is_read_as_it_is_stored(tmp_path: Path, kind: str, orientation: int) -> None:
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write(tmp_path, encode(Image.fromarray(ids), kind, exif=exif))
    np.testing.assert_array_equal(read_mask(path), ids)
    assert read_size(path, oriented=False) == (3, 4)


def test_damaged_exif_data_turn_nothing(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path, encode(Image.fromarray(pixels), "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff"))
    assert read_image(path).shape[:2] == read_size(path) == (67, 101)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_the_limit_of_size_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    large = Image.new("L", (2_000, 1_100))
    path = write(tmp_path, encode(large, kind))
    monkeypatch.setenv("LIGHTSEG_MAX_MEGAPIXELS", "2")
    for read in (read_image, read_size):
        with pytest.raises(
            DataError, match=r"2000x1100 \(width x height\) are more than 2 megapixels; set the environment"
        ):
            read(path)
    monkeypatch.setenv("LIGHTSEG_MAX_MEGAPIXELS", "3")
    assert read_image(path).shape == (1_100, 2_000, 3)
    monkeypatch.setenv("LIGHTSEG_MAX_MEGAPIXELS", "many")
    with pytest.raises(LightsegError, match="LIGHTSEG_MAX_MEGAPIXELS=many: must be a whole number"):
        read_size(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_an_image_beyond_pillows_limit_is_read(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, encode(Image.new("1", (14_000, 13_000)), kind))
    assert read_size(path) == (13_000, 14_000) and read_image(path).shape == (13_000, 14_000, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_keeps_the_upper_8(tmp_path: Path, channels: int) -> None:
    values = np.random.default_rng(1).integers(0, 65536, (13, 17, channels), dtype=np.uint16)
    path = write(tmp_path, png(values, 16, 0 if channels == 1 else 2))
    np.testing.assert_array_equal(read_image(path), np.broadcast_to(values >> 8, (13, 17, 3)))
    if channels == 1:
        tiff = write(tmp_path, encode(Image.fromarray(values[..., 0]), "TIFF"))
        np.testing.assert_array_equal(read_image(tiff), np.broadcast_to(values >> 8, (13, 17, 3)))


def test_a_jpeg_with_bytes_after_its_end_is_complete(tmp_path: Path, pixels: np.ndarray) -> None:
    data = encode(Image.fromarray(pixels), "JPEG")
    path = write(tmp_path, data + bytes(1000))
    np.testing.assert_array_equal(read_image(path), read_image(write(tmp_path, data, "plain")))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_gray_labels_are_the_stored_ids(tmp_path: Path, depth: int) -> None:
    ids = np.random.default_rng(2).integers(0, min(2**depth, 256), (13, 17))
    mask = read_mask(write(tmp_path, png(ids, depth, 0)))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, ids)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_labels_are_indices_not_colors(tmp_path: Path, bits: int) -> None:
    ids = np.random.default_rng(3).integers(0, min(2**bits, 200), (13, 17), dtype=np.uint8)
    image = Image.fromarray(ids).convert("P")
    image.putdata(ids.flatten().tolist())
    image.putpalette(np.random.default_rng(4).integers(0, 256, 2**bits * 3, dtype=np.uint8).tobytes())
    path = write(tmp_path, encode(image, "PNG", bits=bits))
    np.testing.assert_array_equal(read_mask(path), ids)
    assert read_size(path, oriented=False) == (13, 17)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_label_with_several_channels_is_refused(tmp_path: Path, pixels: np.ndarray, mode: str) -> None:
    image = Image.fromarray(pixels).convert("L").convert(mode)
    path = write(tmp_path, encode(image, "PNG"))
    with pytest.raises(DataError, match=f"{path}: a label image holds one class id a pixel"):
        read_mask(path)


def test_label_ids_above_255_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, png(np.array([[3, 300]]), 16, 0))
    with pytest.raises(DataError, match=r"3\.\.300"):
        read_mask(path)


@pytest.mark.parametrize(
    ("kind", "padded"),
    [("JPEG", False), ("JPEG", True), ("PNG", False), ("PNG", True), ("WEBP", False), ("TIFF", False)],
)
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.995])
def test_a_truncated_file_is_named(tmp_path: Path, pixels: np.ndarray, kind: str, padded: bool, part: float) -> None:
    """padded: with the lost rest as zeros, as in broken downloads, so that the file has the right size."""
    data = encode(Image.fromarray(pixels), kind)
    kept = int(len(data) * part)
    path = write(tmp_path, data[:kept] + bytes((len(data) - kept) * padded))
    with pytest.raises(DataError, match=str(path)):
        read_image(path)


def test_a_truncated_image_with_a_thumbnail_is_named(tmp_path: Path, pixels: np.ndarray) -> None:
    complete = encode(Image.fromarray(pixels), "JPEG")
    thumbnail = encode(Image.fromarray(pixels[:16, :16]), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = complete[:2] + segment + complete[2:]
    assert read_image(write(tmp_path, data)).shape == pixels.shape
    with pytest.raises(DataError, match="truncated"):
        read_image(write(tmp_path, data[:-200]))


def test_a_png_with_damaged_bytes_is_named(tmp_path: Path, pixels: np.ndarray) -> None:
    data = bytearray(encode(Image.fromarray(pixels), "PNG"))
    data[len(data) // 2] ^= 0x55
    path = write(tmp_path, bytes(data))
    with pytest.raises(DataError, match=str(path)):
        read_image(path)


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"not an image", "no image"), (b"\xff\xd8\xff", "")])
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_files_that_are_no_images_are_named(tmp_path: Path, data: bytes, reason: str, read) -> None:
    path = write(tmp_path, data)
    with pytest.raises(DataError, match=f"{path}.*{reason}"):
        read(path)


@pytest.mark.parametrize("read", [read_image, read_mask, read_size])
def test_missing_files_and_folders_are_named(tmp_path: Path, read) -> None:
    for path in (tmp_path / "nothing.png", tmp_path):
        with pytest.raises(DataError, match=str(path)):
            read(path)
