"""LRU: its layer against the sum over all earlier inputs, initial values, errors."""

import math

import pytest
import torch
import torch.nn.functional as F

from architectures.lru import LRU, LRUBlock
from tests.oracles.lru import complex_of, layer


def build_block(d_model: int = 6, d_state: int = 5) -> LRUBlock:
    torch.manual_seed(0)
    block = LRUBlock(d_model, d_state=d_state, r_min=0.2, r_max=0.95, max_phase=3.0, lr_factor=1.0, backend="auto")
    with torch.no_grad():
        for parameter in block.parameters():  # off their initial values, where norms and biases would hide mistakes
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return block.double()


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("length", [1, 2, 31, 100])
def test_equals_the_sum_over_earlier_inputs(length: int, backend: str) -> None:
    """Forward and gradients, float64."""
    block = build_block()
    block.backend_asked = backend  # type: ignore[assignment]
    x = torch.randn(2, length, 6, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, length, 6, dtype=torch.float64)
    leaves = [x, *block.parameters()]
    actual = block(x)
    C = complex_of(block.C).conj()  # pairs of C are Re C and -Im C
    B = complex_of(block.B.T).T
    outputs = []
    for u in block.norm(x):
        y = F.gelu(layer(u, block.nu_log, block.theta_log, block.gamma_log, B, C, block.D))
        outputs.append(block.value(y) * torch.sigmoid(block.gate(y)))
    expected = x + torch.stack(outputs)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
    ours, theirs = (
        torch.autograd.grad((y * weights).sum(), leaves, allow_unused=length == 1) for y in (actual, expected)
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one is not None
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other, rtol=1e-8, atol=1e-9)


def test_initial_values() -> None:
    """Decays uniform by area on the ring between r_min and r_max, within the phases; gamma = sqrt(1 - |lambda|^2)."""
    torch.manual_seed(1)
    block = LRUBlock(64, d_state=4000, r_min=0.5, r_max=0.9, max_phase=1.0, lr_factor=1.0, backend="torch")
    radius = torch.exp(-block.nu_log.exp())
    assert 0.5 <= radius.min() <= 0.505
    assert 0.895 <= radius.max() <= 0.9
    assert (radius**2).mean().item() == pytest.approx((0.25 + 0.81) / 2, abs=0.01)  # lemma 3.2
    assert 0.99 <= block.theta_log.exp().max() <= 1
    assert block.theta_log.exp().mean().item() == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(block.gamma_log.exp(), (1 - radius**2).sqrt(), rtol=1e-4, atol=1e-5)
    assert block.B.std().item() == pytest.approx(1 / math.sqrt(2 * 64), rel=0.01)
    assert block.C.std().item() == pytest.approx(1 / math.sqrt(4000), rel=0.01)


def test_the_extreme_ring_is_finite() -> None:
    """r_min = 0 and r_max = 1 allow decays of 0 and of 1, whose logarithms do not exist."""
    torch.manual_seed(0)
    block = LRUBlock(4, d_state=100_000, r_min=0.0, r_max=1.0, max_phase=6.28, lr_factor=1.0, backend="torch")
    for name, parameter in block.named_parameters():
        assert parameter.isfinite().all(), name


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"r_min": 0.9, "r_max": 0.9}, "model.r_min and model.r_max"),
        ({"r_max": 1.1}, "model.r_min and model.r_max"),
        ({"r_min": -0.1}, "model.r_min and model.r_max"),
        ({"r_min": math.nan}, "model.r_min and model.r_max"),
        ({"max_phase": 0.0}, "model.max_phase"),
        ({"max_phase": 7.0}, "model.max_phase"),
        ({"lr_factor": 0.0}, "model.lr_factor"),
        ({"d_state": 0}, "model.d_state"),
        ({"backend": "fused"}, "model.backend = fused"),
    ],
)
def test_mistakes_name_the_option(options: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        LRU(4, 8, **options)  # type: ignore[arg-type]
