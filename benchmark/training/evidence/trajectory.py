"""A run repeated further than its first losses, and held against the learning curves that it left.

Runs of the same configuration on two machines separate: differences of rounding grow, slowly or within some tens of
steps, by a factor that depends on architecture, task and seed. So the tolerance is measured where the run is repeated:
it is run twice, the second time with initial weights that are moved by about as much as float32 rounds, and what
separates these two says how far apart two honest runs may be at each evaluation.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmark.training.run import Run
from leaderboard.records.hits import hitting_step, holds
from leaderboard.records.record import Record

PERTURBATION = 1e-7
"""Of the initial weights of the second run, relative: float32 rounds to 6e-8."""

MARGIN = 30.0
"""How much further two machines may be apart than the two runs here; Intel and AMD were by 3 times at the most."""

FLOOR = 1e-7
"""The least tolerance, relative; evaluations on two makes of CPU agree to 1e-8 before they separate."""

SEPARATED = 3e-4
"""The largest tolerance: where the two runs here are further apart, evaluations say nothing any more."""

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Trajectory:
    """A comparison of evaluations.

    Attributes:
        until: the last step at which evaluations were compared one by one.
        steps: that were made here.
        same_bits: every value at every one of these steps is the same to the last bit.
        differs: one line about the first evaluation that differs by more than it may; None if there is none.
        hits: steps at which the targets of the record were hit here; None for one that was not.
        solved: whether the primary target was hit here.
    """

    until: int
    steps: int
    same_bits: bool
    differs: str | None
    hits: dict[str, int | None]
    solved: bool


def perturbed(run: Run) -> Run:
    """The run, its initial weights moved by a relative `PERTURBATION` at random."""
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in run.module.parameters():
            parameter.mul_(1 + PERTURBATION * torch.randn(parameter.shape, generator=noise).to(parameter.device))
    return run


def compared(
    record: Record, theirs: Mapping[str, Sequence[float]], make: Callable[[], Run], n_steps: int, device: str = "cpu",
    twin_steps: int | None = None,
) -> Trajectory:  # fmt: skip
    """Make the first steps of a run, and compare their evaluations with those of the record's curves.

    Args:
        record: of the run.
        theirs: columns of its curves, `step` and metrics.
        make: builds the run anew.
        n_steps: how many steps to make; the run ends earlier if it is solved.
        device: where.
        twin_steps: steps of the second run, after which evaluations are not compared one by one any more.
    """
    ours = make().first_steps(n_steps, device).curves
    exact = _same_bits(ours, theirs)
    twin: Rows = []
    if not exact:
        twin = perturbed(make()).first_steps(min(n_steps, twin_steps or n_steps), device).curves
    until, differs = (ours[-1]["step"], None) if exact else _first_difference(ours, twin, theirs)
    hits = _hits(record, ours)
    return Trajectory(until, ours[-1]["step"], exact, differs, hits, hits[record.protocol.primary] is not None)


def _first_difference(ours: Rows, twin: Rows, theirs: Mapping[str, Sequence[float]]) -> tuple[int, str | None]:
    """The step up to which evaluations were compared, and a line about the first that differs by more than it may."""
    apart, until = 0.0, 0
    rows = {step: loss for step, loss in zip(theirs["step"], theirs["loss_nats"], strict=True)}
    for mine, other in zip(ours, twin, strict=False):
        step = mine["step"]
        if step not in rows:  # the record ends here, or has no evaluation before the first step
            continue
        apart = max(apart, relative(other["loss_nats"], mine["loss_nats"]))
        allowed = max(FLOOR, MARGIN * apart)
        if allowed > SEPARATED:
            break
        found = relative(mine["loss_nats"], rows[step])
        if not found <= allowed:
            return step, (
                f"loss_nats at step {step} is {mine['loss_nats']:.9g} here and {rows[step]:.9g} in the curves: relative"
                f" difference {found:.1e}, allowed are {allowed:.0e}"
            )
        until = step
    return until, None


def _same_bits(ours: Rows, theirs: Mapping[str, Sequence[float]]) -> bool:
    """Whether every evaluation of the curves up to the last step here has the same values to the last bit."""
    own = {row["step"]: row for row in ours}
    names = [name for name in theirs if name != "step" and name in ours[0]]
    for i, step in enumerate(theirs["step"]):
        if step > ours[-1]["step"]:
            break
        if step not in own or any(own[step][name] != theirs[name][i] for name in names):
            return False
    return True


def _hits(record: Record, ours: Rows) -> dict[str, int | None]:
    steps = [row["step"] for row in ours]
    return {
        target.name: hitting_step(steps, [holds(target, row[target.metric]) for row in ours])[0]
        for target in record.protocol.targets
    }


def relative(ours: float, theirs: float) -> float:
    """The difference relative to the second value; infinite where that is 0, or one is not finite."""
    if ours == theirs:
        return 0.0
    found = abs(ours - theirs) / abs(theirs) if theirs else math.inf
    return found if math.isfinite(found) else math.inf
