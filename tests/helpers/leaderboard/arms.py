"""Arms made by hand or drawn, for tests of comparisons."""

import numpy as np

from leaderboard.statistics.comparison import Outcomes


def arm(times: list[float], budget: int = 1000, losses: list[float] | None = None) -> Outcomes:
    """Runs that solved at these times; those beyond the budget did not and ended at the losses given, or all at 0.5."""
    time_N = np.array([time if time <= budget else np.inf for time in times])
    return Outcomes(time_N, np.full(len(times), 0.5) if losses is None else np.array(losses), budget)


def drawn(seed: int, *sizes: tuple[int, float], budget: int = 1000, sigma: float = 0.55) -> list[Outcomes]:
    """Arms of log-normal times: (runs, median) each."""
    random = np.random.default_rng(seed)
    return [arm(list(median * np.exp(sigma * random.standard_normal(n))), budget) for n, median in sizes]
