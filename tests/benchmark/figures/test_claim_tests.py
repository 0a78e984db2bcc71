"""The tests behind claims, against hand-computed toys, enumeration, other libraries and planted truths."""

from itertools import permutations, product
from math import comb, inf, log
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmark.figures.claims.arms import ratio_of_times, share_ahead
from benchmark.figures.claims.contrast import above_both
from benchmark.figures.claims.middle_values import median_against
from benchmark.figures.claims.rank_correlations import explains_more, rank_correlations
from benchmark.figures.claims.slopes import Stratum, growth, slope, tails
from benchmark.figures.claims.variance_shares import crossed_times, matters_at_all, variance_shares
from benchmark.figures.figure_runs import FigureRun
from leaderboard.statistics.comparison import Outcomes
from leaderboard.statistics.time_ratio import time_ratio


def run(time: float, seed: int = 0, budget: int = 1000, **knobs: Any) -> FigureRun:
    return FigureRun(knobs, (seed, seed, seed), budget, {"hit": time}, loss=0.0 if time < inf else 1.0, chance=1.0)


def random_of(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


class TestSlopes:
    def test_p_value_against_all_permutations(self) -> None:
        x, times = [0.0, 0.0, 1.0, 1.0, 2.0, 2.0], [100.0, 200.0, 150.0, inf, 400.0, inf]
        ranks = stats.rankdata([min(t, 1e9) for t in times])
        observed = float(np.dot(x, ranks))
        sums = [float(np.dot(order, ranks)) for order in permutations(x)]
        exact = np.mean([value >= observed - 1e-9 for value in sums])
        _, more, less = tails([Stratum(np.array(x), np.array(times), 1000.0)], 0.0, 20_000)
        assert abs(more - exact) < 0.01
        assert abs(less - np.mean([value <= observed + 1e-9 for value in sums])) < 0.01

    def test_a_slope_without_noise_is_found(self) -> None:
        x = np.repeat([0.0, 1.0, 2.0, 3.0], 5)
        jitter = np.tile([0.9, 0.95, 1.0, 1.05, 1.1], 4)
        found = slope([Stratum(x, 50 * 2.0**x * jitter, 10_000.0)])
        assert found.factor.estimate == pytest.approx(2.0, rel=0.01)
        assert found.factor.low is not None and found.factor.high is not None
        assert 1.8 < found.factor.low < 2.0 < found.factor.high < 2.2
        assert found.p_more == 1 / 2000 and found.p_less > 0.99

    def test_two_values_are_the_time_ratio(self) -> None:
        random = random_of(1)
        first, second = (np.sort(m * np.exp(0.5 * random.standard_normal(12))) for m in (300.0, 600.0))
        second[second > 1000] = inf
        ours = slope([Stratum(np.repeat([0.0, 1.0], 12), np.concatenate([first, second]), 1000.0)]).factor
        theirs = time_ratio([(Outcomes(first, 1000), Outcomes(second, 1000))])
        assert ours.estimate == pytest.approx(theirs.estimate, rel=1e-6)
        for mine, other in ((ours.low, theirs.low), (ours.high, theirs.high)):
            assert mine is not None and other is not None
            assert log(mine) == pytest.approx(log(other), abs=0.05)

    def test_censored_runs_are_not_dropped(self) -> None:
        """Without its unsolved runs the larger size would look as fast as the smaller one."""
        runs = [run(t, S=1) for t in (200, 210, 220, 240, 260, 270, 280, 290)]
        runs += [run(t, S=2) for t in (205, 230, 250, inf, inf, inf, inf, inf)]
        found = growth(runs, lambda r: r["S"], "hit", claimed="more", matters=1.05, unit="times")
        assert found.p is not None and found.p < 0.1
        solved = [r for r in runs if r.times["hit"] < inf]
        dropped = growth(solved, lambda r: r["S"], "hit", claimed="more", matters=1.05, unit="times", needs=2)
        assert dropped.p is not None and dropped.p > 0.3

    def test_strata_are_not_compared_with_one_another(self) -> None:
        """A knob that only goes with the stratum has no effect."""
        random = random_of(2)
        runs = [
            run(float(m * np.exp(0.1 * random.standard_normal())), x=x, width=w)
            for w, m in ((1, 100.0), (2, 500.0))
            for x in (w, w + 1)
            for _ in range(10)
        ]
        options: dict[str, Any] = {"claimed": "more", "matters": 1.2, "unit": "times"}
        assert growth(runs, lambda r: r["x"], "hit", **options).kind == "reproduced"
        assert growth(runs, lambda r: r["x"], "hit", strata=["width"], **options).kind == "not reproduced"

    @pytest.mark.slow
    def test_intervals_hold_the_truth(self) -> None:
        random, held, n = random_of(3), 0, 150
        for _ in range(n):
            x = np.repeat([0.0, 1.0, 2.0], 8)
            times = 150 * 1.8**x * np.exp(0.5 * random.standard_normal(24))
            found = slope([Stratum(x, np.where(times > 900, inf, times), 900.0)], 499).factor
            held += (found.low is None or found.low <= 1.8) and (found.high is None or found.high >= 1.8)
        assert held / n > 0.95 - 3 * (0.95 * 0.05 / n) ** 0.5

    def test_one_value_of_the_knob_is_not_enough(self) -> None:
        found = growth([run(100, x=1)] * 9, lambda r: r["x"], "hit", claimed="more", matters=1.2, unit="times")
        assert found.kind == "not enough seeds"
        with pytest.raises(ValueError, match="two values"):
            slope([Stratum(np.ones(3), np.ones(3), 10.0)])


class TestArms:
    def test_ratio_is_that_of_the_leaderboard(self) -> None:
        runs = [run(100 + 10 * i, arm="a") for i in range(6)] + [run(210 + 20 * i, arm="b") for i in range(6)]
        found = ratio_of_times(runs, {"arm": "b"}, {"arm": "a"}, "hit", claimed="more", matters=1.1)
        assert found.effect == pytest.approx(2.06, abs=0.08)
        assert found.kind == "reproduced" and found.n == 6
        other = ratio_of_times(runs, {"arm": "a"}, {"arm": "b"}, "hit", claimed="more", matters=1.1)
        assert other.kind == "not reproduced"

    def test_an_arm_that_never_gets_there_is_slower(self) -> None:
        runs = [run(100 + i, arm="a") for i in range(8)] + [run(inf, arm="b") for _ in range(8)]
        found = ratio_of_times(runs, {"arm": "b"}, {"arm": "a"}, "hit", claimed="more", matters=1.1)
        assert (found.kind, found.effect, found.high) == ("reproduced", None, None)

    def test_share_ahead(self) -> None:
        runs = [run(100 + i, arm="a") for i in range(10)] + [run(inf, arm="b") for _ in range(10)]
        found = share_ahead(runs, {"arm": "b"}, {"arm": "a"}, "hit", claimed="less", matters=40)
        assert (found.effect, found.kind) == (0.0, "reproduced")
        tied = share_ahead(runs[:10] * 2, {"arm": "a"}, {"arm": "a"}, "hit", claimed="less", matters=40)
        assert tied.effect == 50.0 and tied.kind != "reproduced"

    def test_a_lower_loss_is_no_progress(self) -> None:
        """Runs that learned nothing tie, whatever their losses; one that learned more is ahead."""

        def unsolved(arm: str, progress: float, loss: float) -> list[FigureRun]:
            return [
                FigureRun({"arm": arm}, (i, i, i), 1000, {"hit": inf}, progress=progress, loss=loss, chance=1.0)
                for i in range(10)
            ]

        tied = unsolved("a", 0, 0.99) + unsolved("b", 0, 0.9)
        assert share_ahead(tied, {"arm": "b"}, {"arm": "a"}, "hit", claimed="more", matters=60).effect == 50
        ahead = unsolved("a", 3, 0.9) + unsolved("b", 4, 0.9)
        assert share_ahead(ahead, {"arm": "b"}, {"arm": "a"}, "hit", claimed="more", matters=60).effect == 100

    def test_no_runs(self) -> None:
        nobody: dict[str, Any] = {"arm": "c"}
        assert ratio_of_times([], nobody, nobody, "hit", claimed="more", matters=1.1).kind == "not enough seeds"
        assert share_ahead([], nobody, nobody, "hit", claimed="more", matters=60).kind == "not enough seeds"


class TestMiddleValues:
    def test_against_scipy(self) -> None:
        values = [0.2, 0.3, 0.35, 0.4, 0.45, 0.48, 0.6, 0.7]
        found = median_against(values, 0.5, claimed="less", unit="")
        assert found.p == pytest.approx(stats.binomtest(6, 8, alternative="greater").pvalue)
        exact = stats.quantile_test(values, q=0, p=0.5).confidence_interval(0.95)
        assert (found.low, found.high) == (exact.low, exact.high)

    def test_five_runs_have_no_interval(self) -> None:
        found = median_against([1.0] * 5, 0.5, claimed="more", unit="")
        assert (found.low, found.high, found.p, found.kind) == (None, None, 1 / 2**5, "not enough seeds")

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            ([0.1] * 8, "reproduced"),
            ([inf] * 8, "not reproduced"),
            ([0.1, 0.2, inf, 0.3, inf, 0.1, 0.7, 0.8], "not enough seeds"),
            ([0.5] * 8, "not enough seeds"),  # at the bound
        ],
    )
    def test_runs_that_never_got_there_count(self, values: list[float], kind: str) -> None:
        assert median_against(values, 0.5, claimed="less", unit="").kind == kind


