from types import SimpleNamespace

import pytest
import torch

from benchmark.emergence import EmergenceTracker, Hitting
from benchmark.metrics import Evaluation
from datamodules import Target

TARGET = Target("half", "share", ">=", 0.5)


def follow(values: list[float], every: int = 10) -> Hitting:
    hitting = Hitting(TARGET)
    for i, value in enumerate(values):
        hitting.update(i * every, {"share": value})
    return hitting


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
    ],
)
def test_hitting_step_by_hand(values: list[float], step: int | None, previous: int | None) -> None:
    hitting = follow(values)
    assert (hitting.step, hitting.previous_step) == (step, previous)


@pytest.mark.parametrize("cut", range(6))
def test_hitting_goes_on_from_its_state(cut: int) -> None:
    values = [0.1, 0.6, 0.2, 0.6, 0.5, 0.1]
    resumed = Hitting(TARGET)
    resumed.load_state_dict(follow(values[:cut]).state_dict())
    for i, value in list(enumerate(values))[cut:]:
        resumed.update(i * 10, {"share": value})
    assert resumed.state_dict() == follow(values).state_dict()


def evaluation(share: float) -> Evaluation:
    return Evaluation({"share": share}, torch.tensor([0.25, share]), torch.tensor([0.0, 1.0]))


def test_tracker_counts_the_grid_only_and_each_step_once() -> None:
    tracker = EmergenceTracker([TARGET], eval_every=10, stop_when_solved=True)
    for step, share in [(0, 0.1), (10, 0.6), (10, 0.6), (13, 0.9), (20, 0.2), (30, 0.7), (40, 0.8)]:
        tracker.take(step, evaluation(share))
    assert [row["step"] for row in tracker.curves] == [0, 10, 20, 30, 40]
    assert (tracker.hittings["half"].step, tracker.hittings["half"].previous_step) == (30, 20)
    assert tracker.curves[1]["loss_by_position_nats"].tolist() == pytest.approx([0.25, 0.6])


@pytest.mark.parametrize("stop_when_solved", [True, False])
def test_tracker_stops_the_trainer_only_when_every_target_holds(
    stop_when_solved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.emergence.EmergenceModule", SimpleNamespace)
    easy, hard = Target("easy", "share", ">=", 0.1), Target("hard", "share", ">=", 0.9)
    tracker = EmergenceTracker([easy, hard], eval_every=1, stop_when_solved=stop_when_solved)
    stops = []
    for step, share in enumerate([0.5, 0.5, 0.95, 0.95]):
        trainer = SimpleNamespace(state=SimpleNamespace(fn="fit"), global_step=step, should_stop=False)
        tracker.on_validation_end(trainer, SimpleNamespace(evaluation=evaluation(share)))  # type: ignore[arg-type]
        stops.append(trainer.should_stop)
    assert stops == [False, False, False, stop_when_solved]
