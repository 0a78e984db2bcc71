"""The adapters to fla's kernels inside a map over seeds: one call on plain tensors that hold all seeds."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from architectures.ops.cuda import fused
from tests.helpers.kernels import DEVICE, harmless_warnings, needs_fla

pytestmark = [needs_fla, *harmless_warnings]

E, B, L, H, G, K, V = 2, 1, 3, 2, 1, 16, 16
"""Seeds, sequences, positions, heads, groups, keys, values: small, since the interpreter is slow."""
KEYS, NUMBERS = (B, L, 1, K), (B, L, 1)
OPERATORS: dict[str, tuple[str, str, dict[str, tuple[int, ...]]]] = {
    "gated_delta_rule": (
        "fla.ops.gated_delta_rule",
        "chunk_gated_delta_rule",
        {"q": KEYS, "k": KEYS, "v": (B, L, 1, V), "log_alpha": NUMBERS, "beta": NUMBERS, "state": (B, 1, K, V)},
    ),
    "rwkv7": (
        "fla.ops.rwkv7",
        "chunk_rwkv7",
        {"r": KEYS, "log_w": KEYS, "k": KEYS, "v": (B, L, 1, V), "a": KEYS, "b": KEYS, "state": (B, 1, K, V)},
    ),
    "ssd": (
        "fla.ops.simple_gla",
        "chunk_simple_gla",
        {
            "x": (B, L, H, V), "dt": (B, L, H), "A": (H,), "B": (B, L, G, K), "C": (B, L, G, K), "state": (B, H, K, V),
        },
    ),
}  # fmt: skip


def value(name: str, shape: tuple[int, ...]) -> Tensor:
    """Decays below 0, rates and steps from 0 to 1, keys short enough for the state not to grow."""
    x = torch.randn(shape, device=DEVICE)
    if name in ("A", "log_w", "log_alpha"):
        return -0.1 - x.abs() / 4
    return x.sigmoid() if name in ("dt", "beta") else x / 4


@pytest.mark.parametrize("operator", OPERATORS)
def test_one_call_and_the_results_of_one_a_seed(operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, shapes = OPERATORS[operator]
    adapter: Callable[..., tuple[Tensor, Tensor]] = getattr(fused, operator)
    kernel, batches = getattr(sys.modules[module], name), []

    def counted(*args: Any, **options: Any) -> Any:
        given = [x for x in (*args, *options.values()) if isinstance(x, Tensor)]
        assert not any(map(torch._C._functorch.is_batchedtensor, given))
        batches.append({len(x) for x in given})
        return kernel(*args, **options)

    monkeypatch.setattr(sys.modules[module], name, counted)
    torch.manual_seed(0)
    leaves = {name: value(name, (E, *shape)).requires_grad_() for name, shape in shapes.items()}

    def with_gradients(outputs: Any) -> dict[str, Tensor]:
        torch.manual_seed(1)
        upstream = [torch.randn(x.shape, device=DEVICE) for x in outputs]
        gradients = torch.autograd.grad(outputs, list(leaves.values()), upstream)
        return dict(zip(["y", "final", *leaves], [*outputs, *gradients], strict=True))

    at_once = with_gradients(vmap(lambda each: adapter(**each))(leaves))
    assert batches == [{E * B}]
    runs = [adapter(**{name: x[e] for name, x in leaves.items()}) for e in range(E)]
    alone = with_gradients([torch.stack(parts) for parts in zip(*runs, strict=True)])
    for name, expected in alone.items():
        error = ((at_once[name] - expected).abs().amax() / expected.abs().amax()).item()
        assert error < 1e-5, f"{name}: relative error {error:.1e}"  # the same kernel; only sums over sequences differ
