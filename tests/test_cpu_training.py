"""The replaced layers have torch's outputs, gradients and state dict, and use torch's operations where they must."""

import copy
import multiprocessing

import pytest
import torch
from torch import nn

from lightseg.cpu_training import DepthwiseConv2d, StridedPointwiseConv2d, optimize_for_cpu
from lightseg.model import create_model
from tests.marks import slow_except

GEOMETRIES = [  # kernel, stride, dilation, padding
    (5, 1, 1, 2),
    (5, 1, 1, 0),
    (5, 2, 1, 2),
    (5, (1, 2), 1, 1),
    (7, 1, 1, 3),
    (7, 2, 1, 3),
    ((3, 5), 1, 1, (1, 2)),
    (3, 1, 2, 2),
    (5, 1, 2, 4),
    (5, 1, 4, 8),
    (3, 1, (1, 2), (1, 2)),
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("size", [(20, 24), (21, 27)])
def test_depthwise_outputs_and_gradients_equal_torchs(geometry, size):
    kernel, stride, dilation, padding = geometry
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 8, kernel, stride, padding, dilation, groups=8, bias=False)
    fast = optimize_for_cpu(copy.deepcopy(plain))
    assert type(fast) is DepthwiseConv2d
    x = torch.randn(2, 8, *size).contiguous(memory_format=torch.channels_last).requires_grad_()
    expected, output = plain(x), fast(x)
    assert output.grad_fn.name().startswith("_DepthwiseConvolution")  # the fast gradient was used
    assert torch.allclose(output, expected, atol=1e-5)
    upstream = torch.randn_like(expected)
    expected_gradients = torch.autograd.grad(expected, (x, plain.weight), upstream)
    gradients = torch.autograd.grad(output, (x, fast.weight), upstream)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        assert torch.allclose(gradient, expected_gradient, atol=1e-4)


def test_maps_smaller_than_the_dilated_kernel_use_torchs_gradient():
    conv = optimize_for_cpu(nn.Conv2d(8, 8, 5, padding=8, dilation=4, groups=8, bias=False))
    x = torch.randn(1, 8, 4, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    output = conv(x)
    assert "Depthwise" not in output.grad_fn.name()
    output.sum().backward()


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(8, 8, 3, groups=8, bias=False),  # oneDNN is fast already
        nn.Conv2d(8, 8, 5, bias=False),
        nn.Conv2d(8, 16, 5, groups=8, bias=False),
        nn.Conv2d(8, 8, 5, groups=8),
        nn.Conv2d(8, 8, 5, padding="same", groups=8, bias=False),
        nn.Conv2d(8, 8, 3, stride=2, padding=2, dilation=2, groups=8, bias=False),
    ],
    ids=str,
)
def test_other_convolutions_are_not_replaced(conv):
    assert type(optimize_for_cpu(conv)) is nn.Conv2d


@pytest.mark.parametrize(
    "name", slow_except(["mobilenetv3_small_050"], ["mobilenetv3_large", "efficientnet_lite0", "mobilenetv3_small_050"])
)
def test_a_network_keeps_its_state_dict_outputs_and_gradients(name):
    torch.manual_seed(0)
    plain = create_model(name, "seg", 5, head={"variant": "torchvision"}).to(memory_format=torch.channels_last)
    fast = optimize_for_cpu(copy.deepcopy(plain))
    assert any(type(module) is DepthwiseConv2d for module in fast.modules())
    assert list(fast.state_dict()) == list(plain.state_dict())
    images = torch.randint(0, 256, (2, 3, 160, 192), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    targets = {"masks": torch.randint(0, 5, (2, 160, 192))}
    # The plain network in float64 is the reference. Both float32 networks must agree with it up to rounding.
    truth = copy.deepcopy(plain).double()
    gradients = {}
    for label, model in (("truth", truth), ("plain", plain), ("fast", fast)):
        features = model.backbone(model.normalize(images).to(next(model.parameters()).dtype))
        model.head.loss(model.head(features), targets)["loss"].backward()
        gradients[label] = torch.cat([parameter.grad.double().flatten() for parameter in model.parameters()])
    scale = gradients["truth"].norm()
    error, plain_error = ((gradients[label] - gradients["truth"]).norm() / scale for label in ("fast", "plain"))
    assert error < max(3 * plain_error, 1e-5)
    plain.eval(), fast.eval()
    with torch.no_grad():
        plain.load_state_dict(fast.state_dict())
        assert torch.allclose(fast(images), plain(images), atol=1e-5)


def test_evaluation_and_autocast_use_torchs_operations():
    conv = optimize_for_cpu(nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False))
    x = torch.randn(1, 8, 16, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        assert "_Depthwise" not in conv(x).grad_fn.name()
    with torch.no_grad():
        assert torch.equal(conv(x), nn.functional.conv2d(x, conv.weight, padding=2, groups=8))
    pool = optimize_for_cpu(nn.Sequential(nn.AdaptiveAvgPool2d(1)))
    assert torch.allclose(torch.autograd.grad(pool(x).sum(), x)[0], torch.full_like(x, 1 / 256))


def test_export_gives_a_graph_of_plain_operations():
    model = nn.Sequential(nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False), nn.AdaptiveAvgPool2d(1), nn.Hardswish())
    exported = torch.export.export(optimize_for_cpu(model).eval(), (torch.randn(1, 8, 16, 16),))
    targets = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert targets and all(target.startswith("aten.") for target in targets)


