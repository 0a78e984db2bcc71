"""The display of a sweep: counts, time left, the live table."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.sweeps.display import Screen, print_summary, table_of
from benchmark.sweeps.engines.worker import LOG
from benchmark.sweeps.plan import Plan, PlanEntry, make_plan
from benchmark.sweeps.progress import Progress, duration
from leaderboard.records.record import Record
from tests.helpers.leaderboard.records import run_of
from tests.helpers.sweep_helpers import SUITE


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    path = tmp_path_factory.mktemp("suite") / "tiny.yaml"
    path.write_text(SUITE)
    return make_plan(range(10), suite=str(path))


@pytest.fixture(scope="module")
def record() -> Record:
    return run_of("censored")


def timed(record: Record, train_s: float, eval_s: float, steps: int = 40, status: str = "censored") -> Record:
    return record.model_copy(
        update={"wall_train_s": train_s, "wall_eval_s": eval_s, "wall_compile_s": 0.0, "steps": steps, "status": status}
    )


def running(progress: Progress, entry: PlanEntry, n: int) -> None:
    progress.rows[entry].running = n


def shown(table: object, **kwargs: int) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=120, **kwargs)  # type: ignore[arg-type]
    with console.capture() as capture:
        console.print(table)
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in capture.get().splitlines() if "│" in line]


@pytest.mark.train
def test_time_left(plan: Plan, record: Record) -> None:
    progress = Progress(plan)
    first, second, *others = plan.entries
    assert progress.left_s(2) is None
    progress.add(first, timed(record, 3.0, 1.0, steps=20, status="solved"))
    # 0.2 s a step: nine like the first on the one row, ten whole budgets of 40 steps on each of the others.
    assert progress.left_s(2) == pytest.approx((9 * 4 + 3 * 10 * 8) / 2)
    running(progress, first, 2)
    assert progress.left_s(1) == pytest.approx(8 * 4 + 3 * 10 * 8)
    running(progress, first, 0)
    for entry in (second, *others):
        progress.add(entry, timed(record, 1.0, 1.0))
        progress.add(entry, timed(record, 3.0, 1.0))
    assert progress.left_s(3) == pytest.approx((9 * 4 + 3 * 8 * 3) / 3)
    for _ in range(9):
        progress.fail(first, first.unit(1), "why")
    assert progress.left_s(3) == pytest.approx(3 * 8 * 3 / 3)
    assert (progress.n, progress.ended) == (40, 10 + 3 * 2)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (42.4, "42 s"),
        (60, "1 min 00 s"),
        (205, "3 min 25 s"),
        (569, "9 min 29 s"),
        (579, "10 min"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.slow
def test_rows_of_the_table(plan: Plan, record: Record) -> None:
    progress = Progress(plan)
    entry = plan.entries[1]
    progress.add(entry, timed(record, 1.0, 1.0, status="solved"))
    progress.add(entry, timed(record, 1.0, 1.0))
    progress.fail(entry, entry.unit(5), "why")
    running(progress, entry, 3)
    rows = shown(table_of(progress))
    assert len(rows) == 4
    assert rows[1] == ["lm4", "mlp_mixer", "2/10", "1", "3", "1"]
    assert rows[2] == ["ca4", "transformer", "0/10", "0", "", ""]


def test_without_room_the_rows_in_which_things_happen_stay(plan: Plan, record: Record) -> None:
    progress = Progress(plan)
    first, second, third, last = plan.entries
    for _ in range(10):
        progress.add(first, record)
        progress.add(second, record)
    running(progress, last, 1)
    assert [row[:2] for row in shown(table_of(progress, 2))] == [[e.cell, e.architecture] for e in (third, last)]
    assert table_of(progress, 2).caption == "and 2 more rows"
    assert [row[:2] for row in shown(table_of(progress, 0))] == [[last.cell, last.architecture]]


def test_in_a_terminal_the_table_is_drawn_now_and_then(
    plan: Plan, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("benchmark.sweeps.display.time.monotonic", lambda: now)
    monkeypatch.setattr("benchmark.sweeps.display.REFRESH_S", 0.5)
    output = io.StringIO()
    progress = Progress(plan)
    with Screen(Console(file=output, force_terminal=True, width=100, height=40)) as screen:
        for tick in range(1, 41):
            now = tick / 8
            screen.show(progress, 2)
        drawn = output.getvalue().count("of 40 runs ended")
        progress.add(plan.entries[0], record)
        screen.ended(progress, plan.entries[0].unit(0), "censored")
        screen.note("something else")
    text = output.getvalue()
    assert drawn == 10
    assert "something else" in text
    assert "seed0" not in text


def test_elsewhere_a_line_for_each_run(
    plan: Plan, record: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(plan)
    entry = plan.entries[0]
    output = io.StringIO()
    with Screen(Console(file=output, width=40)) as screen:
        screen.show(progress, 2)
        progress.add(entry, record)
        screen.ended(progress, entry.unit(3), "solved at step 20")
    assert capsys.readouterr().err == "1/40  tiny/lm4/transformer/seed3: solved at step 20\n"
    progress.fail(entry, entry.unit(4), "it [broke] in some way that takes many words to say, all on one line")
    progress.fail(entry, entry.unit(5), "no folder")
    log = tmp_path / entry.unit(4).folder / LOG
    log.parent.mkdir(parents=True)
    log.write_text("")
    print_summary(progress, tmp_path, Console(file=output, width=40))
    text = output.getvalue()
    assert "0 of 40" not in text
    assert "1 of 40 runs done, 0 solved, 2 failed, in" in text
    assert f"it [broke] in some way that takes many words to say, all on one line (log: {log})\n" in text
    assert text.endswith("failed: tiny/lm4/transformer/seed5: no folder\n")
