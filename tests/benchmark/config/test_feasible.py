"""A run that this machine cannot carry out is refused at once, before anything of its size is made."""

import time
from pathlib import Path
from typing import Any

import pytest

from architectures import ARCHITECTURES
from benchmark.__main__ import main
from benchmark.config import feasible
from benchmark.config.feasible import GIB, UNLIMITED, cost, require_feasible
from benchmark.config.parser import parse
from benchmark.config.run_config import RunConfig
from benchmark.sweeps.sources import bases
from benchmark.training.run import build

BILLION = 10**9


def config(model: str = "transformer", data: str = "lm", m: dict[str, Any] | None = None, **more: Any) -> RunConfig:
    options = {name: more.pop(name) for name in [*more] if name not in {"protocol", "trainer", "seeds"}}
    content = {"model": {"class_path": model, "init_args": m or {}}, "data": {"class_path": data, "init_args": options}}
    return parse({**content, "trainer": {"accelerator": "cpu"}, **more})


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("model.d_model = 1,000,000 ", {"m": {"d_model": 10**6}}),
        ("model.d_model = 10000000000000", {"m": {"d_model": 10**13}}),
        ("model.n_layers = 1,000,000 ", {"m": {"n_layers": 10**6}}),
        ("model.n_heads = 8 does not divide model.d_model = 1000000007", {"m": {"d_model": BILLION + 7}}),
        ("model.n_layers = 1,000,000,000", {"m": {"n_layers": BILLION}, "model": "mamba"}),
        ("model.n_layers = 1,000,000,000", {"m": {"n_layers": BILLION}, "model": "rwkv"}),
        ("model.d_state = 1,000,000,000", {"m": {"d_state": BILLION}, "model": "mamba2"}),
        ("data.batch_size = 1,000,000,000", {"batch_size": BILLION}),
        ("data.eval_sequences = 1,000,000,000,000", {"eval_sequences": 10**12}),
        ("data.state_size = 1,000,000", {"state_size": 10**6, "batch_size": 1}),
        ("tokens_per_step=8192 is less than one sequence of 2000000", {"state_size": 10**6}),
        ("n_rules=1000000000", {"data": "ca", "n_rules": BILLION}),
        ("data.n_colors = 134,217,728", {"data": "ca", "n_colors": 2**27, "window": 1, "n_rules": 1}),
        ("data.n_symbols = 1,000,000,000", {"data": "copy", "n_symbols": BILLION}),
        ("protocol.max_steps = 1000000000000000000", {"protocol": {"max_steps": 10**18}}),
        ("trainer.devices = 1000000000", {"trainer": {"devices": BILLION}}),
        ("trainer.devices = 1000000000", {"trainer": {"devices": str(BILLION)}}),
        ("trainer.num_nodes = 1000000000", {"trainer": {"num_nodes": BILLION, "devices": 1}}),
        ("the number of seeds = 100,000", {"seeds": "0-99999"}),
    ],
)
def test_the_option_that_is_too_large_is_named(
    option: str, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feasible, "memory_of_this_machine", lambda **kind: 16 * GIB)
    began = time.process_time()
    with pytest.raises(ValueError) as error:
        build(config(**told))
    assert option in str(error.value) and "\n" not in str(error.value)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("model", sorted(ARCHITECTURES))
def test_weights_are_counted_without_making_them(model: str) -> None:
    """Exactly where all blocks are alike; of RWKV-7 and xLSTM, whose blocks differ, a little less than there are."""
    sizes = {"d_model": 64} | ({} if model == "hybrid" else {"n_layers": 3})
    told = config(model, m=sizes, state_size=4)
    there = sum(parameter.numel() for parameter in build(told).model.parameters())
    least = 0.9 if model in ("rwkv", "xlstm") else 1.0
    assert least * there <= cost(told).parameters <= there
    assert cost(config(model, m=sizes, state_size=4, seeds="0-6")).parameters == 7 * cost(told).parameters


def test_memory_by_hand() -> None:
    """A transformer of width 8 and one layer on sequences of 6 bits, 5 of them in a step."""
    spent = cost(config(m={"d_model": 8, "n_heads": 1}, state_size=3, batch_size=5, eval_sequences=7))
    weights = (2 + 5 + 2) * 8 + 2 * 2 * 8 + (3 * 8 + 8) * 8 + 4 * 8 + (4 * 8 + 4 * 8) * 8 + 5 * 8 + 2 * 8
    assert spent.parameters == weights
    assert spent.memory_bytes == 16 * weights + 4 * 25 * (8 + 2) + 8 * 30 + 5 * 9
    assert (spent.step_tokens, spent.evaluation_tokens) == (30, 42)


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["lite", "paper"])
def test_the_suites_are_not_refused(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even on a small GPU."""
    monkeypatch.setattr(feasible, "memory_of_this_machine", lambda **kind: 8 * GIB)
    for base in bases(suite, (), ("transformer", "mamba2"), ())[::5]:
        require_feasible(parse(base.content))


def test_the_user_may_insist(monkeypatch: pytest.MonkeyPatch) -> None:
    told = config(m={"n_layers": 10**6})
    monkeypatch.setenv(UNLIMITED, "true")
    require_feasible(told)


def test_time_may_be_limited_further() -> None:
    told = config(eval_sequences=10**7)
    require_feasible(told)
    with pytest.raises(ValueError, match="eval_sequences = 10,000,000 .* one evaluation of 320,000,000 tokens"):
        require_feasible(told, most_seconds=1)


def test_nothing_is_left_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model=transformer", "--data=lm", "--model.n_layers=1000000000", f"--out={tmp_path / 'runs'}"]
    assert main(["fit", *words, "--trainer.accelerator=cpu"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "model.n_layers" in said.err
    assert list(tmp_path.iterdir()) == []