class TestContrast:
    def test_p_value_is_that_of_the_worse_comparison(self) -> None:
        middle, low, high = [5.0, 6.0, 7.0, 8.0, 9.0], [0.0, 1.0, 2.0, 1.0, 0.0], [4.0, 6.0, 7.0, 8.0, 8.5]
        found = above_both(middle, [low, high], matters=1.0, unit="rows")
        alone = above_both(middle, [high], matters=1.0, unit="rows")
        assert found.p == alone.p and found.effect == alone.effect == pytest.approx(0.3)
        assert found.kind == "not enough seeds"
        assert above_both(middle, [low], matters=1.0, unit="rows").kind == "reproduced"

    def test_interval_is_welchs(self) -> None:
        middle, end = [5.0, 6.0, 7.5, 8.0, 9.0], [0.0, 1.0, 2.0, 1.5, 0.0]
        found = above_both(middle, [end], matters=1.0, unit="rows")
        exact = stats.ttest_ind(middle, end, equal_var=False).confidence_interval(0.95)
        assert found.low == pytest.approx(exact.low) and found.high == pytest.approx(exact.high)

    def test_p_value_against_all_labels(self) -> None:
        middle, end = [3.0, 5.0, 6.0, 9.0], [1.0, 2.0, 4.0, 5.5]
        everyone = np.array(middle + end)
        values = []
        for chosen in product((0, 1), repeat=8):
            if sum(chosen) == 4:
                mask = np.array(chosen, dtype=bool)
                a, b = everyone[mask], everyone[~mask]
                values.append((a.mean() - b.mean()) / np.sqrt(a.var(ddof=1) / 4 + b.var(ddof=1) / 4))
        a, b = np.array(middle), np.array(end)
        observed = (a.mean() - b.mean()) / np.sqrt(a.var(ddof=1) / 4 + b.var(ddof=1) / 4)
        found = above_both(middle, [end], matters=1.0, unit="rows", n_permutations=20_000)
        assert len(values) == comb(8, 4)
        assert found.p == pytest.approx(np.mean(np.array(values) >= observed - 1e-6), abs=0.01)

    def test_cells_without_spread(self) -> None:
        assert above_both([8.0] * 6, [[0.0] * 6, [1.0] * 6], matters=1.0, unit="rows").kind == "reproduced"
        assert above_both([0.0] * 6, [[8.0] * 6, [8.0] * 6], matters=1.0, unit="rows").kind == "not reproduced"
        assert above_both([3.0] * 6, [[3.0] * 6, [3.0] * 6], matters=1.0, unit="rows").kind == "not reproduced"


