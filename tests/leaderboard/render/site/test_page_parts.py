"""The parts of the site: what its charts show, its colours, words, tables, names and links."""

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.board.columns import Column, Name
from leaderboard.render.charts import colours, series
from leaderboard.render.site import pages
from leaderboard.render.site.entry_page import entry_page
from leaderboard.render.site.figures import Figures
from leaderboard.statistics.tried_rates import tried_rates
from tests.helpers.leaderboard.boards import CELLS, result_of, suite_of, suite_records, write_curves
from tests.helpers.leaderboard.records import run_of


def test_emergence_is_the_kaplan_meier_curve_of_solving() -> None:
    runs = [run_of("solved", 0, 200), run_of("solved", 1, 200), run_of("solved", 2, 600), run_of("censored", 3)]
    result = result_of([*runs, run_of("diverged", 4, 300), run_of("error", 5, 100)], Path("results"))
    rows, ticks = series.emergence("a", result), series.censored("a", result)
    # Five outcomes: 2 of 5 solved at 200, 3 of 5 at 600; the other two are unsolved at the budget.
    assert [(row["step"], row["share"]) for row in rows] == [(0, 0.0), (200, 0.4), (600, 0.6), (1000, 0.6)]
    assert [(tick["step"], tick["share"], tick["n"]) for tick in ticks] == [(1000, 0.6, 2)]
    assert all(row["low"] <= row["share"] <= row["high"] for row in rows)
    everybody = result_of([run_of("solved", seed, 400) for seed in range(3)], Path("results"))
    rows, ticks = series.emergence("a", everybody), series.censored("a", everybody)
    assert [(row["step"], row["share"], row["low"]) for row in rows] == [(0, 0, 0), (400, 1, None), (1000, 1, None)]
    assert not ticks


def test_the_run_shown_is_the_one_with_the_median_step() -> None:
    steps = [700, 200, 450, 900, 300]
    solved = [run_of("solved", seed, step) for seed, step in enumerate(steps)]
    unsolved = [run_of("censored", seed) for seed in (5, 6, 7)]

    def seed(records: list[Any]) -> int:
        found = series.representative(result_of(records, Path("results")))
        assert found is not None and f"seed{found[0].seeds.init_seed}" == found[1].name
        return found[0].seeds.init_seed

    assert seed(solved) == 2
    assert seed(solved + unsolved) == 0  # 200 300 450 [700] 900 and three beyond: Kaplan-Meier's median is 700
    assert result_of(solved + unsolved, Path("results")).median.step == 700
    assert seed(solved[:1] + unsolved) == 5
    assert series.representative(result_of([run_of("solved", 0, 100, curves=None)], Path("results"))) is None


@pytest.mark.process
@pytest.mark.slow
def test_the_steps_of_single_runs_are_those_of_runs_that_solved(tmp_path: Path) -> None:
    """A run that hit its target and then diverged, or was broken off, has not solved it."""
    ends = (("solved", 200), ("diverged", 300), ("error", 400), ("censored", 1000))
    place = tmp_path / "lite" / "transformer" / "a"
    records = [
        write_curves(place / f"seed{seed}", run_of(status, seed, step, cell="a"))
        for seed, (status, step) in enumerate(ends)
    ]
    suite = suite_of("lite", {"transformer": records}, tmp_path)
    shown = Figures().runs("lite", suite.cells[0], suite.standings, colours.styles(["transformer"]))
    assert "rows_solved &gt;= 1: transformer: 200." in shown


@given(st.lists(st.floats(0, 1), min_size=1, max_size=700), st.sampled_from([4, 20, 160]))
def test_thinning_keeps_ends_extremes_and_order(values: list[float], limit: int) -> None:
    array = np.array(values)
    picked = series.thinned(array, limit)
    assert len(picked) <= limit and (np.diff(picked) > 0).all()
    assert picked[0] == 0 and picked[-1] == len(values) - 1
    assert array[picked].min() == array.min() and array[picked].max() == array.max()


def test_many_entries_leave_charts_legible_and_runs_out_of_the_index() -> None:
    names = [f"entry_{k}" for k in range(20)] + ["transformer"]
    assert colours.shown(names) == [*names[:10], "transformer"]
    assert colours.shown(names[:20]) == names[:11]
    looks = colours.styles(colours.shown(names))
    assert len(set(looks.values())) == len(looks) == colours.SHOWN
    assert looks["transformer"] == colours.Style(colours.LIGHT[0], (1, 0))
    assert colours.styles(names[:3])["entry_1"] == colours.styles(names)["entry_1"]


def test_heat_maps_need_four_cells_that_differ_in_size_and_density_only() -> None:
    rng = np.random.default_rng(0)

    def groups(n_cells: int) -> list[list[str]]:
        runs = {"transformer": suite_records("transformer", CELLS[:n_cells], range(2), rng)}
        return [[cell.name for cell in group] for group in series.difficulty_groups(suite_of("lite", runs, Path("r")))]

    assert groups(3) == [] and groups(4) == [sorted(cell.name for cell in CELLS)]
    runs = {"transformer": suite_records("transformer", CELLS, range(2), rng)}
    runs["mamba"] = [record for record in suite_records("mamba", CELLS, range(2), rng) if record.cell != "lm_s8_n2"]
    suite = suite_of("lite", runs, Path("r"))
    rows = series.success(suite.cells, suite.standings)
    assert len(rows) == 8
    assert [row["share"] for row in rows if (row["entry"], row["S"], row["s"]) == ("mamba", 8, 2)] == [None]
    assert sum(row["share"] is None for row in rows) == 1


