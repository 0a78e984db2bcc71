"""Coverage and error rates of the win rate, on simulated runs whose true win rate is known exactly.

A run solves at a log-normal time, or one of a mixture of these, seen through the evaluation grid and cut at the budget,
or it never does and gets somewhere. Each way to end has its probability, from which follow the draws and the truth.

`python -m leaderboard.statistics.win_rate_simulation` prints them for every scenario as Markdown, in about ten
minutes of one core.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from math import log
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from leaderboard.statistics.student import two_sided_tail
from leaderboard.statistics.win_rate import CellRuns, Finish, cell_parts, cell_win_rate, combined, score
from leaderboard.statistics.win_rate_verdict import WinRateKind, judge

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SIZES = ((5, 20), (10, 20), (10, 10), (20, 20))  # runs of the entry and of the reference
CELLS = (1, 4, 8)
FEW_PERMUTATIONS = 999  # of a cell's labels: enough for rates at 1 %, and ten times faster
_CHUNK = 250  # comparisons at a time
_PHI = np.vectorize(NormalDist().cdf, otypes=[np.float64])


@dataclass(frozen=True)
class FinishLaw:
    """How the runs of one arm end in one cell.

    Attributes:
        solving: (share, median time in budgets, standard deviation of the logarithm of time) of the kinds of runs; the
            share that is missing from 1 never solves.
        evaluations: number of them within the budget.
        progress: probabilities of the levels of progress of an unsolved run, the least first.
    """

    solving: Sequence[tuple[float, float, float]]
    evaluations: int = 100
    progress: Sequence[float] = (1.0,)

    def probabilities(self) -> FloatArray:
        """Of each way to end, the best first: solved at each evaluation, then unsolved, the furthest first."""
        log_G = np.log(np.arange(1, self.evaluations + 1) / self.evaluations)
        solved_G = np.zeros(self.evaluations)
        for share, median, sigma in self.solving:
            solved_G += share * _PHI((log_G - log(median)) / sigma)
        unsolved_P = (1 - solved_G[-1]) * np.array(self.progress[::-1]) / np.sum(self.progress)
        return np.concatenate((np.diff(solved_G, prepend=0.0), unsolved_P))

    def finish(self, end: int) -> Finish:
        """The run that ended in a way, counted as in `probabilities`."""
        if end < self.evaluations:
            return float(end + 1), 0.0
        return None, float(self.evaluations + len(self.progress) - 1 - end)


Pairing = tuple[FinishLaw, FinishLaw]  # of the entry and of the reference in one cell: their grids are the same


@dataclass(frozen=True)
class Calibration:
    """Rates over simulated comparisons.

    Attributes:
        win_rate: the true one.
        coverage: share of 95 % intervals that hold it.
        below_5, below_1: share of p values of equal arms below 5 % and 1 %: false alarms where the win rate is 0.5.
    """

    win_rate: float
    coverage: float
    below_5: float
    below_1: float


def lognormal(
    median: float, sigma: float, solving: float = 1.0, evaluations: int = 100, progress: Sequence[float] = (1.0,)
) -> FinishLaw:
    """An arm of one kind of runs, of which a share can solve."""
    return FinishLaw(((solving, median, sigma),), evaluations, progress)


_FINE = 2000
_TWO_KINDS = FinishLaw(((0.5, 0.2, 0.1), (0.5, 0.8, 0.1)), _FINE)
_BETWEEN = lognormal(0.4, 0.1, evaluations=_FINE)

EQUAL: dict[str, tuple[Pairing, ...]] = {
    "equal, sigma .2": ((lognormal(0.4, 0.2), lognormal(0.4, 0.2)),),
    "equal, sigma .55": ((lognormal(0.4, 0.55, evaluations=_FINE), lognormal(0.4, 0.55, evaluations=_FINE)),),
    "equal, 8 evaluations": ((lognormal(0.4, 0.35, evaluations=8), lognormal(0.4, 0.35, evaluations=8)),),
    "equal, half unsolved": ((lognormal(1.0, 0.35), lognormal(1.0, 0.35)),),
    "equal, 10 % solve": ((lognormal(0.4, 0.35, 0.1), lognormal(0.4, 0.35, 0.1)),),
    "equal, none solves": ((lognormal(0.4, 0.35, 0.0, progress=(0.2, 0.3, 0.3, 0.2)),) * 2,),
    "spread .2 v .55": ((lognormal(0.3, 0.2, evaluations=_FINE), lognormal(0.3, 0.55, evaluations=_FINE)),),
    "spread .55 v .2": ((lognormal(0.3, 0.55, evaluations=_FINE), lognormal(0.3, 0.2, evaluations=_FINE)),),
    "two kinds v one": ((_TWO_KINDS, _BETWEEN),),
    "one kind v two": ((_BETWEEN, _TWO_KINDS),),
}
"""Scenarios of a win rate of 1/2 in every cell."""

OPPOSITE: dict[str, tuple[Pairing, ...]] = {
    f"half and twice the time, sigma {sigma:g}": (
        (lognormal(0.25, sigma), lognormal(0.5, sigma)),
        (lognormal(0.5, sigma), lognormal(0.25, sigma)),
    )
    for sigma in (0.2, 0.35, 0.55)
}
"""Scenarios whose cells contradict each other; over all of them the win rate is 1/2, or nearly."""

DIFFERENT: dict[str, tuple[Pairing, ...]] = {
    "1.5 times the time, sigma .35": ((lognormal(0.6, 0.35), lognormal(0.4, 0.35)),),
    "twice the time, sigma .55": ((lognormal(0.6, 0.55), lognormal(0.3, 0.55)),),
    "twice the time, sigma .2": ((lognormal(0.6, 0.2), lognormal(0.3, 0.2)),),
    "80 % fast, 20 % slow": ((FinishLaw(((0.8, 0.2, 0.1), (0.2, 0.8, 0.1)), _FINE), _BETWEEN),),
    "1 % failures of both": ((lognormal(0.3, 0.2, 0.99), lognormal(0.6, 0.2, 0.99)),),
    "1 % failures": ((lognormal(0.3, 0.1, 0.99), lognormal(0.6, 0.1)),),
    "10 % v 0 % solve": ((lognormal(0.3, 0.35, 0.1), lognormal(0.3, 0.35, 0.0)),),
    "30 % v 5 % solve": ((lognormal(0.3, 0.35, 0.3), lognormal(0.3, 0.35, 0.05)),),
    "60 % v 10 % solve": ((lognormal(0.3, 0.35, 0.6), lognormal(0.3, 0.35, 0.1)),),
    "cells differ": (
        (lognormal(0.2, 0.2), lognormal(0.8, 0.2)),
        (lognormal(0.4, 0.35), lognormal(0.4, 0.35)),
        (lognormal(0.4, 0.35), lognormal(0.3, 0.35)),
        (lognormal(1.0, 0.35, 0.1), lognormal(0.8, 0.35, 0.1)),
    ),
}
"""Scenarios of other win rates."""


def true_win_rate(cells: Sequence[Pairing]) -> float:
    """The probability that a run of the entry is ahead, half of that of a tie included; mean over the cells."""
    total = 0.0
    for entry_G, reference_G in ((entry.probabilities(), reference.probabilities()) for entry, reference in cells):
        total += float(entry_G @ (1 - np.cumsum(reference_G) + reference_G / 2))
    return total / len(cells)


def calibration(cells: Sequence[Pairing], m: int, n: int, replicates: int = 2000, seed: int = 0) -> Calibration:
    """Rates of the test of a task with m runs of the entry and n of the reference in each cell."""
    truth, rates = true_win_rate(cells), []
    for entry_KCM, reference_KCN in _draws(cells, m, n, replicates, seed):
        wins_KCMN = (1.0 + np.sign(reference_KCN[..., None, :] - entry_KCM[..., None])) / 2
        parts_KC5 = cell_parts(wins_KCMN, m, n)
        n_eff_K, df_K = combined(parts_KC5, [(m, n)] * len(cells))
        estimate_K = parts_KC5[..., 0].mean(axis=-1)
        # The interval is dual to the test: it holds the truth where that is not rejected.
        rates.append([two_sided_tail(score(estimate_K, n_eff_K, null), df_K) for null in (truth, 0.5)])
    return _rates(truth, np.concatenate(rates, axis=1))


def cell_calibration(cell: Pairing, m: int, n: int, replicates: int = 1000, seed: int = 0) -> Calibration:
    """Rates of the test of one cell alone."""
    truth = true_win_rate([cell])
    found = (cell_win_rate(runs, FEW_PERMUTATIONS) for (runs,) in _comparisons([cell], m, n, replicates, seed))
    return _rates(truth, np.array([(each.p(truth), each.p()) for each in found]).T)


def verdict_rates(
    cells: Sequence[Pairing], m: int, n: int, replicates: int = 500, seed: int = 0
) -> dict[WinRateKind, float]:
    """Share of simulated comparisons that ends in each verdict that occurs."""
    found = Counter(
        judge({f"cell{place}": cell for place, cell in enumerate(runs)}, FEW_PERMUTATIONS).kind
        for runs in _comparisons(cells, m, n, replicates, seed)
    )
    return {kind: count / replicates for kind, count in found.items()}


def repeated(cells: Sequence[Pairing], n_cells: int) -> list[Pairing]:
    """As many cells, in turn."""
    return list(islice(cycle(cells), n_cells))


def _rates(truth: float, p_2K: FloatArray) -> Calibration:
    at_truth_K, at_half_K = p_2K
    shares = (at_truth_K >= 0.05, at_half_K < 0.05, at_half_K < 0.01)
    return Calibration(truth, *(float(share_K.mean()) for share_K in shares))


def _draws(cells: Sequence[Pairing], m: int, n: int, replicates: int, seed: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Ways to end of the runs of both arms, of shapes (K, C, M) and (K, C, N): the smaller, the better."""
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, len(cells), m, n))))
    edges = [[np.cumsum(law.probabilities())[:-1] for law in pairing] for pairing in cells]
    for start in range(0, replicates, _CHUNK):
        k = min(_CHUNK, replicates - start)
        entry, reference = (
            np.stack([np.searchsorted(pair[arm], random.random((k, runs)), side="right") for pair in edges], axis=1)
            for arm, runs in enumerate((m, n))
        )
        yield entry, reference


