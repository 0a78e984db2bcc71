"""The intervention `attention_bias`: what is added, when, for every seed; what a biased run is taken for."""

from pathlib import Path
from typing import Any

import pytest
import torch

from architectures import Transformer
from architectures.hybrid import Hybrid
from benchmark.__main__ import main
from benchmark.config.parser import config_of, parse
from benchmark.config.run_config import RunConfig
from benchmark.training.folder.checkpoint import CHECKPOINT
from benchmark.training.loading import load
from benchmark.training.replay import replay
from benchmark.training.run import Run, build
from datamodules import TASKS, TaskEnsemble
from leaderboard.__main__ import main as leaderboard
from leaderboard.records.record import Record

SIZES: dict[str, dict[str, Any]] = {
    "transformer": {"d_model": 16, "n_heads": 2},
    "hybrid": {"d_model": 16, "pattern": "mamba(d_state=2) attention(n_heads=2)"},
    "mamba": {"d_model": 16},
}
DATA: dict[str, dict[str, Any]] = {
    "lm": {"state_size": 4, "n_nonzero": 2, "batch_size": 8, "eval_sequences": 16},
    "copy": {"n_tokens": 10, "n_symbols": 6, "min_period": 2, "max_period": 4, "batch_size": 8, "eval_sequences": 16},
}


def config(out: Path, model: str = "transformer", data: str = "lm", **more: Any) -> RunConfig:
    content = {
        "model": {"class_path": model, "init_args": SIZES[model]},
        "data": {"class_path": data, "init_args": DATA[data]},
        "protocol": {"max_steps": 8, "eval_every": 4},
        "optimizer": {"warmup_steps": 0},
        "trainer": {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False},
        "out": str(out),
        "picture": False,
    }
    return parse(content | more)


def fitted(*args: Any, **more: Any) -> Run:
    run = build(config(*args, **more))
    outcome = run.fit()
    assert outcome.error is None
    return run


def record_of(run: Run) -> Record:
    assert run.record is not None
    return run.record


@pytest.mark.parametrize("data", ["lm", "copy"])
def test_the_pattern_is_one_on_the_keys_of_scored_queries_of_the_own_task(data: str) -> None:
    """Against a loop over the task's own lists."""
    make: Any = TASKS[data]
    tasks = [make(**DATA[data], task_seed=seed, data_seed=seed).task for seed in (0, 1)]
    ensemble = TaskEnsemble(tasks)
    tokens_EBN = ensemble.rows(0, 3)
    mask = ensemble.patterns(tokens_EBN).expand(2, 3, -1, -1)
    for e, task in enumerate(tasks):
        keys, scored = task.keys_in(tokens_EBN[e]), task.scored_in(tokens_EBN[e])
        assert keys is not None
        for b in range(3):
            for q in range(task.seq_len):
                expected = {int(k) for k in keys[b, q] if k >= 0}
                assert set(mask[e, b, q].nonzero().flatten().tolist()) == expected
                assert bool(expected) == bool(scored[b, q])
    ensemble.keep([1])
    assert torch.equal(ensemble.patterns(tokens_EBN[1:]).expand(1, 3, -1, -1), mask[1:])


