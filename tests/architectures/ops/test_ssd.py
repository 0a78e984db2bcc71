"""The state-space dual: both implementations against its equation, step by step."""

import math
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from architectures.ops.ssd import ssd
from tests.oracles.mamba2 import ssd as oracle

IMPLEMENTATIONS = ["torch", "numba"]
RESULTS = ("y", "S", "dx", "ddt", "dA", "dB", "dC", "dD", "dS")
# Largest dt. A is in [-16, -1], so that strong decay sums to tens of thousands over a chunk: e^1000 already overflows.
DECAYS = {"weak": 0.01, "middle": 1.0, "strong": 100.0}


def example(batch: int, length: int, max_dt: float, *, heads: int = 4, groups: int = 2) -> list[Tensor]:
    """x, dt, A, B, C, D and an initial state, float64; the first step keeps some of the state at any decay."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    dt = max_dt * torch.rand(batch, length, heads, generator=generator, dtype=torch.float64)
    dt[:, 0] = 0.01
    A = -1 - 15 * torch.rand(heads, generator=generator, dtype=torch.float64)
    B, C = normal(batch, length, groups, 5), normal(batch, length, groups, 5)
    return [normal(batch, length, heads, 6), dt, A, B, C, normal(heads), normal(batch, heads, 5, 6)]


def results(operator: Any, inputs: list[Tensor], dtype: torch.dtype, **options: Any) -> list[Tensor]:
    """Outputs and all gradients of a fixed random functional of both outputs."""
    leaves = [z.detach().to(dtype).requires_grad_() for z in inputs]
    y, state = operator(*leaves, **options)
    generator = torch.Generator().manual_seed(0)
    weights = (torch.randn(z.shape, generator=generator, dtype=torch.float64).to(dtype) for z in (y, state))
    loss = sum((z * weight).sum() for z, weight in zip((y, state), weights, strict=True))
    assert isinstance(loss, Tensor)
    return [y.detach(), state.detach(), *torch.autograd.grad(loss, leaves)]


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest value. Below 1e-30, what float32 cannot tell from 0 must only be as small."""
    assert actual.shape == expected.shape
    error, size = (actual.double() - expected).abs().max().item(), expected.abs().max().item()
    if size < 1e-30 and actual.dtype == torch.float32:
        return 0.0 if actual.abs().max() < 1e-30 else math.inf
    return error / size


@cache
def expected_results(batch: int, length: int, decay: str) -> list[Tensor]:
    return results(oracle, example(batch, length, DECAYS[decay]), torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 2), (1, 63), (3, 64), (1, 65), (3, 127), (1, 200)])
def test_equals_the_recurrence(batch: int, length: int, decay: str, implementation: str) -> None:
    """Forward and every gradient: the order of sums differs, so 1e-10 in float64 and 1e-5 in float32."""
    inputs = example(batch, length, DECAYS[decay])
    expected = expected_results(batch, length, decay)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        actual = results(ssd, inputs, dtype, implementation=implementation)
        for name, one, other in zip(RESULTS, actual, expected, strict=True):
            assert one.dtype == dtype
            assert relative_error(one, other) <= tolerance, (name, dtype)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("heads", "groups"), [(1, 1), (3, 1), (3, 3), (6, 2)])
def test_heads_of_a_group_share_b_and_c(heads: int, groups: int, implementation: str) -> None:
    inputs = example(2, 70, 1.0, heads=heads, groups=groups)
    actual = results(ssd, inputs, torch.float64, implementation=implementation)
    for name, one, other in zip(RESULTS, actual, results(oracle, inputs, torch.float64), strict=True):
        assert relative_error(one, other) <= 1e-10, name


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_by_hand(implementation: str) -> None:
    """Decay 1/2 a step, B = C = 1, D = 10: S = 1 * 3, then 3/2 + 2 * 5; y = S + 10 x."""
    one = torch.ones(1, 2, 1, 1)
    x, dt = torch.tensor([3.0, 5.0]).view(1, 2, 1, 1), torch.tensor([1.0, 2.0]).view(1, 2, 1)
    A = torch.tensor([-math.log(2) / 2])
    y, state = ssd(x, dt, A, one, one, torch.tensor([10.0]), implementation=implementation)
    assert y.flatten().tolist() == pytest.approx([33.0, 11.5 + 50.0])
    assert state.item() == pytest.approx(11.5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_strong_decay_keeps_no_memory(implementation: str) -> None:
    """At dt A = -1000 only the step itself is left: y = dt (B . C) x + D x, without a NaN on the way."""
    x, dt, A, B, C, D, state = example(2, 130, 1.0, groups=4)
    dt = 1000 / A.abs() * torch.ones_like(dt)
    y, _ = ssd(*(z.float() for z in (x, dt, A, B, C, D, state)), implementation=implementation)
    expected = ((dt * (B * C).sum(-1) + D)[..., None] * x).float()
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_nan_is_not_hidden(implementation: str) -> None:
    """A diverged decay must show in the output, whichever steps it is left out of."""
    inputs = [z.float() for z in example(1, 5, 1.0)]
    inputs[2][:] = torch.nan
    assert ssd(*inputs, implementation=implementation)[0][0, 1:].isnan().all()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_half_precision_is_computed_in_float32(implementation: str) -> None:
    inputs = [z.bfloat16() for z in example(2, 70, 0.1)]
    y, state = ssd(*inputs, implementation=implementation)
    expected, expected_state = oracle(*(z.double() for z in inputs))
    assert y.dtype == torch.bfloat16
    assert relative_error(state.double(), expected_state) <= 1e-5
    assert relative_error(y.double(), expected) <= 2**-8  # of bfloat16, once


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_autocast_leaves_it_alone(implementation: str) -> None:
    inputs = example(1, 70, 1.0)
    plain = results(ssd, inputs, torch.float32, implementation=implementation)

    def under_autocast(*leaves: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return ssd(*leaves, implementation=implementation)

    cast = results(under_autocast, inputs, torch.float32)
    for name, one, other in zip(RESULTS, cast, plain, strict=True):
        assert relative_error(one.double(), other.double()) <= 1e-6, name


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same(threads: int) -> None:
    """Large enough that the loops are shared among threads."""
    inputs, before = [z.float() for z in example(4, 200, 1.0)], torch.get_num_threads()
    expected = ssd(*inputs, implementation="torch")
    torch.set_num_threads(threads)
    try:
        actual = ssd(*inputs, implementation="numba")
    finally:
        torch.set_num_threads(before)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_flops_are_those_of_the_recurrence() -> None:
    """Forward 6 an entry of every state and step, backward twice that; linear in length."""
    counts = []
    for length in (64, 128):
        inputs = [z.float().requires_grad_() for z in example(2, length, 1.0)]
        with FlopCounterMode(display=False) as counter:
            ssd(*inputs, implementation="numba")[0].sum().backward()
        counts.append(counter.get_total_flops())
    assert counts == [3 * 6 * 2 * 64 * 4 * 5 * 6, 3 * 6 * 2 * 128 * 4 * 5 * 6]
