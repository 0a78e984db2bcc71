"""Time and progress of runs, by hand; what learns nothing ties."""

import math
import random
from typing import Any

import pytest

from leaderboard.statistics.finish import finish, finishes, staircase_time
from leaderboard.statistics.win_rate import CellRuns, cell_win_rate
from tests.helpers.leaderboard.records import make_record

NEVER = {"step": None, "previous_step": None}


def hit(step: int) -> dict[str, int]:
    return {"step": step, "previous_step": step - 50}


def unsolved(**changes: Any) -> Any:
    """A run of the whole budget of 1,000 steps that hit nothing."""
    base = {"status": "censored", "hits": {"rows_50": NEVER, "rows_100": NEVER}, "steps": 1000, "tokens": 8192 * 1000}
    final = {"step": 1000, "loss_nats": 0.69, "loss_scored_nats": 0.69, "accuracy": 0.5, "exact_match": 0.0}
    return make_record(**{**base, "final": {**final, "task_metrics": {"rows_solved": 0.0}}, **changes})


def of_ca(accuracy: float, loss: float = 1.3) -> Any:
    """An unsolved run of a cellular automaton of four colours."""
    common = {"step": 1000, "loss_nats": loss, "loss_scored_nats": loss, "accuracy": accuracy, "exact_match": 0.0}
    final = {**common, "task_metrics": {"accuracy_second_half": accuracy, "rows_solved": 0.0}}
    return unsolved(**{"task.name": "ca", "chance_loss_nats": math.log(4), "final": final})


def test_the_area_above_the_staircase_by_hand() -> None:
    """Parts at 75 and 275 (middles), two never: (75 + 275 + 1000 + 1000) / 4."""
    record = unsolved(part_hits=[hit(100), NEVER, hit(300), NEVER])
    assert finish(record) == (587.5, 0.0)
    early = unsolved(part_hits=[{"step": 50, "previous_step": None}, NEVER, NEVER, NEVER])
    assert staircase_time(early) == (25 + 3000) / 4
    assert finish(unsolved(part_hits=[NEVER] * 4)) == (None, 0.0)
    with pytest.raises(ValueError, match="no hitting steps of parts"):
        staircase_time(unsolved())


def test_a_record_of_old_has_the_time_of_its_primary_target_or_its_rows() -> None:
    assert finish(make_record()) == (575.0, 0.0)  # rows_100 at 600 after 550
    half = {"step": 1000, "loss_nats": 0.5, "loss_scored_nats": 0.5, "accuracy": 0.8, "exact_match": 0.0}
    assert finish(unsolved(final={**half, "task_metrics": {"rows_solved": 0.5}})) == (None, 0.5)


def test_times_of_parts_and_of_the_primary_target_are_never_compared() -> None:
    """A record of old among the runs of either arm: everybody's time is that of the primary target."""
    new, old = make_record(part_hits=[hit(100), hit(600)]), make_record()
    assert finishes([new], [new]) == [[(325.0, 0.0)], [(325.0, 0.0)]]
    assert finishes([new], [old]) == finishes([old], [new]) == [[(575.0, 0.0)], [(575.0, 0.0)]]
    interrupted = unsolved(status="interrupted", steps=400, tokens=8192 * 400, final=None)
    assert finishes([new, interrupted], [new]) == [[(325.0, 0.0)], [(325.0, 0.0)]]


@pytest.mark.parametrize(
    ("accuracy", "steps"), [(0.2, 0), (0.25, 0), (0.2999, 0), (0.3, 1), (0.74, 9), (0.7501, 10), (1.0, 15)]
)
def test_accuracy_counts_in_steps_above_chance(accuracy: float, steps: int) -> None:
    assert finish(of_ca(accuracy)) == (None, float(steps))


def test_runs_without_an_outcome_and_diverged_ones() -> None:
    assert finish(unsolved(status="interrupted", steps=400, tokens=8192 * 400, final=None)) is None
    diverged = unsolved(status="diverged", error="loss is nan", steps=400, tokens=8192 * 400, final=None)
    assert finish(diverged) == (None, -math.inf)


def test_what_learns_nothing_ties_whatever_its_loss() -> None:
    """Planted: two architectures at chance whose losses differ by five standard deviations, and their accuracies by
    the noise of the held-out set. By loss they would differ with certainty."""
    noise = random.Random(0)
    arms = [
        [finish(of_ca(0.25 + 0.01 * noise.gauss(0, 1), loss + 0.01 * noise.gauss(0, 1))) for _ in range(20)]
        for loss in (1.386, 1.436)
    ]
    rate = cell_win_rate(CellRuns(*[[run for run in arm if run is not None] for arm in arms]))
    assert (rate.estimate, rate.decided, rate.p()) == (0.5, 0.0, 1.0)
