"""How numbers of the board read in a table: `18/20 (70-97 %)`, `1.83x (1.42-2.51)`, `> 4,000 (1,200+)`."""

from __future__ import annotations

from collections.abc import Iterable

from leaderboard.board.standings import Result, Standing
from leaderboard.statistics.survival import Median
from leaderboard.statistics.time_ratio import Ratio

NOTHING = "-"


def solved_text(result: Result) -> str:
    """Runs that solved the task of those with an outcome, with the Wilson interval in percent."""
    if result.solved_low is None or result.solved_high is None:
        return NOTHING
    return f"{result.n_solved}/{result.n} ({100 * result.solved_low:.0f}-{100 * result.solved_high:.0f} %)"


def median_text(median: Median, budget: int) -> str:
    """Median step with its interval; `> 4,000` beyond a budget of 4,000, `400 (200+)` where it has no upper end."""
    middle = f"> {budget:,}" if median.step is None else f"{median.step:,.0f}"
    if median.low is None:
        return middle
    return f"{middle} ({median.low:,.0f}{'+' if median.high is None else f'-{median.high:,.0f}'})"


def step_text(step: float | None) -> str:
    """A step, or a dash where there is none."""
    return NOTHING if step is None else f"{step:,.0f}"


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


def times(value: float) -> str:
    """0.046, 0.53, 1.83, 12.3."""
    return f"{value:.{3 if value < 0.095 else 2 if value < 9.995 else 1}f}"


def p_text(ratio: Ratio | None) -> str:
    """p value of "the two learn equally fast"."""
    if ratio is None:
        return NOTHING
    return "< 0.001" if ratio.p < 0.001 else f"{ratio.p:.3f}"


def range_text(values: Iterable[float]) -> str:
    """`8,226`, or `8,226-30,016` where the values differ; a dash without any."""
    known = [f"{round(value):,}" for value in sorted(values)]  # an int stays one: it may be too large for a float
    return NOTHING if not known else known[0] if known[0] == known[-1] else f"{known[0]}-{known[-1]}"


def speed_text(results: Iterable[Result]) -> str:
    """Tokens a second over the cells, by device: `9,000-31,000 cpu, 410,000 cuda`."""
    speeds: dict[str, list[float]] = {}
    for result in results:
        for device, value in result.tokens_per_s.items():
            speeds.setdefault(device, []).append(value)
    return ", ".join(f"{range_text(values)} {device}" for device, values in sorted(speeds.items())) or NOTHING


def present(standing: Standing) -> list[Result]:
    """The results of the cells that are not missing."""
    return [result for result in standing.results.values() if result is not None]
