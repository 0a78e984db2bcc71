"""Generated records and boards for tests of what is shown: `suite_records`, `board_of`, `write_curves`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from leaderboard.board import aggregate
from leaderboard.board.others import summarise
from leaderboard.board.standings import REFERENCE, Board, Result, Standing, SuiteBoard
from leaderboard.entries.entry_file import EntryFile
from leaderboard.entries.reading import RunRecord
from leaderboard.records.record import FINAL_STATUSES, Record
from leaderboard.statistics.head_to_head import ComparedCell, HeadToHead
from tests.helpers.leaderboard.records import START, make_record, record_fields

BUDGET = 1000  # of the fixture's protocol, whose grid is 50 steps


@dataclass(frozen=True)
class CellSpec:
    """A cell to make records of: `step` is the median step of an entry of speed 1; beyond the budget few solve it."""

    name: str
    state_size: int
    n_nonzero: int
    step: float = 350.0


CELLS = (
    CellSpec("lm_s8_n2", 8, 2, 200),
    CellSpec("lm_s8_n4", 8, 4, 500),
    CellSpec("lm_s16_n2", 16, 2, 400),
    CellSpec("lm_s16_n4", 16, 4, 1100),
)


def suite_records(
    entry: str,
    cells: Sequence[CellSpec],
    seeds: Sequence[int],
    rng: np.random.Generator,
    *,
    slowness: float = 1.0,
    suite: str = "lite",
    **changes: Any,
) -> list[Record]:
    """Records of an entry, cell by cell, seed by seed: hitting steps are log-normal with sigma 0.55.

    Args:
        entry: name of the architecture.
        slowness: factor on all hitting steps.
        changes: laid over every record, see `record_fields`.
    """
    return [
        _record(entry, cell, seed, slowness * cell.step * float(np.exp(rng.normal(0, 0.55))), suite, changes)
        for cell in cells
        for seed in seeds
    ]


def _record(entry: str, cell: CellSpec, seed: int, time: float, suite: str, changes: dict[str, Any]) -> Record:
    step = 50 * max(1, int(np.ceil(time / 50)))
    solved = step <= BUDGET - 50
    hit = {"step": step, "previous_step": step - 50} if solved else {"step": None, "previous_step": None}
    steps = step + 50 if solved else BUDGET
    architecture = record_fields()["architecture"]
    loss = 0.3354 if solved else 0.3354 + 0.3 * min(1.0, time / 4000)
    return make_record(
        **{
            "suite": suite,
            "cell": cell.name,
            "status": "solved" if solved else "censored",
            "architecture": {**architecture, "name": entry},
            "task": {
                "name": "lm",
                "version": 1,
                "config": {"state_size": cell.state_size, "n_nonzero": cell.n_nonzero, "n_states": 2},
            },
            "seeds": {"task_seed": seed, "init_seed": seed, "data_seed": seed},
            "hits": {"rows_50": hit, "rows_100": hit},
            "steps": steps,
            "final": {**record_fields()["final"], "step": steps, "loss_nats": loss},
            **changes,
        }
    )


def write_curves(folder: Path, record: Record) -> Record:
    """Write curves.parquet of a staircase that ends where the record says; the record with the file's hash in it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    steps = np.arange(0, record.steps + 1, record.protocol.eval_every)
    end = record.primary_step or 2 * record.protocol.max_steps
    chance, floor = record.chance_loss_nats, record.floor_loss_nats or 0.0
    stairs = np.floor(np.clip(steps / end, 0, 1) * 4) / 4
    loss = chance + (floor - chance) * stairs
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"step": steps, "loss_nats": loss, "rows_solved": stairs}), folder / "curves.parquet")
    sha256 = hashlib.sha256((folder / "curves.parquet").read_bytes()).hexdigest()
    curves = {"file": "curves.parquet", "sha256": sha256}
    return Record.model_validate({**dict(record), "curves": curves})


def entry_file(suite: str, name: str, **changes: Any) -> EntryFile:
    """A valid entry.yaml with `changes` laid over it."""
    fields: dict[str, Any] = {
        "schema_version": 1,
        "name": name,
        "suite": suite,
        "architecture": name,
        "title": name.replace("_", " ").title(),
        "authors": ("Ada Lovelace", "Emmy Noether"),
        "licence": "Apache-2.0",
        "paper": "https://arxiv.org/abs/1706.03762",
        "code": None,
        "tuning": {"trials": 6, "seeds": "1000-1001", "note": "learning rate, on every cell"},
    }
    return EntryFile(**{**fields, **changes})


def result_of(
    records: Sequence[Record], root: Path, rank: int | None = 1, against: ComparedCell | None = None
) -> Result:
    """The result of one entry's records in one cell; each record lies in `root`/suite/name/cell/seedK."""
    runs = [
        RunRecord(r, root / str(r.suite) / r.architecture.name / str(r.cell) / f"seed{r.seeds.init_seed}")
        for r in records
    ]
    result = aggregate.result_of(str(records[0].cell), runs, against)
    return replace(result, rank=rank if result.n else None)


def _compared(reference: Sequence[Record], records: Sequence[Record]) -> HeadToHead | None:
    """The comparison that the board makes."""
    arms: list[dict[str, list[Record]]] = [{}, {}]
    for arm, side in zip(arms, (reference, records), strict=True):
        for record in side:
            if record.status in FINAL_STATUSES:
                arm.setdefault(str(record.cell), []).append(record)
    return aggregate.compared(arms[0], arms[1])


