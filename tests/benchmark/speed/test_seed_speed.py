"""`python -m benchmark speed`, the part about seeds: known rates, the table by hand."""

import time
from pathlib import Path

import pytest
import torch

from benchmark.__main__ import main
from benchmark.config.parser import parse
from benchmark.speed.seed_speed import SeedSpeed, measure_on_gpu
from benchmark.speed.seed_speed_table import header, markdown, rows
from benchmark.speed.seed_step import MATRIX, SeedStep, matrix_product_flops, rate
from benchmark.training.machine.environment import flops_per_token
from benchmark.training.run import build
from benchmark.training.step import WARM_UP_STEPS
from tests.helpers.sweep_helpers import SUITE

CPU = torch.device("cpu")
CONTENT = {
    "model": {"class_path": "transformer", "init_args": {"d_model": 16, "n_heads": 2}},
    "data": {"class_path": "lm", "init_args": {"state_size": 4, "n_nonzero": 2, "batch_size": 8}},
    "optimizer": {"lr": 0.01, "betas": [0.5, 0.6]},
    "protocol": {"max_steps": 50},
}


def test_rate_of_something_that_takes_a_known_time() -> None:
    calls = list[float]()

    def slow() -> None:
        time.sleep(0.02)
        calls.append(time.perf_counter())

    assert rate(slow, 0.2, lambda: None) < 50.1
    assert calls[-1] - calls[0] >= 0.02 * (len(calls) - 1) > 0
    waited = []
    assert rate(lambda: None, 0.01, lambda: waited.append(0)) > 1000
    assert len(waited) >= 2  # a device is waited for before the clock is read


def test_matrix_product_is_counted_as_its_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.speed.seed_step.rate", lambda step, seconds, wait: 3.0)
    assert matrix_product_flops(CPU, 0.0) == 3 * 2 * MATRIX**3


def test_a_step_is_the_one_of_the_harness() -> None:
    """The depth that the task sets, the options that were given, and a new batch at every step."""
    step = SeedStep(CONTENT, CPU)
    config = step.run.config
    assert len(step.model.blocks) == 1
    assert (config.optimizer.betas, config.optimizer.lr, step.data.batch_size) == ((0.5, 0.6), 0.01, 8)
    first = step.tokens()
    before = [parameter.clone() for parameter in step.model.parameters()]
    step()
    assert not any(torch.equal(a, b) for a, b in zip(before, step.model.parameters(), strict=True))
    assert torch.equal(step.tokens(), step.data.task.batch(1, 8))
    assert not torch.equal(step.tokens(), first)


@pytest.mark.train
def test_ensembles_are_measured_alone_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock of our own: one call per second, so that n seeds make n seed-steps per second."""
    calls = []

    def once(step: object, seconds: float, wait: object) -> float:
        calls.append(step)
        step()  # type: ignore[operator]
        return 1.0

    monkeypatch.setattr("benchmark.speed.seed_speed.rate", once)
    monkeypatch.setattr("benchmark.speed.seed_speed.matrix_product_flops", lambda device, seconds: 1e6)
    monkeypatch.setattr("benchmark.speed.seed_speed.ENSEMBLES", (2, 3))
    broken = {**CONTENT, "model": {"class_path": "transformer", "init_args": {"d_model": 15, "n_heads": 2}}}
    result, error = measure_on_gpu({"transformer": CONTENT, "broken": broken}, 0.0, CPU)
    assert result.rates == {"alone": 1.0, "2 seeds": 2.0, "3 seeds": 3.0}
    run = build(parse(CONTENT))
    flops = flops_per_token(run.model, run.task) * run.data.tokens_per_step
    assert result.utilisation["3 seeds"] == pytest.approx(3 * flops / 1e6)
    assert result.parameters == sum(parameter.numel() for parameter in run.model.parameters())
    assert error.error is not None and "n_heads" in error.error
    assert WARM_UP_STEPS >= 1 and len(calls) == 4


def test_the_table_worked_out_by_hand() -> None:
    results = [
        SeedSpeed("a", "sdpa", 1234, {"1 thread": 10.04, "2 processes": 16}, {"1 thread": 0.1}, 0.05, 1.234, 3 * 2**20),
        SeedSpeed("b", "torch", 5, {"1 thread": 2000}, {"1 thread": 0.256}, 0.001, None, 2**19),
        SeedSpeed("c", error="RuntimeError: no"),
    ]
    assert header(results) == [
        "model", "backend", "parameters", "1 thread", "2 processes", "of a matrix product, 1 thread", "tokens' share",
        "harness", "MiB a step",
    ]  # fmt: skip
    assert rows(results) == [
        ["a", "sdpa", "1,234", "10.0", "16.0", "10.0%", "5.0%", "1.23", "3.0"],
        ["b", "torch", "5", "2,000.0", "-", "25.6%", "0.1%", "-", "0.5"],
    ]
    page = markdown(results, "lite/x", CPU)
    assert "- c could not be measured: RuntimeError: no" in page
    assert "not yet measured" in page and "lite/x" in page


@pytest.mark.slow
@pytest.mark.process
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real processes: every figure of the row is there, and positive."""
    (suite := tmp_path / "tiny.yaml").write_text(SUITE)
    words = ["speed", "--part=seeds", f"--suite={suite}", "--cell=ca4", "--models=transformer", "--seconds=0.2"]
    assert main([*words, f"--out={tmp_path / 'page.md'}"]) == 0
    (line,) = [line for line in (tmp_path / "page.md").read_text().splitlines() if line.startswith("| transformer")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert all(float(cell.rstrip("%").replace(",", "")) > 0 for cell in cells[2:-1])
    assert "Cell tiny/ca4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--suite=light"], "unknown suite 'light': did you mean lite?"),
        (["--cell=nothing"], "unknown cell 'nothing'"),
        (["--part=some"], "--part"),
        (["--seconds=0"], "--seconds"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error
