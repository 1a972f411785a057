"""INT8 after training: weights a channel, activations by what they were on calibration pictures.

ONNX Runtime gets a QDQ graph (static quantisation, Nagel et al., "A White Paper on Neural Network Quantization",
arXiv:2106.08295, section 3), OpenVINO what nncf makes of it. Light nets lose most in few places, which stay in float:
the first convolution, of few channels and the widest range; the gates of squeeze-and-excitation, a few values that
scale whole channels; the last layers, whose rounding nothing averages any more. Quantised are the convolutions and
matrix products, where the time goes; h-swish, sigmoids, additions and resizing work on floats.
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


def quantize_onnx(path: Path, target: Path, pictures: list[np.ndarray], metadata: Metadata) -> None:
    """path: a float file. pictures: uint8 [1, C, H, W], at least one."""
    onnx = need("onnx")
    quantization = need("onnxruntime.quantization")
    prepare = need("onnxruntime.quantization.shape_inference")

    folded = target.with_suffix(".folded.onnx")
    try:
        with quiet(""):  # the quantiser logs to the root
            prepare.quant_pre_process(str(path), str(folded), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(folded),
                str(target),
                _Pictures(pictures),
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
    except Exception as error:  # the quantiser raises what onnx, numpy and the runtime raise
        raise LightsegError(f"the ONNX file cannot be quantised ({type(error).__name__}: {error})") from error
    finally:
        folded.unlink(missing_ok=True)


class _Pictures:
    """What ONNX Runtime calls a CalibrationDataReader."""

    def __init__(self, pictures: list[np.ndarray]) -> None:
        self.left = iter(pictures)

    def get_next(self) -> dict[str, np.ndarray] | None:
        picture = next(self.left, None)
        return None if picture is None else {INPUT: picture}


def sensitive_nodes(graph: Any) -> list[str]:
    """Names of the nodes of an ONNX graph that stay in float: the first and the last products, and the gates'."""
    made_by = {name: node for node in graph.node for name in node.output}
    used_by: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            used_by.setdefault(name, []).append(node)

    def products(start: Any, step: Any, ends: tuple[str, ...]) -> list[Any]:
        """The nearest products on the ways from `start`; a way ends at one, or at an operator of `ends`."""
        found, seen, ahead = [], set(), list(step(start))
        while ahead:
            node = ahead.pop()
            if node.name in seen or node.op_type in ends:
                continue
            seen.add(node.name)
            if node.op_type in PRODUCTS:
                found.append(node)
            else:
                ahead += step(node)
        return found

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


def quantize_openvino(path: Path, target: Path, pictures: list[np.ndarray], metadata: Metadata) -> None:
    """path: a float file (.xml). pictures: uint8 [1, C, H, W], at least one."""
    from lightseg.export.openvino import save

    openvino, nncf = need("openvino"), need("nncf")
    nncf.set_log_level(logging.ERROR)
    try:
        quantized = nncf.quantize(
            openvino.Core().read_model(str(path)),
            nncf.Dataset(pictures),
            preset=nncf.QuantizationPreset.MIXED,  # asymmetric activations: h-swish goes below zero
            subset_size=len(pictures),
        )
    except Exception as error:  # nncf's errors have no common class
        raise LightsegError(f"the OpenVINO file cannot be quantised ({type(error).__name__}: {error})") from error
    save(quantized, target, metadata)


QUANTIZERS = {"onnx": quantize_onnx, "openvino": quantize_openvino}
