"""Patched and ablated heads against the library's own attention, and against a layer computed by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.__main__ import main
from benchmark.language.heads.attention_edits import take_over_attention
from benchmark.language.heads.head_patch_report import HeadPatchRecord, MeasuredChoice, medians, random_shares
from benchmark.language.heads.head_patching import PatchSubject, _Ablation, _other_choices, _Patch, patch_capability
from benchmark.language.language_model import TargetTokens
from tests.helpers.planted_models import Plant

VOCABULARY = 20
SIZES = {
    "gpt_neox": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 4},
    "llama": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
    },
}


def built(kind: str, seed: int = 0, attention: str = "sdpa", **more: Any) -> Any:
    """A model of the library with random weights, large enough for its patterns to be uneven."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    config = CONFIG_MAPPING[kind](vocab_size=VOCABULARY, **{**SIZES.get(kind, {}), **more})
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(12.0 if kind != "llama" else 8.0)
    return model


def prompts(n: int = 6, seed: int = 0) -> TargetTokens:
    """Random tokens, of lengths 5 to 9, zeros behind them."""
    generator = torch.Generator().manual_seed(seed)
    lengths_B = torch.randint(5, 10, (n,), generator=generator)
    ids_BL = torch.randint(1, VOCABULARY, (n, 9), generator=generator)
    ids_BL[torch.arange(9) >= lengths_B[:, None]] = 0
    return TargetTokens(ids_BL, lengths_B, torch.randint(1, VOCABULARY, (n,), generator=generator))


def subject(kind: str, seed: int = 0) -> PatchSubject:
    return PatchSubject(built(kind, seed), prompts(), f"seed {seed}")


@pytest.mark.parametrize("kind", SIZES)
def test_maps_are_those_of_eager_attention(kind: str) -> None:
    found = subject(kind).maps(prompts())
    with torch.no_grad():
        eager = built(kind, attention="eager")(prompts().ids_BL, output_attentions=True).attentions
    assert len(found) == len(eager) == 2
    for layer, expected_BHLL in enumerate(eager):
        torch.testing.assert_close(found[layer], expected_BHLL, rtol=0, atol=1e-5)
    assert found[1].std() > 0.05  # not all alike


@pytest.mark.parametrize("kind", SIZES)
def test_own_patterns_change_nothing_and_others_do(kind: str) -> None:
    one, other = subject(kind), subject(kind, 1)
    before = one.measured()[0][0]
    own = _Patch(one, one).parts(tuple(one.heads))[0][0]
    assert (own - before).abs().max() < 1e-5
    patched = _Patch(other, one).parts(tuple(one.heads))[0][0]
    assert (patched - before).abs().max() > 1e-3


def by_hand(model: Any, tokens: TargetTokens, p_BHLL: Tensor) -> Tensor:
    """The probability of the targets of a GPT-NeoX of one layer whose attention probabilities are given."""
    with torch.no_grad():
        x = model.gpt_neox.embed_in(tokens.ids_BL)
        (layer,) = model.gpt_neox.layers
        n_heads, width = p_BHLL.shape[1], x.shape[-1] // p_BHLL.shape[1]
        qkv = layer.attention.query_key_value(layer.input_layernorm(x)).view(*x.shape[:2], n_heads, 3 * width)
        v_BHLK = qkv[..., 2 * width :].transpose(1, 2)
        y = layer.attention.dense((p_BHLL @ v_BHLK).transpose(1, 2).reshape(x.shape))
        x = x + y + layer.mlp(layer.post_attention_layernorm(x))
        logits = model.get_output_embeddings()(model.gpt_neox.final_layer_norm(x))
        return logits[torch.arange(len(tokens)), tokens.lengths_B - 1].softmax(-1)[
            torch.arange(len(tokens)), tokens.targets_B
        ]


def eager_maps(model_of: Any, tokens: TargetTokens) -> Tensor:
    with torch.no_grad():
        return model_of(tokens.ids_BL, output_attentions=True).attentions[0]


