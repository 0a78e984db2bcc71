"""Gated DeltaNet: its rule against equation 10, its blocks against Qwen3-Next's, initial values, sizes, errors."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from architectures.gated_deltanet import GatedDeltaMixer, GatedDeltaNet, GatedDeltaNetBlock, gated_delta_rule
from tests.oracles.gated_deltanet import gated_delta_rule as oracle

IMPLEMENTATIONS = ["torch", "numba"]
# Range of -log alpha. Strong ones sum to 3,200 in a chunk of 32: e^3200 overflows even in float64. At e^-10000 = 0
# nothing is kept, and the gradient of log alpha is exactly 0.
DECAYS = {"none": (0.0, 0.0), "weak": (0.0, 0.02), "strong": (0.0, 200.0), "total": (1e4, 1e4)}
RESULTS = ("y", "S", "dq", "dk", "dv", "dlog_alpha", "dbeta", "dS")


def relative_error(actual: Tensor | None, expected: Tensor | None) -> float:
    assert actual is not None
    assert expected is not None
    assert actual.shape == expected.shape
    if not expected.any():
        return math.inf if actual.any() else 0.0
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def rule_inputs(
    batch: int, length: int, heads: int, keys: int, values: int, decay: tuple[float, float]
) -> list[Tensor]:
    """q, k, v, log alpha, beta and S_0 (B, H, K, V) in float64; keys repeat, so that what is stored is replaced."""
    torch.manual_seed(length)
    q, k = F.normalize(torch.randn(2, batch, length, heads, keys, dtype=torch.float64), dim=-1)
    k[:, 3::4] = k[:, :1]
    v = torch.randn(batch, length, heads, values, dtype=torch.float64)
    log_alpha = -torch.empty(batch, length, heads, dtype=torch.float64).uniform_(*decay)
    log_alpha[:, 0] = -decay[0]  # so that something of S_0 is left
    beta = torch.rand(batch, length, heads, dtype=torch.float64)
    return [q, k, v, log_alpha, beta, torch.randn(batch, heads, keys, values, dtype=torch.float64)]


def outputs_and_gradients(rule: Any, inputs: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """y, the final state, and the gradients of all six inputs under one fixed weighting of both."""
    leaves = [x.to(dtype).requires_grad_() for x in inputs]
    y, state = rule(*leaves)
    torch.manual_seed(0)
    loss = (y * torch.randn(y.shape, dtype=torch.float64)).sum() + (state * torch.randn_like(inputs[-1])).sum()
    return [y.double(), state.double(), *(g.double() for g in torch.autograd.grad(loss, leaves))]


def transposed_oracle(q: Tensor, k: Tensor, v: Tensor, log_alpha: Tensor, beta: Tensor, s: Tensor) -> Any:
    y, state = oracle(q, k, v, log_alpha.exp(), beta, s.transpose(2, 3))
    return y, state.transpose(2, 3)


@pytest.mark.slow
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 2), (1, 63), (1, 64), (3, 65), (1, 127)])
def test_rule_equals_equation_10(batch: int, length: int, decay: str, implementation: str) -> None:
    """Outputs, final state, gradients of all inputs."""
    inputs = rule_inputs(batch, length, 2, 5, 6, DECAYS[decay])
    expected = outputs_and_gradients(transposed_oracle, inputs, torch.float64)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        actual = outputs_and_gradients(
            lambda *leaves: gated_delta_rule(*leaves, implementation=implementation), inputs, dtype
        )
        for name, x, reference in zip(RESULTS, actual, expected, strict=True):
            assert relative_error(x, reference) <= tolerance, (name, dtype)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_rule_over_200_steps(implementation: str) -> None:
    inputs = rule_inputs(1, 200, 1, 4, 3, (0.0, 0.2))
    expected = outputs_and_gradients(transposed_oracle, inputs, torch.float64)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        actual = outputs_and_gradients(
            lambda *leaves: gated_delta_rule(*leaves, implementation=implementation), inputs, dtype
        )
        assert max(map(relative_error, actual, expected)) <= tolerance


def test_a_key_written_twice_gives_its_last_value() -> None:
    """By hand: with beta = 1, alpha = 1 and orthonormal keys the memory is a dictionary."""
    k = torch.eye(4)[[0, 1, 0, 2]].view(1, 4, 1, 4)
    q = torch.eye(4)[[0, 0, 0, 1]].view(1, 4, 1, 4)
    v = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]).view(1, 4, 1, 2)
    one = torch.ones(1, 4, 1)
    y, state = gated_delta_rule(q, k, v, 0 * one, one, implementation="numba")
    assert y[0, :, 0].tolist() == [[1, 2], [1, 2], [5, 6], [3, 4]]
    assert state[0, 0].tolist() == [[5, 6], [3, 4], [7, 8], [0, 0]]


D, H, K, V = 24, 3, 6, 12


def build(**options: Any) -> GatedDeltaNet:
    """A model off its initial weights, so that no norm weight is 1."""
    torch.manual_seed(0)
    model = GatedDeltaNet(7, 512, **{"d_model": D, "n_layers": 2, "n_heads": H, "head_dim": K, **options})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def blocks(model: GatedDeltaNet) -> list[GatedDeltaNetBlock]:
    return [block for block in model.blocks if isinstance(block, GatedDeltaNetBlock)]


def qwen_config(hidden: int = 64) -> Any:
    from transformers import Qwen3NextConfig

    return Qwen3NextConfig(
        hidden_size=D,
        intermediate_size=hidden,
        rms_norm_eps=1e-5,
        linear_conv_kernel_dim=4,
        linear_num_key_heads=H,
        linear_num_value_heads=H,
        linear_key_head_dim=K,
        linear_value_head_dim=V,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
    )


def by_head(mixer: GatedDeltaMixer) -> tuple[Tensor, Tensor]:
    """The two fused input maps of Qwen3-Next, whose rows are grouped by head: (q, k, v, gate) and (beta, alpha)."""
    parts = [*mixer.qkv.weight.split(mixer.qkv_sizes), mixer.output_gate.weight]
    qkvz = torch.cat([part.view(H, -1, D) for part in parts], dim=1)
    return qkvz.flatten(0, 1), mixer.gates.weight.view(2, H, D).transpose(0, 1).flatten(0, 1)


def qwen_mixer(mixer: GatedDeltaMixer) -> Callable[[Tensor], Tensor]:
    """transformers' module run with the weights of ours, and differentiable by them."""
    from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

    theirs = Qwen3NextGatedDeltaNet(qwen_config(), 0)
    qkvz, gates = by_head(mixer)
    state = {
        "in_proj_qkvz.weight": qkvz,
        "in_proj_ba.weight": gates,
        "conv1d.weight": mixer.filters[:, None],
        "dt_bias": mixer.dt_bias,
        "A_log": mixer.A_log,
        "norm.weight": mixer.head_norm.weight,
        "out_proj.weight": mixer.out.weight,
    }
    assert state.keys() == theirs.state_dict().keys()
    return lambda x: functional_call(theirs, state, (x,))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 2), (1, 63), (3, 64), (1, 65), (1, 127), (1, 200)])
