"""The transformer against torch.nn's layers with the same weights; attention maps and bias, positions, errors."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from architectures import Transformer
from architectures.transformer import ATTENTIONS, Attention, TransformerBlock, rotate
from benchmark.contract import random_tokens, varied
from benchmark.training.machine.environment import _CPU_ATTENTION

D, H, L, V = 12, 3, 9, 5
POSITIONS = ["learned", "rotary", "none"]


def build(**options: Any) -> Transformer:
    torch.manual_seed(0)
    model = varied(Transformer, V, L, **{"d_model": D, "n_heads": H, **options})
    assert isinstance(model, Transformer)
    return model


def blocks(model: Transformer) -> list[TransformerBlock]:
    return [block for block in model.blocks if isinstance(block, TransformerBlock)]


def torch_layer(block: TransformerBlock) -> nn.TransformerEncoderLayer:
    """PyTorch's own pre-norm layer with the weights of ours."""
    width, hidden = block.mlp.up.in_features, block.mlp.up.out_features
    layer = nn.TransformerEncoderLayer(
        width,
        block.attention.n_heads,
        hidden,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
        dtype=torch.float64,
    )
    pairs = {
        "self_attn.in_proj_": block.attention.qkv,
        "self_attn.out_proj.": block.attention.out,
        "norm1.": block.attention_norm,
        "norm2.": block.mlp_norm,
        "linear1.": block.mlp.up,
        "linear2.": block.mlp.down,
    }
    state = {name + kind: value for name, part in pairs.items() for kind, value in part.state_dict().items()}
    layer.load_state_dict(state)
    return layer


def future() -> Tensor:
    """(L, L), True where the key is later than the query."""
    return torch.arange(L) > torch.arange(L)[:, None]


