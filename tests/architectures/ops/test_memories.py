"""The memories of xLSTM: both implementations against the paper's equations, step by step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from architectures.ops.mlstm import mlstm
from architectures.ops.slstm import slstm
from tests.oracles import xlstm as oracle

IMPLEMENTATIONS = ["torch", "numba"]
HEADS, WIDTH = 3, 6


def matrix_example(length: int, spread: float = 1.0) -> list[Tensor]:
    """q, k, v and both gates, whose standard deviation is `spread`."""
    generator = torch.Generator().manual_seed(length)
    shapes = [(2, length, HEADS, WIDTH)] * 3 + [(2, length, HEADS)] * 2
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [*tensors[:3], *(spread * gate for gate in tensors[3:])]


def scalar_example(length: int, spread: float = 1.0) -> list[Tensor]:
    """x and R."""
    generator = torch.Generator().manual_seed(length)
    x = spread * torch.randn(2, length, HEADS, 4 * WIDTH, generator=generator, dtype=torch.float64)
    return [x, torch.randn(HEADS, WIDTH, 4 * WIDTH, generator=generator, dtype=torch.float64) / 2]


def run_mlstm(*inputs: Tensor, **options: Any) -> Tensor:
    return mlstm(*inputs, **options)[0]


def empty(x: Tensor, R: Tensor) -> Tensor:
    """The state of sLSTM before the first position."""
    state = torch.zeros(len(x), 4, *R.shape[:2], dtype=x.dtype)
    state[:, 3] = -30_000.0
    return state


def run_slstm(x: Tensor, R: Tensor, **options: Any) -> Tensor:
    return slstm(x, R, empty(x, R), **options)[0]


CASES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], Callable[..., list[Tensor]]]] = {
    "mlstm": (run_mlstm, oracle.mlstm, matrix_example),
    "slstm": (run_slstm, oracle.slstm, scalar_example),
}


def results(operator: Callable[..., Tensor], inputs: list[Tensor], dtype: torch.dtype, **options: Any) -> list[Tensor]:
    """The output and all gradients of a fixed random functional of it."""
    leaves = [z.detach().to(dtype).requires_grad_() for z in inputs]
    h = operator(*leaves, **options)
    weight = torch.randn(h.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    return [h.detach(), *torch.autograd.grad((h * weight).sum(), leaves)]


def worst_error(actual: list[Tensor], expected: list[Tensor]) -> float:
    """Largest difference over the largest value, of the output and of every gradient."""
    return max(
        (one.double() - other).abs().max().item() / other.abs().max().item()
        for one, other in zip(actual, expected, strict=True)
        if other.abs().max() > 1e-12 or one.abs().max() > 1e-6  # the forget gate, which forgets nothing at L = 1
    )


@pytest.mark.slow
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("spread", "tolerance"), [(1.0, 1e-5), (4.0, 2e-4)])
@pytest.mark.parametrize("length", [1, 2, 31, 65, 130])
@pytest.mark.parametrize("case", CASES)
def test_equals_the_recurrence(case: str, length: int, spread: float, tolerance: float, implementation: str) -> None:
    """Gates of standard deviation 4 differ by e^20 within a sequence, which costs float32 digits of the small ones."""
    operator, expect, example = CASES[case]
    inputs = example(length, spread)
    expected = results(expect, inputs, torch.float64)
    assert worst_error(results(operator, inputs, torch.float64, implementation=implementation), expected) <= 1e-10
    assert worst_error(results(operator, inputs, torch.float32, implementation=implementation), expected) <= tolerance


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("cut", [1, 30, 64])
def test_a_memory_continues_the_sequence(cut: int, implementation: str) -> None:
    inputs = matrix_example(70, 3.0)
    first, *kept = mlstm(*(z[:, :cut] for z in inputs), implementation=implementation)
    second, *_ = mlstm(*(z[:, cut:] for z in inputs), *kept, implementation=implementation)
    torch.testing.assert_close(torch.cat([first, second], dim=1), oracle.mlstm(*inputs))

    x, R = scalar_example(70)
    first, state = slstm(x[:, :cut], R, empty(x, R), implementation=implementation)
    second, _ = slstm(x[:, cut:], R, state, implementation=implementation)
    torch.testing.assert_close(torch.cat([first, second], dim=1), oracle.slstm(x, R))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_long_stream_of_single_steps_keeps_its_digits(implementation: str) -> None:
    """One huge gate early on, then forgetting: the scale comes down again, else float32 would lose the small ones."""
    q, k, v, input_gate, forget_gate = (z.float() for z in matrix_example(200))
    input_gate[:, 3] = 60.0
    forget_gate[:] = -0.5
    kept: list[Tensor] = []
    outputs = []
    for t in range(200):
        step = [z[:, t : t + 1] for z in (q, k, v, input_gate, forget_gate)]
        h, *kept = mlstm(*step, *kept, implementation=implementation)
        outputs.append(h)
    expected = oracle.mlstm(*(z.double() for z in (q, k, v, input_gate, forget_gate)))
    error = (torch.cat(outputs, dim=1).double() - expected).abs() / (1 + expected.abs())
    assert error.quantile(0.99) <= 1e-5
    assert error.max() <= 1e-2  # where n . q nearly cancels


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_extreme_gates_are_finite(implementation: str) -> None:
    """Exponentials of 1000 overflow float64; a gate of -1000 puts nothing in."""
    q, k, v, input_gate, forget_gate = (z.float() for z in matrix_example(20))
    for value in (-1000.0, 1000.0):
        leaves = [z.clone().requires_grad_() for z in (q, k, v, input_gate + value, forget_gate)]
        h = run_mlstm(*leaves, implementation=implementation)
        assert h.isfinite().all()
        assert all(z.isfinite().all() for z in torch.autograd.grad(h.sum(), leaves))
        assert h.any() == (value > 0)
    x, R = (z.float() for z in scalar_example(20))
    for gate in range(4):
        for value in (-1000.0, 1000.0):
            shifted = x.unflatten(-1, (4, -1)).clone()
            shifted[..., gate, :] += value
            leaf = shifted.flatten(3).requires_grad_()
            h = run_slstm(leaf, R, implementation=implementation)
            assert h.isfinite().all()
            assert torch.autograd.grad(h.sum(), leaf)[0].isfinite().all()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("case", CASES)
def test_over_seeds(case: str, implementation: str) -> None:
    """A map over seeds gives every seed its own parameters."""
    operator, expect, example = CASES[case]
    seeds = [example(9), [z.flip(-1) for z in example(9)]]
    stacked = [torch.stack(parts) for parts in zip(*seeds, strict=True)]
    h = torch.func.vmap(lambda *inputs: operator(*inputs, implementation=implementation))(*stacked)
    for e, inputs in enumerate(seeds):
        torch.testing.assert_close(h[e], expect(*inputs))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("case", CASES)
def test_half_precision_is_computed_in_float32(case: str, implementation: str) -> None:
    operator, expect, example = CASES[case]
    inputs = [z.bfloat16() for z in example(40)]
    h = operator(*inputs, implementation=implementation)
    expected = expect(*(z.double() for z in inputs))
    assert h.dtype == torch.bfloat16
    assert (h.double() - expected).abs().max() <= 2**-8 * expected.abs().max()


def test_flops() -> None:
    """sLSTM: the product with R forward, and twice as much backward."""
    inputs = [z.requires_grad_() for z in scalar_example(10)]
    with FlopCounterMode(display=False) as counter:
        run_slstm(*inputs, implementation="numba").sum().backward()
    forward = 2 * 2 * 10 * HEADS * WIDTH * 4 * WIDTH
    dR = forward  # the gradient of R, a product outside of the operator's own count
    assert counter.get_total_flops() in (3 * forward, 3 * forward + dR)