STRIDED_POINTWISE = [  # input and output channels, groups, stride, size, batch. With AVX2 fewer than 8 are at fault
    (1, 8, 1, 2, 32, 4),
    (2, 8, 1, 2, 8, 2),
    (3, 48, 1, 2, 33, 4),
    (4, 8, 1, (2, 1), 32, 32),
    (7, 16, 1, (1, 2), 31, 8),
    (13, 48, 1, 2, 28, 4),
    (15, 8, 1, 3, 17, 4),
    (16, 16, 16, 2, 16, 2),
    (24, 16, 2, 2, 16, 4),
]


def compare_strided_pointwise(case, dtype=torch.float32):
    """The largest errors of the output and of both gradients, against float64 and relative to their norm."""
    channels, out, groups, stride, size, batch = case
    torch.manual_seed(0)
    truth = nn.Conv2d(channels, out, 1, stride, groups=groups).double()
    conv = optimize_for_cpu(copy.deepcopy(truth).float().to(memory_format=torch.channels_last))
    assert type(conv) is StridedPointwiseConv2d and list(conv.state_dict()) == list(truth.state_dict())
    x = torch.randn(batch, channels, size, size).contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        output = conv(x).float()
    exact = x.detach().double().requires_grad_()
    expected = truth(exact)
    upstream = torch.randn_like(output)
    output.backward(upstream)
    expected.backward(upstream.double())
    pairs = [(output, expected), (x.grad, exact.grad), (conv.weight.grad, truth.weight.grad)]
    return max(float(((a.double() - b).norm() / b.norm()).detach()) for a, b in pairs)


def outlives(check, *args) -> bool:
    """Whether a child process ends `check` without an error: a fault of the kind ends the process or never ends.

    It is forked from a server that has run nothing, since a fork loses the threads of autograd.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    child = context.Process(target=check, args=args)
    child.start()
    child.join(timeout=120)
    child.kill()
    return child.exitcode == 0


def compare_all_strided_pointwise():
    for case in STRIDED_POINTWISE:
        assert compare_strided_pointwise(case) < 1e-5, case
        assert compare_strided_pointwise(case, torch.bfloat16) < 0.02, case


def test_strided_1x1_convolutions_on_few_channels_have_exact_gradients_and_no_fault():
    assert outlives(compare_all_strided_pointwise)


def test_evaluation_and_export_keep_the_stride():
    conv = optimize_for_cpu(nn.Conv2d(3, 8, 1, 2)).eval()
    exported = torch.export.export(conv, (torch.randn(1, 3, 8, 8),), strict=False)
    with torch.no_grad():
        plain = torch.export.export(conv, (torch.randn(1, 3, 8, 8),))
    assert [str(node.target) for node in plain.graph.nodes if node.op == "call_function"] == ["aten.conv2d.default"]
    assert exported.module()(torch.zeros(1, 3, 8, 8)).shape == (1, 8, 4, 4)


@pytest.mark.parametrize(
    "conv",
    [nn.Conv2d(3, 8, 1), nn.Conv2d(16, 8, 1, 2), nn.Conv2d(3, 8, 1, 2, padding=1), nn.Conv2d(3, 8, 3, 2)],
    ids=str,
)
def test_other_pointwise_convolutions_are_not_replaced(conv):
    assert type(optimize_for_cpu(conv)) is nn.Conv2d


def train_net_with_strided_pointwise(name):
    model = optimize_for_cpu(create_model(name, "cls", 5)).to(memory_format=torch.channels_last)
    assert any(type(module) is StridedPointwiseConv2d for module in model.modules())
    model(torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["repvgg_a0", "mobileone_s0", "gernet_s", "fastvit_t8"])
def test_nets_of_timm_with_such_convolutions_train(name):
    assert outlives(train_net_with_strided_pointwise, name)
