"""Arms made by hand or drawn, for tests of comparisons."""

import numpy as np

from leaderboard.statistics.comparison import Outcomes


def arm(times: list[float], budget: int = 1000) -> Outcomes:
    """Runs that solved at these times; those beyond the budget did not."""
    return Outcomes(np.array([time if time <= budget else np.inf for time in times]), budget)


def drawn(seed: int, *sizes: tuple[int, float], budget: int = 1000, sigma: float = 0.55) -> list[Outcomes]:
    """Arms of log-normal times: (runs, median) each."""
    random = np.random.default_rng(seed)
    return [arm(list(median * np.exp(sigma * random.standard_normal(n))), budget) for n, median in sizes]
