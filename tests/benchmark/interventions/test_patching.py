"""Patched and ablated heads against arithmetic by hand, exchanged layers against models put together by hand."""

import copy
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from architectures import ARCHITECTURES, Transformer
from architectures.transformer import Attention, attentions_of, edited
from benchmark.__main__ import main
from benchmark.config.parser import parse
from benchmark.interventions.patching import ablate, exchange_layers, patch_heads
from benchmark.interventions.subject import Subject
from benchmark.training.run import Run, build

SMALL = {"d_model": 8, "n_layers": 2, "n_heads": 2, "head_dim": 4, "pattern": "mamba attention(n_heads=2)"}
OTHERS = {
    "TransformerBlock": ("mlp_norm", "mlp"),
    "GatedDeltaNetBlock": ("mlp_norm", "mlp"),
    "MixerBlock": ("channel_norm", "channel_mixing"),
    "RWKVBlock": ("channel_norm", "channel_mixing"),
    "SLSTMBlock": ("mlp_norm", "up", "down"),
}
"""First words of the names of parameters that do not mix positions, by the class of the block."""


def built(model: str = "transformer", *, seed: int = 0, **more: Any) -> Run:
    known = {name: value for name, value in SMALL.items() if name in ARCHITECTURES[model].__init__.__annotations__}
    content = {
        "model": {"class_path": model, "init_args": known},
        "data": {
            "class_path": "lm",
            "init_args": {"state_size": 3, "n_nonzero": 1, "batch_size": 8, "eval_sequences": 8},
        },
        "protocol": {"max_steps": 6, "eval_every": 3},
        "optimizer": {"lr": 0.01, "warmup_steps": 0},
        "trainer": {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False},
        "picture": False,
        "task_seed": 1,
        "init_seed": seed,
    }
    return build(parse(content | more))


