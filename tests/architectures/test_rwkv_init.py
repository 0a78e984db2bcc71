"""RWKV-7 starts as the authors' training code does; its elementwise parts, compiled against PyTorch's."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from architectures.ops.pointwise.rwkv_keys import keys
from architectures.ops.pointwise.rwkv_readout import readout
from architectures.ops.pointwise.squared_relu import squared_relu
from architectures.ops.pointwise.token_shift import token_shift
from architectures.rwkv import RWKV, RWKVBlock, rank


def blocks(**options: Any) -> list[RWKVBlock]:
    torch.manual_seed(0)
    return [block for block in RWKV(4, 8, **options).blocks if isinstance(block, RWKVBlock)]


def test_vectors_start_on_the_official_curves() -> None:
    """By the authors' formulas, channel by channel: N = 64 channels a head, layer 1 of 3."""
    time = blocks(d_model=128, n_layers=3)[1].time_mixing
    channel = blocks(d_model=128, n_layers=3)[1].channel_mixing
    for i in (0, 1, 40, 63, 64, 127):
        line, zigzag = i / 127, (i % 64 - 31.5) / 31.5
        zigzag *= abs(zigzag)
        expected = {
            "w0": -6 + 6 * line ** (1 + 0.5**0.3) + 0.5 + 2.5 * zigzag,
            "a0": -0.19 + 0.3 * zigzag + 0.4 * (line - 0.5),
            "v0": 0.73 - 0.4 * (line - 0.5),
            "k_k": 0.71 - 0.1 * (line - 0.5),
            "k_a": 1.02,
        }
        for name, value in expected.items():
            assert time.get_parameter(name)[i].item() == pytest.approx(value, abs=1e-5), name
        for row, power in zip(time.x, (0.2, 0.9, 0.7, 0.7, 0.9, 0.2), strict=True):
            assert row[i].item() == pytest.approx(1 - (i / 128) ** (power * 2 / 3), abs=1e-5)
        assert channel.x[0, i].item() == pytest.approx(1 - (i / 128) ** (2 / 3) ** 4, abs=1e-5)
    assert bool((time.r_k == -0.04).all())
    # Python's power, rounded to float32 once: PyTorch's own need not give the same bits.
    torch.testing.assert_close(time.ln_x.weight.detach(), torch.full((128,), (2 / 3) ** 0.7), rtol=1e-6, atol=0)
    assert not time.ln_x.bias.any()


@pytest.mark.parametrize(("layer", "deep"), [(0, 0.0), (2, 1.0)])
def test_decays_of_the_first_and_the_last_layer(layer: int, deep: float) -> None:
    """The middle of the curve, where its power shows: 1 in the first layer, 2 in the last."""
    w0 = blocks(d_model=128, n_layers=3)[layer].time_mixing.w0
    assert w0[63].item() == pytest.approx(-5.5 + 6 * (63 / 127) ** (1 + deep) + 2.5, abs=1e-5)


def test_one_layer_starts_like_the_first_of_many() -> None:
    """Where the authors' depth ratio would divide by zero."""
    alone, first = blocks(n_layers=1)[0].time_mixing, blocks(n_layers=4)[0].time_mixing
    assert torch.equal(alone.w0, first.w0)
    assert torch.equal(alone.x, first.x)
    assert bool((alone.ln_x.weight == 1).all())


def test_matrices_start_orthogonal_or_zero() -> None:
    """Gain 1, a tenth for keys and the second low-rank matrices; what writes to the residual stream starts at zero."""
    first, second = blocks(d_model=128, n_layers=2)
    assert not hasattr(first.time_mixing, "v2") and hasattr(second.time_mixing, "v2")
    for block in (first, second):
        time, channel = block.time_mixing, block.channel_mixing
        gains = [(time.receptance.weight, 1.0), (time.key.weight, 0.1), (time.value.weight, 1.0)]
        gains += [(channel.key.weight.T, 1.0)]
        ups = [time.w2, time.a2, time.g2] + ([time.v2] if hasattr(time, "v2") else [])
        downs = [time.w1, time.a1, time.g1] + ([time.v1] if hasattr(time, "v1") else [])
        for matrix, gain in gains + [(up, 0.1) for up in ups]:
            gram = matrix @ matrix.T
            torch.testing.assert_close(gram, gain**2 * torch.eye(len(gram)), rtol=0, atol=1e-5)
        for zero in [time.output.weight, channel.value.weight, *downs]:
            assert not zero.any()


