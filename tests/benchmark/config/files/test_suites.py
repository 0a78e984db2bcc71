"""The suites that are shipped: what they hold, and that every architecture can be set up for their cells."""

from pathlib import Path

import pytest

from architectures import ARCHITECTURES
from benchmark.config.files.packaged import SUITES
from benchmark.config.files.suite import Cell, Setup, load_suite
from benchmark.sweeps.plan import make_plan
from datamodules.automata.cellular_automata import CellularAutomata
from leaderboard.records.record import Record
from leaderboard.records.record_files import find_records
from leaderboard.statistics.tried_rates import tried_rates

NAMES = sorted(path.stem for path in SUITES.glob("*.yaml"))


def cells_of(suite: str, task: str) -> dict[str, Cell]:
    return {name: cell for name, cell in load_suite(suite)[1].cells.items() if cell.data.name == task}


def test_there_are_two() -> None:
    assert NAMES == ["lite", "paper"]


@pytest.mark.parametrize("suite", NAMES)
def test_every_cell_fixes_what_decides_a_run(suite: str) -> None:
    content = load_suite(suite)[1]
    assert {"transformer", "mlp_mixer"} <= content.architectures.keys() <= ARCHITECTURES.keys()
    for name, cell in content.cells.items():
        assert cell.protocol.keys() >= {"max_steps", "eval_every"}, name
        assert cell.model.keys() >= {"d_model", "n_layers"}, name
        assert "state_size" in cell.data.init_args, name


def test_lite_spans_both_tasks_and_medium_sparsity() -> None:
    lm, ca = cells_of("lite", "lm"), cells_of("lite", "ca")
    assert 4 <= len(lm) + len(ca) <= 6 and lm and ca
    shares = [cell.data.init_args["n_nonzero"] / cell.data.init_args["state_size"] for cell in lm.values()]
    assert 0.5 in shares and min(shares) < 0.2


@pytest.mark.parametrize(
    ("suite", "results"),
    [("lite", "archive/first_edition/tuning/lite_tuning"), ("paper", "results/tuning/paper_tuning")],
)
def test_the_rates_are_what_the_tuning_says(suite: str, results: str, repository: Path) -> None:
    """Of the rates tried the one that solved most seeds, then in the fewest steps, then with the lowest loss."""
    tried: dict[tuple[str, str], dict[float, list[Record]]] = {}
    for _, found in find_records(repository / "leaderboard" / results):
        assert isinstance(found, Record)
        assert found.seeds.init_seed >= 1000 and isinstance(rate := found.optimizer["lr"], float)
        tried.setdefault((found.architecture.name, found.task.name), {}).setdefault(rate, []).append(found)

    def merit(runs: list[Record]) -> tuple[int, float, float]:
        steps = [run.primary_step or run.protocol.max_steps for run in runs]
        losses = [run.final.loss_nats for run in runs if run.final is not None]
        return -sum(run.primary_step is not None for run in runs), sum(steps) / len(steps), sum(losses) / len(losses)

    for name, settings in load_suite(suite)[1].architectures.items():
        for task in ("lm", "ca"):
            rates = tried[name, task]
            assert rates.keys() == {3e-4, 1e-3, 3e-3} and {len(runs) for runs in rates.values()} == {2}
            assert settings.lr[task] == min(rates, key=lambda rate: merit(rates[rate])), (name, task)


@pytest.mark.parametrize(
    "suite", ["lite", pytest.param("paper", marks=pytest.mark.long), "configs/tuning/lite_tuning.yaml"]
)
def test_automata_are_solved_only_by_the_pattern(suite: str) -> None:
    """In the pools of ten seeds no predictor that does without the pattern comes within 0.03 of the target."""
    for name, cell in cells_of(suite, "ca").items():
        options = {key: value for key, value in cell.data.init_args.items() if key != "batch_size"}
        for seed in range(10 if suite != "paper" else 2):
            task = CellularAutomata(**options, task_seed=seed)
            assert task.shortcut_accuracies is not None, name
            assert max(task.shortcut_accuracies.values()) <= task.target_accuracy - 0.03, (name, seed)


def test_paper_has_the_cells_of_its_figures() -> None:
    lm = {
        tuple(cell.data.init_args[key] for key in ("state_size", "n_nonzero"))
        for cell in cells_of("paper", "lm").values()
    }
    assert lm == {(size, ones) for size in (8, 16, 32) for ones in range(1, size + 1)}  # figures 5a, 7 and 12
    ca = [cell.data.init_args["state_size"] for cell in cells_of("paper", "ca").values()]
    assert ca == [4, 8, 16, 32, 64, 128, 256, 512]  # figures 5b and 12


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "cell"),
    [*((name, max(cells_of(name, task))) for name in NAMES for task in ("lm", "ca"))],
)
def test_every_architecture_can_be_set_up(suite: str, cell: str) -> None:
    """Through the real parser: models are built, and the learning rate is the suite's where it has one.

    An architecture that a suite does not list, as a new one, runs at the default rate until it is tuned.
    """
    content = load_suite(suite)[1]
    plan = make_plan((0,), suite=suite, cells=[cell], models=sorted(ARCHITECTURES))
    assert {entry.architecture for entry in plan.entries} == ARCHITECTURES.keys()
    for entry in plan.entries:
        task = content.cells[cell].data.name
        asked = content.architectures.get(entry.architecture, Setup()).lr.get(task, 1e-3)
        assert entry.identity.optimizer["lr"] == asked
        assert entry.identity.architecture.config["d_model"] == content.cells[cell].model["d_model"]
        assert entry.identity.protocol.max_steps == content.cells[cell].protocol["max_steps"]


def test_the_rates_that_were_tried_bracket_the_best_of_each_architecture(repository: Path) -> None:
    """Of the second edition: no best rate lies at an end, and every rate was tried on four seeds, from 1000 on."""
    found = find_records(repository / "leaderboard" / "results" / "tuning" / "lite_tuning")
    records = [record for _, record in found if isinstance(record, Record)]
    assert {record.seeds.init_seed for record in records} == {1000, 1001, 1002, 1003}
    rows = tried_rates(records)
    assert {row.n for row in rows} == {4} and not [row for row in rows if row.at_end]
    listed = load_suite("configs/tuning/lite_tuning.yaml")[1].architectures
    assert [(row.architecture, row.task) for row in rows if row.best] == sorted(
        ((name, task) for name in listed for task in ("ca", "lm")), key=lambda pair: (pair[1], pair[0])
    )
