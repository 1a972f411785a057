"""What an exported file says of itself: the task, the classes, which pixels go in and what comes out.

It is a table of strings in every format: ONNX's `metadata_props`, OpenVINO's runtime information, an extra file in a
`.pt2`, a constant method of a `.pte`. Keys: `lightseg`, the version that wrote it; `task`; and as JSON `class_names`,
`input`, `outputs`, `decoding`, `evaluation`, `spec`, for pose also `skeleton`. Neither torch nor a format's package
is needed to read it:

    session = onnxruntime.InferenceSession("model.onnx")
    metadata = Metadata.from_strings(session.get_modelmeta().custom_metadata_map, "model.onnx")
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from lightseg import __version__
from lightseg.errors import LightsegError

INPUT = "images"  # the name of the one input
_JSON = ("class_names", "input", "outputs", "decoding", "evaluation", "spec")


@dataclass(frozen=True)
class Metadata:
    """
    Attributes:
        task: seg, cls, det or pose.
        class_names: in the order of the ids; det's logits have the background before them; pose: of the keypoints.
        image_size: (height, width) in pixels that the file takes, None: any (seg, pose).
        example_size: (height, width) that it was exported and verified with; equal to `image_size` where that is fixed.
        batch: images at a time, None: any number.
        outputs: name -> meaning, shape and unit, in the order of the file's outputs.
        decoding: what the numpy decoding takes: det's thresholds for `lightseg.export.nms.detections`, pose's codec for
            `lightseg.export.pose`.
        evaluation: how evaluation made the picture fit, the run's `data.eval`: cls `size, crop_pct, interpolation`;
            det `size, keep_aspect`; pose `size, oks_nms`; the defaults where the run's configuration was not beside the
            checkpoint.
        skeleton: pose: `edges` to draw and `pairs` of left and right, places in class_names, and OKS's `sigmas`.
        spec: what the model was built of, the arguments of `lightseg.model.create_model`.
    """

    task: str
    class_names: list[str]
    image_size: tuple[int, int] | None
    example_size: tuple[int, int]
    batch: int | None
    outputs: dict[str, str]
    in_chans: int = 3
    decoding: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    skeleton: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    version: str = __version__

    KEYS: ClassVar[tuple[str, ...]] = ("lightseg", "task", *_JSON)

    def to_strings(self) -> dict[str, str]:
        """What is written into the file."""
        contract = {
            "name": INPUT,
            "dtype": "uint8",
            "layout": "NCHW",
            "channels": "RGB" if self.in_chans == 3 else self.in_chans,
            "range": [0, 255],
            "size": self.image_size,
            "example_size": self.example_size,
            "batch": self.batch,
            "normalisation": "inside the model",
        }
        values = (self.class_names, contract, self.outputs, self.decoding, self.evaluation, self.spec)
        texts = {key: json.dumps(value) for key, value in zip(_JSON, values, strict=True)}
        skeleton = {"skeleton": json.dumps(self.skeleton)} if self.skeleton else {}
        return {"lightseg": self.version, "task": self.task, **texts, **skeleton}

    @classmethod
    def from_strings(cls, strings: Mapping[str, str], where: str | Path) -> "Metadata":
        """The inverse of `to_strings`; `where` is the file's name for the error.

        Raises:
            LightsegError: the file was not exported by lightseg, or by a version whose keys are others.
        """
        missing = [key for key in cls.KEYS if key not in strings]
        if "lightseg" in missing:
            raise LightsegError(f"{where} was not exported by lightseg (its metadata names no task): export it again")
        if missing:
            raise LightsegError(
                f"{where} was exported by lightseg {strings['lightseg']}, whose metadata has no {', '.join(missing)}: "
                f"export it again with this version, {__version__}"
            )
        try:
            class_names, contract, outputs, decoding, evaluation, spec = (json.loads(strings[key]) for key in _JSON)
            size = contract["size"]
            return cls(
                task=strings["task"],
                class_names=[str(name) for name in class_names],
                image_size=None if size is None else _size(size),
                example_size=_size(contract["example_size"]),
                batch=contract["batch"],
                in_chans=3 if contract["channels"] == "RGB" else int(contract["channels"]),
                outputs=dict(outputs),
                decoding=dict(decoding),
                evaluation=dict(evaluation),
                skeleton=dict(json.loads(strings.get("skeleton", "{}"))),
                spec=dict(spec),
                version=strings["lightseg"],
            )
        except (ValueError, TypeError, KeyError) as error:
            raise LightsegError(f"{where}: its metadata is damaged ({error}): export it again") from error


def _size(pair: Any) -> tuple[int, int]:
    height, width = (int(side) for side in pair)
    return height, width


def read_onnx(path: str | Path) -> Metadata:
    """The metadata of an ONNX file. LightsegError where there is none, or `onnx` is not installed."""
    from lightseg.optional_imports import need

    onnx = need("onnx")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf and operating system: every way in which a file can be none
        raise LightsegError(f"{path} is not a readable ONNX file ({type(error).__name__})") from error
    return Metadata.from_strings({entry.key: entry.value for entry in model.metadata_props}, path)
