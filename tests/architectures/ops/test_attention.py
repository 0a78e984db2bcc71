"""Compiled attention over short sequences against plain softmax attention in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from architectures.ops.attention import short_attention


def oracle(qkv: Tensor, bias: Tensor | None, n_heads: int) -> Tensor:
    """Query by query, over the keys that it may see."""
    batch, length, channels = qkv.shape
    width = channels // 3 // n_heads
    q, k, v = qkv.view(batch, length, 3, n_heads, width).unbind(2)
    outputs = []
    for i in range(length):
        logits = torch.einsum("bhc,bjhc->bhj", q[:, i], k[:, : i + 1]) / math.sqrt(width)
        p = (logits if bias is None else logits + bias[:, :, i, : i + 1]).softmax(-1)
        outputs.append(torch.einsum("bhj,bjhc->bhc", p, v[:, : i + 1]).flatten(1))
    return torch.stack(outputs, dim=1)


def results(attend: Callable[..., Tensor], inputs: list[Tensor], dtype: torch.dtype, heads: int) -> list[Tensor]:
    """y and the gradients of all inputs under a fixed weighting of it."""
    leaves = [x.to(dtype).requires_grad_() for x in inputs]
    y = attend(leaves[0], leaves[1] if len(leaves) > 1 else None, n_heads=heads)
    torch.manual_seed(1)
    return [y, *torch.autograd.grad((y * torch.randn(y.shape, dtype=torch.float64)).sum(), leaves)]


@pytest.mark.slow
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize(
    ("batch", "length", "heads", "width"),
    [(1, 1, 1, 1), (2, 2, 3, 3), (3, 15, 2, 4), (1, 31, 1, 8), (2, 64, 2, 5), (1, 127, 1, 7), (1, 130, 2, 16)],
)
def test_forward_and_gradients(batch: int, length: int, heads: int, width: int, scale: float, biased: bool) -> None:
    """With queries 30 times as large nearly all attention is on one key."""
    torch.manual_seed(length)
    qkv = torch.randn(batch, length, 3 * heads * width, dtype=torch.float64)
    qkv[..., : heads * width] *= scale
    inputs = [qkv, *([3 * torch.randn(batch, heads, length, length, dtype=torch.float64)] if biased else [])]
    expected = results(oracle, inputs, torch.float64, heads)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6 * scale + 1e-5)):
        for x, reference in zip(results(short_attention, inputs, dtype, heads), expected, strict=True):
            assert x.dtype == dtype
            assert ((x - reference).abs().max() <= tolerance * reference.abs().max().clamp_min(1.0)).item()


def test_a_bias_of_minus_infinity_hides_a_key() -> None:
    qkv = torch.randn(2, 9, 24)
    bias = torch.zeros(2, 2, 9, 9)
    bias[..., 1:, 0] = -math.inf
    hidden = short_attention(qkv, bias, n_heads=2)
    qkv[:, 0, 16:] = 1e6  # the value at the first position
    assert torch.equal(short_attention(qkv, bias, n_heads=2)[:, 1:], hidden[:, 1:])


@pytest.mark.parametrize("place", [0, 8, 16])  # of a query, a key, a value
def test_not_a_number_is_passed_on(place: int) -> None:
    """A run that diverges must be seen to do so; earlier positions do not look there."""
    qkv = torch.randn(1, 9, 24)
    qkv[0, 4, place] = math.nan
    y = short_attention(qkv, n_heads=2)
    assert y[0, 4, :4].isnan().any()
    assert not y[0, :4].isnan().any()


@pytest.mark.parametrize("biased", [False, True])
def test_many_seeds_in_a_map_are_each_seed_alone(biased: bool) -> None:
    qkv, bias = torch.randn(3, 2, 7, 24), torch.randn(3, 2, 2, 7, 7)
    if biased:
        actual = vmap(lambda x, b: short_attention(x, b, n_heads=2))(qkv, bias)
        expected = [short_attention(x, b, n_heads=2) for x, b in zip(qkv, bias, strict=True)]
    else:
        actual = vmap(lambda x: short_attention(x, n_heads=2))(qkv)
        expected = [short_attention(x, n_heads=2) for x in qkv]
    assert torch.equal(actual, torch.stack(expected))


def test_half_precision_is_computed_in_float32() -> None:
    qkv = torch.randn(2, 9, 24)
    low = short_attention(qkv.bfloat16(), n_heads=2)
    assert low.dtype == torch.bfloat16
    assert torch.equal(low, short_attention(qkv.bfloat16().float(), n_heads=2).bfloat16())
