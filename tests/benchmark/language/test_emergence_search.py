"""Bisection and scan, driven over every sequence of outcomes, against brute force."""

import itertools
import math
from collections.abc import Sequence

import pytest

from benchmark.language.emergence_search import Emergence, Method, emergence, next_look


def searched(outcomes: Sequence[bool], method: Method) -> tuple[Emergence, list[int]]:
    """The conclusion, and the steps looked at in order; steps are squares, so that they are no places."""
    steps = [i * i for i in range(len(outcomes))]
    known: dict[int, bool] = {}
    looked = []
    while (step := next_look(steps, known, method)) is not None:
        assert step not in known
        assert emergence(steps, known, method).status == "unfinished"
        known[step] = outcomes[steps.index(step)]
        looked.append(step)
    return emergence(steps, known, method), looked


@pytest.mark.parametrize("n", [2, 3, 4, 7, 16, 41, 154])
def test_what_comes_once_and_stays_is_found_with_few_looks(n: int) -> None:
    for first in range(n + 1):
        found, looked = searched([i >= first for i in range(n)], "bisection")
        assert len(looked) <= math.ceil(math.log2(n)) + 3
        if 0 < first < n:
            last = first == n - 1
            assert found == Emergence("emerged", first**2, (first - 1) ** 2, None if last else True)
        else:
            assert found == Emergence("left_censored" if first == 0 else "right_censored")
        scanned, looked = searched([i >= first for i in range(n)], "every")
        assert (scanned, len(looked)) == (found, n)


def test_any_sequence() -> None:
    for outcomes in itertools.product([False, True], repeat=7):
        found, _ = searched(outcomes, "bisection")
        if found.step is None:
            assert found.status == ("left_censored" if outcomes[0] else "right_censored")
            assert outcomes[0] or not outcomes[-1]
        else:
            at = math.isqrt(found.step)
            assert (outcomes[at - 1], outcomes[at]) == (False, True) and found.previous == (at - 1) ** 2
            assert found.holds_next == (None if at == 6 else outcomes[at + 1])
        scanned, looked = searched(outcomes, "every")
        assert looked == [i * i for i in range(7)]
        lasting = [i for i in range(7) if outcomes[i] and (i == 6 or outcomes[i + 1])]
        if not lasting:
            assert scanned.status == "right_censored"
        elif lasting[0] == 0:
            assert scanned.status == "left_censored"
        else:
            assert (scanned.step, scanned.previous) == (lasting[0] ** 2, (lasting[0] - 1) ** 2)


def test_a_checkpoint_that_is_lost_leads_to_another_look() -> None:
    """As when its weights turn out to be those of another one."""
    known = {0: False, 10: False, 20: True, 30: True, 40: True}
    assert next_look([0, 10, 20, 30, 40], known, "bisection") is None
    del known[20]
    assert next_look([0, 10, 30, 40], known, "bisection") is None
    assert emergence([0, 10, 30, 40], known, "bisection") == Emergence("emerged", 30, 10, True)
    assert next_look([0, 10, 25, 30, 40], known, "bisection") == 25


def test_nothing_is_concluded_from_nothing() -> None:
    assert emergence([], {}, "bisection").status == "unfinished"
    assert next_look([], {}, "bisection") is None
    assert next_look([3], {}, "bisection") == 3
