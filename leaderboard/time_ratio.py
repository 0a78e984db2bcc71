"""How many times the steps of the reference an arm takes, with an interval: tests of `leaderboard.comparison` inverted.

The estimate is the ratio at which the statistic changes sign (Hodges and Lehmann 1963); the interval holds the ratios
that are not rejected. Of many comparisons each takes its own steps, but those that ask for the same permutations are
answered in one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np

from leaderboard.comparison import HAIR, N_PERMUTATIONS, Pair, scores, statistic, tails

N_INTERVAL = 1_999  # permutations for each ratio that an interval tries
MAX_RATIO = 64.0  # beyond it a ratio is not looked for
_STEPS_PER_OCTAVE = 4
_PRECISION = 1e-3  # of the logarithm of a ratio
_AT_ONCE = 64  # comparisons in one product: more would not fit into a cache

# Yields a ratio (None: equally fast, progress of unsolved runs included), is sent its p values against more and less.
Search = Generator[float | None, tuple[float, float], "Ratio"]
# Yields a ratio, is sent whether a test holds there.
Steps = Generator[float, bool, float | None]


@dataclass(frozen=True)
class Ratio:
    """Hitting time of an entry over the reference's, with its 95 % interval. 2 means: takes twice the steps.

    Attributes:
        estimate: None where the data do not place it: too few runs of the two solved anything.
        low, high: ends of the interval; None where the data do not bound it on that side.
        p: two-sided permutation p value of "the two learn equally fast".
    """

    estimate: float | None
    low: float | None
    high: float | None
    p: float


def time_ratio(pairs: Sequence[Pair], level: float = 0.95) -> Ratio:
    """How many times the reference's steps the new arm takes, over all cells together, with its interval.

    Raises:
        ValueError: no pair.
    """
    return time_ratios([pairs], level)[0]


def time_ratios(comparisons: Sequence[Sequence[Pair]], level: float = 0.95) -> list[Ratio]:
    """`time_ratio` of each comparison: the same numbers, sooner.

    Raises:
        ValueError: a comparison without a pair.
    """
    searches = [_search(pairs, (1 - level) / 2) for pairs in comparisons]
    found: dict[int, Ratio] = {}
    asked = {place: next(search) for place, search in enumerate(searches)}
    while asked:
        for places in _alike(comparisons, asked):
            for place, answer in zip(places, _answers(comparisons, asked, places), strict=True):
                try:
                    asked[place] = searches[place].send(answer)
                except StopIteration as end:
                    found[place] = end.value
                    del asked[place]
    return [found[place] for place in range(len(comparisons))]


def _alike(comparisons: Sequence[Sequence[Pair]], asked: dict[int, float | None]) -> list[list[int]]:
    """The comparisons that ask something, in groups that share their permutations."""
    groups: dict[object, list[int]] = {}
    for place, ratio in asked.items():
        sizes = tuple((len(reference), len(new)) for reference, new in comparisons[place])
        groups.setdefault((sizes, ratio is None), []).append(place)
    return [group[at : at + _AT_ONCE] for group in groups.values() for at in range(0, len(group), _AT_ONCE)]


def _answers(
    comparisons: Sequence[Sequence[Pair]], asked: dict[int, float | None], places: Sequence[int]
) -> Iterator[tuple[float, float]]:
    """p values of a group, against more and against less than the ratio that each asks for."""
    cells = []
    for cell, (_, new) in enumerate(comparisons[places[0]]):
        columns = [scores(*comparisons[place][cell], asked[place]) for place in places]
        cells.append((np.concatenate(columns, axis=1), len(new)))
    more_K, less_K = tails(cells, N_PERMUTATIONS if asked[places[0]] is None else N_INTERVAL)
    return zip(more_K.tolist(), less_K.tolist(), strict=True)


def _search(pairs: Sequence[Pair], tail: float) -> Search:
    p = min(1.0, 2 * min((yield None)))
    estimate = _estimate(pairs)
    start = 0.0
    if estimate is not None:
        start = log(estimate)
    else:
        more, less = yield 1.0
        if more < tail:
            start = yield from _until_not_rejected(1, tail)
        elif less < tail:
            start = yield from _until_not_rejected(-1, tail)
    low = yield from _bound(start, -1, tail)
    high = yield from _bound(start, 1, tail)
    return Ratio(estimate, None if low is None else exp(low), None if high is None else exp(high), p)


def _until_not_rejected(direction: int, tail: float) -> Generator[float, tuple[float, float], float]:
    """The first log ratio from 0 on, in a direction, that is not too small (or, downwards, not too large).

    The last one that is looked for, if even that is rejected: the ratio lies beyond.
    """
    place = 0.0
    for place in _outwards(0.0, direction):
        if (yield exp(place))[0 if direction > 0 else 1] >= tail:
            break
    return place


def _bound(start: float, direction: int, tail: float) -> Generator[float, tuple[float, float], float | None]:
    """Where ratios begin to be rejected: downwards as too small, upwards as too large."""
    steps = _first(start, direction)
    try:
        ratio = next(steps)
        while True:
            ratio = steps.send((yield ratio)[0 if direction < 0 else 1] < tail)
    except StopIteration as end:
        bound: float | None = end.value
        return bound


def _estimate(pairs: Sequence[Pair]) -> float | None:
    """Middle, on the log scale, of the stretch between where the statistic is positive and where it is negative.

    None if it is nowhere positive, or nowhere negative.
    """

    def positive(ratio: float) -> bool:
        return statistic(pairs, ratio) > HAIR

    def negative(ratio: float) -> bool:
        return statistic(pairs, ratio) < -HAIR

    if positive(1.0):
        high = _walk(negative, 0.0, 1)
        low = None if high is None else _walk(positive, high, -1)
    elif negative(1.0):
        low = _walk(positive, 0.0, -1)
        high = None if low is None else _walk(negative, low, 1)
    else:
        low, high = _walk(positive, 0.0, -1), _walk(negative, 0.0, 1)
    return None if low is None or high is None else exp((low + high) / 2)


def _walk(holds: Callable[[float], bool], start: float, direction: int) -> float | None:
    """`_first` of a test that needs no permutations."""
    steps = _first(start, direction)
    try:
        ratio = next(steps)
        while True:
            ratio = steps.send(holds(ratio))
    except StopIteration as end:
        found: float | None = end.value
        return found


def _outwards(start: float, direction: int) -> Iterator[float]:
    """Log ratios from a start in one direction, as far as ratios are looked for."""
    step, reach = direction * log(2) / _STEPS_PER_OCTAVE, log(MAX_RATIO) + 1e-9
    position = start + step
    while abs(position) <= reach:
        yield position
        position += step


def _first(start: float, direction: int) -> Steps:
    """Log ratio next to the start, in a direction, from which on a test holds; None if it never does.

    Outwards, and to the first one only: far from the data so little is left within the budgets that nothing differs.
    """
    inside = start
    for place in _outwards(start, direction):
        if (yield exp(place)):
            outside = place
            while abs(outside - inside) > _PRECISION:
                middle = (inside + outside) / 2
                if (yield exp(middle)):
                    outside = middle
                else:
                    inside = middle
            return (inside + outside) / 2
        inside = place
    return None
