"""Operators compiled for the CPU: what PyTorch checks of them, missing gradients and shapes without data."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from architectures import ARCHITECTURES
from architectures.ops import attention, convolution, delta_rule, diagonal, selective, slstm, ssd
from architectures.ops.pointwise import rwkv_keys, rwkv_readout, squared_relu, token_shift

B, L, D, H, K, V, N, W, M = 2, 70, 8, 2, 4, 3, 3, 4, 6
"""Sequences, positions (more than a chunk), channels, heads, keys, values, states, filter width, mixes."""

X, HEADS = (B, L, D), (B, L, H, K)
OPERATORS: dict[str, tuple[list[tuple[int, ...]], list[Any]]] = {
    "short_attention": ([(B, L, 3 * D), (B, H, L, L)], [H, True]),
    "short_convolution": ([X, (W, D), (D,)], []),
    "squared_relu": ([X], []),
    "token_shift": ([X, (B, D), (M, D)], []),
    "rwkv_keys": ([X] * 3 + [(D,)] * 4, [H]),
    "rwkv_readout": ([X] * 5 + [(H, D // H), (D,), (D,)], [1e-5]),
    "delta_rule": ([HEADS, HEADS, (B, L, H, V), HEADS, HEADS, HEADS, (B, H, K, V)], []),
    "selective_scan": ([X, X, (N, D), (B, L, N), (B, L, N), (D,), X, (B, N, D)], []),
    "diagonal_scan": ([(B, L, 2 * N), (B, 2 * N), (B, 2 * N)], []),
    "slstm": ([(B, L, H, 4 * K), (H, K, 4 * K), (B, 4, H, K)], []),
    "ssd": ([(B, L, H, V), (B, L, H), (B, L, H), (B, L, N), (B, L, N), (B, H), (B, N, H, V)], []),
}
"""Shapes of the tensors, and the numbers, that every operator takes."""

MODULES = (
    attention, convolution, squared_relu, token_shift, rwkv_keys, rwkv_readout,
    delta_rule, selective, diagonal, slstm, ssd,
)  # fmt: skip
"""Where the function that models call lies, in the order of the operators."""

operators = pytest.mark.parametrize("name", OPERATORS)


def operator(name: str) -> Any:
    return getattr(torch.ops.emergence, name).default


def example(name: str) -> list[Any]:
    """Small negative numbers, which every argument may be: decays as their logarithms stay below 1."""
    shapes, numbers = OPERATORS[name]
    generator = torch.Generator().manual_seed(0)
    tensors = (-0.1 * torch.rand(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return [*(x.requires_grad_() for x in tensors), *numbers]


def test_every_operator_is_here() -> None:
    registered = torch._C._dispatch_get_all_op_names()
    names = {name.removeprefix("emergence::") for name in registered if name.startswith("emergence::")}
    assert names == {*OPERATORS, *(f"{name}_backward" for name in OPERATORS)}


@pytest.mark.slow
@operators
def test_pytorchs_own_checks(name: str) -> None:
    """Schema, shapes without data, gradients registered, traceable."""
    torch.library.opcheck(operator(name), tuple(example(name)))


@operators
def test_a_missing_gradient_is_one_of_zeros(name: str) -> None:
    """A loss on the first output alone has the gradients of one that adds 0 times the second output, if any."""
    arguments = example(name)
    tensors = [x for x in arguments if isinstance(x, Tensor)]
    first, *others = operator(name)(*arguments)
    losses = (first.sum(), first.sum() + sum(0 * y.sum() for y in others[:1]))
    actual, expected = (torch.autograd.grad(loss, tensors, retain_graph=True) for loss in losses)
    assert all(torch.equal(x, y) for x, y in zip(actual, expected, strict=True))


@operators
def test_shapes_without_data_are_those_with_data(name: str) -> None:
    outputs = operator(name)(*example(name))
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake = operator(name)(*example(name))
    assert [(x.shape, x.stride(), x.dtype) for x in fake] == [(x.shape, x.stride(), x.dtype) for x in outputs]


@operators
def test_what_models_call_goes_around_the_dispatcher_unless_something_watches(name: str) -> None:
    """The same bits either way: results, and gradients of a loss on the first output. FLOPs are counted."""
    call = dict(zip(OPERATORS, MODULES, strict=True))[name]._compiled
    arguments = example(name)
    tensors = [x for x in arguments if isinstance(x, Tensor)]
    direct = call(*arguments)
    with FlopCounterMode(display=False) as counter:
        watched = call(*arguments)
    assert "Direct" in type(direct[0].grad_fn).__name__
    assert name in type(watched[0].grad_fn).__name__
    assert all(torch.equal(x, y) for x, y in zip(direct, watched, strict=True))
    gradients = [torch.autograd.grad(outputs[0].sum(), tensors, allow_unused=True) for outputs in (direct, watched)]
    assert all(torch.equal(x, y) for x, y in zip(*gradients, strict=True))
    uncounted = ("short_attention", "squared_relu", "token_shift", "rwkv_keys", "rwkv_readout")
    assert (counter.get_total_flops() == 0) == (name in uncounted)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
@pytest.mark.parametrize("name", ["transformer", "mamba", "gated_deltanet"])
def test_models_compile_as_one_graph(name: str) -> None:
    build: Any = ARCHITECTURES[name]
    model, tokens = build(5, 12, d_model=16), torch.randint(5, (2, 12))
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(tokens), model(tokens), rtol=1e-5, atol=1e-6)


@operators
def test_a_gradient_of_a_gradient_is_refused(name: str) -> None:
    arguments = example(name)
    loss = dict(zip(OPERATORS, MODULES, strict=True))[name]._compiled(*arguments)[0].square().sum()
    (gradient,) = torch.autograd.grad(loss, arguments[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable|differentiate twice"):
        gradient.sum().backward()