def test_a_patch_is_what_it_is_by_hand() -> None:
    tokens = prompts()
    pair = [built("gpt_neox", seed, num_hidden_layers=1) for seed in (0, 1)]
    theirs, ours = (eager_maps(built("gpt_neox", seed, "eager", num_hidden_layers=1), tokens) for seed in (1, 0))
    target, source = (PatchSubject(model, tokens, "") for model in pair)
    patch = _Patch(source, target)
    for heads in ((0,), (1, 3), (0, 1, 2, 3)):
        mixed = ours.clone()
        mixed[:, heads] = theirs[:, heads]
        found = patch.parts(tuple((0, head) for head in heads))[0][0]
        torch.testing.assert_close(found.float(), by_hand(pair[0], tokens, mixed), rtol=0, atol=1e-5)
    plain = by_hand(pair[0], tokens, ours)
    torch.testing.assert_close(target.measured()[0][0].float(), plain, rtol=0, atol=1e-5)


def test_an_ablated_head_is_what_it_is_by_hand() -> None:
    tokens = prompts()
    model = built("gpt_neox", num_hidden_layers=1)
    own = eager_maps(built("gpt_neox", 0, "eager", num_hidden_layers=1), tokens)
    one = PatchSubject(model, tokens, "")
    even = own.clone()
    for query in range(9):
        even[:, 2, query] = torch.tensor([1 / (query + 1)] * (query + 1) + [0.0] * (8 - query))
    expected = by_hand(model, tokens, even)
    found = _Ablation(one, "uniform").of(((0, 2),))
    assert found.heads == ("0:2",)
    assert found.probability == pytest.approx(expected.mean().item(), abs=1e-6)


def test_the_mean_output_of_a_head() -> None:
    """Of a single prompt it is the output itself; of several, padding counts for nothing."""
    tokens = prompts()
    alone = TargetTokens(tokens.ids_BL[:1], tokens.lengths_B[:1], tokens.targets_B[:1])
    one = PatchSubject(built("gpt_neox"), alone, "")
    assert _Ablation(one, "mean").of(((1, 2),)).probability == pytest.approx(one.measured()[0][0].item(), abs=1e-6)
    several = PatchSubject(built("gpt_neox"), tokens, "")
    found = _Ablation(several, "mean").of(((0, 0), (1, 2))).probability
    other = tokens.ids_BL.clone()
    other[torch.arange(9) >= tokens.lengths_B[:, None]] = 7  # other padding
    changed = PatchSubject(built("gpt_neox"), TargetTokens(other, tokens.lengths_B, tokens.targets_B), "")
    assert _Ablation(changed, "mean").of(((0, 0), (1, 2))).probability == pytest.approx(found, abs=1e-6)
    assert abs(found - torch.cat([p for p, _ in several.measured()]).mean().item()) > 1e-4


@pytest.mark.slow
def test_a_result_holds_together() -> None:
    """Greedy search, controls and ablations of two random models, against patches asked for one by one."""
    source, target = subject("gpt_neox", 1), subject("gpt_neox")
    result = patch_capability(source, target, top=2, draws=100)
    patch = _Patch(source, target)
    heads = target.heads
    assert len(heads) == 8
    every = {pair: patch.of(pair) for i, one in enumerate(heads) for pair in [(one, two) for two in heads[i + 1 :]]}
    assert {choice.heads for choice in result.random} | {tuple(sorted(result.best[-1].heads))} == {
        choice.heads for choice in every.values()
    }
    assert len(result.random) == len(result.ablated_random) == 27
    first = max(result.alone, key=lambda choice: choice.probability)
    assert result.best[0] == first
    with_first = [choice for pair, choice in every.items() if first.heads[0] in choice.heads]
    assert result.best[1].probability == pytest.approx(max(choice.probability for choice in with_first), abs=1e-9)
    assert not set(result.matched.heads) & set(result.best[-1].heads) and len(result.matched.heads) == 2
    gaps = sorted(
        abs(entropy - result.entropies[first.heads[0]])
        for head, entropy in result.entropies.items()
        if head not in result.best[-1].heads
    )
    assert abs(result.entropies[result.matched.heads[0]] - result.entropies[first.heads[0]]) == gaps[0]
    assert [choice.heads for choice in result.layers] == [tuple(f"{layer}:{h}" for h in range(4)) for layer in (0, 1)]
    assert result.own_pattern_change < 1e-5
    assert set(result.maps) == set(result.best[-1].heads)
    assert result.recovered(result.best[-1]) == pytest.approx(
        (result.best[-1].probability - result.before.probability)
        / (result.after.probability - result.before.probability)
    ) or result.after.probability <= result.before.probability  # fmt: skip


