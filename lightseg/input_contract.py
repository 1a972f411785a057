"""InputContract: what a trained net wants of an image, and what its outputs are called.

It is resolved once, when a run is built (`lightseg.resolve_input`), and travels with the model: in the checkpoint's
spec, in the metadata of exported files, in record.json. Evaluation, prediction, export, compression and profiling read
it there, so a file that was moved out of its run behaves as it did at home. Nothing here imports torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from lightseg.errors import LightsegError

Size = tuple[int, int]  # height, width in pixels
DTYPES = ("uint8", "uint16", "float32")


@dataclass(frozen=True)
class InputContract:
    """
    Attributes:
        channels: of an image.
        bands: the bands of an image file that are its channels, from 0; None: all.
        channel_order: "RGB" or "BGR", as the backbone's weights want it; images are given as RGB all the same.
        mean, std: the normalization, one value a channel, of pixel values that were scaled to 0..1.
        dtype: of the pixel values given: uint8, uint16 or float32.
        value_range: (lowest, highest) pixel value, which the model scales to 0..1; what is beyond is clipped.
        size: (height, width) of the network's input, None: the image's own size.
        train_size: (height, width) of the largest images that it was trained on, None: not known.
        tile: images are predicted in tiles: their `size` (height, width) and `overlap` in pixels; None: as a whole.
        keep_aspect: detection: images are fitted in and padded instead of stretched.
        crop_pct, interpolation: classification: the share of the resized image's shorter side that the center crop
            keeps, and how it is resized; as in timm's `pretrained_cfg`.
        class_names: in the order of the labels; pose: of the keypoints. None: not known.
        palette: an RGB color a class, 0..255; None: not known.
        skeleton: pose: `edges` to draw and `pairs` of left and right, as indices of keypoints, and `sigmas` of OKS.
        oks_nms: pose: the OKS above which one of two detected persons is dropped; None: none is.
        person_padding: pose: side of the crop as a multiple of the person's box.
    """

    channels: int = 3
    bands: tuple[int, ...] | None = None
    channel_order: str = "RGB"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dtype: str = "uint8"
    value_range: tuple[float, float] = (0, 255)
    size: Size | None = None
    train_size: Size | None = None
    tile: Mapping[str, Any] | None = None
    keep_aspect: bool | None = None
    crop_pct: float | None = None
    interpolation: str | None = None
    class_names: tuple[str, ...] | None = None
    palette: tuple[tuple[int, int, int], ...] | None = None
    skeleton: Mapping[str, Any] | None = None
    oks_nms: float | None = None
    person_padding: float | None = None

    def replace(self, **changes: Any) -> "InputContract":
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for checkpoints and JSON."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "") -> "InputContract":
        """The inverse of `to_dict`; what a stranger's file may hold is checked. Keys that are missing keep their
        default.

        Raises:
            LightsegError: a key that is not known, or a value of another kind; `where` is the file's name.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or (unknown := sorted(str(key) for key in set(values) - known)):
            what = f"has '{unknown[0]}'" if isinstance(values, Mapping) else "is no table"
            raise LightsegError(f"{where} was made by another version of lightseg: its input contract {what}")
        try:
            return cls(**{key: _READERS[key](value) for key, value in values.items() if value is not None})
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise LightsegError(f"{where}: its input contract is damaged ({error})") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _size(value: Any) -> Size:
    height, width = (value, value) if isinstance(value, int) else value
    if not all(type(side) is int and 1 <= side <= 1 << 16 for side in (height, width)):
        raise ValueError(f"{value} is no height and width in pixels")
    return height, width


def _count(value: Any) -> int:
    if not 1 <= int(value) <= 1 << 12:
        raise ValueError(f"{value} is no number of channels")
    return int(value)


def _index(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value} is no number of a band")
    return value


def _range(value: Any) -> tuple[float, float]:
    low, high = _statistics(value)
    if not low < high:
        raise ValueError(f"{value} is no range, the lowest value first")
    return low, high


def _statistics(value: Any) -> tuple[float, ...]:
    return tuple(float(number) for number in value)


def _colors(value: Any) -> tuple[tuple[int, int, int], ...]:
    colors = tuple((int(r), int(g), int(b)) for r, g, b in value)
    if not all(0 <= level <= 255 for color in colors for level in color):
        raise ValueError("a color is three numbers from 0 to 255")
    return colors


def _skeleton(value: Any) -> dict[str, list[Any]]:
    return {key: list(value[key]) for key in ("edges", "pairs", "sigmas")}


def _tile(value: Any) -> dict[str, Any]:
    height, width = _size(value["size"])
    overlap = value.get("overlap", 0)
    if type(overlap) is not int or not 0 <= overlap < min(height, width):
        raise ValueError(f"an overlap of {overlap} pixels does not fit tiles of {height}x{width}")
    return {"size": (height, width), "overlap": overlap}


def _overlap(value: Any) -> float:
    if not 0 <= float(value) <= 1:
        raise ValueError(f"oks_nms={value} is no OKS from 0 to 1")
    return float(value)


_READERS: dict[str, Any] = {
    "channels": _count,
    "bands": lambda value: tuple(_index(band) for band in value),
    "channel_order": {"RGB": "RGB", "BGR": "BGR"}.__getitem__,
    "mean": _statistics,
    "std": _statistics,
    "dtype": {dtype: dtype for dtype in DTYPES}.__getitem__,
    "value_range": _range,
    "size": _size,
    "train_size": _size,
    "tile": _tile,
    "keep_aspect": bool,
    "crop_pct": float,
    "interpolation": str,
    "class_names": lambda value: tuple(str(name) for name in value),
    "palette": _colors,
    "skeleton": _skeleton,
    "oks_nms": _overlap,
    "person_padding": float,
}
