"""Post-training quantization to INT8: weights per channel, activations by their range on calibration images.

ONNX Runtime gets a QDQ graph (static quantization, Nagel et al., "A White Paper on Neural Network Quantization",
arXiv:2106.08295, section 3). OpenVINO files are quantized by nncf.

Convolutions and matrix products are quantized, because they take the time. H-swish, sigmoids, additions and resizing
stay in float. So do the layers where light nets lose most: the first convolution (few channels, the widest range), the
gates of squeeze-and-excitation (few values that scale whole channels), and the last layers (nothing averages their
rounding).
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.errors import LightsegError
from lightseg.export.metadata import INPUT, Metadata
from lightseg.optional_imports import need, quiet

PRODUCTS = ("Conv", "Gemm", "MatMul")
POOLS = ("ReduceMean", "GlobalAveragePool", "AveragePool")


def quantize_onnx(path: Path, target: Path, images: list[np.ndarray], metadata: Metadata) -> None:
    """path: a float file. images: uint8 [1, C, H, W], at least one."""
    onnx = need("onnx")
    quantization = need("onnxruntime.quantization")
    prepare = need("onnxruntime.quantization.shape_inference")

    folded = target.with_suffix(".folded.onnx")
    try:
        with quiet(""):  # the quantizer logs to the root logger
            prepare.quant_pre_process(str(path), str(folded), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(folded),
                str(target),
                _CalibrationReader(images),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=list(PRODUCTS),
                nodes_to_exclude=sensitive_nodes(onnx.load(str(folded)).graph),
                calibrate_method=quantization.CalibrationMethod.MinMax,
            )
        model = onnx.load(str(target))
        onnx.helper.set_model_props(model, metadata.to_strings())
        onnx.save(model, str(target))
    except LightsegError:
        raise
    except Exception as error:  # errors of onnx, numpy and the runtime
        raise LightsegError(f"the ONNX file cannot be quantized ({type(error).__name__}: {error})") from error
    finally:
        folded.unlink(missing_ok=True)


class _CalibrationReader:
    """ONNX Runtime's CalibrationDataReader."""

    def __init__(self, images: list[np.ndarray]) -> None:
        self.remaining = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.remaining, None)
        return None if image is None else {INPUT: image}


def sensitive_nodes(graph: Any) -> list[str]:
    """Names of the nodes of an ONNX graph that stay in float: the first and last products, and those of gates."""
    made_by = {name: node for node in graph.node for name in node.output}
    used_by: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            used_by.setdefault(name, []).append(node)

    def products(start: Any, step: Any, ends: tuple[str, ...]) -> list[Any]:
        """The nearest products on the paths from `start`. A path ends at a product or an operator of `ends`."""
        nearest, seen, ahead = [], set(), list(step(start))
        while ahead:
            node = ahead.pop()
            if node.name in seen or node.op_type in ends:
                continue
            seen.add(node.name)
            if node.op_type in PRODUCTS:
                nearest.append(node)
            else:
                ahead += step(node)
        return nearest

    def after(node: Any) -> list[Any]:
        return [user for name in node.output for user in used_by.get(name, [])]

    def before(node: Any) -> list[Any]:
        return [made_by[name] for name in node.input if name in made_by]

    first = [node for user in used_by.get(INPUT, []) for node in [user, *products(user, after, ())]]
    last = [
        node
        for output in graph.output
        if output.name in made_by
        for maker in [made_by[output.name]]
        for node in [maker, *products(maker, before, ())]
    ]
    gates = []
    for pool in (node for node in graph.node if node.op_type in POOLS):
        # squeeze, then excite, and the product with the map that it scales
        squeeze = products(pool, after, ("Mul",))
        gates += squeeze
        for node in squeeze:
            gates += products(node, after, ("Mul", "Add", "Concat"))
    return list(dict.fromkeys(node.name for node in [*first, *last, *gates] if node.op_type in PRODUCTS))


def quantize_openvino(path: Path, target: Path, images: list[np.ndarray], metadata: Metadata) -> None:
    """path: a float file (.xml). images: uint8 [1, C, H, W], at least one."""
    from lightseg.export.openvino import save

    openvino, nncf = need("openvino"), need("nncf")
    nncf.set_log_level(logging.ERROR)
    try:
        quantized = nncf.quantize(
            openvino.Core().read_model(str(path)),
            nncf.Dataset(images),
            preset=nncf.QuantizationPreset.MIXED,  # asymmetric activations: h-swish goes below zero
            subset_size=len(images),
        )
    except Exception as error:  # nncf's errors have no common class
        raise LightsegError(f"the OpenVINO file cannot be quantized ({type(error).__name__}: {error})") from error
    save(quantized, target, metadata)