def test_a_number_sorts_by_its_value_and_nothing_sorts_last() -> None:
    rows = [("9k", 9000.0), ("12k", 12000.0), ("-", None)]
    size = Column("size", lambda row: row[0], number=lambda row: row[1])
    name = Column("name", lambda row: Name(row[0]), heads_row=True)
    found = pages.table("t", "Sizes", [size, name], rows)
    orders = [float(order) for order in re.findall(r'<td class="n" data-order="([^"]+)"', found)]
    assert len(orders) == 3 and orders == sorted(orders) and orders[-1] > 1e200
    assert found.count("data-order") == 3 and found.count('<th scope="row">') == 3


@given(st.lists(st.text(max_size=8), min_size=1, max_size=3), st.lists(st.text(max_size=8), min_size=1, max_size=3))
def test_two_lists_of_names_never_share_a_file(one: list[str], other: list[str]) -> None:
    assert re.fullmatch(r"[a-z0-9_-]+", pages.anchor(*one))
    assert (pages.anchor(*one) == pages.anchor(*other)) == (one == other)


def test_names_that_look_like_another_pair_have_another_file() -> None:
    pairs = [("a", "b--c"), ("a--b", "c"), ("a", "b", "c"), ("a-", "b"), ("a", "-b"), ("A", "b"), ("a", "b"), ("a/b",)]
    assert len({pages.anchor(*pair) for pair in pairs}) == len(pairs)
    assert pages.entry_path("lite", "my_model-2") == "entries/lite--my_model-2.html"


def test_links_lead_to_https_only() -> None:
    assert pages.link("https://arxiv.org/abs/1", "paper").startswith('<a href="https://arxiv.org/abs/1" rel="noopener')
    for url in ("javascript:alert(1)", "http://x.org", "https://x.org/\n", 'https://x"onclick=', "//x.org", "data:,x"):
        assert "<a" not in pages.link(url, "paper")
    assert pages.link(None, "paper") == ""


def _linear(colour: str) -> np.ndarray:
    part = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def _contrast(one: str, other: str) -> float:
    low, high = sorted(float(_linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


# Machado, Oliveira and Fernandes 2009, severity 1: how linear RGB is seen.
SEEN = {
    "normal": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def _oklab(linear: np.ndarray) -> np.ndarray:
    """Ottosson 2020: a distance of 0.02 is about the least that is seen."""
    cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    mix = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.array(mix) @ np.cbrt(np.array(cones) @ np.clip(linear, 0, 1))


@pytest.mark.parametrize(
    ("palette", "ground"), [(colours.LIGHT, colours.LIGHT_PAGE), (colours.DARK, colours.DARK_PAGE)]
)
def test_colours_stand_out_and_keep_apart_for_everybody(palette: tuple[str, ...], ground: str) -> None:
    assert min(_contrast(colour, ground) for colour in palette) >= 3
    for how, matrix in SEEN.items():
        seen = [_oklab(np.array(matrix) @ _linear(colour)) for colour in palette]
        assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) > 0.09, how


@pytest.mark.process
@pytest.mark.slow
def test_the_tuning_stands_on_the_page_of_its_architecture(tmp_path: Path) -> None:
    records = [run_of("solved", cell="a")]
    suite = suite_of("lite", {"transformer": records}, tmp_path)
    rates = [1e-3, 3e-3]
    runs = [
        run_of("solved", 1000, step, **{"optimizer": {"lr": rate}})
        for rate, step in zip(rates, (600, 200), strict=True)
    ]
    tried = tried_rates(
        [*runs, run_of("solved", 1000, 200, **{"architecture.name": "mamba", "optimizer": {"lr": 0.5}})]
    )
    page, pictures = entry_page(suite, suite.standings[0], tried)
    text = re.sub(r"<[^>]*>", " ", page)
    assert re.search(r"lm\s+0.001\s+1/1\s+0.575", text) and re.search(
        r"lm\s+0.003\s+1/1\s+0.175\s+best, at an end", text
    )
    assert 'data-chart="lite--transformer--tuning"' in page and "0.5 " not in text
    assert "Tuning</h2>" not in entry_page(suite, suite.standings[0])[0]


@pytest.mark.process
@pytest.mark.slow
def test_the_configuration_says_which_backend_ran(tmp_path: Path) -> None:
    """The option of that name may say auto; the record says what that came to."""
    config = {"d_model": 64, "backend": "auto"}
    records = [run_of("solved", cell="a", **{"architecture.config": config, "architecture.backend": "numba"})]
    suite = suite_of("lite", {"transformer": records}, tmp_path)
    text = re.sub(r"<[^>]*>", " ", entry_page(suite, suite.standings[0])[0])
    assert re.search(r"backend\s+numba", text) and "auto" not in text.split()
