"""The short convolution in each of its implementations against a sum written out position by position."""

import pytest
import torch
from torch import Tensor

from architectures.ops.convolution import short_convolution

IMPLEMENTATIONS = ("torch", "numba")
# float32: sums of five terms and one exponential; float64 differs in the order of the sums only.
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-13}


def oracle(x: Tensor, weight: Tensor, bias: Tensor | None = None, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    width = weight.shape[1]
    past = x.new_zeros(x.shape[0], width - 1, x.shape[2]) if state is None else state
    inputs, outputs = [*past.unbind(1), *x.unbind(1)], []
    for t in range(x.shape[1]):
        z = sum(weight[:, i] * inputs[t + i] for i in range(width)) + (0 if bias is None else bias)
        assert isinstance(z, Tensor)
        outputs.append(z * torch.sigmoid(z))
    return torch.stack(outputs, 1), torch.stack(inputs[len(inputs) - (width - 1) :], 1)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("given", ["nothing", "bias", "state", "bias and state"])
@pytest.mark.parametrize("length", [1, 2, 3, 65])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_equals_the_sum(implementation: str, length: int, given: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {"x": (3, length, 7), "weight": (7, 4), "bias": (7,), "state": (3, 3, 7)}
    inputs = {
        name: torch.randn(shape, dtype=torch.float64, generator=generator)
        for name, shape in shapes.items()
        if name in ("x", "weight") or name in given
    }
    upstream = [torch.randn(3, n, 7, dtype=torch.float64, generator=generator) for n in (length, 3)]
    found = []
    for convolve, options, kind in (
        (oracle, {}, torch.float64),
        (short_convolution, {"implementation": implementation}, dtype),
    ):
        leaves = {name: x.to(kind).requires_grad_() for name, x in inputs.items()}
        y, state = convolve(**leaves, **options)  # type: ignore[arg-type]
        gradients = torch.autograd.grad([y, state], list(leaves.values()), [x.to(kind) for x in upstream])
        found.append([y, state, *gradients])
    for expected, actual in zip(*found, strict=True):
        error = ((actual - expected).abs().amax() / expected.abs().amax()).item()
        assert error <= TOLERANCE[dtype]