def relative_error(actual: Tensor | None, expected: Tensor | None) -> float:
    assert actual is not None
    assert expected is not None
    return ((actual - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("options", [{}, {"n_layers": 3, "n_heads": 6}, {"n_heads": 1, "mlp_ratio": 2}])
def test_equals_torch_layers(options: dict[str, Any]) -> None:
    """Forward and every gradient, float64: the two differ by the order of sums only, hence 1e-10."""
    model, tokens = build(**options), random_tokens(V, 4, L)
    layers = [torch_layer(block) for block in blocks(model)]
    logits = model(tokens)
    weight = torch.randn_like(logits)
    (logits * weight).sum().backward()

    assert model.positions is not None
    shared = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters() if "blocks" not in name}
    x = F.embedding(tokens, shared["embedding.weight"]) + shared["positions"]
    for layer in layers:
        x = layer(x, src_mask=future())
    expected = F.layer_norm(x, (D,), shared["norm.weight"], shared["norm.bias"]) @ shared["head.weight"].T
    (expected * weight).sum().backward()

    assert relative_error(logits, expected) <= 1e-10
    for name, parameter in shared.items():
        assert relative_error(model.get_parameter(name).grad, parameter.grad) <= 1e-10, name
    for ours, theirs in zip(blocks(model), layers, strict=True):
        for actual, oracle in (
            (ours.attention.qkv.weight, theirs.self_attn.in_proj_weight),
            (ours.attention.qkv.bias, theirs.self_attn.in_proj_bias),
            (ours.attention.out.weight, theirs.self_attn.out_proj.weight),
            (ours.attention_norm.weight, theirs.norm1.weight),
            (ours.mlp_norm.bias, theirs.norm2.bias),
            (ours.mlp.up.weight, theirs.linear1.weight),
            (ours.mlp.down.weight, theirs.linear2.weight),
        ):
            assert actual is not None
            assert relative_error(actual.grad, oracle.grad) <= 1e-10


@pytest.mark.parametrize(
    ("v", "length", "d", "n", "h", "r"), [(2, 31, 128, 1, 8, 4), (4, 255, 128, 4, 8, 4), (3, 5, 6, 2, 3, 1)]
)
@pytest.mark.parametrize("positions", POSITIONS)
def test_parameter_count(positions: Any, v: int, length: int, d: int, n: int, h: int, r: int) -> None:
    """Shapes of arXiv 1706.03762: four D x D projections and a D x rD x D network a layer, all with biases.

    At the paper's `lm` size, 4 D^2 + 8 D^2 + 13 D a layer, that is 198,272 and a little for the rest.
    """
    attention = 4 * d * d + 4 * d
    mlp = 2 * r * d * d + r * d + d
    norm = 2 * d
    expected = 2 * v * d + (length * d if positions == "learned" else 0) + n * (attention + mlp + 2 * norm) + norm
    model = Transformer(v, length, d_model=d, n_layers=n, n_heads=h, mlp_ratio=r, positions=positions)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_maps_equal_multihead_attention_weights() -> None:
    """Of every layer, each fed what PyTorch's layers below made."""
    model, tokens = build(), random_tokens(V, 4, L)
    x = model.embed(tokens)
    maps = model.attention_maps(tokens)
    assert len(maps) == len(model.blocks) == 2
    for block, actual in zip(blocks(model), maps, strict=True):
        layer = torch_layer(block)
        normed = layer.norm1(x)
        _, expected = layer.self_attn(normed, normed, normed, attn_mask=future(), average_attn_weights=False)
        assert actual.shape == (4, H, L, L)
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
        x = layer(x, src_mask=future())


def random_bias(shape: tuple[int, ...], scale: float = 3.0) -> Tensor:
    return scale * torch.randn(shape, dtype=torch.float64)


BIASES = [None, (L, L), (H, L, L), (4, 1, L, L), (4, H, L, L), (1, L), (H, 1, 1)]


@pytest.mark.parametrize("shape", BIASES)
@pytest.mark.parametrize("positions", POSITIONS)
def test_maps_are_causal_distributions_that_reproduce_the_forward_pass(
    positions: str, shape: tuple[int, ...] | None
) -> None:
    model, tokens = build(positions=positions), random_tokens(V, 4, L)
    bias = None if shape is None else random_bias(shape)
    x = model.embed(tokens)
    for block, map_BHLL in zip(blocks(model), model.attention_maps(tokens, bias), strict=True):
        assert not map_BHLL[..., future()].any()
        torch.testing.assert_close(map_BHLL.sum(-1), torch.ones(4, H, L, dtype=torch.float64))
        qkv = block.attention.qkv
        values = F.linear(block.attention_norm(x), qkv.weight[2 * D :], qkv.bias[2 * D :]).chunk(H, dim=-1)
        x = x + block.attention.out(torch.cat([map_BHLL[:, h] @ values[h] for h in range(H)], dim=-1))
        x = x + block.mlp(block.mlp_norm(x))
    torch.testing.assert_close(model(tokens, bias), model.unembed(x), rtol=1e-12, atol=1e-12)


def test_a_huge_bias_on_one_key_takes_all_attention() -> None:
    """Of the queries that may see it; the earlier ones keep the attention they had."""
    model, tokens = build(), random_tokens(V, 2, L)
    key = 4
    bias = torch.zeros(L, L, dtype=torch.float64)
    bias[:, key] = 1e4
    for biased, plain in zip(model.attention_maps(tokens, bias), model.attention_maps(tokens), strict=True):
        assert biased[:, :, key:, key].min() > 1 - 1e-12
        torch.testing.assert_close(biased[:, :, :key], plain[:, :, :key], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("biased", [False, True])
def test_all_implementations_agree(biased: bool, positions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits and every gradient, in float64."""
    model, tokens = build(positions=positions, n_layers=2, n_heads=2).double(), random_tokens(V, 4, L)
    bias = torch.randn(H - 1, L, L, dtype=torch.float64, requires_grad=True) if biased else None
    inputs = [*model.parameters(), *([bias] if bias is not None else [])]
    results = {}
    for name in ATTENTIONS:
        monkeypatch.setattr(Attention, "implementation", lambda *_, name=name: name)
        logits = model(tokens, bias)
        results[name] = [logits, *torch.autograd.grad(logits.square().sum(), inputs)]
    assert max(map(relative_error, results["numba"], results["sdpa"])) < 1e-10


@pytest.mark.parametrize(("length", "heads", "expected"), [(128, 4, "numba"), (129, 4, "sdpa"), (31, 2, "sdpa")])
def test_the_implementation_follows_length_and_head_width(length: int, heads: int, expected: str) -> None:
    """Heads of width 8, and of 16. FLOPs are counted as those of PyTorch's attention: 2 + 5 products of matrices."""
    model = Transformer(4, length, d_model=32, n_heads=heads, positions="none")
    assert model.backend == expected
    tokens = torch.zeros(1, length, dtype=torch.int64)
    with FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION) as counter:
        model(tokens).sum().backward()
    attention, matrices = 7 * 2 * length**2 * 32, 3 * 2 * length * (12 * 32**2 + 32 * 4)
    assert counter.get_total_flops() == attention + matrices


def test_a_large_batch_keeps_no_probabilities() -> None:
    """8 heads over 128 positions: 512 sequences are 2^26 probabilities, which are kept, and no more."""
    attention, cpu = Attention(32, 8, rotary=False), torch.device("cpu")
    assert [attention.implementation(128, cpu, batch) for batch in (512, 513)] == ["numba", "sdpa"]


def test_a_bias_of_zero_equals_none_and_another_does_not() -> None:
    model, tokens = build(), random_tokens(V, 2, L)
    zero, other = torch.zeros(L, L), random_bias((L, L))
    logits = model(tokens)
    torch.testing.assert_close(model(tokens, zero), logits, rtol=1e-12, atol=1e-12)
    assert relative_error(model(tokens, other), logits) > 0.01
    for actual, expected, moved in zip(
        *(model.attention_maps(tokens, bias) for bias in (zero, None, other)), strict=True
    ):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
        assert relative_error(moved, expected) > 0.01


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e300])
def test_a_bias_never_breaks_causality(scale: float) -> None:
    """However much it asks for the future, a later token does not move an earlier logit."""
    model, tokens = build(), random_tokens(V, 1, L)
    bias = scale * torch.ones(L, L, dtype=torch.float64).triu(1)
    changed = tokens.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % V
    before, after = model(tokens, bias), model(changed, bias)
    torch.testing.assert_close(after[:, :5], before[:, :5], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(before, model(tokens), rtol=1e-12, atol=1e-12)  # and alone it does nothing
    assert (after[:, 5:] != before[:, 5:]).any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bool, torch.int64])