def test_entropy_of_patterns() -> None:
    """Against the definition, over the queries of each prompt from the second one on."""
    one = subject("gpt_neox")
    found = _Patch(one, one).entropies()
    tokens = prompts()
    maps = one.maps(tokens)
    rows = [
        maps[1][i, 2, query]
        for i, length in enumerate(tokens.lengths_B.tolist())
        for query in range(1, length)
    ]  # fmt: skip
    expected = sum(-(p * p.clamp(min=1e-30).log()).sum().item() for p in rows) / len(rows)
    assert found[1, 2] == pytest.approx(expected, rel=1e-4)


def test_random_choices() -> None:
    heads = tuple((0, head) for head in range(10))
    found = _other_choices(heads, heads[:3], 20, seed=0)
    assert len(found) == len(set(found)) == 20 and heads[:3] not in found
    assert found == _other_choices(heads, heads[:3], 20, seed=0) != _other_choices(heads, heads[:3], 20, seed=1)
    assert len(_other_choices(heads, heads[:3], 119, seed=0)) == 119


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("gptj", {"n_embd": 16, "n_layer": 2, "n_head": 2, "rotary_dim": 4}, "0 of its 2 layers"),
        (
            "gpt_oss",
            {
                "hidden_size": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "head_dim": 8,
                "intermediate_size": 16,
                "num_local_experts": 2,
                "num_experts_per_tok": 1,
            },
            "sinks",
        ),
    ],
)
def test_models_whose_heads_cannot_be_patched(kind: str, more: dict[str, Any], said: str) -> None:
    model = built(kind, attention="eager", **more)
    with pytest.raises(ValueError, match=f"step 4: heads of {kind} cannot be patched: .*{said}") as error:
        take_over_attention(model, prompts(), "step 4")
    assert "\n" not in str(error.value)


def test_shares_that_random_choices_recover() -> None:
    """The most of each measure, which two choices may have; a share that is not defined is left out."""
    choices = [((0.5, 0.1), (0.2, 0.4)), ((0.3, 0.0), (0.1, None))]
    records = [
        HeadPatchRecord.model_construct(
            best=(chosen(0.7, 0.8),),
            matched=chosen(0.1, None),
            all_heads=chosen(0.9, 0.2),
            random=tuple(chosen(*pair) for pair in pairs),
        )
        for pairs in choices
    ]
    assert random_shares(records[0]) == {
        "most of random": {"probability": 0.5, "accuracy": 0.4},
        "median of random": {"probability": 0.35, "accuracy": 0.25},
    }
    found = medians(records)
    assert found["best"] == {"probability": 0.7, "accuracy": 0.8}
    assert found["matched entropy"] == {"probability": 0.1, "accuracy": None}
    assert found["most of random"] == {"probability": 0.4, "accuracy": 0.2}


def chosen(probability: float, accuracy: float | None) -> MeasuredChoice:
    return MeasuredChoice(
        heads=("0:0",), probability=0, accuracy=0, recovered_probability=probability, recovered_accuracy=accuracy
    )


def test_checkpoints_that_differ() -> None:
    other = PatchSubject(built("gpt_neox", num_attention_heads=2), prompts(), "")
    with pytest.raises(ValueError, match="the checkpoints differ: 8 heads and 4"):
        patch_capability(subject("gpt_neox"), other, 2, 3)


