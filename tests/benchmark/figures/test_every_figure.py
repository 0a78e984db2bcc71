"""Properties of every figure: its files, its plan, its drawing, and verdicts that change when the data do."""

import json
from math import isnan
from typing import Any

import numpy as np
import pytest

from benchmark.config.files.suite import load_suite
from benchmark.config.grid import parse_grid, points
from benchmark.config.seeds import parse_seeds
from benchmark.figures import panels
from benchmark.figures.figure import SCALES, Figure, parts_of
from benchmark.figures.figure_4 import FIGURE as STAIRCASE
from benchmark.figures.figure_plan import figure_plan
from benchmark.figures.figure_runs import FigureRun
from benchmark.figures.planting import WORLDS, simulate
from benchmark.figures.registry import TITLES, figure_of

FIGURES = [figure_of(name) for name in TITLES]
every_figure = pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: f"figure_{figure.name}")

LEVEL, STANDARD_ERRORS = 0.05, 3


def planted(figure: Figure, n_seeds: int, world: Any = "published") -> list[FigureRun]:
    """Runs with everything that the figure draws."""
    random = np.random.Generator(np.random.Philox(7))
    runs = figure.plant(world, n_seeds, random)
    if "curves" in figure.reads and "attention" in figure.reads:
        losses = [run.losses for run in STAIRCASE.plant(world, n_seeds, random)]
        runs = [
            FigureRun(r.knobs, r.seeds, r.budget, r.times, r.part_times, losses=loss, heads=r.heads)
            for r, loss in zip(runs, losses, strict=True)
        ]
    return runs


@every_figure
def test_files(figure: Figure) -> None:
    assert set(figure.scales) == set(SCALES)
    assert len({claim.name for claim in figure.claims}) == len(figure.claims) > 0
    for scale in SCALES:
        text = figure.suite(scale).read_text()
        assert text.startswith(f"# Figure {figure.name} of arXiv 2606.25010") or figure.name in {"dependency", "seeds"}
        assert max(len(line) for line in text.splitlines() if line.startswith("#")) <= 140
        load_suite(str(figure.suite(scale)))
    for row in figure.published:
        assert row["figure"]


@every_figure
def test_cells_of_the_paper_are_the_papers(figure: Figure) -> None:
    """Published sizes: 10,000 steps, width 128, one layer on `lm` and four on `ca` where depth is not what varies."""
    _, suite = load_suite(str(figure.suite("paper")))
    for name, cell in suite.cells.items():
        assert cell.protocol["max_steps"] == 10_000, name
        assert cell.model["d_model"] == 128 or figure.name == "6", name
        if figure.name != "11":
            assert cell.model["n_layers"] == {"lm": 1, "ca": 4}[cell.data.name], name
        assert "batch_size" not in cell.data.init_args and "tokens_per_step" not in cell.data.init_args, name


@every_figure
def test_learning_rates_are_the_tuned_ones(figure: Figure) -> None:
    _, tuned = load_suite("tuning/lite.yaml")
    _, suite = load_suite(str(figure.suite("lite")))
    for name, setup in suite.architectures.items():
        for task, lr in setup.lr.items():
            assert lr == tuned.architectures[name].lr[task], (name, task)


def test_every_sparsity_of_the_paper() -> None:
    figure = figure_of("5a")
    found = {
        (part.cells[0], point["data.n_nonzero"])
        for part in parts_of(figure, "paper", (0,))
        for point in points(parse_grid(part.grid))
    }
    assert found == {(f"lm_s{size}", ones) for size in (8, 16, 32) for ones in range(1, size + 1)}


@pytest.mark.slow
@every_figure
def test_plan_of_lite(figure: Figure) -> None:
    """Every run can be built, has a folder of its own, and nothing claims to be a cell of the suite `lite`."""
    plan = figure_plan(figure, "lite", (0, 1))
    units = [entry.unit(seed) for entry, seed in plan.runs()]
    assert len({unit.folder for unit in units}) == len(units)
    assert {unit.suite for unit in units} == {f"figure_{figure.name}_lite"}
    if figure.scales["lite"].crossed:
        seeds = {tuple(entry.identity_of(seed).seeds.model_dump().values()) for entry, seed in plan.runs()}
        assert len(seeds) == 8
    biased = [entry for entry in plan.entries if entry.identity.intervention is not None]
    assert bool(biased) == (figure.name in {"5c", "9"})


