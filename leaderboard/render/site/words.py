"""Numbers as words: what a cell of a table and the text beside a picture say, in the types that a page has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from leaderboard.board import wording
from leaderboard.board.standings import Result
from leaderboard.statistics.time_ratio import Ratio

NONE = "\N{EN DASH}"


def typeset(text: str) -> str:
    """Ranges with an en dash, factors with a multiplication sign: `1.8x (1.4-2.5)` as a book sets it."""
    if text == wording.NOTHING:
        return NONE
    return re.sub(r"(?<=\d)x", "\N{MULTIPLICATION SIGN}", re.sub(r"(?<=\d)-(?=\d)", NONE, text))


def steps(value: float | None, budget: int) -> str:
    """A step; one beyond the budget (None) reads `> 4,000`."""
    return f"> {budget:,}" if value is None else f"{value:,.0f}"


def step(value: float | None) -> str:
    """A step, or a dash where there is none."""
    return typeset(wording.step_text(value))


def median(result: Result, budget: int) -> str:
    """Kaplan-Meier median with its interval, e.g. `1,250 (900-2,000)`; an open end reads `+`."""
    return typeset(wording.median_text(result.median, budget)) if result.n else NONE


def solved(result: Result) -> str:
    """`18/20 (70-97 %)`."""
    return typeset(wording.solved_text(result))


def ratio(value: Ratio | None, is_reference: bool = False) -> str:
    """`1.83x (1.42-2.51)`; what the data do not bound or do not place is left open."""
    return typeset(wording.ratio_text(value, is_reference))


def ratio_order(value: Ratio | None, is_reference: bool = False) -> float | None:
    """What a ratio sorts by; None: after everything that has a number."""
    if is_reference:
        return 1.0
    return None if value is None else value.estimate


def ranks(values: Iterable[int | None]) -> list[str]:
    """Ranks as shown: who shares one gets a `=`, e.g. `2=`."""
    found = list(values)
    return [NONE if rank is None else f"{rank}{'=' if found.count(rank) > 1 else ''}" for rank in found]


def short(value: float) -> str:
    """1234567 -> `1.2M`, in two or three digits."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            scaled = value / size
            return f"{scaled:.0f}{letter}" if scaled >= 9.95 else f"{scaled:.1f}{letter}"
    return f"{value:.0f}"


def span(values: Sequence[float]) -> str:
    """The smallest and the largest, once if they read the same."""
    if not values:
        return NONE
    low, high = short(min(values)), short(max(values))
    return low if low == high else f"{low}{NONE}{high}"


def speeds(results: Sequence[Result]) -> str:
    """Tokens a second by device over cells, e.g. `21k-65k cpu`."""
    devices = sorted({device for result in results for device in result.tokens_per_s})
    parts = [
        f"{span([result.tokens_per_s[device] for result in results if device in result.tokens_per_s])} {device}"
        for device in devices
    ]
    return ", ".join(parts) or NONE


def dates(first: str, last: str) -> str:
    """A day, or the first and the last."""
    return first if first == last else f"{first} to {last}"


def rounded(value: float, digits: int = 5) -> float:
    """To significant digits: what a chart can show, and the same text wherever it is computed."""
    return float(f"{value:.{digits}g}")
