"""The adapter to Mamba-1's CUDA kernel: its layout, dtypes and scaling.

No interpreter runs that kernel, so that without a CUDA device a stand-in takes its place, written from what mamba_ssm
documents of `selective_scan_fn`; it refuses what the compiled extension refuses. The real one runs where it can.
"""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from architectures.ops import selective as operator
from architectures.ops.backend import MAX_KEYS
from architectures.ops.cuda import fused
from tests.oracles.delta_rule import delta_rule

INTERFACE = "mamba_ssm.ops.selective_scan_interface"
NAMES = ("x", "dt", "A", "B", "C")


def selective_scan_fn(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, *, return_last_state: bool
) -> tuple[Tensor, Tensor]:
    """u, delta (B, D, L), A (D, N), B, C (B, N, L) to out (B, D, L) and the last state (B, D, N), without gradient.

    B and C may be (B, G, N, L): one of each of G groups of channels.
    """
    assert return_last_state
    n_sequences, n_channels, length = u.shape
    n_states = A.shape[1]
    assert A.dtype == torch.float32
    assert A.shape == (n_channels, n_states)
    assert delta.shape == u.shape
    if B.dim() == 3:
        B, C = B[:, None], C[:, None]
    n_groups = B.shape[1]
    assert B.shape == C.shape == (n_sequences, n_groups, n_states, length)
    assert n_channels % n_groups == 0
    assert u.dtype == delta.dtype == B.dtype == C.dtype
    assert all(tensor.is_contiguous() for tensor in (u, delta, A, B, C))
    B, C = (part.repeat_interleave(n_channels // n_groups, dim=1) for part in (B, C))
    state = torch.zeros(n_sequences, n_channels, n_states)
    outputs = []
    for t in range(length):
        step = delta[:, :, t, None].float()
        state = torch.exp(step * A) * state + step * u[:, :, t, None] * B[..., t]
        outputs.append((state * C[..., t]).sum(-1))
    return torch.stack(outputs, dim=-1).to(u.dtype), state


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the adapter's import find the function above."""
    for name in ("mamba_ssm", "mamba_ssm.ops", INTERFACE):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules[INTERFACE], "selective_scan_fn", selective_scan_fn, raising=False)


def oracle(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """The delta rule that removes nothing: every channel is a head of N keys and one value."""
    queries, keys = (shared[:, :, None].expand(*x.shape, -1) for shared in (C, B))
    nothing = torch.zeros_like(keys)
    y, state = delta_rule(queries, keys, (dt * x)[..., None], nothing, nothing, dt[..., None] * A)
    return y.squeeze(-1), state.squeeze(-1).mT


def example(length: int, *, decay: float = 0.1, states: int = 3) -> list[Tensor]:
    """x, dt, A, B, C in float64, five channels; B and C are views into one tensor, as in the model."""
    torch.manual_seed(length)
    x, dt, both = (torch.randn(2, length, n, dtype=torch.float64) for n in (5, 5, 2 * states))
    return [x, F.softplus(dt), -decay * torch.rand(5, states, dtype=torch.float64), *both.chunk(2, dim=-1)]


def results(scan: Callable[..., Any], inputs: list[Tensor]) -> dict[str, Tensor]:
    """Outputs, final state, and every input's gradient under fixed random gradients of the outputs."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    y, state = scan(*leaves)
    torch.manual_seed(1)
    gradients = torch.autograd.grad(y, leaves, torch.randn(y.shape, dtype=torch.float64).to(y))
    return {"y": y, "state": state} | {f"d{name}": x for name, x in zip(NAMES, gradients, strict=True)}


def compare(inputs: list[Tensor], tolerance: float) -> dict[str, Tensor]:
    actual = results(fused.selective_scan, inputs)
    for name, reference in results(oracle, [tensor.double() for tensor in inputs]).items():
        assert actual[name].shape == reference.shape, name
        error = ((actual[name].double() - reference).abs().amax() / reference.abs().amax().clamp_min(1e-30)).item()
        assert error <= tolerance, f"{name}: relative error {error:.1e}"
    return actual


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(("length", "decay"), [(1, 0.1), (65, 0.1), (65, 20.0)])
def test_layout_and_scaling(length: int, decay: float) -> None:
    """float32: sums of up to 65 steps in another order."""
    actual = compare([tensor.float() for tensor in example(length, decay=decay)], 1e-5)
    assert not actual["state"].requires_grad


@pytest.mark.usefixtures("stand_in")
def test_half_precision_as_autocast_leaves_it() -> None:
    """Half x, B and C beside float32 dt and A: the kernel takes one dtype, bfloat16 with 8 bits, but A in float32."""
    x, dt, A, B, C = example(65)
    actual = compare([x.bfloat16(), dt.float(), A.float(), B.bfloat16(), C.bfloat16()], 3e-2)
    assert (actual["y"].dtype, actual["state"].dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.usefixtures("stand_in")
def test_seeds_are_groups_of_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seeds in a map make one call of the kernel, and get the results and gradients of calls of their own."""
    shapes: list[tuple[torch.Size, ...]] = []

    def counted(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, **options: Any) -> Any:
        shapes.append((u.shape, B.shape))
        return selective_scan_fn(u, delta, A, B, C, **options)

    monkeypatch.setattr(sys.modules[INTERFACE], "selective_scan_fn", counted)
    torch.manual_seed(0)
    shape, n_states = (3, 2, 17, 5), 4
    sizes = {"x": shape, "dt": shape, "A": (3, 5, n_states), "B": (*shape[:3], n_states), "C": (*shape[:3], n_states)}
    leaves = {name: torch.randn(size, requires_grad=True) for name, size in (sizes | {"D": (3, 5), "z": shape}).items()}

    def scan(each: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        A = -each["A"].abs()
        return operator.selective_scan(**{**each, "A": A}, implementation="mamba_ssm")

    def with_gradients(y: Tensor, state: Tensor) -> list[Tensor]:
        torch.manual_seed(1)
        return [y, state, *torch.autograd.grad(y, list(leaves.values()), torch.randn(y.shape))]

    at_once = with_gradients(*vmap(scan)(leaves))
    assert shapes == [((2, 15, 17), (2, 3, n_states, 17))]
    alone = zip(*(scan({name: x[e] for name, x in leaves.items()}) for e in range(3)), strict=True)
    for one, other in zip(at_once, with_gradients(*map(torch.stack, alone)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)  # float32, sums in another order


@pytest.mark.skipif(not torch.cuda.is_available() or find_spec("mamba_ssm") is None, reason="needs mamba_ssm and CUDA")
@pytest.mark.parametrize("length", [1, 64, 65, 128])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 5e-2)])
def test_compiled_kernel(length: int, dtype: torch.dtype, tolerance: float) -> None:
    """Its float32 has no TF32, but approximate exponentials; bfloat16 has 8 bits."""
    x, dt, A, B, C = (tensor.cuda() for tensor in example(length, states=16))
    compare([x.to(dtype), dt.float(), A.float(), B.to(dtype), C.to(dtype)], tolerance)


def test_what_does_not_fit() -> None:
    """One line that names the option, before any library is imported."""
    with pytest.raises(
        ValueError, match=r"^model\.backend: .* half or single precision, not torch\.float64; use torch$"
    ):
        fused.selective_scan(*example(1))
    wide = [tensor.float() for tensor in example(1, states=MAX_KEYS + 1)]
    with pytest.raises(ValueError, match=r"^model\.backend: .* at most 256 states a channel, here are 257; .*$"):
        fused.selective_scan(*wide)