def _comparisons(cells: Sequence[Pairing], m: int, n: int, replicates: int, seed: int) -> Iterator[list[CellRuns]]:
    for entry_KCM, reference_KCN in _draws(cells, m, n, replicates, seed):
        for entry_CM, reference_CN in zip(entry_KCM.tolist(), reference_KCN.tolist(), strict=True):
            yield [
                CellRuns([law.finish(end) for end in ends], [other.finish(end) for end in others])
                for (law, other), ends, others in zip(cells, entry_CM, reference_CN, strict=True)
            ]


def _tables(replicates: int) -> Iterator[str]:
    """Lines of three tables."""
    sizes = " | ".join(f"{m} v {n}" for m, n in SIZES)
    rule = "|---|---:|---:" + "|---:" * len(SIZES) + "|"
    yield from ("Tasks: coverage of the 95 % interval, share of p < 5 %, share of p < 1 %", "")
    yield from (f"| scenario | cells | win rate | {sizes} |", rule)
    for name, pairings in (EQUAL | OPPOSITE | DIFFERENT).items():
        for n_cells in (count for count in CELLS if count % len(pairings) == 0):
            cells = repeated(pairings, n_cells)
            yield _row(name, n_cells, [calibration(cells, m, n, replicates) for m, n in SIZES])
    yield from ("", "One cell alone: the same", "", f"| scenario | cells | win rate | {sizes} |", rule)
    for name, pairings in (EQUAL | DIFFERENT).items():
        yield _row(name, 1, [cell_calibration(pairings[0], m, n, replicates // 2) for m, n in SIZES])
    yield from ("", "Verdicts: same, mixed, better or worse", "", f"| scenario | cells | win rate | {sizes} |", rule)
    for name, pairings in (EQUAL | OPPOSITE | DIFFERENT).items():
        cells = repeated(pairings, 4)
        rates = [verdict_rates(cells, m, n, replicates // 4) for m, n in SIZES]
        texts = [
            " ".join(f"{rate:.3f}" for rate in (each.get("same", 0), each.get("mixed", 0), _claims(each)))
            for each in rates
        ]
        yield f"| {name} | 4 | {true_win_rate(cells):.3f} | " + " | ".join(texts) + " |"


def _claims(rates: dict[WinRateKind, float]) -> float:
    return rates.get("better", 0) + rates.get("worse", 0)


def _row(name: str, n_cells: int, found: Sequence[Calibration]) -> str:
    texts = [f"{each.coverage:.3f} {each.below_5:.3f} {each.below_1:.3f}" for each in found]
    return f"| {name} | {n_cells} | {found[0].win_rate:.3f} | " + " | ".join(texts) + " |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Coverage and error rates of win rates, as Markdown tables.")
    parser.add_argument(
        "--replicates",
        type=int,
        default=2000,
        help="simulated comparisons; half as many for one cell, a quarter for verdicts",
    )
    for line in _tables(parser.parse_args().replicates):
        print(line, flush=True)
