"""Hitting steps while a run goes on, the curves that it keeps, and when a seed has ended."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from benchmark.metrics.held_out import Evaluation
from benchmark.training.emergence import hits_of, part_hits_of
from benchmark.training.folder.seed_log import SeedLog
from datamodules import Target
from leaderboard.records.record import Hit
from tests.oracles import hitting_step as oracle

TARGET = Target("half", "share", ">=", 0.5)


def curves(values: Sequence[float], every: int = 10) -> list[dict[str, Any]]:
    return [{"step": i * every, "share": value} for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "step", "previous"),
    [
        ([0.1, 0.2, 0.6, 0.7], 20, 10),  # the first of two in a row
        ([0.1, 0.6, 0.2, 0.6, 0.5, 0.1], 30, 20),  # a first hit that does not last counts for nothing
        ([0.1, 0.6, 0.2, 0.6], None, None),  # the last evaluation has none after it
        ([0.6, 0.6], 0, None),  # already there at the start
        ([0.1, 0.5, 0.5, 0.0, 0.5, 0.5], 10, 0),  # once hit it stays
        ([float("nan"), 0.6, float("nan"), 0.6], None, None),
        ([0.1, 0.2], None, None),
        ([], None, None),
    ],
)
def test_hitting_step_by_hand(values: list[float], step: int | None, previous: int | None) -> None:
    assert hits_of([TARGET], curves(values)) == {"half": Hit(step=step, previous_step=previous)}


@pytest.mark.slow
@given(st.lists(st.floats(0, 1) | st.just(float("nan")), max_size=12))
def test_evaluation_after_evaluation_is_all_at_once(values: list[float]) -> None:
    hits: dict[str, Hit] = {}
    for n in range(len(values) + 1):
        hits = hits_of([TARGET], curves(values[:n]), hits)
    step, previous = oracle.hitting_step(range(0, 10 * len(values), 10), values, lambda value: value >= 0.5)
    assert hits == hits_of([TARGET], curves(values)) == {"half": Hit(step=step, previous_step=previous)}


def test_hitting_steps_of_parts_by_hand() -> None:
    """The second part holds at 10 alone, and then from 30 on; the third never twice in a row."""
    parts = [(1, 0, 0), (1, 1, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)]
    rows = [{"step": 10 * i, "parts_solved": torch.tensor(held, dtype=torch.bool)} for i, held in enumerate(parts)]
    hits = [Hit(step=0, previous_step=None), Hit(step=30, previous_step=20), Hit(step=None, previous_step=None)]
    assert part_hits_of(rows) == tuple(hits)
    assert part_hits_of([{"step": 0}, *rows[1:]]) is None, "an evaluation of old does not say"
    assert part_hits_of([]) is None


def log_of(targets: Sequence[Target], *, every: int = 10, stop_when_solved: bool = True) -> SeedLog:
    protocol = SimpleNamespace(eval_every=every, stop_when_solved=stop_when_solved, primary="half", max_steps=100)
    identity, task = SimpleNamespace(protocol=protocol), SimpleNamespace(targets=tuple(targets))
    return SeedLog(identity, task, Path())  # type: ignore[arg-type]


def evaluation(share: float, loss: float = 0.5) -> Evaluation:
    return Evaluation({"share": share, "loss_nats": loss}, torch.tensor([0.25, share]), torch.tensor([0.0, 1.0]))


def test_only_the_grid_counts_and_each_step_once() -> None:
    log = log_of([TARGET])
    for step, share in [(0, 0.1), (10, 0.6), (10, 0.6), (13, 0.9), (20, 0.2), (30, 0.7), (40, 0.8)]:
        log.take(step, evaluation(share))
    assert [row["step"] for row in log.curves] == [0, 10, 20, 30, 40]
    assert log.hits["half"] == Hit(step=30, previous_step=20)
    assert log.curves[1]["loss_by_position_nats"].tolist() == pytest.approx([0.25, 0.6])
    again = log_of([TARGET])
    again.load_state_dict(log.state_dict())
    assert (again.hits, again.curves) == (log.hits, log.curves)


@pytest.mark.parametrize("stop_when_solved", [True, False])
def test_a_seed_ends_only_when_every_target_holds(stop_when_solved: bool) -> None:
    easy, hard = Target("easy", "share", ">=", 0.1), Target("half", "share", ">=", 0.9)
    log = log_of([easy, hard], every=1, stop_when_solved=stop_when_solved)
    ended = []
    for step, share in enumerate([0.5, 0.5, 0.95, 0.95]):
        log.take(step, evaluation(share))
        ended.append(log.has_ended)
    assert ended == [False, False, False, stop_when_solved]


def test_a_loss_that_is_no_number_ends_a_seed() -> None:
    log = log_of([TARGET])
    log.step = 30
    log.take_losses(1, [0.5] * 19)
    log.take_losses(20, [0.4, 0.3, float("inf"), 0.2])
    assert (log.step, log.diverged) == (22, "training loss is inf at step 22")
    assert log.first_losses == [0.5] * 19 + [0.4]
    log.take_losses(24, [float("nan")])
    assert log.step == 22, "nothing counts after that"
    held_out = log_of([TARGET])
    held_out.take(7, evaluation(0.1, loss=float("nan")))
    assert held_out.diverged == "held-out loss is nan at step 7", "off the grid too"
    assert held_out.has_ended and not held_out.curves