def series(folder: Path, plant: Plant) -> Path:
    return plant.series(folder / "mine", {0: {0: None, 10: None, 20: "4"}, 1: {0: None, 10: "4", 20: "4"}})


@pytest.mark.slow
def test_the_command_takes_the_steps_around_emergence(
    tmp_path: Path, plant: Plant, loads: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = str(series(tmp_path, plant)), str(tmp_path / "out")
    patch = ["head_patch", folder, "--capability", "pattern", "--out", out, "--top", "2", "--no_pictures"]
    assert main(patch) == 2
    assert "pattern.json: is not there: run capability" in capsys.readouterr().err
    words = [
        "capability",
        folder,
        "--capabilities",
        "pattern,ioi",
        "--prompts",
        "single",
        "--out",
        out,
        "--no_pictures",
    ]
    assert main(words) == 0
    loads.clear()
    capsys.readouterr()
    assert main(patch) == 0
    shown = capsys.readouterr().out
    assert "heads of step 20 in the model of step 10" in shown.replace("\n", " ") and "median of 2 models" in shown
    assert [path.parent.name + path.name for path in loads] == [
        "seed0step20",
        "seed0step10",
        "seed1step10",
        "seed1step0",
    ]
    path = tmp_path / "out" / "mine" / "seed1" / "pattern.heads.json"
    record = HeadPatchRecord.model_validate_json(path.read_text())
    assert (record.from_step, record.into_step, len(record.best)) == (10, 0, 2)
    assert record.probability_after > 0.9 and record.accuracy_before == 0
    # What this model predicts does not depend on what it reads: patterns bring nothing.
    assert record.best[-1].recovered_probability == pytest.approx(0, abs=1e-6)
    assert main([*patch, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"]["accuracy"] == 0
    assert len(loads) == 4  # nothing is measured twice
    assert main([*patch, "--capability", "ioi"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "ioi was not there at the last checkpoint, step 20" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "15", "--into", "0"], "--from 15: mine seed 0 of mine has no such step: the nearest are 10 and 20"),
        (["--from", "10", "--into", "10"], "same step"),
        (["--capability", "pattern,ioi"], "give one"),
        (["--capability", "patern"], "did you mean pattern?"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], said: str, tmp_path: Path, plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = series(tmp_path, plant)
    assert main(["head_patch", str(folder), "--out", str(tmp_path / "out"), *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and said in err, err
    assert not (tmp_path / "out").exists()


def test_equal_weights_are_one_line(tmp_path: Path, plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    folder = series(tmp_path, plant)
    places = [folder / "seed0" / f"step{step}" / "model.safetensors" for step in (10, 20)]
    places[0].write_bytes(places[1].read_bytes())
    words = ["--from", "20", "--into", "10", "--seeds", "0", "--out", str(tmp_path / "out")]
    assert main(["head_patch", str(folder), *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "the weights of steps 20 and 10 are equal (model.safetensors)" in err


def test_a_step_that_is_missing_is_one_line(tmp_path: Path, plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    folder = series(tmp_path, plant)
    (folder / "seed0" / "step20" / "model.safetensors").unlink()
    words = ["--from", "20", "--into", "0", "--seeds", "0", "--out", str(tmp_path / "out")]
    assert main(["head_patch", str(folder), *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "step20: holds no weights" in err


@pytest.mark.process
@pytest.mark.slow
def test_the_picture(tmp_path: Path, plant: Plant) -> None:
    folder = series(tmp_path, plant)
    words = ["--from", "20", "--into", "0", "--seeds", "0", "--capability", "pattern", "--out", str(tmp_path / "out")]
    assert main(["head_patch", str(folder), *words, "--n_prompts", "3", "--with", "mean"]) == 0
    svg = (tmp_path / "out" / "mine" / "seed0" / "pattern.heads.svg").read_text()
    assert "before emergence" in svg and "matched entropy" in svg and "&lt;newline&gt;" in svg
    assert (tmp_path / "out" / "mine" / "seed0" / "pattern.heads.png").read_bytes()[:4] == b"\x89PNG"