def suite_of(
    name: str,
    runs: Mapping[str, Sequence[Record]],
    root: Path,
    *,
    entries: Mapping[str, EntryFile] | None = None,
    verified: frozenset[str] = frozenset(),
) -> SuiteBoard:
    """A suite of entries in the order given, ranked in that order; who lacks a cell is incomplete and comes last."""
    everything = [record for records in runs.values() for record in records]
    cells = {str(record.cell): record for record in sorted(everything, key=lambda record: str(record.cell))}
    standings = []
    for position, (entry, records) in enumerate(runs.items(), start=1):
        groups = {cell: [record for record in records if record.cell == cell] for cell in cells}
        found = None if entry == REFERENCE else _compared(runs.get(REFERENCE, ()), records)
        of_cell = {} if found is None else {cell.cell: cell for cell in found.cells}
        results = {
            c: result_of(group, root, position, of_cell.get(c)) if group else None for c, group in groups.items()
        }
        present = [result for result in results.values() if result is not None]
        missing = tuple(cell for cell, result in results.items() if result is None)
        own = (entries or {}).get(entry) or entry_file(name, entry)
        standings.append(
            Standing(
                suite=name,
                name=entry,
                title=own.title,
                entry=own,
                verified=entry in verified,
                is_reference=entry == REFERENCE,
                results=results,
                missing=missing,
                against=found if found is not None and len(found.cells) == len(cells) else None,
                rank=None if missing else position,
                min_seeds=min(result.n for result in present),
                first_date=min(result.first_date for result in present),
                last_date=max(result.last_date for result in present),
            )
        )
    standings.sort(key=lambda standing: (standing.rank is None, standing.rank or 0, standing.name))
    return SuiteBoard(name, tuple(aggregate.cell_of(cell, record) for cell, record in cells.items()), tuple(standings))


def small_board(root: Path, n_seeds: int = 5) -> Board:
    """Three entries in four cells, curves written below `root`; `rwkv` lacks one cell. One row belongs to no entry."""
    rng = np.random.default_rng(5)
    slowness = {"transformer": 1.0, "mamba": 1.7, "rwkv": 0.8}
    runs = {name: suite_records(name, CELLS, range(n_seeds), rng, slowness=slow) for name, slow in slowness.items()}
    runs["rwkv"] = [record for record in runs["rwkv"] if record.cell != "lm_s8_n4"]
    runs = {name: [_with_curves(root, record) for record in records] for name, records in runs.items()}
    suite = suite_of("lite", runs, root, verified=frozenset({"transformer"}))
    others = summarise([make_record(started_at=START)])
    return Board((suite,), tuple(others))


def _with_curves(root: Path, record: Record) -> Record:
    folder = f"{record.suite}/{record.architecture.name}/{record.cell}/seed{record.seeds.init_seed}"
    return write_curves(root / folder, record)


HOSTILE = (
    "<img src=x onerror=hacked=1>",
    "</script><script>hacked=1</script>",
    "\"'><svg/onload=hacked=1>",
    "{{constructor.constructor('hacked=1')()}} ${hacked=1}",
    "javascript:hacked=1",
    "\u202eevil\u2028\u2029&lt;b&gt;",
)


def hostile_board(root: Path) -> Board:
    """Two suites: an ordinary one, and one in which every text that others choose is of `HOSTILE`."""
    image, script, quote, braces, address, turned = HOSTILE
    cell = CellSpec(script, 8, 2, 300)
    hardware = {**record_fields()["hardware"], "name": script}
    optimizer = {"name": turned, script: quote, "lr": 1e-3}
    config = {"note": script, image: braces}
    changes = {"hardware": hardware, "optimizer": optimizer, "curves": None, "precision": quote}
    rng = np.random.default_rng(7)
    names = {REFERENCE: 1.0, image: 1.5, script: 2.0, quote: 0.7, braces: 1.2}
    runs = {
        name: suite_records(
            name,
            [cell],
            range(4),
            rng,
            slowness=slowness,
            suite="bad",
            **{**changes, "architecture": {"name": name, "version": 1, "backend": quote, "config": config}},
        )
        for name, slowness in names.items()
    }
    broken = {"status": "error", "error": script, "hits": {"rows_50": _NEVER, "rows_100": _NEVER}, "final": None}
    runs[image].append(Record.model_validate({**dict(runs[image][0]), **broken}))
    entries = {name: _hostile_entry(name) for name in names}
    bad = suite_of("bad", runs, root, entries=entries)
    others = summarise(run_records for run_records in runs[script])
    return Board((*small_board(root).suites, bad), tuple(others))


_NEVER = {"step": None, "previous_step": None}


def _hostile_entry(name: str) -> EntryFile:
    """Past the checks of `EntryFile`, which would refuse its name and its links."""
    image, script, quote, braces, address, turned = HOSTILE
    plain = entry_file("bad", "plain")
    changes = {"name": name, "title": f"{name} {turned}", "authors": HOSTILE, "licence": quote, "paper": address}
    return plain.model_copy(update={**changes, "code": f"https://x/{quote}", "architecture": braces})
