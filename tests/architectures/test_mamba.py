"""Mamba against transformers' MambaMixer with the same weights; initial values, parameters, streaming, errors."""

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from architectures.mamba import Mamba, MambaBlock
from architectures.ops import backend
from benchmark.contract import random_tokens, varied

D, V = 24, 5


def block_of(model: Mamba, layer: int = 0) -> MambaBlock:
    block = model.blocks[layer]
    assert isinstance(block, MambaBlock)
    return block


def public_block(block: MambaBlock, **options: Any) -> tuple[nn.Module, nn.Module]:
    """Norm and mixer of transformers with the weights of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transformers and what it imports
        from transformers import MambaConfig
        from transformers.models.mamba.modeling_mamba import MambaMixer, MambaRMSNorm
    config = MambaConfig(hidden_size=D, num_hidden_layers=1, use_associative_scan=False, **options)
    norm, mixer = MambaRMSNorm(D, eps=config.layer_norm_epsilon), MambaMixer(config, 0)
    norm.load_state_dict(block.norm.state_dict())
    mixer.load_state_dict(
        {
            "in_proj.weight": torch.cat([block.in_proj.weight, block.gate_proj.weight]),
            "conv1d.weight": block.conv_weight[:, None],
            "conv1d.bias": block.conv_bias,
            "x_proj.weight": block.x_proj.weight,
            "dt_proj.weight": block.dt_proj.weight,
            "dt_proj.bias": block.dt_proj.bias,
            "A_log": block.A_log,
            "D": block.skip,
            "out_proj.weight": block.out_proj.weight,
        }
    )
    return norm, mixer


def assert_close(name: str, actual: Tensor | None, expected: Tensor | None) -> None:
    """float32: sums of up to 127 terms in another order."""
    assert actual is not None
    assert expected is not None
    error = ((actual - expected).abs().amax() / expected.abs().amax().clamp_min(1e-30)).item()
    assert error <= 1e-5, f"{name}: relative error {error:.1e}"


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["auto", "torch"])
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 127, 200])
def test_equals_the_mixer_of_transformers(implementation: Any, length: int) -> None:
    """The whole block, forward and the gradients of the input and of all weights, batch 1 and 3."""
    torch.manual_seed(length)
    model = Mamba(V, 512, d_model=D, d_state=4, backend=implementation)
    with torch.no_grad():
        for parameter in model.parameters():  # off its initial values, where many weights are equal
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    block = block_of(model)
    for batch in (1, 3):
        norm, mixer = public_block(block, state_size=4)
        x = torch.randn(batch, length, D, requires_grad=True)
        theirs = x.detach().clone().requires_grad_()
        y, expected = block(x), theirs + mixer(norm(theirs))
        assert_close("y", y, expected)
        upstream = torch.randn_like(y)
        block.zero_grad()
        y.backward(upstream)
        expected.backward(upstream)

        assert_close("x", x.grad, theirs.grad)
        both = torch.cat([block.get_parameter(f"{name}.weight").grad for name in ("in_proj", "gate_proj")])  # type: ignore[misc]
        assert_close("in_proj, gate_proj", both, mixer.get_parameter("in_proj.weight").grad)
        assert_close("norm", block.norm.weight.grad, norm.get_parameter("weight").grad)
        assert_close("convolution", block.conv_weight.grad, mixer.get_parameter("conv1d.weight").grad[:, 0])  # type: ignore[index]
        assert_close("convolution bias", block.conv_bias.grad, mixer.get_parameter("conv1d.bias").grad)
        assert_close("skip", block.skip.grad, mixer.get_parameter("D").grad)
        for name in ("x_proj.weight", "dt_proj.weight", "dt_proj.bias", "A_log", "out_proj.weight"):
            assert_close(name, block.get_parameter(name).grad, mixer.get_parameter(name).grad)


@pytest.mark.parametrize("options", [{"d_conv": 1}, {"d_conv": 7, "d_state": 3}, {"expand": 1}, {"dt_rank": 5}])
def test_implementations_agree_in_every_shape(options: dict[str, Any]) -> None:
    models = [varied(Mamba, V, 40, backend=name, **options) for name in ("auto", "torch")]
    models[1].load_state_dict(models[0].state_dict())
    tokens = random_tokens(V, 2, 40)
    torch.testing.assert_close(models[0](tokens), models[1](tokens), rtol=1e-10, atol=1e-10)


def test_initial_values() -> None:
    """Those of the authors' code, by their distributions: 1,024 channels, so that ends are reached within 2 %."""
    torch.manual_seed(0)
    model = Mamba(V, 9, d_model=512, n_layers=4)
    block = block_of(model, 2)
    logarithms = torch.tensor([math.log(n) for n in range(1, 17)]).expand(1024, 16)
    # PyTorch's logarithm and the C library's may round apart: a few units in the last place of float32.
    torch.testing.assert_close(block.A_log.detach(), logarithms, rtol=1e-6, atol=0)
    assert bool((block.skip == 1).all())
    log_delta = nn.functional.softplus(block.dt_proj.bias).log10()  # uniform between -3 and -1
    assert -3.0001 < log_delta.min() < -2.98 < -1.02 < log_delta.max() < -0.9999
    assert abs(log_delta.mean() + 2) < 4 * 2 / math.sqrt(12 * 1024)
    for weight, bound in (
        (block.dt_proj.weight, 32**-0.5),
        (block.in_proj.weight, 512**-0.5),
        (block.gate_proj.weight, 512**-0.5),
        (block.x_proj.weight, 1024**-0.5),
        (block.out_proj.weight, 1024**-0.5 / 2),  # divided by the square root of 4 layers
        (block.conv_weight, 0.5),
        (block.conv_bias, 0.5),
    ):
        assert 0.98 * bound < weight.abs().max() <= bound * (1 + 1e-6)
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.06)


