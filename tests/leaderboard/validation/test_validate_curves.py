"""Untrusted curves, compared with the record beside them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leaderboard.records.record import read_record
from tests.helpers.leaderboard.entries import checked, edit, edit_curves, make_run, parquet, replace_curves, write_entry

Rows = list[dict[str, Any]]


def problems(folder: Path) -> list[str]:
    """The problems, without the names of the files."""
    return [f"{problem.field}: {problem.reason}" for problem in checked(folder).problems]


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    return write_entry(tmp_path / "results")


def with_value(row: int, name: str, value: Any) -> Callable[[Rows], Rows]:
    """Rows with one value changed."""

    def change(rows: Rows) -> Rows:
        rows[row][name] = value
        return rows

    return change


# seed0 is solved: half of the rows at 300, all at 600, confirmed at 650.
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows[:5] + rows[6:], "curves: step 300 is not the evaluation that comes next"),
        (lambda rows: [*rows[:5], rows[4], *rows[5:]], "curves: step 200 is not the evaluation that comes next"),
        (lambda rows: rows[::-1], "curves: step 650 is not the evaluation that comes next"),
        (lambda rows: rows[:-1], "curves: end at step 600, but steps is 650"),
        (lambda rows: rows[2:], "curves: step 100 is not the evaluation that comes next"),
        (lambda rows: rows[1:], "first_loss_nats: is 0.69"),
        (with_value(3, "accuracy", math.nan), "curves: hold a value at step 150 that is not finite"),
        (with_value(-1, "loss_nats", math.inf), "curves: hold a value at step 650 that is not finite"),
        (
            with_value(3, "loss_by_position_nats", [math.inf] * 31),
            "curves: hold a value at step 150 that is not finite",
        ),
        (with_value(3, "exact_match", 1.5), "curves: exact_match 1.5 at step 150 is not between 0 and 1"),
        (with_value(3, "loss_scored_nats", -0.1), "curves: loss_scored_nats -0.1 at step 150 is not between 0 and inf"),
        (with_value(3, "loss_nats", 0.7), "curves: loss_nats 0.7 at step 150 is not the mean of loss_by_position_nats"),
        (with_value(-1, "accuracy", 0.99), "final.accuracy: is 1.0, the last evaluation of the curves has 0.99"),
        (with_value(0, "rows_solved", 0.5), None),  # once only: no hit
        (with_value(5, "rows_solved", 0.5), "hits.rows_50: is 300 after 250, the curves give 250 after 200"),
        (with_value(6, "rows_solved", 0.49), "hits.rows_50: is 300 after 250, the curves give 350 after 300"),
        (with_value(7, "rows_solved", 0.49), "hits.rows_50: is 300 after 250, the curves give 400 after 350"),
        (with_value(-2, "rows_solved", 0.9), "hits.rows_100: is 600 after 550, the curves give None after None"),
        (with_value(3, "accuracy", None), "curves: hold a value at step 150 that is not finite"),
        (with_value(3, "loss_by_position_nats", [0.7] * 30), "loss_by_position_nats: rows must be lists of one"),
        (with_value(3, "loss_by_position_nats", [None] * 31), "curves: hold a value at step 150 that is not finite"),
        (lambda rows: rows + [{**rows[-1], "step": 50 * k} for k in range(14, 40)], "curves: has 40 rows, must have 1"),
    ],
)
def test_curves_against_record(entry: Path, change: Callable[[Rows], Rows], expected: str | None) -> None:
    edit_curves(entry / "lm-a" / "seed0", change)
    found = problems(entry)
    if expected is None:
        assert found == []
    else:
        assert len(found) >= 1
        assert found[0].startswith(expected)


def ending_in(loss: float) -> Callable[[Rows], Rows]:
    """Rows with another loss at the end, by what the first state costs."""

    def change(rows: Rows) -> Rows:
        scored = rows[-1]["loss_by_position_nats"][15:]
        free = (31 * loss - sum(scored)) / 15
        return [*rows[:-1], rows[-1] | {"loss_nats": loss, "loss_by_position_nats": [free] * 15 + scored}]

    return change


def test_loss_below_the_floor(entry: Path) -> None:
    """4 chance / sqrt(512 x 31) = 0.0220 below the floor of 0.3354 may be luck, more is not."""
    for below, expected in ((0.0219, []), (0.0221, ["curves: loss_nats 0.3132"])):
        loss = 0.33539379704512576 - below
        edit_curves(entry / "lm-a" / "seed0", ending_in(loss))
        edit(entry / "lm-a" / "seed0", **{"final.loss_nats": loss})
        assert [problem[: len("curves: loss_nats 0.3132")] for problem in problems(entry)] == expected


def test_solved_run_ends_where_the_protocol_says(entry: Path) -> None:
    """All targets hold and are confirmed at 650; this one goes on to 700."""
    folder = entry / "lm-a" / "seed0"
    edit_curves(folder, lambda rows: [*rows, rows[-1] | {"step": 700}])
    edit(folder, steps=700, tokens=700 * 8192, tokens_per_s=700 * 8192 / 81.5, **{"final.step": 700})
    assert problems(entry) == ["steps: is 700, but the protocol ends this run at 650: every target holds"]


def test_solved_run_without_every_target_has_the_full_budget(entry: Path) -> None:
    """The primary target is reached; `rows_100`, which is not, keeps the run going."""
    for seed in range(3):
        edit(entry / "lm-a" / f"seed{seed}", **{"protocol.primary": "rows_50"})
    folder = entry / "lm-a" / "seed0"
    edit_curves(folder, lambda rows: [row | {"rows_solved": min(row["rows_solved"], 0.9)} for row in rows])
    never = {"step": None, "previous_step": None}
    edit(folder, **{"hits.rows_100": never, "final.task_metrics.rows_solved": 0.9})
    assert problems(entry)[0] == (
        "steps: is 650, but the protocol ends this run at 1000: not every target holds, so the run goes on"
    )


def test_diverged_run_may_end_in_a_loss_that_is_not_finite(entry: Path) -> None:
    """The held-out loss at step 100 is infinite: the record's last evaluation is the one before."""
    folder = entry / "lm-a" / "seed2"
    edit_curves(folder, with_value(-1, "loss_nats", math.inf))
    found = problems(entry)
    assert found[0] == "final.step: is 100, the last evaluation of the curves is at 50"
    before = read_record(folder / "record.json").final
    assert before is not None
    row = pq.read_table(folder / "curves.parquet").to_pylist()[1]
    last = {f"final.{name}": row[name] for name in ("step", "loss_nats", "loss_scored_nats", "accuracy", "exact_match")}
    edit(folder, **last)
    assert problems(entry) == []
    edit_curves(folder, with_value(1, "loss_nats", math.inf))
    assert problems(entry)[0] == "curves: hold a value at step 50 that is not finite"


