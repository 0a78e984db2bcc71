"""The selective scan in each of its implementations against the recurrence run step by step, forward and backward."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from architectures.ops.selective import CHUNK, selective_scan, softplus
from tests.oracles.mamba import selective_scan as oracle

IMPLEMENTATIONS = ("torch", "numba")
# float32 keeps 7 digits, and a step sums 16 states; the float64 forms differ in the order of sums only.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
WEAK, STRONG = 0.01, 100.0
"""Largest -A. Strong: Delta A sums to about -5,000 within 64 steps, and e^5000 overflows even in float64."""
NAMES = ("x", "dt", "A", "B", "C", "D", "z", "state")


def example(batch: int, length: int, *, channels: int = 10, states: int = 4, decay: float = WEAK) -> list[Tensor]:
    """x, dt, A, B, C, D, z and the initial state in float64; dt and z reach the flat ends of softplus and SiLU."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    x, dt, z = normal(batch, length, channels), 3 * normal(batch, length, channels), 3 * normal(batch, length, channels)
    A = -decay * normal(channels, states).sigmoid()
    B, C, D = normal(batch, length, states), normal(batch, length, states), normal(channels)
    return [x, dt, A, B, C, D, z, normal(batch, states, channels)]


def results(scan: Callable[..., Any], inputs: list[Tensor], dtype: torch.dtype, **options: Any) -> dict[str, Tensor]:
    """Outputs, final state and the gradients of all inputs, under fixed random gradients of both results."""
    leaves = [x.to(dtype).requires_grad_() for x in inputs]
    y, state = scan(*leaves, **options)
    generator = torch.Generator().manual_seed(1)
    upstream = [torch.randn(x.shape, dtype=torch.float64, generator=generator).to(dtype) for x in (y, state)]
    gradients = torch.autograd.grad([y, state], leaves, upstream)
    return {"y": y, "h": state} | {f"d{name}": gradient for name, gradient in zip(NAMES, gradients, strict=True)}


@cache
def step_by_step(batch: int, length: int, decay: float) -> dict[str, Tensor]:
    return results(oracle, example(batch, length, decay=decay), torch.float64)


def assert_close(actual: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    for name, reference in expected.items():
        error = ((actual[name] - reference).abs().amax() / reference.abs().amax().clamp_min(1e-30)).item()
        assert error <= tolerance, f"{name}: relative error {error:.1e}"


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("decay", [WEAK, STRONG], ids=["weak", "strong"])
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 127, 200])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_equals_the_recurrence_step_by_step(implementation: str, length: int, decay: float, dtype: torch.dtype) -> None:
    for batch in (1, 3):
        actual = results(selective_scan, example(batch, length, decay=decay), dtype, implementation=implementation)
        assert_close(actual, step_by_step(batch, length, decay), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("channels", "states"), [(1, 1), (256, 16), (300, 3), (513, 2)])
def test_any_number_of_channels_and_states(channels: int, states: int, dtype: torch.dtype) -> None:
    """One block of channels, a full one, a full one and a part of another, two and a part of a third."""
    inputs = example(2, CHUNK + 3, channels=channels, states=states, decay=1.0)
    expected = results(oracle, inputs, torch.float64)
    assert_close(results(selective_scan, inputs, dtype, implementation="numba"), expected, TOLERANCE[dtype])


