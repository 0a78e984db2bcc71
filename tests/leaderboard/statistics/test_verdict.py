"""Verdicts on records with known differences, what cannot be compared, and the gate's error rates."""

from typing import Any

import numpy as np
import pytest

from leaderboard.records.record import Record
from leaderboard.statistics.head_to_head import difference
from leaderboard.statistics.simulation import Scenario, rates
from leaderboard.statistics.verdict import Kind, claim, compare
from leaderboard.statistics.win_rate_verdict import WinRateKind
from tests.helpers.leaderboard.boards import CELLS, CellSpec, suite_records
from tests.helpers.leaderboard.records import make_record, run_of

Arm = dict[str, list[Record]]
EASY = [CellSpec(f"cell{k}", 8, 2, 150 + 50 * k) for k in range(4)]  # all of them solved but for accidents


def arm(seeds: range, slowness: float = 1.0, cells: list[CellSpec] | None = None, **changes: Any) -> Arm:
    """Records by cell; other seeds draw other times."""
    records: Arm = {}
    for record in suite_records(
        "transformer",
        EASY if cells is None else cells,
        seeds,
        np.random.default_rng(seeds.start),
        slowness=slowness,
        **changes,
    ):
        records.setdefault(record.cell or "", []).append(record)
    return records


REFERENCE = arm(range(20))
TARGETS = ("rows_50", "rows_100")
OTHER_TARGETS = [{"name": name, "metric": "rows_solved", "op": ">=", "value": 0.5} for name in TARGETS]


@pytest.mark.parametrize(("slowness", "kind"), [(2.5, "regressed"), (1 / 2.5, "better"), (100.0, "regressed")])
def test_five_seeds_in_four_cells_decide(slowness: float, kind: str) -> None:
    verdict = compare(REFERENCE, arm(range(100, 105), slowness))
    assert verdict.kind == kind
    assert (verdict.missing, verdict.seeds_needed) == ((), None)
    assert verdict.found is not None
    assert [cell.verdict.kind for cell in verdict.found.cells] == ["needs-seeds"] * 4  # one cell needs ten seeds
    assert {cell.verdict.reason for cell in verdict.found.cells} == {"5 seeds, 10 are needed"}


def test_ten_seeds_can_be_the_same() -> None:
    """And five cannot: a contradiction between cells would not show."""
    kinds = [compare(REFERENCE, arm(range(start, start + 10))).kind for start in range(100, 600, 50)]
    assert kinds.count("same") >= 6 and "better" not in kinds and "regressed" not in kinds
    assert {compare(REFERENCE, arm(range(start, start + 5))).kind for start in range(100, 300, 50)} == {"needs-seeds"}


@pytest.mark.parametrize(
    ("kinds", "kind"),
    [
        (["better", "same"], "better"),
        (["better", "needs-seeds"], "better"),
        (["better", "worse"], "mixed"),
        (["better", "mixed"], "mixed"),
        (["worse", "same"], "regressed"),
        (["worse", "mixed"], "regressed"),
        (["same", "mixed"], "mixed"),
        (["same", "same"], "same"),
        (["same", "needs-seeds"], "needs-seeds"),
        (["needs-seeds"], "needs-seeds"),
    ],
)
def test_a_claim_over_tasks(kinds: list[WinRateKind], kind: Kind) -> None:
    assert claim(kinds) == claim(kinds[::-1]) == kind


def test_tasks_that_contradict_each_other_are_mixed() -> None:
    """Four times as fast on one task and four times as slow on the other: no mean of the two is said."""

    def arms(seeds: range, lm: float, copy: float) -> Arm:
        changes: dict[str, Any] = {"task.name": "copy"}
        other = arm(seeds, copy, **changes)
        return {**arm(seeds, lm), **{f"copy_{cell}": records for cell, records in other.items()}}

    verdict = compare(arms(range(20), 1, 1), arms(range(100, 110), 4, 0.25))
    assert verdict.kind == "mixed" and verdict.found is not None
    assert {task: found.kind for task, found in verdict.found.tasks.items()} == {"lm": "worse", "copy": "better"}
    assert 0.4 < verdict.found.overall < 0.6


def test_too_few_seeds_are_asked_for() -> None:
    verdict = compare(REFERENCE, arm(range(100, 104), 4.0))
    assert (verdict.kind, verdict.seeds_needed) == ("needs-seeds", 5)
    assert verdict.reason == "lm: needs-seeds (4 seeds in a cell, 5 are needed)"
    assert verdict.found is not None and verdict.found.tasks["lm"].win_rate.p() < 0.01


@pytest.mark.slow
def test_seeds_needed_would_decide() -> None:
    """One cell, five seeds, 1.6 times the steps: not enough. With the seeds that are asked for six in ten decide."""
    cells = [EASY[0]]
    reference = arm(range(100), cells=cells)
    undecided = (compare(reference, arm(range(start, start + 5), 1.6, cells)) for start in range(100, 200))
    needed = next(found for verdict in undecided if (found := verdict.seeds_needed) is not None and found >= 10)
    assert needed <= 100
    kinds = [compare(reference, arm(range(start, start + needed), 1.6, cells)).kind for start in range(1000, 3000, 100)]
    assert len(kinds) - kinds.count("needs-seeds") >= 12


def test_a_missing_cell_forbids_same_and_better_but_not_regressed() -> None:
    for slowness, kind in ((1.0, "needs-seeds"), (1 / 4, "needs-seeds"), (4.0, "regressed")):
        new = arm(range(100, 110), slowness)
        del new["cell2"]
        verdict = compare(REFERENCE, new)
        assert (verdict.kind, verdict.missing) == (kind, ("cell2",))
    assert (
        "but has no outcome in cell1, cell2, cell3"
        in compare(REFERENCE, {"cell0": arm(range(100, 110), 1 / 8)["cell0"]}).reason
    )