def table_of(change: Callable[[pa.Table], pa.Table]) -> bytes:
    """The curves of seed 0 in cell lm-a as another table."""
    _, content = make_run("my_model", "lm-a", 0, "solved")
    return parquet(change(pq.read_table(pa.BufferReader(content))))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.drop_columns("step"), "step: column is missing"),
        (lambda t: t.drop_columns("loss_by_position_nats"), "loss_by_position_nats: column is missing"),
        (lambda t: t.drop_columns("exact_match"), "curves: have no column exact_match"),
        (lambda t: t.drop_columns("rows_solved"), "curves: have no column rows_solved"),
        (lambda t: t.append_column("more", t["accuracy"]), "final.task_metrics: are ['rows_solved'], those of the"),
        (lambda t: t.set_column(1, "loss_nats", t["loss_nats"].cast(pa.float32())), "loss_nats: column holds float"),
        (lambda t: t.set_column(0, "step", t["step"].cast(pa.int32())), "step: column holds int32, must hold int64"),
        (lambda t: t.set_column(3, "accuracy", t["accuracy"].cast(pa.string())), "accuracy: column holds string"),
        (lambda t: t.slice(0, 0), "curves: has 0 rows"),
        (
            lambda t: pa.table([t["step"]] * 50, names=[f"c{i}" for i in range(50)]),
            "curves: has 50 columns, at most 40",
        ),
    ],
)
def test_columns(entry: Path, change: Callable[[pa.Table], pa.Table], expected: str) -> None:
    replace_curves(entry / "lm-a" / "seed0", table_of(change))
    assert problems(entry)[0].startswith(expected)


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"row_group_size": 4}, {"use_dictionary": False}])
def test_how_the_file_is_packed_does_not_matter(entry: Path, options: dict[str, Any]) -> None:
    _, content = make_run("my_model", "lm-a", 0, "solved")
    replace_curves(entry / "lm-a" / "seed0", parquet(pq.read_table(pa.BufferReader(content)), **options))
    assert problems(entry) == []


