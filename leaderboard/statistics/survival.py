"""Statistics of hitting steps that are right-censored at the budget.

Every function takes `steps` and `solved`, one entry per run: the step of the hit where solved, else the step up to
which the run was watched without one. An unsolved run is an observation and never drops out.

Conventions. The Kaplan-Meier curve S(t) is right-continuous: S(t) is the share still unsolved *after* step t, so it
drops at the hit itself. Where a hit and a censoring share a step, the hit comes first: the censored run still counts as
at risk. After the last observed step the curve stays where it is.

NumPy and the standard library only: importing scipy.stats costs more than a second. The tests hold these against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leaderboard.records.record import Record

FloatArray = NDArray[np.float64]
_TOLERANCE = 1e-12  # the rounded product 23/24 * 22/23 * ... * 12/13 must count as 1/2


@dataclass(frozen=True)
class Sample:
    """Observations of one cell: `steps` and `solved` per observed run, and how many runs ended in which status."""

    steps: NDArray[np.int64]
    solved: NDArray[np.bool_]
    budget: int
    statuses: Counter[str]


@dataclass(frozen=True)
class SurvivalCurve:
    """Kaplan-Meier estimate at the distinct observed steps, each array (n_steps,).

    `survival[i]` holds from steps[i] up to steps[i + 1]; before steps[0] it is 1. `low` and `high` are the pointwise
    band; they are 1 before the first hit, and where survival is 0 the log-log band is undefined and is given as NaN.
    """

    steps: FloatArray
    survival: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class Median:
    """Median step with its interval. None: not reached within the budget, so it is beyond the budget."""

    step: float | None
    low: float | None
    high: float | None


def sample(records: Sequence[Record], target: str | None = None) -> Sample:
    """Observations of a target (default: the primary one) from records of one protocol.

    A hit is an event at its step. A diverged run never solves: it is unsolved at the budget even if it hit before it
    diverged. A run that ended without the hit is censored at the step it reached. Error and interrupted runs say
    nothing about the architecture's speed: they are counted in `statuses` and are no observations.

    Raises:
        ValueError: no records, records of several protocols, or a target that the protocol does not have.
    """
    hashes = {record.protocol_hash for record in records}
    if len(hashes) != 1:
        raise ValueError(f"a sample needs records of one protocol, got {len(hashes)}")
    protocol = records[0].protocol
    target = protocol.primary if target is None else target
    if target not in (names := [known.name for known in protocol.targets]):
        raise ValueError(f"unknown target {target!r}; the protocol's targets are {', '.join(names)}")
    observed: list[tuple[int, bool]] = []
    for record in records:
        if record.status in {"error", "interrupted"}:
            continue
        step = record.hits[target].step
        if record.status == "diverged":
            observed.append((protocol.max_steps, False))
        else:
            observed.append((record.steps, False) if step is None else (step, True))
    return Sample(
        steps=np.array([step for step, _ in observed], dtype=np.int64),
        solved=np.array([hit for _, hit in observed], dtype=np.bool_),
        budget=protocol.max_steps,
        statuses=Counter(record.status for record in records),
    )


def wilson_interval(n_solved: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927), clipped to [0, 1].

    Raises:
        ValueError: not 0 <= n_solved <= n with n >= 1.
    """
    if not 0 <= n_solved <= n or n < 1:
        raise ValueError(f"needs 0 <= n_solved <= n and n >= 1, got n_solved {n_solved}, n {n}")
    z = _quantile(level)
    share, spread = n_solved / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * np.sqrt(share * (1 - share) / n + spread / (4 * n))
    # At the ends the bound is exact; rounding would leave it a hair off.
    low = 0.0 if n_solved == 0 else float(centre - half)
    return low, 1.0 if n_solved == n else float(centre + half)


