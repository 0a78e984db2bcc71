"""Hitting steps from curves, as training and validation compute them, against the definition."""

import math
import operator

import hypothesis.strategies as st
import pytest
from hypothesis import given

from leaderboard.records.fields import RecordedTarget
from leaderboard.records.hits import hitting_step, holds
from tests.oracles import hitting_step as oracle

VALUES = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.5, math.nextafter(0.5, 0), 0.9, math.nan])


@pytest.mark.slow
@given(st.lists(VALUES, max_size=12), st.sampled_from([">=", "<"]), st.integers(1, 60), st.booleans())
def test_agrees_with_its_definition(values: list[float], op: str, every: int, from_zero: bool) -> None:
    steps = [every * (number + (not from_zero)) for number in range(len(values))]
    reaches = {">=": operator.ge, "<": operator.lt}[op]
    target = RecordedTarget(name="t", metric="m", op=op, value=0.5)  # type: ignore[arg-type]
    held = [holds(target, value) for value in values]
    assert held == [not math.isnan(value) and reaches(value, 0.5) for value in values]
    assert hitting_step(steps, held) == oracle.hitting_step(steps, values, lambda value: reaches(value, 0.5))


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ("", (None, None)),
        ("1", (None, None)),
        ("11", (0, None)),
        ("011", (50, 0)),
        ("01011", (150, 100)),
        ("0101", (None, None)),
        ("0110", (50, 0)),
    ],
)
def test_by_hand(held: str, expected: tuple[int | None, int | None]) -> None:
    assert hitting_step(range(0, 50 * len(held), 50), [letter == "1" for letter in held]) == expected


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="shorter"):
        hitting_step([0, 50], [True])