def test_an_edited_head_gives_what_arithmetic_says() -> None:
    """Two heads of width 1, values given, probabilities by hand."""
    attention = Attention(2, 2, rotary=False)
    with torch.no_grad():
        attention.qkv.weight.zero_()
        attention.qkv.bias.zero_()
        attention.qkv.weight[4, 0] = attention.qkv.weight[5, 1] = 1.0  # the values are the input
        attention.out.weight.copy_(torch.eye(2))
        attention.out.bias.zero_()
    x = torch.tensor([[[1.0, 10.0], [2.0, 20.0], [6.0, 60.0]]])
    # Queries and keys are 0: without an edit every query has the mean of the past.
    even = torch.tensor([[[1.0, 10.0], [1.5, 15.0], [3.0, 30.0]]])
    torch.testing.assert_close(attention(x), even)
    given = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.25, 0.25, 0.5]])

    def first_head(p: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        assert p.shape == (1, 2, 3, 3) and v.shape == (1, 2, 3, 1)
        p = p.clone()
        p[:, 0] = given
        return p @ v

    with edited(attention, first_head):
        # Head 0: 1; 1; 1/4 + 2/4 + 6/2 = 3.75. Head 1 as before.
        torch.testing.assert_close(attention(x), torch.tensor([[[1.0, 10.0], [1.0, 15.0], [3.75, 30.0]]]))
    assert attention.edit is None
    torch.testing.assert_close(attention(x), even)


def test_an_edit_that_changes_nothing_is_the_plain_attention() -> None:
    torch.manual_seed(0)
    model, tokens = Transformer(2, 9, d_model=8, n_layers=2, n_heads=2, positions="rotary"), torch.randint(2, (4, 9))
    plain, bias = model(tokens), torch.randn(1, 1, 9, 9)
    biased = model(tokens, attention_bias=bias)
    for attention in attentions_of(model).values():
        attention.edit = lambda p, v: p @ v
    torch.testing.assert_close(model(tokens), plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model(tokens, attention_bias=bias), biased, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def by_hand(source: Run, target: Run, heads: list[int], n: int) -> float:
    """Mean probability of the right token with heads of layer 0 exchanged: the block written out."""
    tokens = source.task.rows(0, n, "test")
    inputs, model = tokens[:, :-1], target.model
    block: Any = model.blocks[0]
    maps = [each.model.attention_maps(inputs)[0] for each in (target, source)]  # type: ignore[operator]
    x = model.embed(inputs)
    v = block.attention.qkv(block.attention_norm(x))[..., 16:].unflatten(-1, (2, 4)).transpose(1, 2)
    y = torch.cat([maps[int(h in heads)][:, h] @ v[:, h] for h in (0, 1)], dim=-1)
    x = x + block.attention.out(y)
    x = x + block.mlp(block.mlp_norm(x))
    for later in model.blocks[1:]:
        x = later(x)
    p = model.unembed(x).softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    return float(p[:, source.task.scored].mean())


def test_patched_heads_are_what_the_written_out_block_gives() -> None:
    source, target = built(seed=1), built(seed=2)
    found = patch_heads(Subject(source, 5), Subject(target, 5), top=2)
    assert found.before == pytest.approx(by_hand(source, target, [], 5), abs=1e-6)
    assert found.source == pytest.approx(by_hand(source, source, [], 5), abs=1e-6)
    assert [effect.parts for effect in found.alone] == [("0:0",), ("0:1",), ("1:0",), ("1:1",)]
    for head in (0, 1):
        effect = found.alone[head]
        assert effect.probability == pytest.approx(by_hand(source, target, [head], 5), abs=1e-6)
        assert effect.change == pytest.approx(effect.probability - found.before, abs=1e-9) and abs(effect.change) > 1e-6
        scored = [change for change in effect.change_by_position if change is not None]
        assert len(scored) == 3 and sum(scored) / 3 == pytest.approx(effect.change, abs=1e-9)
    best = max(found.alone, key=lambda effect: effect.probability)
    assert found.together[0] == best and len(found.together) == 2
    assert set(best.parts) < set(found.together[1].parts)
    # Greedy: no other head beside the best one would have done better.
    others = [each.parts for each in found.alone if each != best]
    assert found.together[1].parts[1:] in others


def test_its_own_pattern_changes_nothing_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(built(), 7)
    found = patch_heads(subject, subject, top=4)
    assert max(abs(effect.change) for effect in (*found.alone, *found.together)) < 1e-6
    whole = patch_heads(Subject(built(seed=1), 7), subject, top=1)
    monkeypatch.setattr("benchmark.interventions.subject.MOST_PROBABILITIES", 3 * 4 * 25)
    pieces = Subject(built(), 7)
    assert pieces.chunk == 3
    again = patch_heads(Subject(built(seed=1), 7), pieces, top=1)
    for ours, theirs in zip(again.alone, whole.alone, strict=True):
        assert ours.change == pytest.approx(theirs.change, abs=1e-6)
    for kind in ("uniform", "mean"):
        assert ablate(pieces, [(0, 1)], kind).alone[0].change == pytest.approx(
            ablate(subject, [(0, 1)], kind).alone[0].change, abs=1e-6
        )  # fmt: skip


def test_a_biased_run_is_patched_with_its_bias() -> None:
    run = built(attention_bias=30.0)
    subject = Subject(run, 4)
    tokens = next(subject.chunks())
    bias = run.module.bias_in(tokens[None])
    assert bias is not None
    expected = run.model(tokens[:, :-1], attention_bias=bias[0])
    torch.testing.assert_close(subject.logits(tokens), expected)
    assert abs(patch_heads(subject, subject, top=1).together[0].change) < 1e-6


def test_ablated_heads_attend_evenly_or_give_their_mean() -> None:
    """A head with zero queries attends evenly already; one whose output is the same everywhere is its own mean."""
    run = built()
    attention = attentions_of(run.model)[0]
    with torch.no_grad():
        attention.qkv.weight[0:4] = 0
        attention.qkv.bias[0:4] = 0  # queries of head 0
    found = ablate(Subject(run, 6), [(0, 0), (0, 1)], "uniform")
    assert abs(found.alone[0].change) < 1e-6 < abs(found.alone[1].change)
    assert found.together[0].parts == ("0:0", "0:1")
    with torch.no_grad():
        attention.qkv.weight[20:24] = 0  # values of head 1: its bias alone
    means = ablate(Subject(run, 6), [(0, 0), (0, 1)], "mean")
    assert abs(means.alone[1].change) < 1e-6 < abs(means.alone[0].change)
    assert ablate(Subject(run, 6), [(0, 0)], "uniform").together == ()


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_exchanged_layers_are_a_model_put_together_by_hand(name: str) -> None:
    """Two models that differ in nothing but what mixes positions: with all of its layers one is the other."""
    target = built(name)
    source = copy.deepcopy(target)
    torch.manual_seed(5)
    with torch.no_grad():
        for block in source.model.blocks:
            for key, x in block.named_parameters():
                if key.partition(".")[0] not in OTHERS.get(type(block).__name__, ()):
                    x.add_(0.1 * torch.randn_like(x))
    before = {key: x.clone() for key, x in target.model.state_dict().items()}
    found = exchange_layers(Subject(source, 6), Subject(target, 6), top=2)
    assert found.source is not None and abs(found.source - found.before) > 1e-7
    assert found.together[-1].probability == pytest.approx(found.source, abs=1e-6)
    assert found.together[-1].parts in {("0", "1"), ("1", "0")} and found.what == "layer"
    assert all(torch.equal(x, before[key]) for key, x in target.model.state_dict().items())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = built(keep_checkpoints="every", out=str(tmp_path_factory.mktemp("runs")), name="a")
    assert run.fit().exit_code == 0 and run.folder is not None
    return run.folder


def test_the_command_prints_a_table_json_and_csv(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["patch", str(folder), "--from=6", "--into=3", "--sequences=5", "--top=2"]
    assert main(words) == 0
    table = capsys.readouterr().out
    assert "heads of step 6 in the model of step 3" in table and "1:1" in table and "the model of step 6" in table
    assert main([*words, "--format=json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["parts"] for each in found["alone"]] == [["0:0"], ["0:1"], ["1:0"], ["1:1"]]
    assert (len(found["together"]), found["sequences"], found["from"], found["into"]) == (2, 5, 6, 3)
    assert main([*words, "--format=csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["change"]) for row in rows[:4]] == [each["change"] for each in found["alone"]]
    assert main(["patch", str(folder), "--into=3", "--ablate=0:1", "--ablate=1:0", "--with=mean", "--format=csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["heads"] for row in rows] == ["0:1", "1:0", "0:1 1:0"]
    assert main([*words, "--part=layers", "--format=csv"]) == 0
    assert capsys.readouterr().out.startswith("how,layers,probability,change\nalone,0,")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--from=5", "--into=3"], "there are no weights of step 5: kept are those after steps 0, 3, 6"),
        (["--into=3"], "give either --from STEP, whose patterns are taken, or --ablate LAYER:HEAD"),
        (["--from=3", "--into=3", "--ablate=0:0"], "give either --from STEP"),
        (["--into=3", "--ablate=0:2"], "--ablate must be LAYER:HEAD, got '0:2'; there are 0:0 to 0:1, 1:0 to 1:1"),
        (["--into=3", "--ablate=x"], "--ablate must be LAYER:HEAD, got 'x'"),
        (["--from=3", "--into=3", "--sequences=0"], "--sequences"),
        (["--from=3", "--into=3", "--top=0"], "--top"),
        (["--from=3"], "INTO is missing"),
        (["--form=3", "--into=3"], "--from"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], line: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["patch", str(folder), *words])
    except ValueError as error:
        code, said = 2, f"{error}\n"
    else:
        said = capsys.readouterr().err
    assert (code, said.count("\n")) == (2, 1) and line in said


def test_architectures_without_heads_say_so() -> None:
    from benchmark.config.errors import BenchmarkError
    from benchmark.interventions.subject import parse_head

    subject = Subject(built("mamba"), 2)
    with pytest.raises(BenchmarkError, match="mamba has no attention heads: exchange its layers"):
        patch_heads(subject, subject, 1)
    with pytest.raises(BenchmarkError, match="--ablate 0:0: mamba has no attention heads"):
        parse_head("0:0", "--ablate", subject.heads, "mamba")
