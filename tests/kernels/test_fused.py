"""The adapters to the fused kernels against the recurrences run step by step, forward and backward.

On a CUDA device the compiled kernels run; elsewhere Triton's interpreter runs the same kernels on the CPU, which checks
layouts, scaling, masks and gradients, but neither compilation nor the rounding of tensor cores. `make test-kernels`.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.ops.backend import MAX_KEYS
from architectures.ops.cuda import fused
from tests.helpers.kernels import CUDA, DEVICE, harmless_warnings, needs_fla
from tests.oracles.delta_rule import delta_rule

DTYPES = (torch.float32, torch.bfloat16) if CUDA else (torch.float32,)  # the interpreter gets bfloat16 wrong
TOLERANCE = {
    ("cpu", torch.float32): 1e-5,  # sums of up to 128 steps in another order
    ("cuda", torch.float32): 2e-2,  # tensor cores round factors to TF32, 11 bits, at every chunk's products
    ("cuda", torch.bfloat16): 6e-2,  # 8 bits, and states between chunks are stored in them too
    ("cpu", torch.float16): 2e-2,  # 11 bits, as TF32
}
WEAK, STRONG = 0.05, 200.0
"""Largest -log decay a step. Over a chunk of 64 strong decays sum to about -6,400: e^6400 overflows."""

pytestmark = harmless_warnings
Inputs = dict[str, Tensor]
HALF_INPUTS = set("qkvrabxBC")
"""Inputs that autocast leaves in half precision; decays, dt and states stay in float32."""
DECAY_GRADIENTS = {"dlog_alpha", "dlog_w", "ddt", "dA"}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def gated_inputs(length: int, decay: float, batch: int, heads: int, keys: int, values: int) -> Inputs:
    shape = (batch, length, heads)
    return {
        "q": normal(*shape, keys) / 4,
        "k": F.normalize(normal(*shape, keys), dim=-1),
        "v": normal(*shape, values),
        "log_alpha": -decay * normal(*shape).sigmoid(),
        "beta": normal(*shape).sigmoid(),
        "state": normal(batch, heads, keys, values),
    }


def gated_oracle(q: Tensor, k: Tensor, v: Tensor, log_alpha: Tensor, beta: Tensor, state: Tensor | None) -> Any:
    rate = beta[..., None]
    return delta_rule(q, rate * k, v, k, -log_alpha.exp()[..., None] * rate * k, log_alpha[..., None], state)


def rwkv7_inputs(length: int, decay: float, batch: int, heads: int, keys: int, values: int) -> Inputs:
    shape = (batch, length, heads)
    removed = F.normalize(normal(*shape, keys), dim=-1)
    return {
        "r": normal(*shape, keys) / 4,
        "log_w": -decay * normal(*shape, keys).sigmoid(),
        "k": normal(*shape, keys) / 4,
        "v": normal(*shape, values),
        "a": -removed,
        "b": removed * normal(*shape, keys).sigmoid(),
        "state": normal(batch, heads, keys, values),
    }


def rwkv7_oracle(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    return delta_rule(r, k, v, a, b, log_w, state)


def ssd_inputs(length: int, decay: float, batch: int, heads: int, keys: int, values: int) -> Inputs:
    """Two heads share each group, so that a wrong order of the heads in a group shows."""
    shape = (batch, length, 2 * heads)
    return {
        "x": normal(*shape, values),
        "dt": decay**0.5 * (0.1 + normal(*shape).sigmoid()),
        "A": -(decay**0.5) * (0.1 + normal(2 * heads).sigmoid()),
        "B": normal(batch, length, heads, keys) / 4,
        "C": normal(batch, length, heads, keys) / 4,
        "state": normal(batch, 2 * heads, keys, values),
    }


def ssd_oracle(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """The delta rule that removes nothing: a = b = 0."""
    keys, queries = (torch.stack([group, group], dim=3).flatten(2, 3) for group in (B, C))
    nothing = torch.zeros_like(keys)
    return delta_rule(queries, keys, dt[..., None] * x, nothing, nothing, (dt * A)[..., None], state)


OPERATORS: dict[str, tuple[Callable[..., Inputs], Callable[..., Any], Callable[..., Any]]] = {
    "gated_delta_rule": (gated_inputs, fused.gated_delta_rule, gated_oracle),
    "rwkv7": (rwkv7_inputs, fused.rwkv7, rwkv7_oracle),
    "ssd": (ssd_inputs, fused.ssd, ssd_oracle),
}
operators = pytest.mark.parametrize("operator", OPERATORS)


def example(operator: str, length: int, decay: float, *, sizes: tuple[int, int, int, int] = (2, 2, 16, 32)) -> Inputs:
    """Random inputs in float64; all four sizes differ enough for a mistaken layout to fail."""
    torch.manual_seed(length)
    return OPERATORS[operator][0](length, decay, *sizes)


def results(function: Callable[..., Any], inputs: Inputs) -> Inputs:
    """Outputs, final state and every input's gradient, under fixed random gradients of both results."""
    leaves = {name: x.detach().requires_grad_() for name, x in inputs.items()}
    y, state = function(**({"state": None} | leaves))
    torch.manual_seed(1)
    upstream = [normal(*x.shape).to(x) for x in (y, state)]
    gradients = torch.autograd.grad([y, state], list(leaves.values()), upstream)
    return {"y": y, "state": state} | {f"d{name}": x for name, x in zip(leaves, gradients, strict=True)}