def test_threads_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by a bit: each row is computed by one thread, whichever that is, and sums over rows come afterwards."""
    inputs = example(3, 40, channels=300)
    alone = results(selective_scan, inputs, torch.float32, implementation="numba")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    shared = results(selective_scan, inputs, torch.float32, implementation="numba")
    assert all(torch.equal(alone[name], shared[name]) for name in alone)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_no_state_is_a_state_of_zeros(implementation: str) -> None:
    *inputs, state = example(2, 5)
    without, zeros = (
        selective_scan(*start, implementation=implementation) for start in (inputs, [*inputs, torch.zeros_like(state)])
    )
    assert all(torch.equal(x, y) for x, y in zip(without, zeros, strict=True))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("index", [0, 1], ids=["y", "state"])
def test_a_loss_on_one_result_alone(implementation: str, index: int) -> None:
    """The other result then has no gradient, not one of zeros."""
    gradients = []
    cases: list[tuple[Callable[..., Any], dict[str, str]]] = [
        (oracle, {}),
        (selective_scan, {"implementation": implementation}),
    ]
    for scan, options in cases:
        leaves = [x.requires_grad_() for x in example(2, CHUNK + 1)]
        loss = scan(*leaves, **options)[index].square().sum()
        gradients.append(torch.autograd.grad(loss, leaves, materialize_grads=True))
    for actual, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_extreme_inputs_stay_finite(implementation: str, dtype: torch.dtype) -> None:
    """A gate or a step size so large that its exponential overflows: results are those of the limit."""
    x, dt, A, B, C, D, z, state = (tensor.to(dtype) for tensor in example(1, 6, decay=1.0))
    dt[0, 1], dt[0, 2] = -1000, 1000  # nothing happens; everything before is forgotten, up to exp(1000 A)
    z[0, 3], z[0, 4] = -1000, 1000  # closed; open
    leaves = [tensor.requires_grad_() for tensor in (x, dt, A, B, C, D, z, state)]
    y, h = selective_scan(*leaves, implementation=implementation)
    gradients = torch.autograd.grad(y.sum() + h.sum(), leaves)
    assert all(tensor.isfinite().all() for tensor in (y, h, *gradients))
    assert y[0, 3].abs().max() < 1e-25
    assert gradients[1][0, 1].abs().max() < 1e-25
    kept = [0, 2, 3, 4, 5]
    rest = [x[:, kept], dt[:, kept], A, B[:, kept], C[:, kept], D, z[:, kept], state]
    expected, _ = selective_scan(*rest, implementation=implementation)
    torch.testing.assert_close(y[:, 2:], expected[:, 1:])


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_half_precision_is_computed_in_float32(implementation: str) -> None:
    inputs = [x.bfloat16() for x in example(1, 70)]
    y, state = selective_scan(*inputs, implementation=implementation)
    expected, expected_state = selective_scan(*(x.float() for x in inputs), implementation=implementation)
    assert (y.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(y, expected.bfloat16())
    assert torch.equal(state, expected_state)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_autocast_leaves_it_in_float32(implementation: str) -> None:
    def under_autocast(*inputs: Tensor, **options: Any) -> Any:
        scan: Any = selective_scan
        with torch.autocast("cpu", torch.bfloat16):
            return scan(*inputs, **options)

    found, expected = (
        results(scan, example(1, 70), torch.float32, implementation=implementation)
        for scan in (under_autocast, selective_scan)
    )
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("index", [0, 1, 6], ids=["x", "dt", "z"])
def test_nan_stays_nan(index: int) -> None:
    """Loops are compiled with relaxed arithmetic, which must not hide a run that diverges."""
    inputs = [tensor.float() for tensor in example(1, 8)]
    inputs[index][0, 3, 0] = torch.nan
    y, h = selective_scan(*inputs, implementation="numba")
    assert y[0, :3].isfinite().all()
    assert y[0, 3, 0].isnan()
    assert y[0, :, 1:].isfinite().all()
    assert bool(h[0, :, 0].isnan().all()) == (index != 6)


def test_fused_kernel_runs_from_no_state_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gets Delta, not dt; skip and gate are added to what it returns. A given state takes plain PyTorch."""
    from architectures.ops.cuda import fused

    *inputs, state = example(2, 9)
    calls = []

    def kernel(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(1)
        torch.testing.assert_close(delta, inputs[1].exp().log1p())
        no_skip, open_gate = torch.zeros_like(x[0, 0]), torch.full_like(x, 1000)  # silu(1000) is 1000
        y, h = oracle(x, inputs[1], A, B, C, no_skip, open_gate)
        return y / 1000, h

    monkeypatch.setattr(fused, "selective_scan", kernel)
    for start in (inputs, [*inputs, state]):
        for x, reference in zip(selective_scan(*start, implementation="mamba_ssm"), oracle(*start), strict=True):
            torch.testing.assert_close(x, reference)
        assert len(calls) == 1


def test_softplus_by_definition() -> None:
    x = torch.tensor([-1e3, -50, -1, 0, 19, 21, 39, 41, 1e3], dtype=torch.float64)
    expected = torch.tensor([0, 1.9287498479639178e-22, 0.3132616875182228, 0.6931471805599453], dtype=torch.float64)
    torch.testing.assert_close(softplus(x)[:4], expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(softplus(x)[4:] - x[4:], (-x[4:]).exp(), rtol=0, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_memory_of_the_backward_pass_is_linear_in_length(implementation: str) -> None:
    """Bytes kept for it: never the (B, L, N, D) states."""

    def kept(length: int) -> int:
        leaves, sizes = [x.requires_grad_() for x in example(1, length, channels=8, states=64)], dict[int, int]()

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            y, _ = selective_scan(*leaves, implementation=implementation)
        y.sum().backward()
        return sum(sizes.values())

    assert kept(1024) <= 2.1 * kept(512)
    assert kept(1024) <= 1024 * 8 * 64 * 8  # one tensor of all states in float64


def test_flops_are_counted() -> None:
    """8 a state entry and position forward, twice that backward."""
    inputs = [x.requires_grad_() for x in example(2, 9, channels=10, states=4)]
    with FlopCounterMode(display=False) as counter:
        selective_scan(*inputs, implementation="numba")[0].sum().backward()
    assert counter.get_total_flops() == 3 * 8 * 2 * 9 * 10 * 4
