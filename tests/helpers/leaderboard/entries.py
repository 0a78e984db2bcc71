"""Whole valid entries on disk, with real curves: `write_entry(results, name)`, and ways to spoil them."""

import hashlib
import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from leaderboard.records.record import Record, RecordedProtocol, RecordedTask, protocol_hash, write_record
from leaderboard.validation import Report, curves_reader, validate
from leaderboard.validation.curves import CurvesReader, Found, Request
from tests.helpers.leaderboard.records import make_record

SUITE = "tiny"
CELLS = ("lm-a", "lm-b")
STATUSES = ("solved", "censored", "diverged")
N_POSITIONS = 31
FLOOR, CHANCE = 0.33539379704512576, 0.6931471805599453
SCHEMA = pa.schema(
    [
        *((name, pa.float64() if name != "step" else pa.int64()) for name in ("step", "loss_nats", "loss_scored_nats")),
        *((name, pa.float64()) for name in ("accuracy", "exact_match", "rows_solved")),
        ("loss_by_position_nats", pa.list_(pa.float32())),
    ]
)
WITH_PARTS = SCHEMA.append(pa.field("parts_solved", pa.list_(pa.bool_())))


class ReaderHere(CurvesReader):
    """Reads in this process, which is quicker, and knows what it has read by its hash."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[str, str], Found] = {}

    def read(self, requests: Sequence[tuple[Path, str, Record]]) -> list[Found]:
        keys = [(sha256, record.protocol_hash) for _, sha256, record in requests]
        new = [request for request, key in zip(requests, keys, strict=True) if key not in self._known]
        found = super().read(new)
        self._known |= {key: found.pop(0) for key in keys if key not in self._known}
        return [self._known[key] for key in keys]

    def _ask(self, requests: list[Request]) -> list[str | None]:
        return [json.dumps(curves_reader.read_curves(str(path), rows, states)) for path, rows, states in requests]


READER = ReaderHere()


def checked(path: str | Path, base: str | None = None) -> Report:
    """The findings of `validate` without replay."""
    return validate(path, base, replay=False, reader=READER)


def problem_lines(path: Path) -> list[str]:
    """The problems, one per line, with the names of files from `results` on."""
    lines = [str(problem) for problem in checked(path).problems]
    root = next(folder for folder in (path, *path.parents) if folder.name == "results")
    assert all(line.startswith(str(path)) and "\n" not in line for line in lines)
    return [line.removeprefix(f"{root}/") for line in lines]


def write_results(folder: Path) -> Path:
    """A tree of results with an entry, and the suite's reference with one seed a cell."""
    write_entry(folder / "results", "transformer", n_seeds=1)
    write_entry(folder / "results")
    return folder / "results"


def curve_rows(steps: Sequence[int], hit: int | None, noise: random.Random, cells: int = 16) -> list[dict[str, Any]]:
    """Evaluations of a run that solves half of its rows at 300 steps and all at `hit`; without a hit it solves none.

    Each row costs what its accuracy allows: ln 2 where half of its bits are right, next to nothing where all are.
    """
    rows = []
    for step in steps:
        share = 0.0 if hit is None or step < min(300, hit) else 1.0 if step >= hit else 0.5
        free = [CHANCE + 1e-3 * noise.random() for _ in range(2 * cells - 1 - round(share * cells))]
        solved = [1e-4 * (1 + noise.random()) for _ in range(round(share * cells))]
        positions = [*free, *solved]
        loss = sum(positions) / len(positions)
        rows.append(
            {
                "step": step,
                "loss_nats": loss,
                "loss_scored_nats": sum(positions[cells - 1 :]) / cells,
                "accuracy": 0.5 + 0.5 * share,
                "exact_match": float(share == 1.0),
                "rows_solved": share,
                "loss_by_position_nats": positions,
            }
        )
    return rows


