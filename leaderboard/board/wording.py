"""Numbers of the board as text, one for every format: `18/20 (70-97 %)`, `1.83x (1.42-2.51)`, `> 4,000 (1,200+)`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from leaderboard.board.standings import Statistics
from leaderboard.statistics.survival import Median
from leaderboard.statistics.time_ratio import Ratio
from leaderboard.statistics.win_rate import ScoreTest

NOTHING = "-"


def solved_text(runs: Statistics) -> str:
    """Runs that solved the task of those with an outcome, with the Wilson interval in percent."""
    if runs.solved_low is None or runs.solved_high is None:
        return NOTHING
    return f"{runs.n_solved}/{runs.n} ({100 * runs.solved_low:.0f}-{100 * runs.solved_high:.0f} %)"


def median_text(median: Median, budget: int) -> str:
    """Median step with its interval; `> 4,000` beyond a budget of 4,000, `400 (200+)` where it has no upper end."""
    middle = budget_text(median.step, budget)
    if median.low is None:
        return middle
    return f"{middle} ({median.low:,.0f}{'+' if median.high is None else f'-{median.high:,.0f}'})"


def budget_text(step: float | None, budget: int) -> str:
    """A step; one beyond the budget (None) reads `> 4,000`."""
    return f"> {budget:,}" if step is None else f"{step:,.0f}"


def number_text(value: float | None, digits: int = 0) -> str:
    """A number with as many digits behind the point, or a dash where there is none."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def ratio_text(ratio: Ratio | None, is_reference: bool = False) -> str:
    """Times the reference's steps with its interval; `> 1.42x` where the data give no more than a bound."""
    if is_reference:
        return "1 (reference)"
    if ratio is None:
        return NOTHING
    low, high = ratio.low, ratio.high
    if low is not None and high is not None:
        interval = f"{times(low)}-{times(high)}"
    elif low is not None:
        interval = f"{times(low)}+"
    else:
        interval = "no bound" if high is None else f"up to {times(high)}"
    if ratio.estimate is not None:
        return f"{times(ratio.estimate)}x ({interval})"
    if low is not None:
        return f"> {times(low)}x" if high is None else f"{interval}x"
    return "not known" if high is None else f"< {times(high)}x"


def win_rate_text(rate: ScoreTest) -> str:
    """Share of pairs that the entry wins, with its 95 % interval: `57 % (44-69 %)`."""
    low, high = rate.interval()
    return f"{100 * rate.estimate:.0f} % ({100 * low:.0f}-{100 * high:.0f} %)"


def interval_plot(rate: ScoreTest, width: int = 21) -> str:
    """The same as a line from 0 to 100 %: `|` at one half, `o` the estimate, `=` the interval."""
    places = [round(share * (width - 1)) for share in (*rate.interval(), rate.estimate)]
    line = ["=" if places[0] <= place <= places[1] else "." for place in range(width)]
    line[width // 2] = "|"
    line[places[2]] = "o"
    return "".join(line)


def times(value: float) -> str:
    """A factor in two or three digits: 0.046, 0.53, 1.83, 12.3."""
    return f"{value:.{3 if value < 0.095 else 2 if value < 9.995 else 1}f}"


def p_text(p: float | None) -> str:
    """A p value to three decimals; `< 0.001` below them."""
    return "< 0.001" if p is not None and p < 0.001 else number_text(p, 3)


def range_text(values: Iterable[float]) -> str:
    """`8,226`, or `8,226-30,016` where the values differ; a dash without any."""
    return _range([f"{round(value):,}" for value in sorted(values)])  # an int may be too large for a float


def rate_text(values: Iterable[float | None]) -> str:
    """`0.001`, or `0.001-0.003` where the values differ; a dash without any."""
    return _range([f"{value:g}" for value in sorted(value for value in values if value is not None)])


def short_text(values: Iterable[float | None], unit: str = "") -> str:
    """`1.2M`, or `8.2k-30k` where the values differ, in two or three digits; empty without any."""
    known = sorted(value for value in values if value is not None)
    return f"{_range([_short(value) for value in known])}{unit}" if known else ""


def speed_text(measured: Iterable[Statistics]) -> str:
    """Tokens per second over the cells, by device: `9,000-31,000 cpu, 410,000 cuda`."""
    speeds: dict[str, list[float]] = {}
    for runs in measured:
        for device, value in runs.tokens_per_s.items():
            speeds.setdefault(device, []).append(value)
    return ", ".join(f"{range_text(values)} {device}" for device, values in sorted(speeds.items())) or NOTHING


def count_text(n: int, one: str, many: str | None = None) -> str:
    """`1 run`, `2 runs`."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def typeset(text: str) -> str:
    """The text as a book sets it: ranges with an en dash, factors with a multiplication sign, for pages and charts."""
    if text == NOTHING:
        return "\N{EN DASH}"
    ranges = re.sub(
        r"\d{4}-\d\d-\d\d|(?<=[\dkMGT])-(?=\d)",  # a date stays as it is
        lambda found: "\N{EN DASH}" if found[0] == "-" else found[0],
        text,
    )
    return re.sub(r"(?<=\d)x", "\N{MULTIPLICATION SIGN}", ranges)


def _range(texts: Sequence[str]) -> str:
    return NOTHING if not texts else texts[0] if texts[0] == texts[-1] else f"{texts[0]}-{texts[-1]}"


def _short(value: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            scaled = value / size
            return f"{scaled:.0f}{letter}" if scaled >= 9.95 else f"{scaled:.1f}{letter}"
    return f"{value:.0f}"
