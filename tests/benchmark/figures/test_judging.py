"""One rule for every verdict."""

from typing import Any

import pytest

from benchmark.figures.judging import Finding, Kind, nothing


def finding(**changes: Any) -> Finding:
    fields: dict[str, Any] = {
        "effect": 2.0, "low": 1.5, "high": 2.5, "p": 0.001, "null": 1.0, "matters": 1.2, "claimed": "more",
        "unit": "times", "n": 8, "needs": 5,
    }  # fmt: skip
    return Finding(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "reproduced"),
        ({"p": 0.05}, "not enough seeds"),  # not below 5 %
        ({"p": 0.3, "low": 0.8}, "not enough seeds"),
        ({"low": 0.5, "high": 0.9, "p": 0.99}, "not reproduced"),  # the opposite
        ({"low": 0.9, "high": 1.19, "p": 0.4}, "not reproduced"),  # too small to matter
        ({"low": 1.01, "high": 1.19, "p": 0.01}, "not reproduced"),  # surely there, and surely too small
        ({"low": 0.9, "high": 1.2, "p": 0.4}, "not enough seeds"),  # what just matters is still possible
        ({"low": None, "high": None, "effect": None, "p": 0.6}, "not enough seeds"),
        ({"low": 1.5, "high": None, "effect": None}, "reproduced"),  # unbounded on the claimed side
        ({"n": 4}, "not enough seeds"),
        ({"n": 4, "high": 0.5, "p": 1.0}, "not enough seeds"),
        ({"p": None}, "not enough seeds"),
    ],
)
def test_verdicts_of_a_claim_of_more(changes: dict[str, Any], kind: Kind) -> None:
    assert finding(**changes).kind == kind


@pytest.mark.parametrize(
    ("low", "high", "p", "kind"),
    [
        (0.3, 0.6, 0.001, "reproduced"),
        (0.85, 1.1, 0.4, "not reproduced"),
        (1.2, float("inf"), 0.99, "not reproduced"),
        (float("inf"), float("inf"), 1.0, "not reproduced"),  # most runs surely never got there
        (0.7, 1.1, 0.2, "not enough seeds"),
    ],
)
def test_verdicts_of_a_claim_of_less(low: float, high: float, p: float, kind: Kind) -> None:
    assert finding(low=low, high=high, p=p, matters=0.8, claimed="less").kind == kind


def test_what_matters_lies_on_the_claimed_side() -> None:
    with pytest.raises(ValueError, match="other side"):
        finding(matters=0.8)
    with pytest.raises(ValueError, match="other side"):
        finding(claimed="less")


def test_nothing_is_not_enough() -> None:
    assert nothing("more", 1.0, 1.2, "times", 5).kind == "not enough seeds"
