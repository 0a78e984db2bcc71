"""Mamba-2: its mixer against transformers', initial values, sizes, errors."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.mamba2 import Mamba2, Mamba2Block
from architectures.ops.backend import Backend
from benchmark.contract import CHECKS, Check, random_tokens

# Our names of the parameters that both have; the convolution's weight is (D, 1, W) there.
THEIRS = {
    "in_proj.weight": "in_proj.weight",
    "conv_weight": "conv1d.weight",
    "conv_bias": "conv1d.bias",
    "dt_bias": "dt_bias",
    "A_log": "A_log",
    "D": "D",
    "gated_norm_weight": "norm.weight",
    "out_proj.weight": "out_proj.weight",
}


def build_block(
    d_model: int = 16, d_state: int = 8, head_dim: int = 4, n_groups: int = 2, backend: Backend = "auto"
) -> Mamba2Block:
    torch.manual_seed(0)
    block = Mamba2Block(
        d_model,
        n_layers=1,
        d_state=d_state,
        d_conv=4,
        expand=2,
        head_dim=head_dim,
        n_groups=n_groups,
        backend=backend,
    )
    with torch.no_grad():
        for parameter in block.parameters():  # off their initial values, where norms and D would hide mistakes
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return block


def their_mixer(block: Mamba2Block) -> nn.Module:
    """transformers' mixer with the weights of ours."""
    from transformers import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    config = Mamba2Config(
        hidden_size=block.in_proj.in_features,
        state_size=block.d_state,
        head_dim=block.head_dim,
        num_heads=len(block.D),
        n_groups=block.n_groups,
        conv_kernel=block.conv_weight.shape[1],
        expand=2,
        use_bias=False,
        use_conv_bias=True,
        layer_norm_epsilon=1e-5,
        chunk_size=32,
        num_hidden_layers=1,
        vocab_size=2,
    )
    mixer = Mamba2Mixer(config, 0)
    ours = dict(block.named_parameters())
    mixer.load_state_dict(
        {other: ours[name].detach().reshape(mixer.get_parameter(other).shape) for name, other in THEIRS.items()}
    )
    return mixer


