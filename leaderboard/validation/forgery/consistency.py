"""Learning curves held against themselves: loss against accuracy, shares against counts, noise against copies.

The bounds are elementary. Where the most probable token is wrong, the right one has at most half of the probability, so
a share of errors e costs e ln 2 at least. A share of n things is a multiple of 1/n. A state of S cells is right as a
whole at least as often as 1 - S times the share of wrong cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from leaderboard.records.record import Record
from leaderboard.validation.learning_curves import Curves

# Shares are divided in float32, which rounds to 6e-8 of a value.
_SHARE = 2e-7
_LOSS = 1e-5

# By how much of chance the loss may exceed the entropy that its accuracy allows a model that knows how sure it is. In
# 442 committed runs it is 0.07 at the most.
SURPLUS = 0.3
SURE = 0.7
"""Accuracy from which on that is looked at: below it a model that is wildly wrong may still be right by chance."""

# No loss of the 442 committed runs, 34,000 evaluations, is that of an earlier one of the same run, and none lies on the
# line or the cubic through its neighbours to better than 1e-8.
MAX_REPEATS, MAX_SMOOTH, SMOOTH = 2, 2, 1e-10


def states_of(record: Record) -> tuple[int, int] | None:
    """Cells in a state and states in a sequence, for the tasks that have them."""
    sizes = (record.task.config.get("state_size"), record.task.config.get("n_states"))
    cells, states = sizes
    return (cells, states) if type(cells) is int and type(states) is int and cells > 0 and states > 1 else None


def inconsistencies(record: Record, curves: Curves, last: int) -> Iterator[tuple[str, str]]:
    """Yield (field, reason) for what cannot be in the curves of any run, one for each kind.

    Args:
        record: of the run.
        curves: its curves.
        last: the last row that counts.
    """
    states = states_of(record)
    if states is not None and curves.n_positions != states[0] * states[1] - 1:
        expected = states[0] * states[1] - 1
        yield "curves", f"loss_by_position_nats has {curves.n_positions} positions, the task's sequences {expected}"
        return
    for row in range(last + 1):
        if found := next(_row_problems(record, curves, row, states), None):
            yield "curves", f"{found} at step {curves.steps[row]}"
            break
    yield from _noise_problems(curves.metrics["loss_nats"][: last + 1])


def _row_problems(record: Record, curves: Curves, row: int, states: tuple[int, int] | None) -> Iterator[str]:
    at = {name: column[row] for name, column in curves.metrics.items()}
    yield from _too_low("loss_scored_nats", at["loss_scored_nats"], "accuracy", at["accuracy"])
    if states is not None:
        yield from _state_problems(record, curves, row, at, *states)


def _too_low(loss_name: str, loss: float, share_name: str, share: float) -> Iterator[str]:
    if loss < (least := (1 - share) * math.log(2)) - _LOSS:
        yield f"{loss_name} {loss} is below {least:.6g}, what the errors in {share_name} {share} cost at least"


def _too_high(loss_name: str, loss: float, share_name: str, share: float, chance: float) -> Iterator[str]:
    if share < SURE:
        return
    others = max(math.exp(chance) - 1, 1.0)
    entropy = -sum(p * math.log(p) for p in (share, 1 - share) if p > 0) + (1 - share) * math.log(others)
    if loss > (most := entropy + SURPLUS * chance):
        yield f"{loss_name} {loss} is above {most:.6g}, far too unsure for {share_name} {share}"


def _state_problems(
    record: Record, curves: Curves, row: int, at: dict[str, float], cells: int, states: int
) -> Iterator[str]:
    """Of a row of a task whose sequences are states."""
    units = record.protocol.eval_sequences * (states - 1)
    accuracy, exact, loss = at["accuracy"], at["exact_match"], at["loss_scored_nats"]
    yield from _share_problem("accuracy", accuracy, units * cells)
    yield from _share_problem("exact_match", exact, units)
    if not accuracy + _SHARE >= exact >= 1 - cells * (1 - accuracy) - cells * _SHARE:
        yield f"exact_match {exact} is not possible with accuracy {accuracy} in states of {cells} cells"
    if abs(loss - (mean := curves.scored_means[row])) > _LOSS * max(1.0, abs(loss)):
        yield f"loss_scored_nats {loss} is not the mean of loss_by_position_nats after the first state, {mean:.9g}"
    yield from _too_high("loss_scored_nats", loss, "accuracy", accuracy, record.chance_loss_nats)
    if "rows_solved" in at:
        yield from _rows_problem(at["rows_solved"], accuracy, cells, curves.low_cells[row])
    if "accuracy_second_half" in at:
        late, n_late = at["accuracy_second_half"], states - -(-states // 2)
        rest = accuracy * (states - 1) - late * n_late  # right cells of the other states, in states
        if not -states * _SHARE <= rest <= states - 1 - n_late + states * _SHARE:
            yield f"accuracy_second_half {late} is not possible with accuracy {accuracy}"
        about = "loss_by_position_nats over the second half", curves.late_means[row], "accuracy_second_half", late
        yield from _too_low(*about)
        yield from _too_high(*about, record.chance_loss_nats)


def _share_problem(name: str, value: float, n: int) -> Iterator[str]:
    if abs(value * n - round(value * n)) > n * _SHARE + 1e-9:
        yield f"{name} {value} is not a multiple of 1/{n:,}, the scored tokens or states of the held-out set"


def _rows_problem(solved: float, accuracy: float, cells: int, low_cells: int) -> Iterator[str]:
    """A row is solved where more than 99 % of its cells are right."""
    yield from _share_problem("rows_solved", solved, cells)
    if not 0.99 * solved - _SHARE <= accuracy <= solved + 0.99 * (1 - solved) + _SHARE:
        yield f"rows_solved {solved} is not possible with accuracy {accuracy}"
    if low_cells > round(solved * cells):
        yield f"rows_solved {solved} is less than the {low_cells} of {cells} rows whose loss is that of a solved one"


def _noise_problems(losses: list[float]) -> Iterator[tuple[str, str]]:
    """Evaluations of a model that trains are never twice the same, nor between their neighbours to the last digit."""
    if (repeats := len(losses) - len(set(losses))) > MAX_REPEATS:
        yield "curves", f"loss_nats has {repeats} values that stand there twice: weights that train give new ones"
        return
    smooth = 0
    for i in range(1, len(losses) - 1):
        left, middle, right = losses[i - 1 : i + 2]
        near = [(left + right) / 2]
        if 3 <= i < len(losses) - 3:
            near.append((9 * (left + right) - losses[i - 3] - losses[i + 3]) / 16)
        smooth += any(abs(middle - value) <= SMOOTH * abs(middle) for value in near)
    if smooth > MAX_SMOOTH:
        yield "curves", f"loss_nats has {smooth} values that lie exactly between their neighbours: interpolated"
