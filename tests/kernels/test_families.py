"""Stacks of flash-linear-attention's layers by name: causal, trained in every part, recorded with the library."""

from typing import Any

import pytest
import torch

from tests.helpers.kernels import DEVICE, needs_fla

pytestmark = [needs_fla, pytest.mark.filterwarnings("ignore")]  # of the library, and of what it imports


def build(name: str, **options: Any) -> Any:
    from architectures import ARCHITECTURES

    torch.manual_seed(0)
    cls: Any = ARCHITECTURES[f"fla:{name}"]
    return cls(5, 20, d_model=32, n_heads=2, **options).to(DEVICE)


@pytest.mark.parametrize("name", ["gla", "delta_net"])
def test_causal_and_trained(name: str) -> None:
    model, tokens = build(name), torch.arange(40, device=DEVICE).reshape(2, 20) % 5
    other = torch.where(torch.arange(20, device=DEVICE) >= 12, (tokens + 1) % 5, tokens)
    logits = model(tokens)
    with torch.no_grad():
        torch.testing.assert_close(model(other)[:, :12], logits[:, :12], rtol=0, atol=1e-6)
        assert not torch.allclose(model(other)[:, 12:], logits[:, 12:])
    torch.nn.functional.cross_entropy(logits.transpose(1, 2), tokens).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert model.library.startswith("flash-linear-attention ") and model.backend == "fla" and not model.streams


def test_options_reach_the_layer() -> None:
    mixer = build("gla", n_layers=2, config="expand_k=1.0 use_short_conv=true").blocks[1].mixer
    assert (mixer.layer_idx, mixer.hidden_size, mixer.num_heads, mixer.expand_k) == (1, 32, 2, 1.0)
    assert mixer.use_short_conv


def test_decay_rates_do_not_decay() -> None:
    from architectures.model import parameter_rules

    rules = parameter_rules(build("gated_deltanet"))
    assert {name.rpartition(".")[2] for name, rule in rules.items() if not rule.decays} >= {"A_log", "dt_bias"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("glaa", {}, "unknown architecture 'fla:glaa': did you mean fla:gla?"),
        ("gla", {"config": "hidden_size=3"}, "model.config: hidden_size is model.d_model here"),
        ("gla", {"config": "layer_idx=3"}, "model.config: unknown argument 'layer_idx'"),
        ("gla", {"config": "expand_k=0.3"}, "fla:gla cannot be built with these options: AssertionError"),
    ],
)
def test_mistakes(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        build(name, **options)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