def relative_error(actual: Tensor | None, expected: Tensor | None) -> float:
    assert actual is not None
    assert expected is not None
    if not expected.any():  # of A, on which nothing depends at L = 1
        return math.inf if actual.any() else 0.0
    return ((actual - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("n_groups", [1, 2])
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 2), (1, 63), (3, 64), (3, 65), (1, 127), (1, 200)])
def test_equals_the_mixer_of_transformers(batch: int, length: int, n_groups: int, backend: Backend) -> None:
    """Forward and every gradient in float32, the only precision that theirs computes in."""
    block = build_block(n_groups=n_groups, backend=backend)
    mixer = their_mixer(block).eval()  # in training mode it would ask for kernels first
    x = torch.randn(batch, length, 16)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    actual = block(ours)
    normed = theirs * (theirs.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * block.norm.weight.detach()
    expected = theirs + mixer(normed)
    weight = torch.randn_like(actual)
    (actual * weight).sum().backward()
    (expected * weight).sum().backward()
    assert relative_error(actual, expected) <= 1e-5
    assert relative_error(ours.grad, theirs.grad) <= 1e-5
    for name, other in THEIRS.items():
        gradient = mixer.get_parameter(other).grad
        assert gradient is not None
        mine = block.get_parameter(name).grad
        assert mine is not None
        assert relative_error(mine, gradient.view_as(mine)) <= 1e-5, name


def test_initial_values() -> None:
    """Of the authors' code; 2,048 heads, so that a mean and both ends show which distribution it is."""
    torch.manual_seed(0)
    block = Mamba2(2, 3, d_model=1024, n_layers=1, expand=2, head_dim=1, d_state=1).blocks[0]
    assert isinstance(block, Mamba2Block)
    with torch.no_grad():
        A, log_dt = block.A_log.exp(), F.softplus(block.dt_bias).log()
        uniform = (A - 1) / 15
        log_uniform = (log_dt - math.log(0.001)) / math.log(100)
        for sample in (uniform, log_uniform):
            assert len(sample) == 2048
            assert -1e-4 <= sample.min() < 0.01
            assert 0.99 < sample.max() <= 1 + 1e-4
            assert abs(sample.mean() - 0.5) < 5 * 12**-0.5 / 2048**0.5
            assert abs(sample.std() - 12**-0.5) < 0.01
        assert (block.D == 1).all()
        assert (block.norm.weight == 1).all()
        assert (block.gated_norm_weight == 1).all()


@pytest.mark.parametrize("n_layers", [1, 4])
def test_initial_scale_of_weights(n_layers: int) -> None:
    """PyTorch's uniform in +-1/sqrt(inputs); what writes to the residual stream is divided by sqrt(n_layers)."""
    torch.manual_seed(0)
    model = Mamba2(2, 3, d_model=128, n_layers=n_layers)
    bounds = {"in_proj.weight": 128**-0.5, "conv_weight": 0.5, "conv_bias": 0.5}
    for block in model.blocks:
        for name, bound in (bounds | {"out_proj.weight": (256 * n_layers) ** -0.5}).items():
            parameter = block.get_parameter(name)
            assert 0.98 * bound < parameter.abs().max() <= bound * (1 + 1e-6), name
            assert abs(parameter.std() / (bound * 3**-0.5) - 1) < 0.1, name


@pytest.mark.parametrize(
    ("v", "length", "d", "n", "s", "w", "e", "p", "g"),
    [(2, 31, 128, 1, 64, 4, 2, 64, 1), (4, 255, 48, 3, 16, 3, 3, 12, 4), (3, 5, 6, 2, 1, 1, 1, 2, 3)],
)
@pytest.mark.parametrize("positions", ["learned", "none"])
def test_parameter_count(
    positions: Any, v: int, length: int, d: int, n: int, s: int, w: int, e: int, p: int, g: int
) -> None:
    """Of figure 6: about 3 E D^2 a layer."""
    heads, convolved = e * d // p, e * d + 2 * g * s
    projections = d * (e * d + convolved + heads) + e * d * d
    block = projections + convolved * (w + 1) + 3 * heads + e * d + d  # dt_bias, A_log, D; gated norm, norm
    expected = 2 * v * d + (length * d if positions == "learned" else 0) + n * block + 2 * d
    model = Mamba2(
        v, length, d_model=d, n_layers=n, d_state=s, d_conv=w, expand=e, head_dim=p, n_groups=g, positions=positions
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_state_size() -> None:
    """S of H N P numbers and the last W - 1 inputs of E D + 2 G N convolutions, float32."""
    model = Mamba2(2, 9, d_model=32, n_layers=3, d_state=16, head_dim=8, n_groups=2, d_conv=5)
    assert model.state_bytes == 3 * 4 * (8 * 16 * 8 + 4 * (64 + 2 * 2 * 16))


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "options", [{"n_groups": 4, "head_dim": 8, "d_conv": 1}, {"d_state": 3, "expand": 1, "head_dim": 16}]
)
def test_contract_at_other_sizes(check: Check, options: dict[str, Any]) -> None:
    check(Mamba2, **options)


def test_backend_follows_what_was_asked() -> None:
    assert Mamba2(2, 3, backend="auto").backend == "numba"
    assert Mamba2(2, 3, backend="torch").backend == "torch"


def test_backends_agree_on_the_whole_model() -> None:
    """Logits and gradients, with default sizes, over two chunks."""
    gradients = []
    for backend in ("auto", "torch"):
        torch.manual_seed(0)
        model = Mamba2(5, 100, n_layers=2, backend=backend)
        logits = model(random_tokens(5, 2, 100))
        logits.square().sum().backward()
        gradients.append({"logits": logits.detach()} | {name: p.grad for name, p in model.named_parameters()})
    for name, expected in gradients[1].items():
        assert relative_error(gradients[0][name], expected) <= 1e-5, name


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({name: 0}, [f"model.{name}", "0"])
        for name in (
            "d_model",
            "n_layers",
            "d_state",
            "d_conv",
            "expand",
            "head_dim",
            "n_groups",
            "vocab_size",
            "seq_len",
        )
    ]
    + [
        (
            {"head_dim": 60},
            ["model.head_dim", "60", "model.expand", "model.d_model", "256", "64"],
        ),
        (
            {"n_groups": 3},
            ["model.n_groups", "3", "model.expand", "model.d_model", "model.head_dim", "4", "2"],
        ),
        ({"positions": "rotary"}, ["model.positions", "'rotary'"]),
        ({"embedding_std": -1.0}, ["model.embedding_std", "-1.0"]),
        ({"backend": "cuda"}, ["model.backend", "'cuda'"]),
    ],
)
def test_errors(options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        Mamba2(**{"vocab_size": 2, "seq_len": 7, **options})
    assert all(name in str(error.value) for name in named)