def test_initial_values_are_those_of_transformers() -> None:
    """The parts that it sets when a mixer is built; dt_proj is random, so by its range."""
    block = block_of(Mamba(V, 9, d_model=D))
    _, copied = public_block(block)
    ours = {name: value.clone() for name, value in copied.named_parameters()}
    copied.init_mamba_weights()  # type: ignore[operator]
    for name in ("A_log", "D"):
        torch.testing.assert_close(ours[name], copied.get_parameter(name))
    for name in ("dt_proj.weight", "dt_proj.bias"):
        theirs = copied.get_parameter(name)
        assert abs(ours[name].mean() - theirs.mean()) < 4 * theirs.std() * (2 / theirs.numel()) ** 0.5


@pytest.mark.parametrize(
    ("v", "length", "d", "n", "states", "width", "expand", "rank"),
    [(2, 31, 128, 1, 16, 4, 2, "auto"), (4, 255, 40, 3, 8, 3, 1, "auto"), (3, 5, 6, 2, 5, 1, 3, 7)],
)
@pytest.mark.parametrize("positions", ["learned", "none"])
def test_parameter_count(
    positions: Any, v: int, length: int, d: int, n: int, states: int, width: int, expand: int, rank: Any
) -> None:
    """Shapes of arXiv 2312.00752, figure 3, D = expand d_model and R = d_model / 16, rounded up.

    3 D d_model of projections, D (R + 2 N) and R D + D to the scan's inputs, D W + D, D N, D, and a norm.
    """
    inner, r = expand * d, -(-d // 16) if rank == "auto" else rank
    block = (
        3 * inner * d + inner * (r + 2 * states) + r * inner + inner + inner * (width + 1) + inner * (states + 1) + d
    )
    expected = 2 * v * d + (length * d if positions == "learned" else 0) + n * block + 2 * d
    options = {"d_state": states, "d_conv": width, "expand": expand, "dt_rank": rank, "positions": positions}
    model = Mamba(v, length, d_model=d, n_layers=n, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_state_bytes() -> None:
    """A sequence and layer, float32: 3 inputs of the convolution and 16 states for each of 256 channels."""
    assert Mamba(V, 9, d_model=128, n_layers=3).state_bytes == 3 * (3 + 16) * 256 * 4


def test_backend_says_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Mamba(V, 9, d_model=D).backend == "numba"
    assert Mamba(V, 9, d_model=D, backend="torch").backend == "torch"
    monkeypatch.setattr(backend, "compiles", lambda: False)
    model = Mamba(V, 9, d_model=D)
    assert model.backend == "torch"
    assert model(torch.zeros(1, 4, dtype=torch.int64)).isfinite().all()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"d_model": 0}, ["model.d_model", "1", "0"]),
        ({"n_layers": 0}, ["model.n_layers", "1", "0"]),
        ({"d_state": 0}, ["model.d_state", "1", "0"]),
        ({"d_conv": -1}, ["model.d_conv", "1", "-1"]),
        ({"expand": 0}, ["model.expand", "1", "0"]),
        ({"dt_rank": 0}, ["model.dt_rank", "1", "0"]),
        ({"dt_rank": "half"}, ["model.dt_rank", "1"]),
        ({"positions": "rotary"}, ["model.positions", "'rotary'"]),
        ({"backend": "cuda"}, ["model.backend", "'cuda'"]),
    ],
)
def test_errors(options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        Mamba(**{"vocab_size": 2, "seq_len": 7, **options})
    assert all(name in str(error.value) for name in named)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here fused kernels may run")
def test_fused_needs_a_device() -> None:
    with pytest.raises(ValueError, match="needs a CUDA device and mamba_ssm .pip install"):
        Mamba(2, 7, backend="fused")