def kaplan_meier(steps: ArrayLike, solved: ArrayLike, level: float = 0.95) -> SurvivalCurve:
    """Kaplan-Meier (1958) curve with Greenwood's variance and the log-log band exp(-exp(log(-log S) +- z se)).

    Raises:
        ValueError: no observation, or steps and solved differ in length.
    """
    steps_N, solved_N = _checked(steps, solved)
    distinct_K, inverse_N = np.unique(steps_N, return_inverse=True)
    hits_K = np.bincount(inverse_N, weights=solved_N, minlength=len(distinct_K))
    at_risk_K = len(steps_N) - np.searchsorted(np.sort(steps_N), distinct_K, side="left")
    survival_K = np.cumprod(1 - hits_K / at_risk_K, dtype=np.float64)
    low_K, high_K = np.ones_like(survival_K), np.ones_like(survival_K)
    low_K[survival_K <= 0], high_K[survival_K <= 0] = np.nan, np.nan
    inside_K = (survival_K > 0) & (survival_K < 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood_K = np.cumsum(hits_K / (at_risk_K * (at_risk_K - hits_K)))[inside_K]
    log_survival_K = np.log(survival_K[inside_K])
    factor_K = np.exp(_quantile(level) * np.sqrt(greenwood_K) / np.abs(log_survival_K))
    low_K[inside_K], high_K[inside_K] = np.exp(log_survival_K * factor_K), np.exp(log_survival_K / factor_K)
    return SurvivalCurve(distinct_K, survival_K, low_K, high_K)


def median(steps: ArrayLike, solved: ArrayLike, level: float = 0.95) -> Median:
    """First step with S <= 1/2, and the steps at which the band's lower and upper edge get there.

    This inverts the log-log band (Brookmeyer and Crowley 1982). With few runs the upper edge often never gets there,
    even if all were solved: the data then do not bound the median within the budget, and `high` is None. `low` is never
    before the first hit, however few the runs.
    """
    curve = kaplan_meier(steps, solved, level)

    def reaches_half(values_K: FloatArray) -> float | None:
        reached_K = values_K <= 0.5 + _TOLERANCE
        return float(curve.steps[np.argmax(reached_K)]) if reached_K.any() else None

    step, low = reaches_half(curve.survival), reaches_half(curve.low)
    # Where the curve falls to 0 at once the band is undefined there; the interval still has to hold the median.
    return Median(step=step, low=step if low is None else low, high=reaches_half(curve.high))


def restricted_mean(steps: ArrayLike, solved: ArrayLike, budget: float) -> float:
    """Mean of min(step, budget): the area under the Kaplan-Meier curve up to the budget. It always exists.

    Raises:
        ValueError: no observation, a length mismatch, or a budget that is not positive.
    """
    if not budget > 0:
        raise ValueError(f"budget must be positive, got {budget}")
    curve = kaplan_meier(steps, solved)
    edges = np.concatenate(([0.0], np.minimum(curve.steps, budget), [budget]))
    return float(np.sum(np.diff(edges) * np.concatenate(([1.0], curve.survival))))


def earliest_per_seed(records: Iterable[Record]) -> list[Record]:
    """Records without repetitions of a seed that already has an outcome: the run that started first counts.

    Seeds are appended and never replaced, so that nobody can repeat a seed until it looks good. Error and interrupted
    runs are kept: they have no outcome and a repetition of them is legitimate.
    """
    kept, seen = [], set()
    for record in sorted(records, key=lambda record: record.started_at):
        seeds = tuple(record.seeds.model_dump().values())
        if record.status not in {"error", "interrupted"}:
            if seeds in seen:
                continue
            seen.add(seeds)
        kept.append(record)
    return kept


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    return NormalDist().inv_cdf(0.5 + level / 2)


def _checked(steps: ArrayLike, solved: ArrayLike) -> tuple[FloatArray, NDArray[np.bool_]]:
    steps_N, solved_N = np.asarray(steps, dtype=np.float64), np.asarray(solved, dtype=np.bool_)
    if steps_N.ndim != 1 or steps_N.shape != solved_N.shape or not len(steps_N):
        raise ValueError(f"needs one step and one flag per run, got shapes {steps_N.shape} and {solved_N.shape}")
    if not (np.isfinite(steps_N).all() and (steps_N >= 0).all()):
        raise ValueError("steps must be finite and not negative")
    return steps_N, solved_N
