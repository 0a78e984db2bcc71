"""Models of the transformers library by name: what is built, what is refused, and that they learn."""

import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import benchmark
from architectures import ARCHITECTURES, SequenceModel, Transformer
from architectures.families import huggingface
from architectures.model import parameter_rules
from benchmark.contract import CHECKS, Check, NotOffered, small

TOKENS = torch.arange(14).reshape(2, 7) % 5


def build(name: str, seq_len: int = 7, **options: Any) -> SequenceModel:
    torch.manual_seed(0)
    return small(ARCHITECTURES[name], 5, seq_len, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hf:llama", "hf:gpt2", "hf:mamba2", "hf:mixtral", "hf:recurrent_gemma", "hf:bloom"])
@pytest.mark.parametrize("check", CHECKS)
def test_contract(check: Check, name: str) -> None:
    try:
        check(ARCHITECTURES[name])
    except NotOffered as reason:
        pytest.skip(str(reason))


def test_equals_the_librarys_own_model() -> None:
    """Built by hand, with the same weights: the same bits."""
    ours = build("hf:llama")
    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=5, hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=4, max_position_embeddings=7, tie_word_embeddings=False,
        )
    )  # fmt: skip
    weights = ours.state_dict()
    theirs.load_state_dict({name.removeprefix("lm."): value for name, value in weights.items()})
    assert torch.equal(ours(TOKENS), theirs(input_ids=TOKENS).logits)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("hf:llama", {"config": "num_key_value_heads=2"}, {"num_key_value_heads": 2, "num_attention_heads": 4}),
        ("hf:llama", {"mlp_ratio": 3}, {"intermediate_size": 96, "head_dim": 8, "attention_dropout": 0.0}),
        ("hf:gpt2", {"n_layers": 3}, {"n_layer": 3, "n_embd": 32, "n_head": 4, "n_positions": 7, "resid_pdrop": 0.0}),
        ("hf:mamba2", {}, {"num_heads": 4, "head_dim": 16, "hidden_size": 32, "chunk_size": 8}),
        ("hf:gptj", {}, {"rotary_dim": 8, "n_inner": None, "bos_token_id": None}),
        ("hf:mixtral", {"config": "num_local_experts=3"}, {"num_local_experts": 3, "use_cache": False}),
    ],
)  # fmt: skip
def test_fields(name: str, options: dict[str, Any], expected: dict[str, Any]) -> None:
    config = build(name, **options).lm.config  # type: ignore[union-attr]
    assert {field: getattr(config, field) for field in expected} == expected


def test_options_are_those_that_the_model_has() -> None:
    """A state-space model without heads has no option for them."""
    assert "n_heads" not in inspect.signature(huggingface.architecture_of("mamba")).parameters
    with pytest.raises(TypeError, match="n_heads"):
        huggingface.architecture_of("mamba")(5, 7, d_model=32, n_heads=4)


def test_decay_rates_do_not_decay() -> None:
    rules = parameter_rules(build("hf:mamba"))
    decays = {name.rpartition(".")[2] for name, rule in rules.items() if rule.decays}
    assert "A_log" not in decays and "weight" in decays
    assert {rule.decays for name, rule in rules.items() if name.endswith("in_proj.weight")} == {True}


@pytest.mark.parametrize("name", ["mamba", "falcon_mamba"])
def test_streams_in_the_librarys_cache(name: str) -> None:
    """Token by token from zeros, and from a state that is kept: see `check_streaming`, which mamba2 passes above."""
    model = build(f"hf:{name}", seq_len=12)
    first, state = model.scan(TOKENS, model.initial_state(2))
    again = [model.scan(TOKENS[:, :5], state)[0] for _ in range(2)]
    torch.testing.assert_close(again[0], again[1], rtol=0, atol=0)
    whole = model(torch.cat([TOKENS, TOKENS[:, :5]], dim=1))
    torch.testing.assert_close(torch.cat([first, again[0]], dim=1), whole, rtol=1e-4, atol=1e-5)
    assert model.state_bytes is not None
    with pytest.raises(ValueError, match="longer than seq_len = 12"):
        model.scan(TOKENS, state)


def test_what_does_not_stream() -> None:
    for name in ("hf:llama", "hf:recurrent_gemma"):
        model = build(name)
        assert not model.streams and model.state_bytes is None
        with pytest.raises(TypeError, match="it cannot stream"):
            model.initial_state(1)