class TestRankCorrelations:
    KNOBS = {"a": lambda run: run["a"], "b": lambda run: run["b"], "c": lambda run: run["c"]}

    def runs(self, seed: int, effects: tuple[float, float, float], n: int = 8) -> list[FigureRun]:
        """Three knobs, varied one at a time."""
        random = random_of(seed)
        cells = [(0, 0, 0)] + [tuple(v * (i == k) for i in range(3)) for k in range(3) for v in (-1, 1, 2)]
        return [
            run(
                float(300 * np.exp(np.dot(effects, cell) + 0.4 * random.standard_normal())),
                a=cell[0],
                b=cell[1],
                c=cell[2],
            )
            for cell in cells
            for _ in range(n)
        ]

    def test_against_residuals(self) -> None:
        """A partial correlation is that of what a regression on the others leaves."""
        runs = self.runs(0, (0.6, 0.2, 0.0))
        found = rank_correlations(runs, self.KNOBS, "hit", 50)
        ranks = np.array(
            [stats.rankdata([r[k] for r in runs]) for k in "abc"]
            + [stats.rankdata([r.times["hit"] if r.times["hit"] <= 1000 else 1e9 for r in runs])]
        )
        for place, name in enumerate("abc"):
            others = [i for i in range(3) if i != place]
            design = np.stack([np.ones(len(runs)), *ranks[others]], axis=1)
            left = [row - design @ np.linalg.lstsq(design, row, rcond=None)[0] for row in (ranks[place], ranks[3])]
            assert found.estimate[name] == pytest.approx(np.corrcoef(*left)[0, 1], abs=1e-6)
            assert found.low[name] <= found.estimate[name] <= found.high[name]

    def test_verdicts(self) -> None:
        def kind(effects: tuple[float, float, float], n: int = 8) -> str:
            found = rank_correlations(self.runs(1, effects, n), self.KNOBS, "hit")
            return explains_more(found, ["a", "b"], n=n).kind

        assert kind((0.7, 0.7, 0.0)) == "reproduced"
        assert kind((0.0, 0.0, 0.7)) == "not reproduced"
        assert kind((0.3, 0.3, 0.3)) != "reproduced"
        assert kind((0.7, 0.7, 0.0), 2) == "not enough seeds"

    @pytest.mark.slow
    def test_equal_effects_are_seldom_told_apart(self) -> None:
        n = 100
        alarms = sum(
            explains_more(rank_correlations(self.runs(s, (0.4, 0.4, 0.4)), self.KNOBS, "hit", 300), ["a"], n=8).kind
            == "reproduced"
            for s in range(n)
        )
        assert alarms / n <= 0.05 + 3 * (0.05 * 0.95 / n) ** 0.5


