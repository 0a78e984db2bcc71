"""Hitting time of an arm as a multiple of the reference's, with an interval: the tests of `comparison.py` inverted.

The estimate is the ratio at which the statistic changes sign (Hodges and Lehmann 1963); the interval holds the ratios
that are not rejected. Of many comparisons each takes its own steps, but those that ask for the same permutations are
answered in one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np

from leaderboard.statistics.comparison import HAIR, N_PERMUTATIONS, Pair, scores, statistic, tails

N_INTERVAL = 1_999  # permutations for each ratio that an interval tries
MAX_RATIO = 64.0  # beyond it a ratio is not looked for
_STEPS_PER_OCTAVE = 4
_PRECISION = 1e-3  # of the logarithm of a ratio
_AT_ONCE = 64  # comparisons in one product: more would not fit into a cache


@dataclass(frozen=True)
class Question:
    """A question that a search asks of its comparison.

    Attributes:
        ratio: of times.
        n_permutations: of the p values; 0 where the statistic will do.
    """

    ratio: float
    n_permutations: int


Answer = tuple[float, float, float]  # the statistic, and the p values against more and against less
Search = Generator[Question, Answer, "Ratio"]


@dataclass(frozen=True)
class Ratio:
    """Hitting time of an entry over the reference's, with its 95 % interval. 2 means: takes twice the steps.

    Attributes:
        estimate: None where the data do not place it: too few runs of the two solved anything.
        low, high: ends of the interval; None where the data do not bound it on that side.
        p: two-sided permutation p value of a ratio of 1. It is below 0.05 exactly where 1 lies outside of the interval.
    """

    estimate: float | None
    low: float | None
    high: float | None
    p: float


def time_ratio(pairs: Sequence[Pair], level: float = 0.95) -> Ratio:
    """Hitting time of the new arm as a multiple of the reference's over all cells together, with its interval.

    Raises:
        ValueError: no pair.
    """
    return time_ratios([pairs], level)[0]


def time_ratios(comparisons: Sequence[Sequence[Pair]], level: float = 0.95) -> list[Ratio]:
    """`time_ratio` of each comparison: the same numbers, sooner.

    Raises:
        ValueError: a comparison without a pair.
    """
    searches = [search(round(1 - level, 12)) for _ in comparisons]  # 0.05, and not a hair more
    sizes = [tuple((len(reference), len(new)) for reference, new in pairs) for pairs in comparisons]
    found: dict[int, Ratio] = {}
    asked = {place: next(search) for place, search in enumerate(searches)}
    while asked:
        for places in _alike(sizes, asked):
            for place, answer in zip(places, _answers(comparisons, asked, places), strict=True):
                try:
                    asked[place] = searches[place].send(answer)
                except StopIteration as end:
                    found[place] = end.value
                    del asked[place]
    return [found[place] for place in range(len(comparisons))]


def _alike(sizes: Sequence[object], asked: Mapping[int, Question]) -> list[list[int]]:
    """The comparisons that ask something, in groups that share their permutations: those of arms of the same sizes."""
    groups: dict[object, list[int]] = {}
    for place, question in asked.items():
        groups.setdefault((sizes[place], question.n_permutations), []).append(place)
    return [group[at : at + _AT_ONCE] for group in groups.values() for at in range(0, len(group), _AT_ONCE)]


def _answers(
    comparisons: Sequence[Sequence[Pair]], asked: Mapping[int, Question], places: Sequence[int]
) -> Iterator[Answer]:
    """Answers to a group of questions."""
    ratios = [asked[place].ratio for place in places]
    cells = [
        (scores([comparisons[place][cell] for place in places], ratios), len(new))
        for cell, (_, new) in enumerate(comparisons[places[0]])
    ]
    statistic_K, n_permutations = statistic(cells), asked[places[0]].n_permutations
    more_K, less_K = tails(cells, n_permutations) if n_permutations else (np.ones(len(places)),) * 2
    return zip(statistic_K.tolist(), more_K.tolist(), less_K.tolist(), strict=True)


def search(alpha: float) -> Search:
    """The steps of a search for the ratio, to be sent an answer for each question; it returns the ratio.

    The questions are those of any rank test of times whose statistic falls as the ratio grows.

    Args:
        alpha: 1 - the level of the interval.
    """
    tail = alpha / 2
    _, more, less = yield Question(1.0, N_PERMUTATIONS)
    estimate = yield from _estimate()
    start = 0.0
    if estimate is not None:
        start = log(estimate)
    elif more < tail:
        start = yield from _until_not_rejected(1, tail)
    elif less < tail:
        start = yield from _until_not_rejected(-1, tail)
    low = yield from _bound(start, -1, tail)
    high = yield from _bound(start, 1, tail)
    low, high = _agreeing(low, high, more, less, alpha)
    return Ratio(
        estimate, None if low is None else exp(low), None if high is None else exp(high), _two_sided(more, less)
    )


def _two_sided(more: float, less: float) -> float:
    return min(1.0, 2 * min(more, less))


def _agreeing(
    low: float | None, high: float | None, more: float, less: float, alpha: float
) -> tuple[float | None, float | None]:
    """Ends of the interval, on the log scale, between which 0 lies exactly where the p value of 1 does not reject it.

    They are those of the same test and agree with it by themselves, but for their precision, the Monte Carlo error of
    fewer permutations, and ratios that are rejected between others that are not. There the p value decides.
    """
    if _two_sided(more, less) >= alpha:
        return None if low is None else min(low, 0.0), None if high is None else max(high, 0.0)
    if more < less:  # the new arm takes more steps
        low = max(low or _PRECISION, _PRECISION)
        return low, None if high is None else max(high, low)
    high = min(high or -_PRECISION, -_PRECISION)
    return None if low is None else min(low, high), high


def _until_not_rejected(direction: int, tail: float) -> Generator[Question, Answer, float]:
    """The first log ratio from 0 on, in a direction, that is not too small (or, downwards, not too large).

    The last one that is looked for, if even that is rejected: the ratio lies beyond.
    """
    place = 0.0
    for place in _outwards(0.0, direction):
        _, more, less = yield Question(exp(place), N_INTERVAL)
        if (more if direction > 0 else less) >= tail:
            break
    return place


def _bound(start: float, direction: int, tail: float) -> Generator[Question, Answer, float | None]:
    """The log ratio where rejection begins: downwards as too small, upwards as too large."""

    def rejected(answer: Answer) -> bool:
        return answer[1 if direction < 0 else 2] < tail

    return (yield from _first_where(rejected, start, direction, N_INTERVAL))


def _estimate() -> Generator[Question, Answer, float | None]:
    """Middle, on the log scale, of the stretch between where the statistic is positive and where it is negative.

    None if it is nowhere positive, or nowhere negative.
    """

    def positive(answer: Answer) -> bool:
        return answer[0] > HAIR

    def negative(answer: Answer) -> bool:
        return answer[0] < -HAIR

    at_one = yield Question(1.0, 0)
    low: float | None
    high: float | None
    if positive(at_one):
        high = yield from _first_where(negative, 0.0, 1)
        low = None if high is None else (yield from _first_where(positive, high, -1))
    elif negative(at_one):
        low = yield from _first_where(positive, 0.0, -1)
        high = None if low is None else (yield from _first_where(negative, low, 1))
    else:
        low = yield from _first_where(positive, 0.0, -1)
        high = yield from _first_where(negative, 0.0, 1)
    return None if low is None or high is None else exp((low + high) / 2)


def _first_where(
    holds: Callable[[Answer], bool], start: float, direction: int, n_permutations: int = 0
) -> Generator[Question, Answer, float | None]:
    """Log ratio next to the start, in a direction, from which on a test of the answer holds; None if it never does.

    Outwards, and to the first one only: far from the data so little is left within the budgets that nothing differs.
    """
    inside = start
    for place in _outwards(start, direction):
        if holds((yield Question(exp(place), n_permutations))):
            outside = place
            while abs(outside - inside) > _PRECISION:
                middle = (inside + outside) / 2
                if holds((yield Question(exp(middle), n_permutations))):
                    outside = middle
                else:
                    inside = middle
            return (inside + outside) / 2
        inside = place
    return None


def _outwards(start: float, direction: int) -> Iterator[float]:
    """Log ratios from a start in one direction, as far as ratios are looked for."""
    step, reach = direction * log(2) / _STEPS_PER_OCTAVE, log(MAX_RATIO) + 1e-9
    position = start + step
    while abs(position) <= reach:
        yield position
        position += step
