"""The causal MLP-Mixer against explicit loops, and the upper triangles that must never matter."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from architectures import MLPMixer
from architectures.mlp_mixer import CausalPositionLinear
from benchmark.contract import random_tokens, varied
from tests.oracles import mlp_mixer as oracle

MIXINGS = ["linear", "mlp"]


def position_maps(model: nn.Module) -> list[CausalPositionLinear]:
    return [module for module in model.modules() if isinstance(module, CausalPositionLinear)]


@pytest.mark.parametrize("token_mixing", MIXINGS)
@pytest.mark.parametrize("length", [1, 4, 7])
def test_equals_explicit_loops(token_mixing: str, length: int) -> None:
    """In float64 two orders of summation agree to 1e-12; an input shorter than seq_len uses the top left corners."""
    torch.manual_seed(0)
    options = {"token_mixing": token_mixing, "positions": "learned"}
    model = varied(MLPMixer, 3, 7, d_model=6, mlp_ratio=2, **options)
    tokens = random_tokens(3, 2, length)
    logits = model(tokens)
    weights = {name: value.tolist() for name, value in model.state_dict().items()}
    for b in range(2):
        x = [
            [e + p for e, p in zip(weights["embedding.weight"][token], weights["positions"][place], strict=True)]
            for place, token in enumerate(tokens[b].tolist())
        ]
        for layer, blk in enumerate(model.blocks):
            x = oracle.block(x, *block_weights(weights, f"blocks.{layer}.", len(position_maps(blk))))
        normed = [oracle.layer_norm(row, weights["norm.weight"], weights["norm.bias"]) for row in x]
        expected = [oracle.dense(row, weights["head.weight"], [0.0] * 3) for row in normed]
        torch.testing.assert_close(logits[b], torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def block_weights(weights: dict[str, Any], prefix: str, n_maps: int) -> tuple[Any, Any, Any]:
    """Arguments of the oracle's block, from a state_dict."""

    def pair(name: str) -> tuple[Any, Any]:
        return weights[f"{prefix}{name}.weight"], weights[f"{prefix}{name}.bias"]

    places = ["position_mixing"] if n_maps == 1 else ["position_mixing.0", "position_mixing.2"]
    maps = [(weight, [row[0] for row in bias]) for weight, bias in map(pair, places)]
    (up, up_bias), (down, down_bias) = pair("channel_mixing.up"), pair("channel_mixing.down")
    mlp = {"up": up, "up_bias": up_bias, "down": down, "down_bias": down_bias}
    return [pair("position_norm"), pair("channel_norm")], maps, mlp


@pytest.mark.parametrize("token_mixing", MIXINGS)
def test_upper_triangles_never_matter(token_mixing: str) -> None:
    torch.manual_seed(0)
    model, tokens = varied(MLPMixer, 3, 7, token_mixing=token_mixing), random_tokens(3, 2, 7)
    logits = model(tokens)
    (logits * torch.randn_like(logits)).sum().backward()
    maps = position_maps(model)
    assert len(maps) == {"linear": 1, "mlp": 2}[token_mixing] * len(model.blocks)
    for position_map in maps:
        gradient = position_map.weight.grad
        assert gradient is not None
        assert not gradient.triu(1).any()
        assert bool(gradient[torch.ones_like(gradient).tril().bool()].all())
        with torch.no_grad():
            position_map.weight.add_(torch.full((7, 7), 1e30).triu(1))
    assert torch.equal(model(tokens), logits)


@pytest.mark.parametrize("token_mixing", MIXINGS)
@pytest.mark.parametrize(
    ("v", "length", "d", "n", "r"), [(2, 31, 128, 1, 4), (4, 255, 64, 4, 4), (3, 5, 6, 2, 1), (2, 1, 1, 1, 1)]
)
def test_parameter_count(token_mixing: str, v: int, length: int, d: int, n: int, r: int) -> None:
    """Shapes of arXiv 2105.01601: L x L over positions once or twice a layer, D x rD and back over channels."""
    over_positions = {"linear": 1, "mlp": 2}[token_mixing] * (length**2 + length)
    over_channels = 2 * r * d * d + r * d + d
    norms = 2 * d
    expected = v * d + n * (over_positions + over_channels + 2 * norms) + norms + v * d
    model = MLPMixer(v, length, d_model=d, n_layers=n, mlp_ratio=r, token_mixing=token_mixing)  # type: ignore[arg-type]
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_initial_position_weights_are_uniform_below_the_diagonal() -> None:
    """PyTorch's default for a linear map over L inputs: uniform in +-1/sqrt(L), so standard deviation 1/sqrt(3 L)."""
    torch.manual_seed(0)
    weight: Tensor = CausalPositionLinear(200).weight.detach()
    lower = weight[torch.ones_like(weight).tril().bool()]
    assert not weight.triu(1).any()
    assert lower.abs().max() <= 200**-0.5
    # 20,100 samples: the deviation of the deviation is 0.3 %
    assert lower.std().item() == pytest.approx((3 * 200) ** -0.5, rel=0.02)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"d_model": 0}, ["model.d_model", "1", "0"]),
        ({"seq_len": 0}, ["model.seq_len", "1", "0"]),
        ({"vocab_size": 0}, ["model.vocab_size", "1", "0"]),
        ({"n_layers": 0}, ["model.n_layers", "1", "0"]),
        ({"mlp_ratio": 0}, ["model.mlp_ratio", "1", "0"]),
        ({"token_mixing": "conv"}, ["model.token_mixing", "'conv'"]),
        ({"positions": "rotary"}, ["model.positions", "'rotary'"]),
        ({"embedding_std": 0.0}, ["model.embedding_std", "0.0"]),
    ],
)
def test_errors(options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        MLPMixer(**{"vocab_size": 2, "seq_len": 7, **options})
    assert all(name in str(error.value) for name in named)
