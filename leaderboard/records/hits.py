"""Hitting steps recomputed from learning curves, by the definition that training uses (`benchmark/emergence.py`)."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.records.fields import Hit, RecordedTarget


def holds(target: RecordedTarget, value: float) -> bool:
    """Whether a metric reaches its target; NaN never does."""
    return value >= target.value if target.op == ">=" else value < target.value


def hitting_step(steps: Sequence[int], held: Sequence[bool]) -> tuple[int | None, int | None]:
    """The first evaluation at which a target held and still held at the next one, and the evaluation before it.

    What held for the first time at the last evaluation is no hit yet: nothing has confirmed it.

    Args:
        steps: of the evaluations, ascending.
        held: whether the target held there.

    Returns:
        (step, previous step); the previous step is None if the target held at the first evaluation, both are None if
        it was never hit.

    Raises:
        ValueError: the two differ in length.
    """
    evaluations = list(zip(steps, held, strict=True))
    for position, ((step, now), (_, confirmed)) in enumerate(zip(evaluations, evaluations[1:], strict=False)):
        if now and confirmed:
            return step, steps[position - 1] if position else None
    return None, None


def middle(hit: Hit) -> float:
    """Middle of the interval between two evaluations that a hitting step lies in, in steps; the hit must have one."""
    assert hit.step is not None
    return ((hit.previous_step or 0) + hit.step) / 2