def test_a_rank_above_the_width_raises_the_gain() -> None:
    """32 rows of 8 channels: by sqrt(32 / 8)."""
    up = blocks(d_model=8)[0].time_mixing.w2
    torch.testing.assert_close(up.T @ up, 0.04 * torch.eye(8), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("d_model", "ranks"),
    [(32, (32, 32, 32)), (128, (32, 32, 32)), (768, (64, 32, 128)), (2048, (96, 64, 256)), (2560, (96, 64, 320))],
)
def test_ranks(d_model: int, ranks: tuple[int, ...]) -> None:
    """Of w and a, v, g."""
    assert (rank(d_model, 1.8, 0.5), rank(d_model, 1.3, 0.5), rank(d_model, 0.6, 0.8)) == ranks


def random(*shapes: tuple[int, ...], scale: float = 1.0) -> list[Tensor]:
    torch.manual_seed(0)
    return [scale * torch.randn(shape, dtype=torch.float64) for shape in shapes]


X, D = (3, 7, 24), (24,)
PARTS: dict[str, tuple[Callable[..., Any], list[Tensor], dict[str, Any]]] = {
    "shift of one": (token_shift, random(X, (3, 24), (1, 24)), {}),
    "shift of six": (token_shift, random(X, (3, 24), (6, 24)), {}),
    "keys": (keys, random(X, X, X, D, D, D, D), {"n_heads": 3}),
    "saturated keys": (keys, random(X, X, X, D, D, D, D, scale=60.0), {"n_heads": 2}),
    "readout": (readout, random(X, X, X, X, X, (3, 8), D, D), {"eps": 8e-5}),
    "squared ReLU": (squared_relu, random(X), {}),
}


@pytest.mark.parametrize("part", PARTS)
def test_compiled_parts_equal_pytorchs(part: str) -> None:
    """Outputs and gradients; float32 against PyTorch's float64."""
    function, inputs, options = PARTS[part]

    def run(implementation: str, dtype: torch.dtype) -> list[Tensor]:
        leaves = [x.to(dtype).requires_grad_() for x in (y.clone() for y in inputs)]
        result = function(*leaves, **options, implementation=implementation)
        outputs: Sequence[Tensor] = [result] if isinstance(result, Tensor) else list(result)
        assert all(y.dtype == dtype for y in outputs)
        torch.manual_seed(1)
        torch.autograd.backward(outputs, [torch.randn(y.shape, dtype=torch.float64).to(dtype) for y in outputs])
        return [*outputs, *(x.grad for x in leaves if x.grad is not None)]

    expected = run("torch", torch.float64)
    assert len(expected) > len(inputs)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        for actual, value in zip(run("numba", dtype), expected, strict=True):
            assert ((actual - value).abs().max() / value.abs().max()).item() <= tolerance


def test_compiled_parts_pass_nan_on() -> None:
    """A run that diverges must be seen."""
    x = torch.full((1, 2, 4), torch.nan)
    one = torch.ones(4)
    outputs = [*token_shift(x, x[:, 0], one[None], implementation="numba"), squared_relu(x, implementation="numba")]
    outputs += keys(x, x, x, one, one, one, one, n_heads=1, implementation="numba")
    outputs += [readout(x, x, x, x, x, one[None], one, one, eps=1e-5, implementation="numba")]
    assert all(bool(y.isnan().all()) for y in outputs)


def test_a_zero_key_is_left_at_zero() -> None:
    """It has no direction; its gradient is finite."""
    k, zero, one = torch.zeros(1, 1, 4, requires_grad=True), torch.zeros(1, 1, 4), torch.ones(4)
    _, _, minus_kk, kk_a = keys(k, zero, zero, one, one, one, one, n_heads=1, implementation="numba")
    assert not minus_kk.any() and not kk_a.any()
    (minus_kk.sum() + kk_a.sum()).backward()
    assert k.grad is not None
    assert bool(k.grad.isfinite().all())
