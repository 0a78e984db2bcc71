"""The delta rule in each of its implementations against the rule run step by step, forward and backward."""

from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.ops import delta_rule as ours
from architectures.ops.delta_rule import CHUNK
from tests.oracles import delta_rule as theirs

delta_rule: Any = ours.delta_rule
oracle: Any = theirs.delta_rule
IMPLEMENTATIONS = ("torch", "numba")
# float32 keeps 7 digits and the sums of a step have up to 64 terms; the float64 forms differ in the order of sums only.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
WEAK, STRONG = 0.01, 200.0
"""Largest -log w a step. Within a chunk of 16 strong decays sum to -3,200: e^3200 overflows even in float64."""


def example(
    batch: int,
    length: int,
    *,
    heads: int = 2,
    keys: int = 8,
    values: int = 16,
    decay: float = WEAK,
    scalar: bool = False,
) -> list[Tensor]:
    """q, k, v, a, b, log_w and the initial state in float64; |a| = 1 and b = -rate a, as in the delta rules."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    q, k, v = (
        normal(batch, length, heads, keys),
        normal(batch, length, heads, keys),
        normal(batch, length, heads, values),
    )
    a = F.normalize(normal(batch, length, heads, keys), dim=-1)
    b = -a * normal(batch, length, heads, 1).sigmoid()
    log_w = -decay * normal(batch, length, heads, 1 if scalar else keys).sigmoid()
    return [q, k, v, a, b, log_w, normal(batch, heads, keys, values)]


def results(rule: Any, inputs: list[Tensor], dtype: torch.dtype, **options: Any) -> list[Tensor]:
    """Outputs, final state and the gradients of all inputs, under fixed random gradients of both results."""
    leaves = [x.to(dtype).requires_grad_() for x in inputs]
    y, state = rule(*leaves, **options)
    generator = torch.Generator().manual_seed(1)
    upstream = [torch.randn(x.shape, dtype=torch.float64, generator=generator).to(dtype) for x in (y, state)]
    return [y, state, *torch.autograd.grad([y, state], leaves, upstream)]


@cache
def step_by_step(batch: int, length: int, decay: float, scalar: bool) -> list[Tensor]:
    return results(oracle, example(batch, length, decay=decay, scalar=scalar), torch.float64)


def assert_close(actual: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    names = ("y", "state", "dq", "dk", "dv", "da", "db", "dlog_w", "dstate")
    for name, x, reference in zip(names, actual, expected, strict=True):
        error = ((x - reference).abs().amax() / reference.abs().amax().clamp_min(1e-30)).item()
        assert error <= tolerance, f"{name}: relative error {error:.1e}"


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("decay", [WEAK, STRONG], ids=["weak", "strong"])
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 127, 200])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_equals_the_rule_step_by_step(implementation: str, length: int, decay: float, dtype: torch.dtype) -> None:
    for batch, scalar in ((1, True), (3, False)):
        actual = results(
            delta_rule, example(batch, length, decay=decay, scalar=scalar), dtype, implementation=implementation
        )
        assert_close(actual, step_by_step(batch, length, decay, scalar), TOLERANCE[dtype])


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_no_state_is_a_state_of_zeros(implementation: str) -> None:
    *inputs, state = example(2, 5)
    without = delta_rule(*inputs, implementation=implementation)
    zeros = delta_rule(*inputs, torch.zeros_like(state), implementation=implementation)
    assert all(torch.equal(x, y) for x, y in zip(without, zeros, strict=True))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("index", [0, 1], ids=["y", "state"])
def test_a_loss_on_one_result_alone(implementation: str, index: int) -> None:
    """The other result then has no gradient, not one of zeros."""
    gradients = []
    for rule, options in ((oracle, {}), (delta_rule, {"implementation": implementation})):
        leaves = [x.requires_grad_() for x in example(2, CHUNK + 1)]
        gradients.append(
            torch.autograd.grad(rule(*leaves, **options)[index].square().sum(), leaves, materialize_grads=True)
        )
    for actual, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_decay_to_nothing_forgets(implementation: str) -> None:
    """log w = -infinity is a decay of exactly 0, with finite gradients."""
    *inputs, log_w, state = example(1, 40)
    log_w[:, 20] = -torch.inf
    leaves = [x.requires_grad_() for x in (*inputs, log_w, state)]
    y, _ = delta_rule(*leaves, implementation=implementation)
    *gradients, dlog_w, dstate = torch.autograd.grad(y[:, 20:].sum(), leaves)
    expected, _ = oracle(
        *(x[:, 21:] for x in (*inputs, log_w)), state=oracle(*(x[:, :21] for x in (*inputs, log_w)), state)[1]
    )
    torch.testing.assert_close(y[:, 21:], expected, rtol=1e-10, atol=1e-10)
    assert all(x.isfinite().all() for x in gradients)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_half_precision_is_computed_in_float32(implementation: str) -> None:
    inputs = [x.bfloat16() for x in example(1, 70)]
    y, state = delta_rule(*inputs, implementation=implementation)
    expected, expected_state = delta_rule(*(x.float() for x in inputs), implementation=implementation)
    assert (y.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(y, expected.bfloat16())
    assert torch.equal(state, expected_state)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_autocast_leaves_it_in_float32(implementation: str) -> None:
    def under_autocast(*inputs: Tensor, **options: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return delta_rule(*inputs, **options)

    inputs = example(1, 70)
    found, expected = (
        results(rule, inputs, torch.float32, implementation=implementation) for rule in (under_autocast, delta_rule)
    )
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


def test_nan_stays_nan() -> None:
    """Loops are compiled with relaxed arithmetic, which must not hide a run that diverges."""
    q, k, v, a, b, log_w, state = (x.float() for x in example(1, 8))
    v[0, 3, 0, 0] = torch.nan
    y, _ = delta_rule(q, k, v, a, b, log_w, state, implementation="numba")
    assert y[0, :3].isfinite().all()
    assert y[0, 3:, 0, 0].isnan().all()
