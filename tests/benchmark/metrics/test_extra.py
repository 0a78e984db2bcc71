"""Metrics that ``--metrics`` turns on: what they measure, where it is written, and what is refused."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import benchmark
from benchmark.metrics import METRICS, HeldOutMetrics, register_metric
from benchmark.metrics.entropy import entropy_nats
from datamodules import LinearMap

TINY: dict[str, Any] = {
    "model": {"class_path": "transformer", "init_args": {"d_model": 16, "n_heads": 2, "n_layers": 1}},
    "data": {"class_path": "lm", "init_args": {"state_size": 4, "n_nonzero": 2, "batch_size": 4, "eval_sequences": 10}},
    "protocol": {"max_steps": 4, "eval_every": 2},
    "trainer": {"accelerator": "cpu", "logger": False},
    "picture": False,
}


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """The registered metrics, put back afterwards."""
    before = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(before)


def test_entropy_of_distributions_that_are_known() -> None:
    logits = torch.full((1, 1, 4, 3), -math.inf)
    logits[0, 0, 0] = 0.0  # uniform over three
    logits[0, 0, 1, :2] = 5.0  # uniform over two
    logits[0, 0, 2, 0] = 1.0  # certain
    logits[0, 0, 3] = torch.tensor([0.5, 0.25, 0.25]).log()
    tokens, scored = torch.zeros(1, 1, 5, dtype=torch.int64), torch.ones(1, 1, 4, dtype=torch.bool)
    expected = [math.log(3), math.log(2), 0.0, 0.5 * math.log(2) + 0.5 * math.log(4)]
    assert entropy_nats(logits, tokens, scored).item() == pytest.approx(sum(expected) / 4)
    scored[0, 0, :2] = False
    assert entropy_nats(logits, tokens, scored).item() == pytest.approx(sum(expected[2:]) / 2)


def test_a_mean_over_sequences_per_seed_whatever_the_chunks() -> None:
    @register_metric("first_logit")
    def first_logit(logits_EBLV: Tensor, tokens_EB: Tensor, scored_EBL: Tensor) -> Tensor:
        return logits_EBLV[..., 0, 0] * scored_EBL.sum(-1)

    task = LinearMap(4, 2, 3, task_seed=0, data_seed=0)
    tokens = task.batch(0, 6).expand(2, -1, -1)
    logits = torch.randn(2, 6, task.seq_len, 2)
    for cuts in ([0, 6], [0, 1, 5, 6]):
        metrics = HeldOutMetrics(task, 2, ["first_logit"])
        for start, stop in zip(cuts, cuts[1:], strict=False):
            metrics.update(logits[:, start:stop], tokens[:, start:stop])
        found = [evaluation.metrics["first_logit"] for evaluation in metrics.evaluations()]
        np.testing.assert_allclose(found, 8 * logits[:, :, 0, 0].double().mean(1).numpy(), rtol=1e-6)


@pytest.mark.slow
def test_a_metric_reaches_curves_and_record(tmp_path: Path) -> None:
    """Defined here and nowhere else: one function is all that a metric takes."""

    @register_metric("half")
    def half(logits_EBLV: Tensor, tokens_EB: Tensor, scored_EBL: Tensor) -> Tensor:
        return torch.full(logits_EBLV.shape[:2], 0.5)

    config = benchmark.configure(config=TINY, out=tmp_path, name="a", metrics=["half", "entropy_nats"])
    run = benchmark.fit(config, progress=False)
    assert run.record is not None and run.record.final is not None and run.folder is not None
    assert run.record.final.task_metrics["half"] == 0.5
    curves = run.curves()
    assert (curves["half"] == 0.5).all() and curves["entropy_nats"].between(0, math.log(2)).all()
    assert benchmark.load(run.folder).evaluate().metrics["entropy_nats"] == curves["entropy_nats"].iloc[-1]


def returns(value: Any) -> None:
    register_metric("planted")(lambda logits, tokens, scored: value)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (torch.zeros(3), ["planted", "(1, 6)", "(3,)"]),
        (torch.full((1, 6), math.nan), ["planted", "nan"]),
        (torch.ones(1, 6, dtype=torch.complex64), ["planted", "complex64"]),
        (torch.zeros(1, 6, device="meta"), ["planted", "meta", "cpu"]),
        (0.5, ["planted", "float"]),
    ],
)
def test_a_metric_that_does_not_keep_the_contract_is_named(value: Any, named: list[str]) -> None:
    returns(value)
    task = LinearMap(4, 2, 3, task_seed=0, data_seed=0)
    metrics = HeldOutMetrics(task, 1, ["planted"])
    with pytest.raises(ValueError) as error:
        metrics.update(torch.zeros(1, 6, task.seq_len, 2), task.batch(0, 6)[None])
        metrics.evaluations()
    assert all(name in str(error.value) for name in named)


def test_a_name_of_the_task_is_refused() -> None:
    register_metric("rows_solved")(lambda logits, tokens, scored: torch.zeros(logits.shape[:2]))
    with pytest.raises(ValueError, match=r"--metrics rows_solved.*\blm\b"):
        HeldOutMetrics(LinearMap(4, 2, 3, task_seed=0, data_seed=0), 1, ["rows_solved"])


def test_a_metric_that_raises_is_named() -> None:
    @register_metric("planted")
    def planted(logits_EBLV: Tensor, tokens_EB: Tensor, scored_EBL: Tensor) -> Tensor:
        raise KeyError("boom")

    task = LinearMap(4, 2, 3, task_seed=0, data_seed=0)
    with pytest.raises(ValueError, match="metric planted raised KeyError: 'boom'"):
        HeldOutMetrics(task, 1, ["planted"]).update(torch.zeros(1, 6, task.seq_len, 2), task.batch(0, 6)[None])


@pytest.mark.parametrize("name", ["accuracy", "step", "Entropy", "", "a b", "entropy_nats", 3, len])
def test_a_name_that_cannot_be(name: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{name!r}")):
        register_metric(name)(lambda logits, tokens, scored: logits)


@pytest.mark.parametrize(
    ("metrics", "named"),
    [
        (["entropi"], ["entropi", "--metrics", "did you mean entropy_nats?"]),
        (["entropy_nats", "entropy_nats"], ["--metrics", "entropy_nats", "twice"]),
        ("entropy_nats,entropi", ["--metrics", "entropi", "did you mean entropy_nats?"]),
        (["accuracy"], ["--metrics accuracy", "every run has it"]),
        (3, ["--metrics", "list"]),
    ],
)
def test_a_choice_that_cannot_be(metrics: Any, named: list[str]) -> None:
    with pytest.raises(benchmark.BenchmarkError) as error:
        benchmark.configure(config=TINY, metrics=metrics)
    assert all(name in str(error.value) for name in named)


@pytest.mark.slow
def test_a_run_goes_on_with_the_metrics_that_its_curves_have(tmp_path: Path) -> None:
    run = benchmark.fit(config=TINY, out=tmp_path, name="a", metrics=["entropy_nats"], progress=False)
    assert run.folder is not None
    other = benchmark.build(benchmark.configure(config=TINY, out=tmp_path, name="b"))
    with pytest.raises(benchmark.BenchmarkError, match="entropy_nats"):
        other.fit(resume_from=run.folder / "last.ckpt")


def test_words_with_commas_are_a_list() -> None:
    register_metric("half")(lambda logits, tokens, scored: torch.zeros(logits.shape[:2]))
    assert benchmark.configure(config=TINY, metrics="half, entropy_nats").metrics == ["half", "entropy_nats"]
    assert benchmark.configure(config=TINY | {"metrics": ["half"]}).metrics == ["half"]
    assert benchmark.configure(config=TINY).metrics is None


def test_a_run_loads_without_a_metric_that_is_gone(tmp_path: Path) -> None:
    register_metric("half")(lambda logits, tokens, scored: torch.full(logits.shape[:2], 0.5))
    run = benchmark.fit(config=TINY, out=tmp_path, name="a", metrics=["half"], progress=False)
    assert run.folder is not None and run.record is not None and run.record.final is not None
    del METRICS["half"]
    with pytest.warns(UserWarning, match="half"):
        again = benchmark.load(run.folder)
    assert again.evaluate().metrics["loss_nats"] == run.record.final.loss_nats
