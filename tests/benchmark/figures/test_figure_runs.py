"""Records as claims see them."""

from math import inf, log
from pathlib import Path

import numpy as np
import pytest

from benchmark.figures.figure_4 import bit_losses, falls, others_on_the_way
from benchmark.figures.figure_8 import drop_at_jumps, mass_gained
from benchmark.figures.figure_runs import FigureRun, by, figure_run, read_runs, where, with_tables
from tests.helpers.leaderboard.records import make_record, run_of
from tests.helpers.planted_runs import planted_run


def test_a_solved_run() -> None:
    run = figure_run(run_of("solved", 3, 600))
    assert run is not None
    assert run.times == {"rows_50": 575.0, "rows_100": 575.0}  # the middle of the interval
    assert (run["state_size"], run["n_heads"], run["architecture"], run["bias"]) == (16, 8, "transformer", 0.0)
    assert (run.seeds, run.budget) == ((3, 3, 3), 1000)


def test_a_censored_run_is_unsolved_and_a_diverged_one_too() -> None:
    for status in ("censored", "diverged"):
        run = figure_run(run_of(status))
        assert run is not None and set(run.times.values()) == {inf}
    solved_before = figure_run(
        make_record(status="diverged", error="loss is not finite", steps=650)  # its hits are those of a solved run
    )
    assert solved_before is not None
    assert set(solved_before.times.values()) == {inf} and solved_before.loss == solved_before.chance == log(2)


def test_errors_say_nothing() -> None:
    assert figure_run(run_of("error")) is None
    assert figure_run(run_of("interrupted")) is None


def test_an_intervention_is_a_knob() -> None:
    bias = {"attention_bias": {"strength": 3.0, "first_step": 0, "end_step": None}, "fork": None}
    run = figure_run(run_of("solved", intervention=bias))
    assert run is not None and run["bias"] == 3.0


def test_groups() -> None:
    runs = [run for seed, size in ((0, 16), (1, 8), (2, 8)) if (run := _sized(seed, size))]
    assert [run.seeds[0] for run in where(runs, state_size=8)] == [1, 2]
    assert [run.seeds[0] for run in where(runs, state_size=(8, 16), n_heads=8)] == [0, 1, 2]
    assert list(by(runs, "state_size")) == [(8,), (16,)]
    assert list(by(runs, "state_size", "unknown")) == [(8, None), (16, None)]


def _sized(seed: int, size: int) -> FigureRun | None:
    return figure_run(run_of("solved", seed, **{"task.config": {"state_size": size, "n_nonzero": 3, "n_states": 2}}))


def test_a_folder_of_planted_runs(tmp_path: Path) -> None:
    """Rows 0 to 2 are learned at 200, 400 and 600, each by a head of its own; row 3 never is."""
    learned = {0: 200, 1: 400, 2: 600}
    planted_run(tmp_path / "seed0", learned, {row: (row, at) for row, at in learned.items()})
    (run,) = read_runs(tmp_path, ["curves", "attention"])
    assert run.part_times == (175.0, 375.0, 575.0, inf)
    assert run.times["first_part"] == 175.0
    assert run.times["staircase"] == (175 + 375 + 575 + 1000) / 4
    assert bit_losses(run)[0] == pytest.approx([log(2)] * 4)
    assert falls(run) == [(150.0, 200.0), (350.0, 400.0), (550.0, 600.0)]
    assert others_on_the_way(run) == 0.0
    assert drop_at_jumps(run) == 100.0
    assert mass_gained(run) > 0.3


def test_heads_of_a_run_whose_heads_do_nothing(tmp_path: Path) -> None:
    planted_run(tmp_path / "seed0", {0: 200, 1: 400}, {0: (0, 5000)})
    (run,) = read_runs(tmp_path, ["attention"])
    assert mass_gained(run) == 0.0
    assert drop_at_jumps(run) == 50.0


def test_what_is_missing_is_one_line(tmp_path: Path) -> None:
    planted_run(tmp_path / "seed0", {0: 200})
    with pytest.raises(ValueError, match="this figure needs the probe attention .--probes attention"):
        read_runs(tmp_path, ["attention"])
    (tmp_path / "seed0" / "curves.parquet").unlink()
    with pytest.raises(ValueError, match="no curves, which this figure draws"):
        read_runs(tmp_path, ["curves"])
    assert read_runs(tmp_path / "nowhere") == []
    (tmp_path / "seed0" / "probes.parquet").write_bytes(b"no table")
    (run,) = read_runs(tmp_path)
    with pytest.raises(ValueError, match="probes.parquet: cannot be read"):
        with_tables(run, ["attention"])


def test_entropy_of_all_layers(tmp_path: Path) -> None:
    """Heads of several layers are laid end to end."""
    import pandas as pd

    planted_run(tmp_path / "seed0", {0: 200}, {0: (0, 200)})
    path = tmp_path / "seed0" / "probes.parquet"
    table = pd.read_parquet(path)
    second = table[table["probe"] == "attention"].assign(layer=1)
    pd.concat([table, second]).astype({"layer": "Int32"}).to_parquet(path, index=False)
    (run,) = read_runs(tmp_path, ["attention"])
    assert run.heads is not None
    assert run.heads.entropy_KH.shape[1] == 6 and run.heads.mass_KHL.shape[1] == 6
    assert np.array_equal(run.heads.entropy_KH[:, :3], run.heads.entropy_KH[:, 3:])