@pytest.mark.parametrize("width", [16, 64])  # compiled loops, PyTorch's own
def test_the_bias_is_added_to_the_logits_of_every_head(width: int) -> None:
    """Against the equation, written out."""
    torch.manual_seed(0)
    model = Transformer(2, 7, d_model=width, n_heads=2)
    tokens, bias = torch.randint(2, (3, 7)), torch.randn(3, 1, 7, 7)
    block: Any = model.blocks[0]
    x = model.embed(tokens)
    q, k, v = block.attention.qkv(block.attention_norm(x)).unflatten(-1, (3, 2, width // 2)).permute(2, 0, 3, 1, 4)
    logits = q @ k.mT / (width // 2) ** 0.5 + bias
    probabilities = logits.masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf).softmax(-1)
    x = x + block.attention.out((probabilities @ v).transpose(1, 2).flatten(2))
    expected = model.unembed(x + block.mlp(block.mlp_norm(x)))
    torch.testing.assert_close(model(tokens, attention_bias=bias), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.attention_maps(tokens, bias)[0], probabilities, rtol=1e-5, atol=1e-6)


def test_a_hybrid_passes_the_bias_to_its_attention_alone() -> None:
    torch.manual_seed(0)
    bias = torch.zeros(1, 1, 5, 5)
    bias[..., 4, 0] = 50.0
    tokens = torch.tensor([[0, 1, 1, 0, 1]])
    model = Hybrid(2, 5, d_model=16, pattern="mamba attention(n_heads=2)")
    assert model.takes_attention_bias and not Hybrid(2, 5, d_model=16, pattern="mamba").takes_attention_bias
    [maps] = model.attention_maps(tokens, bias)
    assert maps[0, :, 4, 0].min() > 0.999
    assert not torch.equal(model(tokens, bias)[:, 4], model(tokens)[:, 4])
    assert torch.equal(model(tokens, bias)[:, :4], model(tokens)[:, :4])


@pytest.mark.train
def test_zero_is_the_run_without_and_steps_say_when(tmp_path: Path) -> None:
    plain, zero = fitted(tmp_path, name="plain"), fitted(tmp_path, name="zero", attention_bias=0.0)
    late = fitted(tmp_path, name="late", attention_bias=3.0, attention_bias_steps="4:6")
    never = fitted(tmp_path, name="never", attention_bias=3.0, attention_bias_steps="8:")
    losses = [torch.tensor(record_of(run).first_losses_nats) for run in (plain, zero, late, never)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=0)
    assert (losses[0] == losses[2]).tolist()[:5] == [True] * 4 + [False]  # steps 0 to 3, then step 4
    assert torch.equal(losses[0], losses[3])
    curves = [run.curves()["loss_nats"].tolist() for run in (plain, late, never)]
    assert curves[0][0] == curves[1][0] and curves[0][1] != curves[1][1]  # at 4 the weights are equal, the bias is on
    assert curves[0][:2] == curves[2][:2] and curves[0][2] != curves[2][2]  # and here it is on at the end
    for run, name in ((late, "late"), (never, "never")):
        at_end = load(tmp_path / "lm" / "transformer" / name).evaluate().metrics["loss_nats"]
        assert at_end == run.curves()["loss_nats"].iloc[-1]


@pytest.mark.train
@pytest.mark.parametrize(("model", "data"), [("transformer", "lm"), ("transformer", "copy"), ("hybrid", "lm")])
def test_many_seeds_each_have_their_own_pattern(model: str, data: str, tmp_path: Path) -> None:
    many = fitted(tmp_path, model, data, seeds="0-2", attention_bias=3.0, attention_bias_steps="2:")
    alone = fitted(tmp_path, model, data, seed=2, attention_bias=3.0, attention_bias_steps="2:")
    ours, theirs = many.records[2], record_of(alone)
    assert ours.first_losses_nats == pytest.approx(theirs.first_losses_nats, rel=1e-4)
    assert ours.intervention == theirs.intervention
    assert ours.final is not None and theirs.final is not None
    assert ours.final.loss_nats == pytest.approx(theirs.final.loss_nats, rel=1e-4)


@pytest.mark.train
def test_the_fallback_without_a_map_biases_too(tmp_path: Path) -> None:
    run = build(config(tmp_path, seeds="0-1", attention_bias=3.0))
    tokens_EB = run.module.tasks.rows(0, 4)
    bias = run.module.bias_in(tokens_EB)
    mapped = run.module(tokens_EB[..., :-1], bias)
    run.module.model.mapped = False
    torch.testing.assert_close(run.module(tokens_EB[..., :-1], bias), mapped, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(run.module(tokens_EB[..., :-1]), mapped, atol=1e-4)


def test_with_a_large_bias_attention_is_on_the_keys_whatever_the_weights(tmp_path: Path) -> None:
    run = build(config(tmp_path, attention_bias=50.0))
    tokens_EB = run.module.tasks.rows(0, 4)
    bias, pattern = run.module.bias_in(tokens_EB), run.module.tasks.patterns(tokens_EB)[0]
    assert bias is not None
    model: Any = run.model
    [maps] = model.attention_maps(tokens_EB[0, :, :-1], bias[0])
    assert (maps * pattern).sum(-1)[..., run.task.scored].min() > 0.99


@pytest.mark.train
def test_identity_record_and_checkpoint_keep_biased_and_plain_apart(tmp_path: Path) -> None:
    plain, biased = fitted(tmp_path, name="plain"), fitted(tmp_path, name="biased", attention_bias=2.0)
    assert "intervention" not in record_of(plain).model_dump_json()
    assert not any("attention_bias" in name for name in plain.identity.flat())
    assert record_of(plain).protocol_hash == record_of(biased).protocol_hash
    assert record_of(biased).model_dump(mode="json")["intervention"]["attention_bias"] == {
        "strength": 2.0, "first_step": 0, "end_step": None
    }  # fmt: skip
    assert plain.folder is not None and biased.folder is not None
    for folder, bias in ((plain.folder, 2.0), (biased.folder, None)):
        with pytest.raises(ValueError, match="was made with attention_bias = (None|2.0), this run has (None|2.0)"):
            build(config(tmp_path, name="another", attention_bias=bias)).fit(resume_from=folder / CHECKPOINT)
    (biased.folder / "config.yaml").unlink()  # the record alone gives the run too
    assert load(biased.folder).identity == biased.identity
    assert config_of(record_of(biased)).intervention == biased.config.intervention
    assert replay(record_of(biased)).difference < 1e-6


@pytest.mark.train
def test_a_biased_run_is_compared_by_folder_and_never_an_entry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        fitted(tmp_path / "plain", seed=seed, suite="tiny", cell="lm_s4")
        fitted(tmp_path / "biased", seed=seed, suite="tiny", cell="lm_s4", attention_bias=3.0)
    assert leaderboard(["compare", "biased", "plain"]) == 0
    assert "transformer against transformer" in capsys.readouterr().out
    assert leaderboard(["check", "biased", "--against", "plain"]) in {0, 10, 11, 12}
    assert "transformer" in capsys.readouterr().out
    assert leaderboard(["submit", "biased", "--name", "mine", "--out", "results"]) == 2
    assert "an attention bias of 3 (steps 0:): such a run is never part of an entry" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
    assert leaderboard(["compare", ".", "plain"]) == 2
    assert "intervention" in capsys.readouterr().err  # two configurations are not mixed
    assert leaderboard(["show", "."]) == 0
    assert "intervention=an attention bias of 3" in " ".join(capsys.readouterr().out.split())


MISTAKES = [
    (["--model=mamba", "--attention_bias=1"], "--attention_bias: mamba has no attention to add it to"),
    (["--attention_bias=nan"], "--attention_bias: Expected a float"),
    (["--attention_bias=.inf"], "--attention_bias must be a finite number, got inf"),
    (["--attention_bias=much"], "--attention_bias"),
    (["--attention_bias_steps=0:5"], "--attention_bias_steps is for --attention_bias, which is not given"),
    (["--attention_bias=1", "--attention_bias_steps=5:2"], "--attention_bias_steps must be FIRST:END"),
    (["--attention_bias=1", "--attention_bias_steps=5"], "--attention_bias_steps must be FIRST:END"),
    (["--attention_bias=1", "--attention_bias_steps=99999999:"], "the run ends at step 10000"),
    (["--attention_bia=1"], "--attention_bias"),
]


@pytest.mark.parametrize(("words", "line"), MISTAKES)
def test_a_mistake_is_one_line(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["fit", "--model=transformer", "--data=lm", *words])
    except SystemExit as end:
        code = end.code  # type: ignore[assignment]
    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (2, 1) and line in err
    assert list(tmp_path.iterdir()) == []


def test_steps_as_they_are_written_in_yaml_and_on_the_command_line() -> None:
    """In YAML 1.1 two numbers with a colon between are one number."""
    from benchmark.config.files.yaml_text import from_text
    from benchmark.config.parser import to_yaml

    content = from_text("{model: transformer, data: lm, attention_bias: 3, attention_bias_steps: '10:20'}")
    asked = parse(content).intervention
    assert asked is not None and asked.attention_bias is not None
    assert (asked.attention_bias.first_step, asked.attention_bias.end_step) == (10, 20)
    assert parse(from_text(to_yaml(parse(content)))).intervention == asked


def test_a_task_without_a_pattern_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(TASKS["lm"].task_class, "keys", None)
    with pytest.raises(ValueError, match="--attention_bias: the attention pattern of task lm is not known"):
        build(config(tmp_path, attention_bias=1.0))


def test_a_sweep_in_python_passes_the_bias_on(tmp_path: Path) -> None:
    from benchmark.api import BenchmarkError, sweep

    with pytest.raises(BenchmarkError, match="mamba: --attention_bias: mamba has no attention to add it to"):
        sweep("lite", models="mamba", seeds=1, out=tmp_path, attention_bias=3.0)
    with pytest.raises(BenchmarkError, match="did you mean attention_bias"):
        sweep("lite", models="mamba", seeds=1, out=tmp_path, attention_bia=3.0)