def test_runs_without_outcome_count_as_no_seed() -> None:
    new = arm(range(100, 105))
    new["cell0"][0] = new["cell0"][0].model_copy(update={"status": "interrupted"})
    assert compare(REFERENCE, new).reason == "lm: needs-seeds (4 seeds in a cell, 5 are needed)"


def test_a_repeated_seed_counts_once() -> None:
    new = arm(range(100, 104))
    twice = {
        cell: [*records, *(record.model_copy(update={"started_at": record.ended_at}) for record in records)]
        for cell, records in new.items()
    }
    assert compare(REFERENCE, twice).kind == "needs-seeds"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"task.version": 2}, "version 2 of task lm, the reference has 1"),
        ({"task.name": "ca"}, "task ca, the reference has lm"),
        ({"protocol.max_steps": 1050}, "max_steps is 1050, the reference has 1000"),
        ({"protocol.eval_every": 25}, "eval_every is 25, the reference has 50"),
        ({"task.config.n_nonzero": 2}, "n_nonzero is 2, the reference has 3"),
        ({"protocol.primary": "rows_50"}, "primary is rows_50, the reference has rows_100"),
        ({"protocol.targets": OTHER_TARGETS}, "the targets differ"),
    ],
)
def test_what_cannot_be_compared(change: dict[str, Any], reason: str) -> None:
    reference = {"a": [run_of("solved", seed, 600) for seed in range(10)], "b": [run_of("solved", 0)]}
    hits = {name: {"step": 600, "previous_step": 600 - change.get("protocol.eval_every", 50)} for name in TARGETS}
    new = {"a": [run_of("solved", seed, 600, hits=hits, **change) for seed in range(10)], "b": [run_of("solved", 0)]}
    verdict = compare(reference, new)
    assert (verdict.kind, verdict.found, verdict.reason) == ("not-comparable", None, f"a: {reason}")


def test_no_cell_in_common() -> None:
    verdict = compare({"a": [make_record()]}, {"b": [make_record()]})
    assert (verdict.kind, verdict.reason, verdict.missing) == ("not-comparable", "no cell in common", ("a",))


def test_mixed_protocols_are_not_compared() -> None:
    one, other = run_of("solved"), run_of("solved", 1, **{"protocol.tokens_per_step": 4096})
    assert difference([one], [one, other]) == "the new records mixes 2 protocols"


def test_nothing_with_an_outcome() -> None:
    verdict = compare({"a": [run_of("error")]}, {"a": [run_of("solved")]})
    assert (verdict.kind, verdict.reason) == ("needs-seeds", "no cell in which both have runs with an outcome")


def test_the_order_of_records_and_cells_changes_nothing() -> None:
    new = arm(range(100, 105), 1.5)
    other = {cell: list(reversed(records)) for cell, records in reversed(new.items())}
    assert compare(REFERENCE, new) == compare(REFERENCE, other)


def claims(kinds: dict[Any, float]) -> float:
    return kinds["better"] + kinds["regressed"]


@pytest.mark.slow
def test_operating_characteristics() -> None:
    """The gate keeps its promise: two tasks of three cells each, log-normal times of sigma 0.55.

    1,000 comparisons: a true rate of 2 % shows as more than 3.5 % in 1 of 1,000 streams, and this one is fixed.
    """
    for seeds in (5, 10):
        equal = rates(Scenario(ratio=1.0, seeds=seeds), 1000)
        assert claims(equal) <= 0.035
        slower = rates(Scenario(ratio=2.0, seeds=seeds), 400)
        assert slower["regressed"] >= 0.9 and slower["better"] == 0
        assert slower["same"] <= 0.05  # said of what takes twice the steps it would be the other error
    assert equal["same"] >= 0.6


def test_simulation_sees_a_gate_that_is_too_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a level of 20 % for each of two tasks it counts about 36 % false alarms, `mixed` included."""
    monkeypatch.setattr("leaderboard.statistics.win_rate_verdict.LEVEL", 0.2)
    found = rates(Scenario(ratio=1.0), 400)
    assert 0.26 < claims(found) + found["mixed"] < 0.46


@pytest.mark.slow
def test_simulation_is_of_the_shipped_verdict() -> None:
    """The verdicts that the simulation counts are those of `compare` on records with the same times."""
    kinds = [compare(REFERENCE, arm(range(start, start + 5), 1.5)).kind for start in range(100, 1100, 50)]
    cells = {"lm": tuple((cell.step / 1000, 0.05) for cell in EASY)}
    expected = rates(Scenario(ratio=1.5, tasks=cells), 400)
    seen = kinds.count("regressed") / len(kinds)
    assert abs(seen - expected["regressed"]) < 4 * (expected["regressed"] * (1 - expected["regressed"]) / 20) ** 0.5


@pytest.mark.parametrize("change", [{"ratio": 0.0}, {"sigma": -1.0}, {"seeds": 0}, {"reference_seeds": -2}])
def test_simulation_of_nonsense(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(change))} must be positive"):
        rates(Scenario(**{"ratio": 1.0, **change}), 10)


def test_cells_of_different_difficulty_are_never_mixed() -> None:
    """An arm that only ran the easy cells must not look fast: ranks stay within cells."""
    reference = arm(range(20), cells=list(CELLS))
    easy = {"lm_s8_n2": arm(range(100, 110), cells=list(CELLS))["lm_s8_n2"]}
    verdict = compare(reference, easy)
    assert verdict.kind == "needs-seeds" and verdict.found is not None
    assert verdict.found.tasks["lm"].win_rate.p() > 0.01
