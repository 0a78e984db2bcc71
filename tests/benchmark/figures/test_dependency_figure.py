"""Dependency maps of all architectures: what is counted, by hand, and the tests of its claims against SciPy."""

from math import inf
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp

import benchmark
from benchmark.figures.claims.mean_values import mean_within, share_against
from benchmark.figures.figure_dependency import FIGURE, beyond_chance, exact_share, exact_window, learned, valid_share
from benchmark.figures.figure_runs import DependencyCurve, FigureRun, read_runs
from benchmark.probes import array

NAN = float("nan")
CLEAN = 4
"""A task seed of S 8, s 2, T 2 of whose rows none has a second explanation."""

KNOBS = {"task": "lm", "architecture": "transformer", "state_size": 8, "n_nonzero": 2, "n_states": 2}


def run_of_lm(part_times: tuple[float, ...], last: dict[str, list[float]], seed: int = CLEAN) -> FigureRun:
    """A run with two looks; before training nothing is exact or explained."""

    def looks(name: str) -> np.ndarray:
        values = np.full((2, 16), NAN)
        values[0, 7:15] = 0.5 if name == "average_precision" else 0.4 if name == "chance" else 0
        values[1, 7:15] = last.get(name, [0.0] * 8)
        return values

    names = ("exact", "explanation", "average_precision", "chance", "mass")
    curve = DependencyCurve(np.array([0.0, 100.0]), np.array([0.5, 1.0]), {name: looks(name) for name in names})
    return FigureRun(KNOBS, (seed, 0, 0), 200, {}, part_times, dependency=curve)


def test_only_learned_rows_count() -> None:
    times = (10.0, 20.0, inf, 30.0, inf, inf, inf, 40.0)
    run = run_of_lm(times, {"exact": [1, 1, 0, 0, 0, 0, 0, 1], "explanation": [3, 2, 0, 1, 3, 3, 3, 0]})
    assert learned(run) == [7, 8, 10, 14]
    assert exact_share(run) == 75  # rows 0, 1 and 7 of the four
    assert valid_share(run) == 50  # 3 and 2 are valid, a mixture and nothing are not
    nothing = run_of_lm((inf,) * 8, {})
    assert exact_share(nothing) is None and valid_share(nothing) is None


def test_a_row_with_a_second_explanation_need_not_be_exact() -> None:
    """Task seed 0: some row has another sum of two tokens; the share is that of the others."""
    from benchmark.probes.explanations import unique_queries
    from datamodules import LinearMap

    unique = unique_queries(LinearMap(state_size=8, n_nonzero=2, n_states=2, task_seed=0))[7:15].tolist()
    assert not all(unique)
    run = run_of_lm((1.0,) * 8, {"exact": [float(each) for each in unique]}, seed=0)
    assert exact_share(run) == 100


def test_before_training() -> None:
    assert beyond_chance(run_of_lm((inf,) * 8, {})) == pytest.approx(0.1)


def test_the_window_is_looked_at_where_accuracy_first_needs_it() -> None:
    exact = np.array([[NAN, 0, 0, 0, 0], [NAN, 1, 0, 0, 0], [NAN, 1, 1, 1, 0], [NAN, 1, 1, 1, 1]])
    curve = DependencyCurve(np.arange(4.0), np.array([0.3, 0.7, 0.8, 0.9]), {"exact_previous": exact})
    run = FigureRun({"task": "ca"}, (0, 0, 0), 100, {}, dependency=curve)
    assert exact_window(run) == 75
    low = DependencyCurve(np.arange(4.0), np.array([0.3, 0.4, 0.5, 0.74]), {"exact_previous": exact})
    assert exact_window(FigureRun({"task": "ca"}, (0, 0, 0), 100, {}, dependency=low)) is None


def test_a_share_by_hand() -> None:
    """100, 80 and, added, 50, about a bound of 50."""
    found = share_against([100, 80], 50, claimed="more", unit="%")
    mean = 2.3 / 3
    variance = ((1 - mean) ** 2 + (0.8 - mean) ** 2 + (0.5 - mean) ** 2) / 2 / 3
    z = (mean - 0.5) / (0.25 * variance / (mean * (1 - mean))) ** 0.5
    from scipy.stats import t

    assert found.effect == 90 and found.p == pytest.approx(t.sf(z, 2))
    assert found.low is not None and found.high is not None and 0 < found.low < found.high < 100
    assert found.kind == "not enough seeds"  # two runs


@pytest.mark.parametrize("n", [5, 8, 20])
def test_shares_that_all_agree_have_an_interval(n: int) -> None:
    found = share_against([100.0] * n, 85, claimed="more", unit="%")
    assert found.kind == "reproduced" and found.low is not None and 75 < found.low < 99
    assert share_against([40.0] * n, 85, claimed="more", unit="%").kind == "not reproduced"


def test_interval_and_test_of_a_share_agree() -> None:
    """The bound is an end of the 95 % interval exactly where the one-sided p value is 2.5 %."""
    random = np.random.default_rng(0)
    for _ in range(200):
        shares = (100 * random.binomial(8, 0.85, 6) / 8).tolist()
        found = share_against(shares, 85, claimed="more", unit="%")
        assert found.low is not None and found.p is not None
        assert (found.low > 85) == (found.p < 0.025)


def test_within_is_two_one_sided_tests() -> None:
    values = [0.02, -0.05, 0.11, 0.07, -0.01, 0.03]
    found = mean_within(values, 0.15, unit="")
    above = ttest_1samp(values, -0.15, alternative="greater").pvalue
    below = ttest_1samp(values, 0.15, alternative="less").pvalue
    assert found.p == pytest.approx(max(above, below)) and found.kind == "reproduced"
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((0, max(-low, high)))
    assert mean_within([0.3 + value for value in values], 0.15, unit="").kind == "not reproduced"
    assert mean_within([value - 0.3 for value in values], 0.15, unit="").kind == "not reproduced"
    signed = mean_within(values, 0.15, unit="", signed=True)
    assert (signed.low, signed.high) == pytest.approx((low, high))


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize("task", ["lm", "ca"])
def test_runs_are_read_as_the_probe_wrote_them(task: str, tmp_path: Path) -> None:
    options = {"lm": {"state_size": 8, "n_nonzero": 2}, "ca": {"state_size": 8, "n_states": 4, "n_rules": 2}}[task]
    run = benchmark.fit(
        "transformer",
        task,
        model_options={"d_model": 8, "n_heads": 2, "n_layers": 1},
        data_options={**options, "batch_size": 1280},  # so many that the probe looks at every evaluation
        protocol={"max_steps": 4, "eval_every": 2},
        probes=["dependency"],
        picture=False,
        out=str(tmp_path),
    )
    (found,) = read_runs(tmp_path, FIGURE.reads)
    assert found.dependency is not None and found.dependency.steps_K.tolist() == [0, 2, 4]
    table = run.probes()
    last = table[(table["quantity"] == "average_precision") & (table["step"] == 4)].iloc[0]
    np.testing.assert_array_equal(found.dependency.values["average_precision"][-1], array(last))
    curves = run.curves()
    name = "accuracy_second_half" if task == "ca" else "accuracy"
    assert found.dependency.accuracy_K.tolist() == curves[name].tolist()
    assert FIGURE.table is not None
    if task == "lm":
        assert FIGURE.table([found])[0]["rows learned"] == "0/8"
