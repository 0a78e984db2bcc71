"""Every weight of every architecture is part of one thing, and of the right one."""

import inspect
from typing import Any

import pytest
import torch
from torch import nn

from architectures import ARCHITECTURES, SequenceModel
from architectures.model import mixing_parameters
from architectures.weight_parts import WEIGHT_PARTS, part_of, parts_of

SMALL: dict[str, Any] = {"d_model": 16, "n_layers": 2, "n_heads": 2, "head_dim": 8, "d_state": 4}
KINDS: dict[str, dict[str, Any]] = {
    "hybrid": {"pattern": "rwkv(head_dim=8) attention(n_heads=2) mamba xlstm(n_heads=2)"},
    "mlp_mixer": {"token_mixing": "mlp"},
}


def small(name: str) -> SequenceModel:
    known = inspect.signature(ARCHITECTURES[name]).parameters
    build: Any = ARCHITECTURES[name]
    return build(5, 6, **{k: v for k, v in SMALL.items() if k in known}, **KINDS.get(name, {}))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_weight_belongs_to_exactly_one_part(name: str) -> None:
    """Against the sublayers that the blocks themselves name, and against the kinds of the modules that own a weight."""
    model = small(name)
    parts = parts_of(model)
    assert list(parts) == list(model.state_dict()) and set(parts.values()) <= set(WEIGHT_PARTS)
    norms = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
    owners = dict(model.named_modules())
    for weight, part in parts.items():
        if isinstance(owners[weight.rpartition(".")[0]], norms):
            assert part == "norms", weight
    for i, block in enumerate(model.blocks):
        mixing = {f"blocks.{i}.{inner}" for inner in mixing_parameters(block)}
        own = {weight for weight in parts if weight.startswith(f"blocks.{i}.")}
        assert {parts[weight] for weight in mixing} <= {"attention", "norms"}
        assert {parts[weight] for weight in own - mixing} <= {"mlp", "norms"}
        assert "attention" in {parts[weight] for weight in mixing}
    outside = {weight: part for weight, part in parts.items() if not weight.startswith("blocks.")}
    expected = {
        "embedding.weight": "embeddings", "positions": "positions", "norm.weight": "norms", "norm.bias": "norms",
        "head.weight": "head",
    }  # fmt: skip
    assert outside == {weight: part for weight, part in expected.items() if weight in outside}


@pytest.mark.parametrize("name", ["transformer", "mlp_mixer", "gated_deltanet", "rwkv"])
def test_the_parts_do_what_they_are_called(name: str) -> None:
    """Without its attention, a model sees one token at a time; without its MLPs it still sees the others."""
    tokens = torch.randint(5, (1, 6), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    for part, sees_others in (("attention", False), ("mlp", True)):
        model = small(name)
        with torch.no_grad():
            for weight, x in model.state_dict().items():
                if weight.startswith("blocks."):
                    x.normal_(std=0.3)
                    if parts_of(model)[weight] == part and not weight.endswith("channel_mixing.x"):
                        x.zero_()
            changed = tokens.clone()
            changed[0, 0] = (tokens[0, 0] + 1) % 5
            moved = (model(tokens) - model(changed))[0, 3:].abs().max() > 1e-6
        # a token-shifted MLP, as RWKV's, passes on one position a layer
        assert bool(moved) == sees_others, part


def test_names_that_are_no_architectures() -> None:
    for weight in ("lm_head.weight", "blocks.2.mlp.up.weight", "blocks.0", "decay"):
        with pytest.raises(ValueError, match=f"the weights {weight} belong to none of the parts attention, mlp"):
            part_of(weight, [("mlp",), ("mlp",)])
    with pytest.raises(ValueError, match="Linear keeps its weights under a library's names"):
        parts_of(nn.Linear(2, 2))  # type: ignore[arg-type]
    assert part_of("blocks.1.up", [("up",), ()]) == "attention"
    assert part_of("blocks.0.up", [("up",), ()]) == "mlp"
    assert part_of("blocks.0.normal", [()]) == "attention"
