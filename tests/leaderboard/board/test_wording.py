"""How numbers of the board read."""

from dataclasses import replace
from pathlib import Path

import pytest

from leaderboard.board import wording
from leaderboard.statistics.survival import Median
from leaderboard.statistics.time_ratio import Ratio
from tests.helpers.leaderboard.boards import small_board


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (None, "-"),
        (Ratio(1.834, 1.42, 2.51, 0.01), "1.83x (1.42-2.51)"),
        (Ratio(1.834, 1.42, None, 0.01), "1.83x (1.42+)"),
        (Ratio(0.5, None, 0.9, 0.01), "0.50x (up to 0.90)"),
        (Ratio(1.0, None, None, 1), "1.00x (no bound)"),
        (Ratio(None, 3.0, None, 0.001), "> 3.00x"),
        (Ratio(None, None, 0.0312, 0.001), "< 0.031x"),
        (Ratio(None, 0.99996, 12.34, 0.5), "1.00-12.3x"),
        (Ratio(None, None, None, 1.0), "not known"),
    ],
)
def test_ratio_words(ratio: Ratio | None, words: str) -> None:
    assert wording.ratio_text(ratio) == words
    assert wording.ratio_text(ratio, is_reference=True) == "1 (reference)"


def test_other_words() -> None:
    assert wording.median_text(Median(None, None, None), 4000) == "> 4,000"
    assert wording.median_text(Median(None, 1200, None), 4000) == "> 4,000 (1,200+)"
    assert wording.median_text(Median(400, 200, 900), 4000) == "400 (200-900)"
    assert [wording.p_text(p) for p in (None, 0.0002, 0.0009, 0.001, 0.0456, 1.0)] == [
        "-",
        "< 0.001",
        "< 0.001",
        "0.001",
        "0.046",
        "1.000",
    ]
    assert wording.range_text([]) == "-"
    assert wording.range_text([30016, 8226, 8226]) == "8,226-30,016"
    assert wording.range_text([10**400]).count("0") == 400  # too large for a float, and still a number
    assert [wording.times(value) for value in (0.0312, 0.0949, 0.0951, 9.994, 9.996, 63.96)] == [
        "0.031",
        "0.095",
        "0.10",
        "9.99",
        "10.0",
        "64.0",
    ]


def test_speeds_of_several_devices(tmp_path: Path) -> None:
    [first, *_] = small_board(tmp_path).suites[0].standings[0].measured
    results = [
        replace(first, tokens_per_s={"cpu": 9000.4, "cuda": 410_000.0}),
        replace(first, tokens_per_s={"cpu": 31000.0}),
    ]
    assert wording.speed_text(results) == "9,000-31,000 cpu, 410,000 cuda"
    assert wording.speed_text([]) == "-"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (202_754, "203k"), (999_950, "1.0M"), (1.2e6, "1.2M"), (3e12, "3.0T")],
)
def test_short_numbers(value: float, shown: str) -> None:
    assert wording.short_text([value]) == shown
    assert wording.short_text([value, None], "B") == f"{shown}B"


def test_short_ranges() -> None:
    assert wording.short_text([202_754, 51_000]) == "51k-203k"
    assert wording.short_text([202_754, 202_900]) == "203k"  # once, where they read the same
    assert wording.short_text([None]) == ""


@pytest.mark.parametrize(
    ("text", "typeset"),
    [
        ("-", "–"),
        ("1.83x (1.42-2.51)", "1.83× (1.42–2.51)"),
        ("> 3.00x", "> 3.00×"),
        ("51k-203k", "51k–203k"),
        ("2026-11-01 to 2026-11-02", "2026-11-01 to 2026-11-02"),
        ("self-reported", "self-reported"),
    ],
)
def test_typesetting(text: str, typeset: str) -> None:
    assert wording.typeset(text) == typeset
