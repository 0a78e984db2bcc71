"""The win rate and its test, one pair of runs at a time, in fractions.

The two additional runs of each arm are runs like the others here, better and worse than all, of weight 1/4.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from math import sqrt

Run = tuple[float | None, float]
Weighted = tuple[Fraction, tuple[int, float]]  # weight, and a key that sorts the best first


def key(run: Run) -> tuple[int, float]:
    step, progress = run
    return (2, -progress) if step is None else (1, step)


def win(first: tuple[int, float], second: tuple[int, float]) -> Fraction:
    return Fraction(1) if first < second else Fraction(1, 2) if first == second else Fraction(0)


def win_rate(entry: Sequence[Run], reference: Sequence[Run]) -> Fraction:
    return sum((win(key(a), key(b)) for a in entry for b in reference), Fraction(0)) / (len(entry) * len(reference))


def weighted(runs: Sequence[Run]) -> list[Weighted]:
    quarter = Fraction(1, 4)
    return [(quarter, (0, 0.0)), *((Fraction(1), key(run)) for run in runs), (quarter, (3, 0.0))]


def cell(entry: Sequence[Run], reference: Sequence[Run]) -> tuple[Fraction, Fraction, Fraction]:
    """Win rate of the arms with their additional runs, and the variances of the entry's and the reference's part."""
    mine, theirs = weighted(entry), weighted(reference)
    m, n = len(entry) + Fraction(1, 2), len(reference) + Fraction(1, 2)
    behind = [sum(b * win(x, y) for b, y in theirs) / n for _, x in mine]
    ahead = [sum(a * win(x, y) for a, x in mine) / m for _, y in theirs]
    centre = sum((a * share for (a, _), share in zip(mine, behind, strict=True)), Fraction(0)) / m

    def variance(arm: list[Weighted], shares: Sequence[Fraction | int], size: Fraction, runs: int) -> Fraction:
        spread = sum((w * (share - centre) ** 2 for (w, _), share in zip(arm, shares, strict=True)), Fraction(0))
        return max(spread / (size * (size - 1)), Fraction(1, 4 * runs * (runs + 1)))

    return centre, variance(mine, behind, m, len(entry)), variance(theirs, ahead, n, len(reference))


def task(cells: Sequence[tuple[Sequence[Run], Sequence[Run]]]) -> tuple[float, float, float]:
    """Win rate, effective number of coin tosses, and degrees of freedom: 0 with a single run in an arm."""
    count = len(cells)
    estimate = sum((win_rate(*runs) for runs in cells), Fraction(0)) / count
    found = [cell(*runs) for runs in cells]
    centre = sum((each[0] for each in found), Fraction(0)) / count
    parts = [
        (v / count**2, len(arm) - 1)
        for runs, (_, *vs) in zip(cells, found, strict=True)
        for arm, v in zip(runs, vs, strict=True)
    ]
    total = sum((v for v, _ in parts), Fraction(0))
    df = total**2 / sum((v**2 / n for v, n in parts), Fraction(0)) if all(n for _, n in parts) else 0
    return float(estimate), float(centre * (1 - centre) / total), float(df)


def statistic(estimate: float, n_eff: float, null: float) -> float:
    return abs(estimate - null) / sqrt(null * (1 - null) / n_eff)


def permutation_p(entry: Sequence[Run], reference: Sequence[Run], null: float = 0.5) -> float:
    """p value over all choices of the entry's runs; the larger of that of the runs and that of runs without a tie."""
    observed = statistic(*task([(entry, reference)])[:2], null)
    everyone = [*entry, *reference]
    shares = []
    for runs in (everyone, [(float(step), 0.0) for step in range(len(everyone))]):
        drawn = []
        for chosen in combinations(range(len(runs)), len(entry)):
            others = [runs[i] for i in range(len(runs)) if i not in chosen]
            drawn.append(statistic(*task([([runs[i] for i in chosen], others)])[:2], 0.5))
        shares.append(max(1, sum(each >= observed - 1e-8 for each in drawn)) / len(drawn))
    return max(shares)
