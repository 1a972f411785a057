"""`export`: from a checkpoint to a file in another format, verified before it is saved."""

import copy
import json
import os
import tempfile
from operator import attrgetter
from pathlib import Path
from typing import Any

from lightseg.atomic_io import write_text
from lightseg.catalog.tasks import resolve
from lightseg.errors import LightsegError
from lightseg.export.metadata import Metadata
from lightseg.export.runner import FORMATS, INT8_FORMATS, Runner, format_module
from lightseg.input_contract import InputContract, Size
from lightseg.output_paths import check_outputs

DEFAULT_SIZE = (512, 512)  # where neither the run nor the user gives a size


def export(
    checkpoint: str | Path,
    path: str | Path | None = None,
    *,
    format: str = "onnx",
    size: tuple[int, int] | None = None,
    static: bool = False,
    opset: int | None = None,
    argmax: bool = False,
    int8: bool = False,
    calibrate: str | Path | None = None,
    verify: str | Path | None = None,
    max_images: int = 64,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Export a run's checkpoint as a file that takes images [B, C, H, W] as the model does, and compare them.

    The file and the model are run on the same images before the file is saved. A file whose outputs differ by more than
    rounding is not saved. A report is written beside it, `<path>.json`.

    Args:
        checkpoint: `<run>/checkpoints/best.ckpt`.
        path: of the file. None: beside the checkpoint, with the format's suffix.
        format: onnx, openvino, executorch or torch.
        size: (height, width) of the images in pixels. None: that of the run's evaluation. Files for seg and for pose
            with head heatmap take any size nevertheless, unless `static`.
        static: batches of one image, of a fixed size. ExecuTorch files always are static.
        opset: of ONNX.
        argmax: seg: class ids in place of logits.
        int8: quantize after training (onnx, openvino), calibrated on `calibrate`. The file's outputs then differ by
            more than rounding; the report has the differences.
        calibrate: a folder of images like those that the model was trained on.
        verify: a folder of images to compare on. None: those of `calibrate`, or synthetic streets.
        max_images: the maximum number of images of each folder.
        overwrite: replace an existing file.

    Returns:
        The report: `file`, `bytes`, `format`, `image_source`, `comparison` and `latency` (see
        `lightseg.export.verify`), `metadata`; with `int8` also `float`, the figures of the file before quantization.

    Raises:
        LightsegError: a checkpoint that cannot be read safely, an unknown task or format, a package that is not
            installed, an operator that the format lacks, a file that exists, outputs that differ.
    """
    from lightseg.checkpoint import load_model
    from lightseg.export.exportable import Exportable, trace
    from lightseg.task_specs import task_spec

    module = format_module(format)  # checks the name before torch is imported
    if int8 and format not in INT8_FORMATS:
        raise LightsegError(f"int8 is for {' and '.join(INT8_FORMATS)}, not for {format}")
    if int8 and calibrate is None:
        raise LightsegError("int8 needs images like those trained on: give --calibrate FOLDER")
    if calibrate is not None and not int8:
        raise LightsegError("--calibrate is for --int8: leave it out, or add --int8")
    target = _target(Path(checkpoint), path, format, int8, overwrite)
    model = load_model(checkpoint).deployed()
    task = task_spec(model.spec["task"])
    contract = task.complete(model.contract, model.spec["num_classes"], checkpoint)
    task_export = task.export(model.spec["head"]["name"], argmax=argmax)
    size = _image_size(size, contract)
    static = static or not FORMATS[format].symbols
    reference = Exportable(copy.deepcopy(model), task_export).eval()
    program, any_size = trace(model, task_export, size, static=static)
    metadata = Metadata(
        task=task.info.name,
        contract=contract,
        image_size=None if any_size else size,
        example_size=size,
        batch=1 if static else None,
        outputs=task_export.outputs,
        decoding={key.rpartition(".")[2]: attrgetter(key)(model.head) for key in task_export.decoding},
        spec=model.spec,
    )
    images, source = _images(verify or calibrate, metadata, max_images)
    calibration = _images(calibrate, metadata, max_images)[0] if int8 else []
    with tempfile.TemporaryDirectory(prefix=".export.", dir=target.parent) as folder:
        written = Path(folder) / target.name
        module.write(program, written, metadata, opset)
        report = _measure(reference, written, module, images)
        if not report["comparison"]["equal"]:
            worst = max(output["max_difference"] for output in report["comparison"]["outputs"].values())
            raise LightsegError(f"the {format} file's outputs differ from the model's by up to {worst:.3g}: not saved")
        if int8:
            unquantized, written = written, Path(folder) / "int8" / target.name
            written.parent.mkdir()
            resolve(FORMATS[format].quantize)(unquantized, written, calibration, metadata)
            report = {**_measure(reference, written, module, images), "float": report}
        report = {
            "file": str(target),
            "format": format,
            "int8": int8,
            "image_source": source,
            **report,
            "metadata": {key: _plain(text) for key, text in metadata.to_strings().items()},
        }
        for part in sorted(_parts(written), key=lambda part: part == written):
            os.replace(part, target.with_name(part.name))  # the file itself last: where it exists, all parts do
    write_text(_report_path(target), json.dumps(report, indent=2) + "\n")
    return report


def _target(checkpoint: Path, path: str | Path | None, format: str, int8: bool, overwrite: bool) -> Path:
    ending = FORMATS[format].ending
    target = Path(path) if path is not None else checkpoint.with_suffix(f".int8{ending}" if int8 else ending)
    if target.suffix != ending:
        raise LightsegError(f"{target}: the name of a file of format {format} ends in {ending}")
    beside = [target.with_suffix(suffix) for suffix in FORMATS[format].beside]
    check_outputs([target, *beside, _report_path(target)], [checkpoint], overwrite=overwrite)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LightsegError(f"{target.parent} cannot be created ({error.strerror}): give another --output") from error
    if target.is_dir() or not os.access(target.parent, os.W_OK):
        raise LightsegError(f"{target} cannot be written: give another --output")
    return target


def _report_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _image_size(size: Size | None, contract: InputContract) -> Size:
    """The user's size, otherwise that of the run's evaluation, otherwise that of its training."""
    tile = contract.tile["size"] if contract.tile else None
    pair = tuple(size or contract.size or tile or contract.train_size or DEFAULT_SIZE)
    if len(pair) != 2 or not all(isinstance(side, int) and 1 <= side <= 16384 for side in pair):
        raise LightsegError(f"size is {size}: give height and width in pixels")
    return pair[0], pair[1]


def _images(folder: str | Path | None, metadata: Metadata, count: int) -> tuple[list[Any], str]:
    from lightseg.data.io.pixels import PixelFormat
    from lightseg.export.calibration_images import read_folder, render_streets

    pixels = PixelFormat.of(metadata.contract)
    if folder is None:
        return render_streets(metadata.example_size, pixels), "drawn streets"
    any_size = metadata.contract.size is None  # the evaluation takes each image at its size
    size = metadata.image_size or (None if any_size else metadata.example_size)
    return read_folder(folder, size, pixels, count), str(folder)


def _measure(reference: Any, written: Path, module: Any, images: list[Any]) -> dict[str, Any]:
    import numpy as np
    import torch

    from lightseg.export.verify import compare, latencies

    runner: Runner = module.Runner(written, threads=torch.get_num_threads())
    pair = [np.concatenate([images[0], images[0][..., ::-1]])] if runner.metadata.batch is None else []
    return {
        "bytes": sum(part.stat().st_size for part in _parts(written)),
        "comparison": compare(reference, runner, [*images, *pair]),
        "latency": latencies(reference, runner, images[0]),
    }


def _parts(written: Path) -> list[Path]:
    """The files of an export: OpenVINO writes two."""
    return [part for part in written.parent.iterdir() if part.is_file() and part.stem == written.stem]


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
