"""Least and greatest values of every kind of option, to the end of a run: it works, or one line refuses it."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from architectures import ARCHITECTURES
from benchmark.config.parser import parse
from benchmark.training.loading import load
from benchmark.training.run import build

ONE_SEQUENCE = {"batch_size": 1, "eval_sequences": 1}
LEAST: dict[str, dict[str, Any]] = {
    "lm": {"state_size": 1, "n_nonzero": 1, **ONE_SEQUENCE},
    "ca": {"state_size": 1, "n_states": 2, "n_rules": 1, "n_colors": 2, "window": 1, **ONE_SEQUENCE},
    "copy": {"n_tokens": 3, "n_symbols": 1, "min_period": 1, "max_period": 1, **ONE_SEQUENCE},
    "dyck": {"n_tokens": 2, "n_types": 1, "max_depth": 1, **ONE_SEQUENCE},
    "bigram": {"n_tokens": 2, "n_symbols": 1, "n_successors": 1, **ONE_SEQUENCE},
    "nca": {"n_tokens": 2, "height": 1, "width": 1, "n_colors": 2, "burn_in": 0, **ONE_SEQUENCE},
}
SIZES = (
    "d_model",
    "n_heads",
    "head_dim",
    "d_state",
    "d_conv",
    "expand",
    "expand_v",
    "mlp_ratio",
    "n_groups",
    "dt_rank",
)
SMALL = {"d_model": 8, "n_heads": 2, "head_dim": 4, "d_state": 4}
LARGEST = 2**63 - 1


def content(model: str, task: str, out: Path, options: dict[str, Any], **more: Any) -> dict[str, Any]:
    known = inspect.signature(ARCHITECTURES[model]).parameters
    return {
        "model": {"class_path": model, "init_args": {key: value for key, value in options.items() if key in known}},
        "data": {"class_path": task, "init_args": {**LEAST[task], **more.pop("data", {})}},
        "protocol": {"max_steps": 1, "eval_every": 1, **more.pop("protocol", {})},
        "trainer": {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False},
        "out": str(out),
        **more,
    }


def to_its_end(*args: Any, **more: Any) -> None:
    """Train, record, draw, load and evaluate."""
    run = build(parse(content(*args, **more)))
    outcome = run.fit()
    assert outcome.error is None
    assert {record.status for record in outcome.records} <= {"solved", "censored"}
    assert run.folder is not None
    loaded = load(run.folder)
    for record in loaded.records:
        assert record.final is not None
    evaluation = loaded.evaluate()
    assert evaluation.loss_L.shape == (loaded.task.seq_len,)
    assert loaded.evaluate("test").metrics.keys() == evaluation.metrics.keys()


@pytest.mark.train
@pytest.mark.parametrize("model", sorted(ARCHITECTURES))
@pytest.mark.parametrize("data", LEAST)
def test_everything_at_its_least(model: str, data: str, tmp_path: Path) -> None:
    if data in {"ca", "copy"} and (sorted(ARCHITECTURES).index(model) + ["ca", "copy"].index(data)) % 2:
        pytest.skip("the other half of the pairs stands for it")
    if data in {"dyck", "bigram", "nca"} and model not in {"transformer", "mlp_mixer"}:
        pytest.skip("one model with attention and one without stand for it")
    kinds = {"pattern": "mamba(d_state=1) attention(n_heads=1)"} if model == "hybrid" else {}
    to_its_end(model, data, tmp_path, {**dict.fromkeys(SIZES, 1), **kinds})


@pytest.mark.train
@pytest.mark.parametrize(
    "more",
    [
        {"data": {"state_size": 65, "n_nonzero": 65}, "keep_every": 1},
        {"data": {"n_states": 30}, "seeds": f"{LARGEST}"},
        {"seed": LARGEST, "metrics": "entropy_nats", "optimizer": {"warmup_steps": LARGEST, "clip_norm": 5e-324}},
        {"seeds": "0-1", "optimizer": {"warmup_steps": 0, "schedule": "cosine", "lr": 5e-324, "betas": [0, 0]}},
        {"protocol": {"max_steps": 3, "eval_every": 2}, "optimizer": {"clip_norm": 0, "weight_decay": 1}},
    ],
)
def test_edges_of_lm_and_of_the_protocol(more: dict[str, Any], tmp_path: Path) -> None:
    to_its_end("transformer", "lm", tmp_path, {**SMALL, "n_heads": 8}, **more)


@pytest.mark.train
@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("ca", {"n_rules": 0}),
        ("ca", {"n_rules": 0, "rule_steps": 2, "n_states": 3}),
        ("ca", {"state_size": 3, "window": 3, "n_colors": 30, "rule_steps": 9}),
        ("copy", {"n_symbols": 9, "max_period": 9, "n_tokens": 11}),
        ("copy", {"n_symbols": 9, "min_period": 9, "max_period": 9, "n_tokens": 30, "batch_size": 3}),
        ("dyck", {"n_types": 40, "max_depth": 30, "n_tokens": 31}),
        ("nca", {"height": 4, "width": 2, "patch": 2, "n_tokens": 9, "temperature": 0.1, "n_candidates": 2}),
    ],
)
def test_edges_of_other_tasks(data: str, options: dict[str, Any], tmp_path: Path) -> None:
    to_its_end("mlp_mixer", data, tmp_path, SMALL, data=options)


@pytest.mark.parametrize(
    ("named", "more"),
    [
        ("batch_size must be at least 1, got 0", {"data": {"batch_size": 0}}),
        ("eval_sequences must be at least 1, got -1", {"data": {"eval_sequences": -1}}),
        ("n_nonzero must be at least 1, got 0", {"data": {"n_nonzero": 0}}),
        ("n_nonzero=2 ones do not fit in a row of state_size=1", {"data": {"n_nonzero": 2}}),
        ("n_states must be at least 2, got 1", {"data": {"n_states": 1}}),
        ("tokens_per_step=1 is less than one sequence of 2", {"data": {"batch_size": None, "tokens_per_step": 1}}),
        ("eval_every must be in 1..max_steps = 1, got 2", {"protocol": {"eval_every": 2}}),
        ("keep_every must be a multiple of protocol.eval_every = 1, got 0", {"keep_every": 0}),
        ("--seed must be in 0..2^63 - 1, got -1", {"seed": -1}),
        ("--seed must be in 0..2^63 - 1, got 9223372036854775808", {"seed": LARGEST + 1}),
        ("--task_seed must be in 0..2^63 - 1, got 18446744073709551616", {"task_seed": 2**64}),
        ("--data_seed must be in 0..2^63 - 1", {"data_seed": 2**64}),
        ("--init_seed must be in 0..2^63 - 1", {"init_seed": 10**30}),
        ("9223372036854775808 is larger than 2^63 - 1", {"seeds": f"0,{LARGEST + 1}"}),
        ("optimizer.lr must be positive, got 0", {"optimizer": {"lr": 0}}),
        ("--optimizer.clip_norm: expected float, got value: None", {"optimizer": {"clip_norm": None}}),
        ("checkpoint_interval_s must not be negative, got nan", {"checkpoint_interval_s": float("nan")}),
        ("model.embedding_std must be positive and finite, got inf", {"options": {"embedding_std": float("inf")}}),
        ("model.n_heads = 3 does not divide model.d_model = 8", {"options": {"n_heads": 3}}),
        ("model.d_model must be at least 1, got 0", {"options": {"d_model": 0}}),
        ("model.n_layers must be at least 1, got -1", {"options": {"n_layers": -1}}),
    ],
)  # fmt: skip
def test_beyond_an_edge_there_is_a_line(named: str, more: dict[str, Any], tmp_path: Path) -> None:
    options = {**SMALL, **more.pop("options", {})}
    with pytest.raises(ValueError) as error:
        build(parse(content("transformer", "lm", tmp_path, options, **more)))
    assert named in str(error.value) and "\n" not in str(error.value)


def test_none_of_several_types_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:
        parse(content("mamba", "lm", tmp_path, {"dt_rank": "x"}))
    for word in ("--model.dt_rank", "int", "auto", "x"):
        assert word in str(error.value)
    assert "Subtypes" not in str(error.value)
