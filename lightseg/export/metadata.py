"""The metadata of an exported file: task, input and outputs.

They are a table of strings in every format: ONNX's `metadata_props`, OpenVINO's runtime information, an extra file in a
`.pt2`, a constant method of a `.pte`. Keys: `lightseg`, the version that wrote it; `task`; and as JSON `input` (the
`InputContract`, and the name, type and layout of the input), `outputs`, `decoding`, `spec`. Neither torch nor a
format's package is needed to read it:

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
from lightseg.input_contract import InputContract, Size

INPUT = "images"  # the name of the input
# of `input`, besides those of the contract
FILE_KEYS = ("name", "layout", "normalization", "fixed_size", "example_size", "batch")


@dataclass(frozen=True)
class Metadata:
    """The metadata as values.

    Attributes:
        task: its name.
        contract: with class names, in the order of the ids. The logits of det have the background before them.
        image_size: (height, width) in pixels that the file takes. None: any.
        example_size: (height, width) in pixels of the export and its verification. Equal to a fixed `image_size`.
        batch: images per batch. None: any number.
        outputs: name -> meaning, shape and unit, in the order of the file's outputs.
        decoding: options of the task's `TaskSpec.decode`, such as thresholds or a codec.
        spec: the arguments of `lightseg.model.create_model`.
        version: of lightseg that wrote the file.
    """

    task: str
    contract: InputContract
    image_size: Size | None
    example_size: Size
    batch: int | None
    outputs: dict[str, str]
    decoding: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    version: str = __version__

    KEYS: ClassVar[tuple[str, ...]] = ("lightseg", "task", "input", "outputs", "decoding", "spec")

    def to_strings(self) -> dict[str, str]:
        """The table that is written into the file."""
        file = (INPUT, "NCHW", "inside the model", self.image_size, self.example_size, self.batch)
        values = {
            "input": {**dict(zip(FILE_KEYS, file, strict=True)), **self.contract.to_dict()},
            "outputs": self.outputs,
            "decoding": self.decoding,
            "spec": self.spec,
        }
        return {"lightseg": self.version, "task": self.task} | {k: json.dumps(value) for k, value in values.items()}

    @classmethod
    def from_strings(cls, strings: Mapping[str, str], where: str | Path) -> "Metadata":
        """The inverse of `to_strings`; `where` is the file, for the error text.

        Raises:
            LightsegError: the file was not exported by lightseg, or by a version with other keys.
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
            values, outputs, decoding, spec = (json.loads(strings[key]) for key in cls.KEYS[2:])
            if "evaluation" in strings:
                spec, values = _upgraded(strings, spec, values)
            file = {key: values.pop(key, None) for key in FILE_KEYS}
            return cls(
                task=strings["task"],
                contract=InputContract.from_dict(values, str(where)),
                image_size=None if file["fixed_size"] is None else _size(file["fixed_size"]),
                example_size=_size(file["example_size"]),
                batch=file["batch"],
                outputs=dict(outputs),
                decoding=dict(decoding),
                spec=dict(spec),
                version=strings["lightseg"],
            )
        except LightsegError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LightsegError(f"{where}: its metadata is damaged ({error}): export it again") from error


def _size(pair: Any) -> Size:
    height, width = (int(side) for side in pair)
    return height, width


def _upgraded(
    strings: Mapping[str, str], spec: dict[str, Any], values: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Spec and input of a file that a release before 0.2 exported, with the contract in several keys."""
    from lightseg.legacy import add_names

    file = {key: values.get(key) for key in FILE_KEYS} | {"fixed_size": values["size"]}
    channels = 3 if values["channels"] == "RGB" else int(values["channels"])
    skeleton = json.loads(strings["skeleton"]) if "skeleton" in strings else None
    contract = {"channels": channels, **json.loads(strings["evaluation"])}
    contract |= {"class_names": json.loads(strings["class_names"]), "skeleton": skeleton}
    if "pixels" in spec:
        spec["input_format"] = spec.pop("pixels")
    spec = add_names(spec, dict(contract))
    return spec, {**file, **contract}
