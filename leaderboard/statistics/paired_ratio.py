"""Time to the target after a first stage as a multiple of that from scratch, paired by seed, with a 95 % interval.

The logarithms of the pairs' ratios are taken for symmetric around a common one. Its estimate is the median of their
Walsh averages (Hodges and Lehmann 1963), and its interval is that of Wilcoxon's signed-rank test, exact for every
number of pairs: it takes six of them. A run that never reached its target has a time beyond its budget, so that the
ratio of its pair is known from one side only. Estimates and ends of intervals grow with every ratio, so they are taken
at both ends of what is known: an interval holds the one that all times would have given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import exp, inf, isfinite, log
from statistics import median
from typing import Literal

from leaderboard.records.configuration import differences
from leaderboard.records.record import FINAL_STATUSES, Record
from leaderboard.statistics.survival import earliest_per_seed

SCRATCH = "scratch"
"""Name of the arm without a first stage."""

SHARED = ("architecture", "optimizer", "precision", "protocol_hash")
"""Fields of a record that must not differ between the arms of a cell."""

Known = tuple[float, float]
"""Least and greatest value that a number may have."""


@dataclass(frozen=True)
class PairedRatio:
    """A ratio of times over pairs of runs. 2 means: takes twice as long.

    Attributes:
        least, most: the estimate, between these two where some run never reached its target, else both the same; None
            where it is not bounded on that side.
        low, high: ends of the interval, None likewise.
        n: pairs.
    """

    least: float | None
    most: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def estimate(self) -> float | None:
        """The ratio, where it is known."""
        return self.least if self.least == self.most else None

    @property
    def verdict(self) -> Literal["faster", "slower", "open"]:
        """Where the interval lies: below 1, above it, or on both sides."""
        if self.high is not None and self.high < 1:
            return "faster"
        return "slower" if self.low is not None and self.low > 1 else "open"


@dataclass(frozen=True)
class AgainstScratch:
    """An arm of runs with a first stage, against runs of the same seeds without.

    Attributes:
        steps: ratio of the times of the second stage alone.
        tokens: the same with the tokens of the first stage counted in.
        seeds: that both have, with an outcome.
        solved, solved_scratch: how many of these runs reached the primary target.
    """

    steps: PairedRatio
    tokens: PairedRatio
    seeds: tuple[int, ...]
    solved: int
    solved_scratch: int


def paired_ratio(pairs: Sequence[Known], level: float = 0.95) -> PairedRatio:
    """The common ratio of pairs.

    Args:
        pairs: for each the least and the greatest ratio that it may have, in 0..inf; both the same where it is known.
        level: of the interval.

    Raises:
        ValueError: no pair, or one whose ends are not ratios in order.
    """
    if not pairs:
        raise ValueError("a paired ratio needs at least one pair")
    for least, most in pairs:
        if not 0 <= least <= most or most == 0 or least == inf:  # in this form it catches NaN
            raise ValueError(f"a ratio must lie between two numbers in order, got {least} and {most}")
    lows, highs = (_walsh([_log(pair[end]) for pair in pairs]) for end in (0, 1))
    rank = critical_rank(len(pairs), level)
    low, high = (-inf, inf) if rank is None else (lows[rank], highs[len(highs) - 1 - rank])
    return PairedRatio(_exp(median(lows)), _exp(median(highs)), _exp(low), _exp(high), len(pairs))


def critical_rank(n: int, level: float) -> int | None:
    """How many Walsh averages of n pairs lie beyond each end of the interval; None if even all of them are too few.

    The largest c with P(T <= c) <= (1 - level) / 2, T the sum of those of the ranks 1..n that fall to heads of n coins.
    """
    ways = [1]  # in which ranks make each sum
    for rank in range(1, n + 1):
        longer = ways + [0] * rank
        for total, number in enumerate(ways):
            longer[total + rank] += number
        ways = longer
    tail, below = round((1 - level) / 2, 12) * 2**n, 0
    for total, number in enumerate(ways):
        below += number
        if below > tail:
            return total - 1 if total else None
    return None


def against_scratch(scratch: Sequence[Record], arm: Sequence[Record], level: float = 0.95) -> AgainstScratch:
    """Compare an arm with the runs from scratch of the same seeds.

    Args:
        scratch: records of runs without a first stage.
        arm: records of runs with one: the same parts of runs of the same length.
        level: of the intervals.

    Raises:
        ValueError: one line, if no seed has an outcome on both sides, or the two differ in more than the first stage.
    """
    ours, theirs = ({_seeds(r): r for r in earliest_per_seed(x) if r.status in FINAL_STATUSES} for x in (arm, scratch))
    common = [seeds for seeds in ours if seeds in theirs]
    if not common:
        raise ValueError("no seed has an outcome both from scratch and after a first stage")
    pairs = [(ours[seeds], theirs[seeds]) for seeds in sorted(common)]
    for mine, other in pairs:
        for record in (mine, other):
            for field, there, here in differences(pairs[0][1], record, SHARED):
                raise ValueError(f"the runs differ in {field}: {there} and {here}")
        if other.intervention is not None:
            raise ValueError(f"a run from scratch is {other.intervention.text}")
    stages = [None if mine.intervention is None else mine.intervention.first_stage for mine, _ in pairs]
    kinds = {None if stage is None else (stage.step, stage.tokens, stage.parts, stage.permuted) for stage in stages}
    if None in kinds or len(kinds) > 1:
        raise ValueError("the runs of an arm must begin with the same parts of first stages of the same length")
    before = [0 if stage is None else stage.tokens for stage in stages]
    return AgainstScratch(
        steps=paired_ratio([_ratio(mine, other, 0) for mine, other in pairs], level),
        tokens=paired_ratio([_ratio(mine, other, n) for (mine, other), n in zip(pairs, before, strict=True)], level),
        seeds=tuple(other.seeds.init_seed for _, other in pairs),
        solved=sum(mine.primary_step is not None for mine, _ in pairs),
        solved_scratch=sum(other.primary_step is not None for _, other in pairs),
    )


def ratio_table(
    cells: Mapping[str, Mapping[str, Sequence[Record]]], level: float = 0.95
) -> dict[str, dict[str, AgainstScratch]]:
    """Every arm of every cell against the arm `scratch` of that cell, in the given order.

    Raises:
        ValueError: one line that names the cell and the arm, as `against_scratch`, or if a cell has no arm `scratch`.
    """
    found: dict[str, dict[str, AgainstScratch]] = {}
    for cell, arms in cells.items():
        if SCRATCH not in arms:
            raise ValueError(f"{cell}: has no runs from scratch")
        found[cell] = {}
        for name, records in arms.items():
            if name != SCRATCH:
                try:
                    found[cell][name] = against_scratch(arms[SCRATCH], records, level)
                except ValueError as error:
                    raise ValueError(f"{cell}, {name}: {error}") from error
    return found


def _walsh(logs: Sequence[float]) -> list[float]:
    """Averages of all pairs of numbers, each with itself too, ascending."""
    return sorted((x + y) / 2 for x, y in combinations_with_replacement(logs, 2))


def _log(ratio: float) -> float:
    return log(ratio) if 0 < ratio < inf else -inf if ratio == 0 else inf


def _exp(x: float) -> float | None:
    return exp(x) if isfinite(x) else None


def _seeds(record: Record) -> tuple[int, ...]:
    return tuple(record.seeds.model_dump().values())


def _ratio(mine: Record, other: Record, before: int) -> Known:
    """Bounds on the ratio of two runs' tokens to the target, `before` added to the first."""
    (least, most), (least_other, most_other) = _tokens(mine), _tokens(other)
    return (least + before) / most_other if isfinite(most_other) else 0.0, (most + before) / least_other


def _tokens(record: Record) -> Known:
    """Tokens until the primary target was reached, from the budget to infinity if it never was. The target of a run
    that begins with it counts as reached after one step, so that a ratio exists."""
    step, protocol = record.primary_step, record.protocol
    least, most = (protocol.max_steps, inf) if step is None else (max(step, 1), max(step, 1))
    return least * protocol.tokens_per_step, most * protocol.tokens_per_step
