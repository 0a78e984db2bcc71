"""The gate's verdicts on real runs whose answer is known: the reference against itself, and against a slowed copy."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from leaderboard.records.fields import Hit
from leaderboard.records.record import Record
from leaderboard.records.record_files import find_records
from leaderboard.statistics.head_to_head import told_apart
from leaderboard.statistics.verdict import compare

Arm = Mapping[str, Sequence[Record]]


@pytest.fixture(scope="module")
def reference(repository: Path) -> Arm:
    """The transformer's runs in lite, by cell, in the order of seeds."""
    cells: dict[str, list[Record]] = {}
    for _, record in find_records(repository / "leaderboard" / "results" / "lite" / "transformer"):
        assert isinstance(record, Record)
        cells.setdefault(str(record.cell), []).append(record)
    return {cell: sorted(records, key=lambda record: record.seeds.init_seed) for cell, records in cells.items()}


def taken(arm: Arm, seeds: slice, factor: float = 1.0) -> Arm:
    """Some of the runs, as if each had taken `factor` times the steps."""
    return {cell: [slowed(record, factor) for record in records[seeds]] for cell, records in arm.items()}


def slowed(record: Record, factor: float) -> Record:
    """A run whose hits all came later by this factor; those beyond the budget never came."""
    budget, every = record.protocol.max_steps, record.protocol.eval_every

    def later(hit: Hit) -> Hit:
        if hit.step is None or (step := every * round(factor * hit.step / every)) > budget:
            return Hit(step=None, previous_step=None)
        return Hit(step=step, previous_step=step - every)

    hits = {name: later(hit) for name, hit in record.hits.items()}
    parts = None if record.part_hits is None else tuple(map(later, record.part_hits))
    unsolved = hits[record.protocol.primary].step is None and record.status == "solved"
    status = "censored" if unsolved else record.status
    return record.model_copy(update={"hits": hits, "part_hits": parts, "status": status})


@pytest.mark.parametrize("parity", [0, 1])
def test_the_reference_against_itself(reference: Arm, parity: int) -> None:
    """Halves of the transformer's seeds: no difference may be claimed."""
    first, second = taken(reference, slice(parity, None, 2)), taken(reference, slice(1 - parity, None, 2))
    assert compare(first, second).kind in {"same", "needs-seeds"}
    assert compare(taken(reference, slice(0, 10)), taken(reference, slice(10, 20))).kind in {"same", "needs-seeds"}


def test_a_slowed_copy(reference: Arm) -> None:
    """Ten seeds at twice the steps against the other ten: `regressed`, and the other way round `better`."""
    first, second = taken(reference, slice(0, None, 2)), taken(reference, slice(1, None, 2), 2.0)
    assert compare(first, second).kind == "regressed"
    assert compare(second, first).kind == "better"


def test_pairs_told_apart(reference: Arm) -> None:
    """The copy at thrice the steps is told from its original at least, and halves never; five seeds say nothing."""
    arms = [taken(reference, slice(0, 10)), taken(reference, slice(10, 20)), taken(reference, slice(0, 10), 3.0)]
    found = told_apart(arms)
    assert {n for _, n in found.values()} == {3}
    assert all(1 <= count <= 2 for count, _ in found.values())
    assert all(count == 0 for count, _ in told_apart(arms[:2]).values())
    assert told_apart([taken(reference, slice(0, 5)), *arms[1:2]]) == {}
