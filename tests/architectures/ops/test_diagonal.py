"""The diagonal recurrence: both implementations against its equation, step by step."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from architectures.ops.diagonal import diagonal_scan
from tests.oracles.lru import diagonal_scan as oracle

IMPLEMENTATIONS = ["torch", "numba"]
RESULTS = ("h", "h_L", "du", "dlambda", "dstate")


def example(batch: int, length: int, n_states: int = 5) -> list[Tensor]:
    """u, lambda and an initial state, float64; moduli from 0, which forgets at once, to 1, which never does."""
    generator = torch.Generator().manual_seed(length)
    radius = torch.linspace(0, 1, n_states, dtype=torch.float64)
    phase = 6 * torch.rand(n_states, generator=generator, dtype=torch.float64)
    u, state = (
        torch.randn(*shape, 2 * n_states, generator=generator, dtype=torch.float64)
        for shape in ((batch, length), (batch,))
    )
    return [u, torch.cat([radius * phase.cos(), radius * phase.sin()]), state]


def results(operator: Any, inputs: list[Tensor], dtype: torch.dtype, **options: Any) -> list[Tensor]:
    """Outputs and all gradients of a fixed random functional of both outputs."""
    leaves = [z.detach().to(dtype).requires_grad_() for z in inputs]
    h, state = operator(*leaves, **options)
    generator = torch.Generator().manual_seed(0)
    weights = (torch.randn(z.shape, generator=generator, dtype=torch.float64).to(dtype) for z in (h, state))
    loss = sum((z * weight).sum() for z, weight in zip((h, state), weights, strict=True))
    assert isinstance(loss, Tensor)
    return [h.detach(), state.detach(), *torch.autograd.grad(loss, leaves)]


def relative_error(actual: Tensor, expected: Tensor) -> float:
    assert actual.shape == expected.shape
    return (actual.double() - expected).abs().max().item() / expected.abs().max().item()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 2), (1, 63), (3, 64), (1, 65), (2, 200)])
def test_equals_the_recurrence(batch: int, length: int, implementation: str) -> None:
    """Forward and every gradient: the order of sums differs, so 1e-10 in float64 and 1e-5 in float32."""
    inputs = example(batch, length)
    expected = results(oracle, inputs, torch.float64)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        actual = results(diagonal_scan, inputs, dtype, implementation=implementation)
        for name, one, other in zip(RESULTS, actual, expected, strict=True):
            assert one.dtype == dtype
            assert relative_error(one, other) <= tolerance, (name, dtype)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_by_hand(implementation: str) -> None:
    """lambda = i / 2, u = 4, 0, 2 i from zero: 4, then 2 i, then -1 + 2 i."""
    u = torch.tensor([[[4.0, 0.0], [0.0, 0.0], [0.0, 2.0]]])
    h, state = diagonal_scan(u, torch.tensor([0.0, 0.5]), implementation=implementation)
    assert h[0].tolist() == [[4.0, 0.0], [0.0, 2.0], [-1.0, 2.0]]
    assert state[0].tolist() == [-1.0, 2.0]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_state_continues_the_sequence(implementation: str) -> None:
    u, decay, state = example(2, 150)
    whole, last = diagonal_scan(u, decay, state, implementation=implementation)
    first, between = diagonal_scan(u[:, :70], decay, state, implementation=implementation)
    second, end = diagonal_scan(u[:, 70:], decay, between, implementation=implementation)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(end, last)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_half_precision_is_computed_in_float32(implementation: str) -> None:
    u, decay, state = (z.bfloat16() for z in example(2, 70))
    decay = decay * 0.9
    h, last = diagonal_scan(u, decay, state, implementation=implementation)
    expected, expected_last = oracle(u.double(), decay.double(), state.double())
    assert h.dtype == torch.bfloat16
    assert relative_error(h, expected) <= 2**-8  # of bfloat16, once
    assert relative_error(last, expected_last) <= 1e-5


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_autocast_leaves_it_alone(implementation: str) -> None:
    inputs = example(1, 70)

    def under_autocast(*leaves: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return diagonal_scan(*leaves, implementation=implementation)

    plain = results(diagonal_scan, inputs, torch.float32, implementation=implementation)
    for name, one, other in zip(RESULTS, results(under_autocast, inputs, torch.float32), plain, strict=True):
        assert relative_error(one, other) <= 1e-6, name


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same(threads: int) -> None:
    """Large enough that the loops are shared among threads; a sequence is computed alike in any of them."""
    u, decay, state = (z.float() for z in example(4, 500, n_states=16))
    before = torch.get_num_threads()
    expected = diagonal_scan(u, decay, state, implementation="torch")
    torch.set_num_threads(threads)
    try:
        actual = diagonal_scan(u, decay, state, implementation="numba")
    finally:
        torch.set_num_threads(before)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_over_seeds(implementation: str) -> None:
    """A map over seeds gives every seed its own decays."""
    examples = [example(2, 20), example(2, 20)]
    examples[1][1] = examples[1][1].flip(0)
    stacked = [torch.stack(parts) for parts in zip(*examples, strict=True)]
    h, last = torch.func.vmap(lambda u, a, s: diagonal_scan(u, a, s, implementation=implementation))(*stacked)
    for e, inputs in enumerate(examples):
        expected, expected_last = oracle(*inputs)
        torch.testing.assert_close(h[e], expected)
        torch.testing.assert_close(last[e], expected_last)


def test_flops() -> None:
    """Eight real operations per state and position forward, and twice as many backward."""
    u, decay, state = (z.requires_grad_() for z in example(2, 10, n_states=3))
    with FlopCounterMode(display=False) as counter:
        diagonal_scan(u, decay, state, implementation="numba")[0].sum().backward()
    assert counter.get_total_flops() == 3 * 8 * 2 * 10 * 3