HIT, NEVER = {"step": 300, "previous_step": 250}, {"step": None, "previous_step": None}


def with_parts(folder: Path, n_parts: int = 2, wrong_at: int | None = None) -> None:
    """The first of the parts is solved where half of the rows are, the others where all are."""

    def parts(row: dict[str, Any]) -> list[bool]:
        solved = [row["rows_solved"] >= 0.5, *[row["rows_solved"] == 1.0] * (n_parts - 1)]
        return [not held for held in solved] if row["step"] == wrong_at else solved

    edit_curves(folder, lambda rows: [{**row, "parts_solved": parts(row)} for row in rows])


ALL = {"step": 600, "previous_step": 550}


@pytest.mark.parametrize(
    ("n_parts", "wrong_at", "said", "expected"),
    [
        (2, None, [HIT, ALL], None),
        (2, None, [HIT, HIT], "part_hits.1: is 300 after 250, the curves give 600 after 550"),
        (2, None, [HIT, NEVER], "part_hits.1: is None after None, the curves give 600 after 550"),
        (2, None, [HIT], "part_hits: are 1, but the curves tell of 2 parts in parts_solved"),
        (2, None, None, "part_hits: are 0, but the curves tell of 2 parts in parts_solved"),
        (0, None, [HIT, ALL], "part_hits: are 2, but the curves tell of 0 parts in parts_solved"),
        (
            2,
            100,
            [HIT, ALL],
            "curves: rows_solved 0.0 at step 100 is not the share of solved rows in parts_solved, 1.0",
        ),
        (3, None, [HIT, ALL, ALL], "curves: rows_solved 0.5 at step 300 is not the share of solved rows"),
    ],
)
def test_hitting_steps_of_parts(entry: Path, n_parts: int, wrong_at: int | None, said: Any, expected: str) -> None:
    """Half of the rows at 300, all at 600: as two parts."""
    folder = entry / "lm-a" / "seed0"
    if n_parts:
        with_parts(folder, n_parts, wrong_at)
    edit(folder, part_hits=said)
    assert [line.startswith(expected) for line in problems(entry)] == ([] if expected is None else [True])


@pytest.mark.slow
def test_file_of_the_harness_is_read(entry: Path) -> None:
    """Curves as `benchmark.training.folder.recorder` writes them, by pandas and from tensors."""
    import torch

    from benchmark.training.folder.recorder import curves_table

    folder = entry / "lm-a" / "seed0"
    rows = pq.read_table(folder / "curves.parquet").to_pylist()
    tensors = [{**row, "loss_by_position_nats": torch.tensor(row["loss_by_position_nats"])} for row in rows]
    replace_curves(folder, curves_table(tensors).to_parquet(None, index=False))
    assert problems(entry) == []
    parts = [{**row, "parts_solved": torch.tensor([row["rows_solved"] == 1.0] * 16)} for row in tensors]
    for row in parts[6:-2]:
        row["parts_solved"][:8] = True
    replace_curves(folder, curves_table(parts).to_parquet(None, index=False))
    edit(folder, part_hits=[HIT] * 8 + [ALL] * 8)
    assert problems(entry) == []
    mixed = curves_table([*tensors[:3], *parts[3:]])  # a run that an earlier version began
    assert list(mixed.columns) == [name for name in tensors[0]]