def test_a_bias_of_another_dtype_leaves_the_models_own(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model, tokens = Transformer(V, L, d_model=D, n_heads=H), random_tokens(V, 2, L)
    bias = torch.ones(L, L).triu(-2).to(dtype)
    logits, (map_BHLL,) = model(tokens, bias), model.attention_maps(tokens, bias)
    assert logits.dtype == map_BHLL.dtype == torch.float32
    torch.testing.assert_close(logits, model(tokens, bias.float()))


def test_rotation_by_complex_numbers() -> None:
    """Pair (i, i + K/2) at position l is one complex number, turned by exp(j l 10000^(-2i/K)); K = 6.

    Angles are float32, so at 70 positions they are right to 70 * 6e-8.
    """
    torch.manual_seed(0)
    x = torch.randn(2, 3, 70, 6, dtype=torch.float64)
    angle = (
        torch.arange(70, dtype=torch.float64)[:, None] * torch.tensor([10_000 ** (-i / 3) for i in range(3)]).double()
    )
    turned = torch.complex(x[..., :3], x[..., 3:]) * torch.polar(torch.ones_like(angle), angle)
    torch.testing.assert_close(rotate(x), torch.cat([turned.real, turned.imag], dim=-1), rtol=0, atol=5e-5)
    torch.testing.assert_close(rotate(x).norm(dim=-1), x.norm(dim=-1), rtol=1e-6, atol=0)


def test_rotary_scores_depend_only_on_the_difference_of_positions() -> None:
    """One query and one key, set at every position: each diagonal of their scores is constant, and they differ."""
    torch.manual_seed(0)
    q, k = (torch.randn(8, dtype=torch.float64).expand(1, 1, 40, 8) for _ in range(2))
    scores = (rotate(q) @ rotate(k).transpose(-1, -2))[0, 0]
    for offset in range(-39, 40):
        diagonal = scores.diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-4)
    assert scores[0].std() > 0.1


@pytest.mark.parametrize(("positions", "relative"), [("rotary", True), ("none", True), ("learned", False)])
def test_positions_of_the_whole_model(positions: str, relative: bool) -> None:
    """Equal tokens everywhere: log odds between neighbouring keys depend on query - key alone, unless learned."""
    model = build(positions=positions, n_layers=1)
    assert (model.positions is None) == relative
    (map_BHLL,) = model.attention_maps(torch.ones(1, L, dtype=torch.int64))
    odds = map_BHLL[0].log().diff(dim=-1)  # [h, query, key]: log p(key + 1) - log p(key)
    spread = max((odds.diagonal(-offset, 1, 2)).diff(dim=-1).abs().max().item() for offset in range(1, L - 1))
    assert (spread < 1e-4) == relative
    assert (odds[:, -1].abs().max() > 1e-3) == (positions != "none")


@pytest.mark.parametrize(("positions", "matters"), [("rotary", True), ("learned", True), ("none", False)])
def test_order_of_earlier_tokens_matters_only_with_positions(positions: str, matters: bool) -> None:
    """For one layer: a second one tells orders apart through the causal mask."""
    model = build(positions=positions, n_layers=1)
    tokens = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3]])
    swapped = tokens[:, [3, 0, 2, 1, 5, 7, 6, 4, 8]]
    difference = (model(tokens)[:, -1] - model(swapped)[:, -1]).abs().max()
    assert bool(difference > 1e-3) is matters
    assert matters or difference < 1e-12


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"d_model": 0}, ["model.d_model", "1", "0"]),
        ({"n_layers": 0}, ["model.n_layers", "1", "0"]),
        ({"n_heads": 0}, ["model.n_heads", "1", "0"]),
        ({"mlp_ratio": -1}, ["model.mlp_ratio", "1", "-1"]),
        ({"seq_len": 0}, ["model.seq_len", "1", "0"]),
        ({"vocab_size": 0}, ["model.vocab_size", "1", "0"]),
        ({"n_heads": 7}, ["model.n_heads", "7", "model.d_model", "128", "8"]),
        (
            {"d_model": 18, "n_heads": 100},
            ["model.n_heads", "100", "model.d_model", "18"],
        ),
        (
            {"d_model": 24, "n_heads": 8, "positions": "rotary"},
            ["d_model", "n_heads", "3"],
        ),
        ({"positions": "rotery"}, ["model.positions", "'rotery'"]),
        ({"embedding_std": 0.0}, ["model.embedding_std", "0.0"]),
    ],
)
def test_errors(options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        Transformer(**{"vocab_size": 2, "seq_len": 7, **options})
    assert all(name in str(error.value) for name in named)


def test_an_odd_head_width_is_fine_without_rotation() -> None:
    model = Transformer(2, 7, d_model=9, n_heads=3)
    assert model(torch.zeros(1, 4, dtype=torch.int64)).shape == (1, 4, 2)