def test_every_token_has_an_embedding_that_is_trained() -> None:
    """Some configurations reserve a token for padding, whose embedding gets no gradient."""
    model = build("hf:blenderbot")
    model(TOKENS).sum().backward()
    gradient = model.embedding.weight.grad
    assert gradient is not None and bool(gradient.any(dim=1).all())


def test_names() -> None:
    assert ARCHITECTURES["hf:llama"] is ARCHITECTURES["hf_llama"] and ARCHITECTURES["hf_llama"].__name__ == "hf_llama"
    assert ARCHITECTURES["hf:gpt-sw3"].__name__ == "hf_gpt_sw3" and "hf_gpt_sw3" in ARCHITECTURES
    assert not [name for name in ARCHITECTURES if name.startswith("hf")] and "hf_nothing" not in ARCHITECTURES
    assert pickle.loads(pickle.dumps(ARCHITECTURES["hf_gpt2"])) is ARCHITECTURES["hf:gpt2"]


def test_a_name_with_the_prefix_stays_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "hf_llama", Transformer)
    assert ARCHITECTURES["hf_llama"] is Transformer
    assert ARCHITECTURES["hf:llama"].__name__ == "hf_llama"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hf:lama", {}, "unknown architecture 'hf:lama': did you mean hf:llama?"),
        ("hf:gemma3", {}, "the model 'hf:gemma3' is made of several (text_config, vision_config): name"),
        ("hf:cpmant", {}, "hf:cpmant cannot be built with these options: it is not causal"),
        ("hf:llama", {"n_heads": 5}, "model.n_heads = 5 does not divide model.d_model = 32; the nearest"),
        ("hf:llama", {"n_layers": 0}, "model.n_layers must be at least 1, got 0"),
        ("hf:rwkv", {"n_layers": 1}, "hf:rwkv cannot be built with these options: ZeroDivisionError"),
        ("hf:llama", {"config": "hidden_size=3"}, "model.config: hidden_size is model.d_model here"),
        ("hf:llama", {"config": "mlp_bia=true"}, "model.config: unknown argument 'mlp_bia': did you mean mlp_bias?"),
        ("hf:llama", {"config": "bias"}, "model.config: must be words like attention_bias=true hidden_act=relu"),
        ("hf:llama", {"config": "hidden_act=nothing"}, "hf:llama cannot be built with these options: "),
        ("hf:mixtral", {"config": "num_local_experts=1000000"}, "model.config: num_local_experts = 1000000 is"),
        ("hf:llama", {"config": "use_cache=true"}, "model.config: unknown argument 'use_cache'"),
        ("hf:llama", {"config": "_attn_implementation=a/b"}, "model.config: unknown argument '_attn_implementation'"),
    ],
)  # fmt: skip
def test_mistakes(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        build(name, **options)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "needed"), [("hf:llama", "hf:NAME needs the transformers library"), ("fla:gla", "fla:NAME needs ")]
)
def test_what_is_needed(name: str, needed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library; for fla a CUDA device too."""
    monkeypatch.setattr(huggingface, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=needed):
        ARCHITECTURES[name]


@pytest.mark.process
def test_nothing_is_imported_for_the_architectures_of_this_suite() -> None:
    code = "import sys, architectures; architectures.ARCHITECTURES['mamba']; print('transformers' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps", "loss_nats"),
    [
        ("gpt2", 250, 0.35),  # attention, learned positions: solved, the floor is 0.323
        pytest.param("llama", 250, 0.685, marks=pytest.mark.long),  # rotary positions
        pytest.param("recurrent_gemma", 300, 0.67, marks=pytest.mark.long),  # linear recurrences
        ("mamba2", 100, 0.68),  # a state-space model
        pytest.param("mixtral", 200, 0.685, marks=pytest.mark.long),  # a mixture of experts
    ],
)
def test_they_learn(name: str, steps: int, loss_nats: float, tmp_path: Path) -> None:
    """`lm`, S = 8, s = 2: chance is ln 2 = 0.693."""
    run = benchmark.fit(
        f"hf:{name}", "lm", out=tmp_path, seed=1000, progress=False, picture=False, trainer={"logger": False},
        model_options={"d_model": 64}, data_options={"state_size": 8, "n_nonzero": 2, "batch_size": 64},
        optimizer={"lr": 3e-3}, protocol={"max_steps": steps, "eval_every": 50},
    )  # fmt: skip
    assert run.record is not None and run.record.final is not None
    assert run.record.final.loss_nats < loss_nats
