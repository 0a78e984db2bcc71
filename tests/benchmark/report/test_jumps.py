"""Jumps: by hand, and against trying every cut."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmark.report.jumps import change_point, largest_fall


def test_a_step_is_found_where_it_is() -> None:
    jump = change_point([2.0, 2.0, 2.0, 1.0, 1.0])
    assert jump is not None
    assert (jump.place, jump.before, jump.after, jump.rise) == (3, 2.0, 1.0, -1.0)


def test_a_slow_jump_is_found_in_its_middle_in_spite_of_a_drift() -> None:
    drift = np.linspace(0.0, 0.1, 21)
    rise = np.concatenate([np.zeros(10), [0.2, 0.5, 0.8], np.ones(8)])
    jump = change_point(drift + rise)
    assert jump is not None and jump.place == 11


def test_values_that_are_not_defined_are_left_out_and_keep_their_places() -> None:
    jump = change_point([math.nan, 0.0, math.nan, 0.0, 1.0, math.nan])
    assert jump is not None and (jump.place, jump.rise) == (4, 1.0)


def test_fewer_than_two_values_have_no_jump() -> None:
    assert change_point([]) is None
    assert change_point([1.0]) is None
    assert change_point([math.nan, 1.0]) is None


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=12))
def test_no_other_cut_has_a_smaller_sum_of_squares(values: list[int]) -> None:
    def squares(cut: int) -> float:
        return sum(float(((np.array(side) - np.mean(side)) ** 2).sum()) for side in (values[:cut], values[cut:]))

    jump = change_point([float(value) for value in values])
    assert jump is not None
    assert squares(jump.place) <= min(map(squares, range(1, len(values)))) + 1e-9


def test_the_largest_fall_begins_at_chance() -> None:
    assert largest_fall([5.0, 0.7, 0.6, 0.3, 0.2], 0.7) == 3, "from 5 to chance is no emergence"
    assert largest_fall([5.0, 0.7, 0.69, 0.68], 0.7) is None
    assert largest_fall([0.7], 0.7) is None
    assert largest_fall([0.7, math.nan, math.nan], 0.7) is None
    assert largest_fall([0.7, 0.7, 0.1, math.nan], 0.7) == 2