def parquet(table: pa.Table, **options: Any) -> bytes:
    """The bytes of a table's file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def make_run(name: str, cell: str, seed: int, status: str, **changes: Any) -> tuple[Record, bytes]:
    """A record of an entry and its curves: solved at step 600 + 50 per seed, censored at 1,000, diverged at 130."""
    noise = random.Random(f"{name} {cell} {seed}")
    hit = 600 + 50 * (seed % 5) if status == "solved" else None
    steps = {"solved": (hit or 0) + 50, "censored": 1000, "diverged": 130}[status]
    cells = 16 if cell == CELLS[0] else 8
    rows = curve_rows(range(0, steps + 1, 50), hit, noise, cells)
    content = parquet(pa.Table.from_pylist(rows, SCHEMA))
    last = rows[-1]
    half = (
        {"step": min(300, hit), "previous_step": min(300, hit) - 50} if hit else {"step": None, "previous_step": None}
    )
    full = {"step": hit, "previous_step": hit - 50} if hit else half
    final = {name: value for name, value in last.items() if name not in ("rows_solved", "loss_by_position_nats")}
    fields: dict[str, Any] = {
        "status": status,
        "error": "training loss is nan at step 130" if status == "diverged" else None,
        "suite": SUITE,
        "cell": cell,
        "architecture.name": name,
        "task.config": {"state_size": cells, "n_nonzero": 3, "n_states": 2},
        "seeds": {"task_seed": seed, "init_seed": seed, "data_seed": seed},
        "hits": {"rows_50": half, "rows_100": full},
        "first_loss_nats": rows[0]["loss_nats"],
        "final": {**final, "task_metrics": {"rows_solved": last["rows_solved"]}},
        "steps": steps,
        "precision": "32-true",
        "init_hash": hashlib.sha256(f"{name} {cell} {seed}".encode()).hexdigest(),
        "first_batch_hash": hashlib.sha256(f"{cell} {seed}".encode()).hexdigest(),
        "first_losses_nats": [CHANCE + 0.01 * noise.random() for _ in range(20)],
        "tokens_per_s": steps * 8192 / 81.5,
        "curves": {"file": "curves.parquet", "sha256": hashlib.sha256(content).hexdigest()},
    }
    return make_record(**{**fields, **changes}), content


def write_run(entry: Path, cell: str, seed: int, status: str = "solved", **changes: Any) -> Path:
    """A run of the entry that is named as its folder is; returns the run's folder."""
    record, content = make_run(entry.name, cell, seed, status, **changes)
    folder = entry / cell / f"seed{seed}"
    write_record(folder / "record.json", record)
    (folder / "curves.parquet").write_bytes(content)
    return folder


def write_entry(results: Path, name: str = "my_model", cells: Sequence[str] = CELLS, n_seeds: int = 3) -> Path:
    """An entry of suite `tiny` in which every status occurs; returns its folder."""
    entry = results / SUITE / name
    for cell in cells:
        for seed in range(n_seeds):
            write_run(entry, cell, seed, STATUSES[seed % 3])
    about = {
        "schema_version": 1,
        "name": name,
        "suite": SUITE,
        "architecture": name,
        "title": "A model",
        "authors": ["A. Author"],
        "licence": "MIT",
        "paper": None,
        "code": "https://example.org/model",
        "tuning": {"trials": 3, "seeds": "1000", "note": "learning rate, on lm-a"},
    }
    (entry / "entry.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")
    return entry


def edit(folder: Path, /, **changes: Any) -> Path:
    """Change fields of the record in a run's folder, whatever that makes of it; a key with dots goes inside.

    The hash of the protocol follows task and protocol unless it is given.
    """
    path = folder / "record.json"
    fields = json.loads(path.read_text())
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = fields
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place[parent]
        place[last] = value
    if any(key.startswith(("task.", "protocol.")) for key in changes):
        fields["protocol_hash"] = protocol_hash(RecordedTask(**fields["task"]), RecordedProtocol(**fields["protocol"]))
    path.write_text(json.dumps(fields))
    return path


def edit_curves(folder: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Path:
    """Change the rows of the curves in a run's folder, and the hash in the record with them."""
    rows = pq.read_table(folder / "curves.parquet").to_pylist()
    changed = change(rows)
    return replace_curves(folder, parquet(pa.Table.from_pylist(changed, WITH_PARTS if _has_parts(changed) else SCHEMA)))


def _has_parts(rows: list[dict[str, Any]]) -> bool:
    return any(row.get("parts_solved") is not None for row in rows)


def replace_curves(folder: Path, content: bytes) -> Path:
    """Put other bytes in the place of the curves, and their hash into the record."""
    (folder / "curves.parquet").write_bytes(content)
    edit(folder, **{"curves.sha256": hashlib.sha256(content).hexdigest()})
    return folder / "curves.parquet"