def assert_close(actual: Inputs, expected: Inputs, tolerance: float, decay: float) -> None:
    """Largest error of each tensor, relative to its own largest value.

    Under strong decay the decay's own gradient is as good as 0, while the kernels get it as a difference of terms of
    size 10, which Mamba-2 multiplies by dt and A and sums over positions: it is judged relative to that. And the
    kernels subtract sums of log decays, of which float32 keeps a relative 6e-8 of 6,400: by the CPU that interprets
    them, gradients were off by up to 5e-6 or 5e-5.
    """
    if decay >= STRONG:
        tolerance = max(tolerance, 1e-4)
    assert actual.keys() == expected.keys()
    for name, reference in expected.items():
        assert actual[name].shape == reference.shape, name
        least_scale = max(1.0, 5 * decay) if name in DECAY_GRADIENTS else 1e-30
        error = (actual[name].double() - reference).abs().amax() / reference.abs().amax().clamp_min(least_scale)
        assert error.item() <= tolerance, f"{name}: relative error {error.item():.1e}"


def compare(
    operator: str,
    inputs: Inputs,
    dtype: torch.dtype,
    tolerance: float,
    decay: float = WEAK,
    half: set[str] = HALF_INPUTS,
    **options: Any,
) -> Inputs:
    """Run adapter and oracle on the same numbers, rounded to the dtypes that the adapter gets."""
    given = {name: x.to(DEVICE, dtype if name in half else torch.float32) for name, x in inputs.items()}
    _, adapter, oracle = OPERATORS[operator]
    actual = results(lambda **leaves: adapter(**leaves, **options), given)
    assert_close(actual, results(oracle, {name: x.double() for name, x in given.items()}), tolerance, decay)
    return actual


CASES = [  # length, largest -log decay, from a given state, batch and heads; chunks are of 16 and 64 positions
    (1, WEAK, True, (2, 3)),
    (1, STRONG, False, (1, 1)),
    (63, WEAK, False, (1, 1)),
    (64, STRONG, True, (1, 1)),
    (65, WEAK, True, (1, 2)),
    (128, WEAK, False, (1, 1)),
]


@needs_fla
@operators
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("length", "decay", "from_state", "rows"), CASES)
def test_equals_the_recurrence(
    operator: str, dtype: torch.dtype, length: int, decay: float, from_state: bool, rows: tuple[int, int]
) -> None:
    inputs = example(operator, length, decay, sizes=(*rows, 16, 32))
    if not from_state:
        del inputs["state"]
    compare(operator, inputs, dtype, TOLERANCE[DEVICE, dtype], decay)


@needs_fla
@operators
def test_widths_that_no_tile_fits(operator: str) -> None:
    compare(operator, example(operator, 17, WEAK, sizes=(1, 1, 5, 19)), torch.float32, TOLERANCE[DEVICE, torch.float32])


@needs_fla
@operators
def test_half_precision_as_autocast_leaves_it(operator: str) -> None:
    """Only the values in float16 and no input contiguous: outputs in float16, states in float32."""
    inputs = {
        name: x.mT.contiguous().mT if x.dim() > 1 else x
        for name, x in example(operator, 17, WEAK, sizes=(2, 1, 16, 16)).items()
    }
    actual = compare(operator, inputs, torch.float16, TOLERANCE["cpu", torch.float16], half={"v", "x"})
    assert (actual["y"].dtype, actual["state"].dtype) == (torch.float16, torch.float32)


@needs_fla
def test_rwkv7_with_its_bound() -> None:
    """Chunks of 64 as matrix products, which RWKV-7's bounded decay allows; here inputs attain the bound.

    They multiply by both a decay over half a chunk and its inverse, e^20: ten times the error of chunks of 16.
    """
    inputs = example("rwkv7", 65, WEAK, sizes=(1, 2, 16, 32))
    inputs["log_w"] = torch.where(inputs["log_w"] < -WEAK / 2, -0.6065, inputs["log_w"])
    compare("rwkv7", inputs, torch.float32, 10 * TOLERANCE[DEVICE, torch.float32], least_log_w=-0.6066)


@operators
def test_what_does_not_fit(operator: str) -> None:
    """One line that names the option, before any library is imported."""
    _, adapter, _ = OPERATORS[operator]
    with pytest.raises(
        ValueError, match=r"^model\.backend: .* half or single precision, not torch\.float64; use torch$"
    ):
        adapter(**example(operator, 1, WEAK))
    if operator != "ssd":
        wide = example(operator, 1, WEAK, sizes=(1, 1, MAX_KEYS + 1, 8))
        with pytest.raises(ValueError, match=r"^model\.backend: .* at most 256 keys a head, here are 257; .*$"):
            adapter(**{name: x.float() for name, x in wide.items()})