@every_figure
def test_too_few_seeds(figure: Figure) -> None:
    verdicts = {claim.test(planted(figure, 2)).kind for claim in figure.claims}
    assert verdicts == {"not enough seeds"}
    assert {claim.test([]).kind for claim in figure.claims} == {"not enough seeds"}


@pytest.mark.slow
@every_figure
def test_verdicts_change_with_the_data(figure: Figure) -> None:
    """With the published effect a claim is mostly reproduced, with none or the opposite seldom."""
    n = 12
    most = LEVEL + STANDARD_ERRORS * (LEVEL * (1 - LEVEL) / n) ** 0.5
    for name, worlds in simulate(figure, n).items():
        assert worlds["published"]["reproduced"] >= 0.5, name
        assert worlds["published"]["not reproduced"] <= 0.25, name
        assert worlds["none"]["reproduced"] <= most, name
        assert worlds["reversed"]["reproduced"] <= most, name
        if figure.name != "seeds":  # no share is below 0
            assert worlds["reversed"]["not reproduced"] >= 0.25, name


@every_figure
def test_committed_error_rates(figure: Figure) -> None:
    """They are of these claims at this number of seeds, and false alarms are no more than the level allows."""
    rates = figure.error_rates
    assert rates["seeds"] == len(parse_seeds(figure.scales["lite"].seeds))
    assert list(rates["claims"]) == [claim.name for claim in figure.claims]
    most = LEVEL + STANDARD_ERRORS * (LEVEL * (1 - LEVEL) / rates["n"]) ** 0.5
    for name, worlds in rates["claims"].items():
        assert list(worlds) == list(WORLDS)
        assert worlds["none"]["reproduced"] <= most, name
        assert worlds["reversed"]["reproduced"] <= most, name
        assert worlds["published"]["reproduced"] >= 0.6, name
        assert worlds["published"]["not reproduced"] <= most, name


@pytest.mark.long
@every_figure
def test_committed_error_rates_are_what_a_simulation_gives(figure: Figure) -> None:
    n, rates = 60, figure.error_rates
    for name, worlds in simulate(figure, n, seed=1).items():
        for world, kinds in worlds.items():
            for kind, share in kinds.items():
                known = rates["claims"][name][world][kind]
                spread = (max(known * (1 - known), 0.02) * (1 / n + 1 / rates["n"])) ** 0.5
                assert abs(share - known) <= 4.5 * spread, (name, world, kind)


@every_figure
def test_drawing(figure: Figure) -> None:
    """Every run is in it, every axis has a title, and published values are there as the file has them."""
    n_seeds = 3
    runs = planted(figure, n_seeds)
    spec = panels.finished(figure.draw(runs, figure.published), "title", "subtitle")
    text = json.dumps(spec)
    encodings = list(_values(spec, "encoding"))
    assert encodings
    for encoding in encodings:
        for axis in ("x", "y"):
            if (
                "field" in encoding.get(axis, {})
                and encoding[axis].get("type") == "quantitative"
                and "axis" in encoding[axis]
            ):
                assert encoding[axis]["title"], encoding
    rows = [row for values in _values(spec, "values") for row in values if isinstance(row, dict)]
    assert rows and not any(isinstance(v, float) and isnan(v) for row in rows for v in row.values())
    if any("loss" in row or "state_size" in row for row in figure.published):
        drawn = [row for row in rows if row.get("what") == panels.PUBLISHED]
        assert len(drawn) % len(figure.published) == 0 and drawn
    assert "Infinity" not in text


def _values(part: Any, key: str) -> Any:
    """Everything that stands under a key, at any depth."""
    if isinstance(part, dict):
        if key in part:
            yield part[key]
        for inner in part.values():
            yield from _values(inner, key)
    elif isinstance(part, list):
        for inner in part:
            yield from _values(inner, key)


@pytest.mark.process
@pytest.mark.slow
def test_pictures_are_drawn(tmp_path: Any) -> None:
    """Vega-Lite takes the specification, and the file is a picture, the same one each time."""
    for figure in FIGURES:
        spec = panels.finished(figure.draw(planted(figure, 3), figure.published), figure.title, "planted")
        svg, png = panels.write_pictures(tmp_path / figure.name, spec)
        assert svg.read_text().startswith("<svg") and figure.title.split()[0] in svg.read_text()
        assert png.read_bytes()[:4] == b"\x89PNG"
        before = svg.read_bytes()
        panels.write_pictures(tmp_path / figure.name, spec)
        assert svg.read_bytes() == before