def test_mixer_equals_qwen3_next(batch: int, length: int, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output and the gradients of the input and of every parameter, in float32, as theirs knows nothing else.

    Their chunked rule takes differences of long sums, with errors up to 1e-5 in the gates' gradients: here it runs
    their rule step by step (worst seen over 12 seeds: 3.6e-6, against ours in float64 also 3.6e-6, ours 1.8e-6).
    """
    from transformers.models.qwen3_next import modeling_qwen3_next as qwen

    monkeypatch.setattr(qwen, "torch_chunk_gated_delta_rule", qwen.torch_recurrent_gated_delta_rule)
    mixer = blocks(build(backend=backend))[0].mixer
    x = torch.randn(batch, length, D, requires_grad=True)
    leaves = {"x": x, **dict(mixer.named_parameters())}
    y, _ = mixer.scan(x, mixer.initial_state(batch))
    expected = qwen_mixer(mixer)(x)
    weight = torch.randn_like(y)
    assert relative_error(y, expected) <= 1e-5
    gradients = [torch.autograd.grad((z * weight).sum(), list(leaves.values())) for z in (y, expected)]
    for name, actual, reference in zip(leaves, *gradients, strict=True):
        assert relative_error(actual, reference) <= 1e-5, name


def test_model_equals_qwen3_next_layers() -> None:
    """Logits: their mixer, its rule in chunks, and their MLP in two pre-norm blocks; RMSNorm from its equation."""
    from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextMLP

    model, tokens = build(), torch.randint(7, (3, 70))

    def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight

    with torch.no_grad():
        x = model.embed(tokens)
        for block in blocks(model):
            x = x + qwen_mixer(block.mixer)(rms_norm(x, block.mixer_norm.weight))
            mlp = Qwen3NextMLP(qwen_config(hidden=block.mlp.up.out_features))
            mlp.load_state_dict(
                {f"{name}_proj.weight": block.mlp.get_submodule(name).weight for name in ("gate", "up", "down")}
            )
            x = x + mlp(rms_norm(x, block.mlp_norm.weight))
        expected = F.layer_norm(x, (D,), model.norm.weight, model.norm.bias) @ model.head.weight.T
        assert relative_error(model(tokens), expected) <= 1e-5


def test_initial_values() -> None:
    """Of the authors' code: many heads and layers, so that ranges fill and means settle."""
    torch.manual_seed(0)
    model = GatedDeltaNet(2, 9, d_model=64, n_layers=8, n_heads=256, head_dim=2)
    decay = torch.cat([block.mixer.A_log.exp() for block in blocks(model)]).double()
    dt = torch.cat([F.softplus(block.mixer.dt_bias) for block in blocks(model)]).double()
    # 2,048 samples of a uniform variable u: mean within 4 standard errors, 4 * 0.29 / 45, ends within 1 %
    for uniform in (decay / 16, (dt / 0.001).log() / math.log(100)):
        assert abs(uniform.mean() - 0.5) < 0.026
        assert -1e-4 < uniform.min() < 0.01
        assert 0.99 < uniform.max() < 1 + 1e-4
    for block in blocks(model):
        mixer, mlp = block.mixer, block.mlp
        for weight, bound in (
            (mixer.qkv.weight, 64**-0.5),
            (mixer.gates.weight, 64**-0.5),
            (mixer.output_gate.weight, 64**-0.5),
            (mixer.out.weight, 1024**-0.5),
            (mixer.filters, 0.5),
            (mlp.gate.weight, 64**-0.5),
            (mlp.up.weight, 64**-0.5),
            (mlp.down.weight, mlp.down.in_features**-0.5 / 4),  # 4 = sqrt(2 n_layers)
        ):
            assert 0.99 * bound < weight.abs().max() <= bound
            assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        for norm in (block.mixer_norm, block.mlp_norm, mixer.head_norm):
            assert (norm.weight == 1).all()


@pytest.mark.parametrize(
    ("d", "n", "h", "k", "e", "w", "r", "hidden"),
    [
        (128, 1, 3, 32, 2, 4, 4, 352),
        (128, 2, 6, 16, 2, 4, 3, 256),
        (32, 2, 4, 6, 1, 1, 1, 32),
        (48, 3, 1, 36, 3, 2, 4, 128),
    ],
)
@pytest.mark.parametrize("positions", ["none", "learned"])
def test_parameter_count(d: int, n: int, h: int, k: int, e: int, w: int, r: int, hidden: int, positions: Any) -> None:
    """HK = 3/4 D, which is the default, and V = 2K: 6 D^2 in the mixer's large maps, 3 D F in the MLP."""
    keys, values = h * k, h * k * e
    mixer = d * (2 * keys + 2 * values) + values * d + w * (2 * keys + values) + 2 * h * d + 2 * h + k * e
    expected = 2 * 5 * d + (9 * d if positions == "learned" else 0) + n * (mixer + 3 * d * hidden + 2 * d) + 2 * d
    options: dict[str, Any] = {"d_model": d, "n_layers": n, "n_heads": h, "expand_v": e, "d_conv": w, "mlp_ratio": r}
    model = GatedDeltaNet(5, 9, positions=positions, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert model.state_bytes == 4 * n * (h * k * k * e + (w - 1) * (2 * keys + values))


def test_backends() -> None:
    assert GatedDeltaNet(2, 7).backend == "numba"
    assert GatedDeltaNet(2, 7, backend="torch").backend == "torch"


@pytest.mark.parametrize("name", ["d_model", "n_layers", "n_heads", "head_dim", "expand_v", "d_conv", "mlp_ratio"])
def test_sizes_below_1_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^model\.{name} must be at least 1, got 0$"):
        GatedDeltaNet(2, 7, **{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"backend": "cuda"}, ["model.backend", "'cuda'"]),
        ({"positions": "rotary"}, ["model.positions", "'rotary'"]),
        ({"embedding_std": -1.0}, ["model.embedding_std", "-1.0"]),
    ],
)
def test_errors(options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        GatedDeltaNet(2, 7, **options)
    assert all(name in str(error.value) for name in named)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_fused_kernels_need_a_cuda_device() -> None:
    with pytest.raises(ValueError, match=r"^model\.backend = fused needs a CUDA device and fla \("):
        GatedDeltaNet(2, 7, backend="fused")


def test_thin_heads_keep_a_width() -> None:
    """More heads than 3/4 d_model: a width of 1."""
    model = GatedDeltaNet(2, 7, d_model=8, n_heads=9)
    assert blocks(model)[0].mixer.head_dim == 1
    assert model(torch.zeros(1, 4, dtype=torch.int64)).isfinite().all()
