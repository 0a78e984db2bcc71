"""Hybrids: stacks of one kind are that architecture, mixed ones are their blocks one after another; mistakes."""

from typing import Any

import pytest
import torch

from architectures import ARCHITECTURES, SequenceModel, hybrid
from architectures.hybrid import Hybrid, parse_pattern
from architectures.mamba import MambaBlock
from architectures.transformer import TransformerBlock

TOKENS = torch.arange(2 * 9).view(2, 9) % 5
OPTIONS = {"transformer": "(n_heads=2)", "mamba2": "(head_dim=8)", "rwkv": "(head_dim=8)", "xlstm": "(n_heads=2)"}


def perturbed(model: SequenceModel) -> SequenceModel:
    """The model with weights off their initial values, where zeros and ones would hide mistakes."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


@pytest.mark.parametrize("name", sorted(ARCHITECTURES.keys() - {"hybrid"}))
def test_a_stack_of_one_kind_is_that_architecture(name: str) -> None:
    """Three blocks of it, with the same weights under the same names, read the same."""
    words = parse_pattern(name + OPTIONS.get(name, ""))
    build: Any = ARCHITECTURES[name]
    whole = perturbed(build(5, 9, d_model=16, n_layers=3, **words[0][1]))
    stack = Hybrid(5, 9, d_model=16, pattern=name + OPTIONS.get(name, ""), repeats=3)
    positions = {} if name != "mlp_mixer" else {"positions": stack.positions}  # it has none of its own
    stack.load_state_dict(whole.state_dict() | positions)
    if name == "mlp_mixer":
        stack.positions = None
    torch.testing.assert_close(stack(TOKENS), whole(TOKENS), rtol=0, atol=0)
    assert stack.streams == whole.streams
    assert stack.fixed_length == whole.fixed_length


def test_a_mixed_stack_is_its_blocks_one_after_another() -> None:
    model = Hybrid(5, 9, d_model=16, pattern="mamba attention(n_heads=2) mamba(d_state=3)", repeats=2)
    kinds = [type(block) for block in model.blocks]
    assert kinds == [MambaBlock, TransformerBlock, MambaBlock] * 2
    x = model.embed(TOKENS)
    for block in model.blocks:
        x = block(x)
    torch.testing.assert_close(model(TOKENS), model.unembed(x), rtol=0, atol=0)
    assert [block.A_log.shape[1] for block in model.blocks if isinstance(block, MambaBlock)] == [16, 3, 16, 3]
    maps = model.attention_maps(TOKENS)
    assert [tuple(p.shape) for p in maps] == [(2, 2, 9, 9)] * 2
    torch.testing.assert_close(maps[1].sum(-1), torch.ones(2, 2, 9))
    assert not model.streams


def test_blocks_start_as_deep_as_the_whole_stack() -> None:
    """Mamba divides its output by the root of the number of blocks; here there are four."""
    torch.manual_seed(0)
    alone = ARCHITECTURES["mamba"](5, 9, d_model=64, n_layers=4).blocks[1]  # type: ignore[call-arg]
    mixed = Hybrid(5, 9, d_model=64, pattern="attention mamba", repeats=2).blocks[3]
    stds = [block.out_proj.weight.std().item() for block in (alone, mixed) if isinstance(block, MambaBlock)]
    assert stds[0] == pytest.approx(stds[1], rel=0.05)


def test_options_are_numbers_truth_values_or_texts() -> None:
    words = parse_pattern("lru(max_phase=1e-1, d_state=3) rwkv(head_dim=8, backend=torch) mamba(dt_rank=null)")
    options = [{"max_phase": 0.1, "d_state": 3}, {"head_dim": 8, "backend": "torch"}, {"dt_rank": None}]
    assert [given for _, given in words] == options


def test_a_stack_is_built_once_for_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many blocks as a stack may have take two models of that depth; more are refused before any is built."""
    built: list[int] = []
    original = hybrid._whole

    def counted(*args: Any) -> SequenceModel:
        built.append(args[-1])
        return original(*args)

    monkeypatch.setattr(hybrid, "_whole", counted)
    Hybrid(2, 3, d_model=2, pattern="mlp_mixer mlp_mixer(mlp_ratio=1)", repeats=8)
    assert built == [16, 16]
    with pytest.raises(ValueError, match="model.repeats"):
        Hybrid(2, 3, d_model=2, pattern="mlp_mixer", repeats=10**6)
    assert len(built) == 2


def test_streaming_mixed_with_rwkv() -> None:
    """The values of RWKV's first block reach its second one past a block of another kind."""
    model = perturbed(Hybrid(5, 9, d_model=16, pattern="gated_deltanet rwkv(head_dim=8)", repeats=2)).double()
    state, logits = model.initial_state(2), []
    for tokens_B in TOKENS.unbind(1):
        step, state = model.step(tokens_B, state)
        logits.append(step)
    torch.testing.assert_close(torch.stack(logits, dim=1), model(TOKENS))
    model(TOKENS).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("", "is empty"),
        ("mamba,attention", "cannot read"),
        ("mamba (d_state=3)", "cannot read"),
        ("mambo", "no block 'mambo'"),
        ("hybrid", "no block 'hybrid'"),
        ("mamba(d_stat=3)", "'d_stat=3' of mamba"),
        ("mamba(3)", "'3' of mamba"),
        ("mamba(d_model=3)", "'d_model=3' of mamba"),
        ("attention(n_heads=3)", "model.n_heads"),
        ("mamba(d_state=0)", "model.d_state"),
        ("lru(max_phase=x)", "model.pattern: lru"),
    ],
)
def test_mistakes_are_named(pattern: str, named: str) -> None:
    with pytest.raises(ValueError, match=named.replace("(", "[(]")):
        Hybrid(5, 9, d_model=16, pattern=pattern)
