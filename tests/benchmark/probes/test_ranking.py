"""Average precision and exactness with ties, against all orders of what is tied."""

import math
from itertools import permutations

import numpy as np
import pytest

from benchmark.probes.ranking import chance_average_precision, expected_average_precision, probability_exact


def in_order(counts: list[bool]) -> tuple[float, float]:
    """Average precision and exactness of one order, by their definitions."""
    precisions = [sum(counts[: i + 1]) / (i + 1) for i, counted in enumerate(counts) if counted]
    return sum(precisions) / len(precisions), float(all(counts[: sum(counts)]))


def by_all_orders(values: list[float], counts: list[bool]) -> tuple[float, float]:
    """The means over every order in which values do not rise."""
    found = [
        in_order([counts[i] for i in order])
        for order in permutations(range(len(values)))
        if all(values[a] >= values[b] for a, b in zip(order, order[1:], strict=False))
    ]
    return sum(ap for ap, _ in found) / len(found), sum(exact for _, exact in found) / len(found)


CASES = [
    ([3, 2, 1, 0], "1100"),
    ([3, 2, 1, 0], "0101"),
    ([1, 1, 1, 1, 1], "01001"),
    ([0, 0, 0, 1, 0], "10000"),
    ([2, 2, 1, 1, 1, 0], "100110"),
    ([2, 2, 1, 1, 1, 0], "110010"),
    ([5, 1, 1, 1], "1110"),
    ([1, 1, 0], "111"),
    ([1], "1"),
    ([2, 2, 2], "011"),
]


@pytest.mark.parametrize(("values", "marks"), CASES)
def test_ties_against_all_orders(values: list[float], marks: str) -> None:
    counts = [mark == "1" for mark in marks]
    precision, exact = by_all_orders(values, counts)
    ours = np.array(values, dtype=np.float32), np.array(counts)
    assert expected_average_precision(*ours) == pytest.approx(precision, rel=1e-12)
    assert probability_exact(*ours) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (4, 1), (5, 2), (6, 3), (6, 6)])
def test_chance_is_what_equal_values_get(n: int, k: int) -> None:
    counts = np.arange(n) < k
    assert chance_average_precision(n, k) == pytest.approx(expected_average_precision(np.zeros(n), counts), rel=1e-12)
    assert chance_average_precision(n, k) == pytest.approx(by_all_orders([0.0] * n, counts.tolist())[0], rel=1e-12)
    assert probability_exact(np.zeros(n), counts) == pytest.approx(1 / math.comb(n, k))