class TestVarianceShares:
    @staticmethod
    def planted(seed: int, shares: tuple[float, float, float], n: int = 5, sigma: float = 0.5) -> np.ndarray:
        random = random_of(seed)
        sides = [np.sqrt(share) * random.standard_normal(n) for share in shares]
        rest = np.sqrt(1 - sum(shares)) * random.standard_normal((n, n, n))
        total = sides[0][:, None, None] + sides[1][None, :, None] + sides[2][None, None, :] + rest
        return 300 * np.exp(sigma * total)

    def test_one_factor_alone(self) -> None:
        times = np.broadcast_to(np.array([100.0, 200.0, 300.0, 400.0, 500.0])[:, None, None], (5, 5, 5))
        found = variance_shares(times)
        assert found.share["task"] == pytest.approx(1) and found.share["init"] == pytest.approx(0, abs=1e-9)
        assert sum(found.share.values()) == pytest.approx(1)

    def test_mean_squares_against_statsmodels(self) -> None:
        import pandas as pd
        from statsmodels.formula.api import ols
        from statsmodels.stats.anova import anova_lm

        from benchmark.figures.claims.variance_shares import _mean_squares

        times = self.planted(0, (0.3, 0.2, 0.1))
        y = np.log(times)
        _, squares = _mean_squares(y)
        index = np.indices(y.shape).reshape(3, -1)
        frame = pd.DataFrame({"a": index[0], "b": index[1], "c": index[2], "y": y.ravel()})
        table = anova_lm(ols("y ~ (C(a) + C(b) + C(c))**2", frame).fit())
        theirs = dict(zip([(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)], table["mean_sq"], strict=True))
        for term, square in theirs.items():
            assert squares[term] == pytest.approx(square)

    @pytest.mark.slow
    def test_shares_are_found_on_average_with_a_fifth_censored(self) -> None:
        found = []
        for seed in range(60):
            times = self.planted(seed, (0.4, 0.2, 0.0))
            times[times > np.quantile(times, 0.8)] = inf
            found.append(variance_shares(times, 200).share)
        for name, truth in (("task", 0.4), ("init", 0.2), ("data", 0.0), ("task x init", 0.0)):
            assert np.mean([share[name] for share in found]) == pytest.approx(truth, abs=0.08)

    @pytest.mark.slow
    def test_intervals_hold_the_truth(self) -> None:
        held = []
        for seed in range(150):
            found = variance_shares(self.planted(seed, (0.3, 0.3, 0.0)), 1000)
            held.append(
                [found.low["task"] <= 0.3 <= found.high["task"], found.low["init"] <= 0.3 <= found.high["init"]]
            )
        assert np.mean(held) > 0.90

    def test_verdicts(self) -> None:
        def kinds(shares: tuple[float, float, float], n: int = 5) -> list[str]:
            found = variance_shares(self.planted(3, shares, n))
            return [matters_at_all(found, name, matters=5.0).kind for name in ("task", "init", "data")]

        assert kinds((0.4, 0.0, 0.4))[0] == kinds((0.4, 0.0, 0.4))[2] == "reproduced"
        assert kinds((0.0, 0.0, 0.0))[0] != "reproduced"
        assert kinds((0.4, 0.4, 0.1), 3) == ["not enough seeds"] * 3
        assert matters_at_all(None, "task", matters=5.0).kind == "not enough seeds"

    def test_the_block_of_whole_combinations(self) -> None:
        runs = [FigureRun({}, (a, b, c), 1000, {"hit": 100.0 + a + b + c}) for a, b, c in product(range(3), repeat=3)]
        assert crossed_times(runs, "hit").shape == (3, 3, 3)
        assert crossed_times(runs, "hit")[2, 1, 0] == 103
        assert crossed_times(runs[:-1], "hit").shape == (2, 2, 2)
        with pytest.raises(ValueError, match="not crossed"):
            crossed_times(runs[:3], "hit")
