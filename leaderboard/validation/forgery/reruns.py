"""Whole runs done again: what they prove, and whether targets were hit earlier in the records than they are here.

On a machine that computes the same bits every value must be equal. On another, differences of rounding grow until two
runs of one seed hit their targets at different steps: an earlier pilot saw 10 % in the median and up to a factor of 3;
of three cells of `lite`, six seeds and three runs each from initial weights moved by a relative 1e-6, the mean over
targets of the logarithm of the ratio has a standard deviation of 0.10 and is 0.26 at the most. It is modelled by a
Student distribution with 2 degrees of freedom, whose tails hold the pilot's factor. The median over the reruns is
compared with what such noise gives; its false-alarm rate and power are simulated in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from leaderboard.records.plain_text import shown
from leaderboard.records.record import Record
from leaderboard.validation.report import Problem

if TYPE_CHECKING:
    from leaderboard.validation.run_rules import CheckedRun

ALARM = 0.01
"""Probability that honest records are refused for their hitting steps, whatever the number of reruns."""

SCALE, FREEDOM = 0.12, 2
"""Of the noise in the logarithm of the ratio of two hitting steps."""

_N_SIMULATED = 200_000


def p_value(log_ratios: Sequence[float]) -> float:
    """Probability that the noise between machines alone gives so large a median of log(step here / step recorded)."""
    import numpy as np

    noise = simulated(len(log_ratios), _N_SIMULATED, seed=0)
    return float((np.median(noise, axis=1) >= np.median(log_ratios)).mean())


def simulated(n: int, times: int, seed: int) -> Any:
    """Log ratios of hitting steps of honest runs: (times, n)."""
    import numpy as np

    return SCALE * np.random.default_rng(seed).standard_t(FREEDOM, (times, n))


def log_ratio(record: Record, hits: dict[str, int | None]) -> float | None:
    """Mean over targets of log(step here / step recorded); a target that was not hit counts as hit after the budget.

    None if no target was hit either here or there: then there is nothing to compare.
    """
    protocol, pairs = record.protocol, set()
    never = protocol.max_steps + protocol.eval_every
    for name, hit in record.hits.items():
        if hit.step is not None or hits.get(name) is not None:
            pairs.add((_step(hits.get(name), never), _step(hit.step, never)))
    # A target that holds before the first step is hit at 0.
    logs = [math.log(max(here, 1) / max(there, 1)) for here, there in pairs]
    return sum(logs) / len(logs) if logs else None


def _step(step: int | None, never: int) -> int:
    return never if step is None else step


def reruns(runs: Sequence[CheckedRun], draw: int) -> Iterator[Problem | str]:
    """Do runs again to their ends: a problem for each that differs or for hits that are too early, else a note.

    Args:
        runs: those that were drawn.
        draw: seed of the draw, for the report.
    """
    from leaderboard.validation.reproduce import Request, ask

    answers, end = ask([Request("", run, "whole") for run in runs], None)
    ratios: list[float] = []
    same = wrong = 0
    for run, answer in zip(runs, answers, strict=True):
        if answer is None or not answer["agrees"]:
            wrong += 1
            reason = f"could not be run again {end}" if answer is None else f"does not come out again: {answer['said']}"
            yield Problem(run.file, "curves", reason)
            continue
        yield f"{run.file}: run again: {shown(str(answer['said']))}"
        same += answer["same_bits"]
        if not answer["same_bits"] and (ratio := log_ratio(run.record, answer["hits"])) is not None:
            ratios.append(ratio)
    about = f"{len(runs)} whole runs, drawn with --draw {draw}"
    if ratios:
        p, factor = p_value(ratios), math.exp(sorted(ratios)[len(ratios) // 2])
        about += f"; {len(ratios)} of them hit targets at {factor:.2f} times the steps of the records (p = {p:.2g})"
        if p < ALARM:
            reason = f"are earlier in the records than here in {len(ratios)} runs, {factor:.2f} times: p = {p:.2g}"
            yield Problem(runs[0].file, "hits", reason)
            return
    if not wrong:
        proven = f"{same} came out with the same bits, which proves them"
        yield f"{about}; {proven}. For verified.yaml: reruns: {len(runs)}, draw: {draw}"
