"""Our own implementations held against fla: its reference of the gated delta rule, and whole models on its kernels."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from architectures import SequenceModel
from architectures.gated_deltanet import GatedDeltaNet, gated_delta_rule
from architectures.mamba2 import Mamba2
from architectures.ops import backend
from architectures.ops.mlstm import mlstm
from architectures.rwkv import RWKV
from architectures.xlstm import XLSTM
from tests.helpers.kernels import CUDA, harmless_warnings, needs_fla
from tests.oracles import xlstm

pytestmark = [needs_fla, *harmless_warnings]


def assert_close(actual: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert actual.keys() == expected.keys()
    for name, reference in expected.items():
        error = ((actual[name] - reference).abs().amax() / reference.abs().amax().clamp_min(1e-30)).item()
        assert error <= tolerance, f"{name}: relative error {error:.1e}"


@pytest.mark.parametrize("implementation", ["torch", "numba"])
@pytest.mark.parametrize(("length", "decay"), [(1, 0.05), (65, 0.05), (65, 20.0), (128, 0.05)])
def test_fla_reference_of_the_gated_delta_rule(implementation: str, length: int, decay: float) -> None:
    """fla's loop over positions in plain PyTorch; in float32, hence 1e-5."""
    from fla.ops.gated_delta_rule.naive import naive_recurrent_gated_delta_rule

    torch.manual_seed(length)
    q, k, v = (torch.randn(2, length, 3, width) for width in (8, 8, 16))
    log_alpha, beta = -decay * torch.rand(2, length, 3), torch.rand(2, length, 3)
    inputs = {"q": q, "k": F.normalize(k, dim=-1), "v": v, "log_alpha": log_alpha, "beta": beta}
    inputs["state"] = torch.randn(2, 3, 8, 16)
    upstream = [torch.randn(2, length, 3, 16), torch.randn(2, 3, 8, 16)]

    def results(ours: bool) -> dict[str, Tensor]:
        leaves = {name: x.clone().requires_grad_() for name, x in inputs.items()}
        q, k, v, log_alpha, beta, state = leaves.values()
        if ours:
            outputs = gated_delta_rule(q, k, v, log_alpha, beta, state, implementation=implementation)
        else:
            outputs = naive_recurrent_gated_delta_rule(
                q, k, v, beta, log_alpha, scale=1.0, initial_state=state, output_final_state=True
            )
        gradients = torch.autograd.grad(outputs, list(leaves.values()), upstream)
        named = {f"d{name}": x for name, x in zip(leaves, gradients, strict=True)}
        return {"y": outputs[0], "state": outputs[1]} | named

    assert_close(results(ours=True), results(ours=False), 1e-5)


@pytest.mark.parametrize(("length", "spread"), [(1, 1.0), (65, 1.0), (128, 15.0)])
def test_mlstm_on_the_kernel_of_the_state_space_dual(length: int, spread: float) -> None:
    """Against the recurrence in float64, its scale moving from step to step; in two calls, memory between them."""
    torch.manual_seed(length)
    device = torch.device("cuda" if CUDA else "cpu")
    q, k, v = (torch.randn(2, length, 2, width, device=device) for width in (16, 16, 32))
    gates = [spread * torch.randn(2, length, 2, device=device) for _ in range(2)]
    inputs, upstream = [q / 4, k, v, *gates], torch.randn(2, length, 2, 32, device=device)

    def results(doubled: bool) -> dict[str, Tensor]:
        leaves = [(x.double() if doubled else x).clone().requires_grad_() for x in inputs]
        if doubled:
            h = xlstm.mlstm(*leaves)
        else:
            half = (length + 1) // 2
            first, *memory = mlstm(*(x[:, :half] for x in leaves), implementation="fla")
            rest = [x[:, half:] for x in leaves]
            h = torch.cat([first, mlstm(*rest, *memory, implementation="fla")[0]], 1) if length > 1 else first
        gradients = torch.autograd.grad(h, leaves, upstream.to(h))
        return {"h": h} | dict(zip(("dq", "dk", "dv", "dinput_gate", "dforget_gate"), gradients, strict=True))

    assert_close(results(doubled=False), results(doubled=True), 5e-2 if CUDA else 1e-3 if spread > 1 else 2e-5)


MODELS: list[tuple[type[Any], dict[str, Any]]] = [
    (GatedDeltaNet, {"n_heads": 2, "head_dim": 16, "expand_v": 1}),
    (RWKV, {"head_dim": 16}),
    (Mamba2, {"d_state": 16, "head_dim": 16, "n_groups": 2}),
    (XLSTM, {"n_heads": 2, "slstm_every": 0}),
]


@pytest.mark.parametrize(("cls", "options"), MODELS, ids=[cls.__name__ for cls, _ in MODELS])
def test_models_on_the_kernels(cls: type[Any], options: dict[str, Any], monkeypatch: Any) -> None:
    """Logits of a sequence and of one more token, and every parameter's gradient, as on plain PyTorch."""
    torch.manual_seed(0)
    device = torch.device("cuda" if CUDA else "cpu")
    model: SequenceModel = cls(5, 21, d_model=32, backend="torch", **options).to(device)
    with torch.no_grad():
        for parameter in model.parameters():  # some start at zero, where nothing of the recurrence would reach the loss
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    tokens = torch.randint(5, (2, 21), device=device)

    def results(model: SequenceModel) -> dict[str, Tensor]:
        logits, state = model.scan(tokens[:, :20], model.initial_state(2))
        last, _ = model.step(tokens[:, 20], state)
        logits = torch.cat([logits, last[:, None]], dim=1)
        torch.manual_seed(1)
        (logits * torch.randn_like(logits)).sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        assert len(gradients) == len(list(model.parameters()))
        return {"logits": logits} | gradients

    expected = results(copy.deepcopy(model))
    monkeypatch.setattr(backend, "choose", lambda *args, **kwargs: "fla")
    assert model.backend == "fla"
    # float32 on both sides, and norms amplify its rounding up to 1e-4; on CUDA the kernels multiply in TF32, 11 bits
    assert_close(results(model), expected, 5e-2 if CUDA else 1e-3)
