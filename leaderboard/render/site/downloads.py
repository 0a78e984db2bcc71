"""Data to download: every entry in every cell, and every run, as CSV and as Parquet."""

from __future__ import annotations

import io
from typing import Any

from leaderboard.board.standings import Board
from leaderboard.render import csv_file
from leaderboard.statistics.finish import finish

RUNS = (
    "suite", "entry", "cell", "task", "seed", "status", "steps", "hitting_step", "finish_step", "progress",
    "parts_solved", "final_loss_nats", "learning_rate", "parameters", "tokens_per_s", "protocol_hash", "commit",
)  # fmt: skip


def downloads(board: Board) -> dict[str, bytes]:
    """The files by their path within the site: `results` has a row per entry and cell, `runs` a row per run.

    `finish_step` and `progress` are what win rates compare (`leaderboard.statistics.finish`).
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    results = csv_file.render(board).encode()
    rows = run_rows(board)
    runs = pa.table({name: [row[name] for row in rows] for name in RUNS})
    read = pa_csv.read_csv(
        io.BytesIO(results),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(strings_can_be_null=True),
    )
    files = {"data/results.csv": results, "data/runs.csv": csv_file.plain_rows(RUNS, rows).encode()}
    for name, table in (("results", read), ("runs", runs)):
        content = io.BytesIO()
        pq.write_table(table, content)
        files[f"data/{name}.parquet"] = content.getvalue()
    return files


def run_rows(board: Board) -> list[dict[str, Any]]:
    """A row for each run of an entry, in the order of the board."""
    rows = []
    for suite in board.suites:
        for standing in suite.standings:
            for result in standing.measured:
                for record in result.records:
                    end = finish(record)
                    hits = record.part_hits
                    rate = record.optimizer.get("lr")
                    rows.append(
                        {
                            "suite": suite.name,
                            "entry": standing.name,
                            "cell": result.cell,
                            "task": record.task.name,
                            "seed": record.seeds.init_seed,
                            "status": record.status,
                            "steps": record.steps,
                            "hitting_step": record.primary_step,
                            "finish_step": None if end is None else end[0],
                            "progress": None if end is None else end[1],
                            "parts_solved": None if hits is None else sum(hit.step is not None for hit in hits),
                            "final_loss_nats": None if record.final is None else record.final.loss_nats,
                            "learning_rate": float(rate) if isinstance(rate, int | float) else None,
                            "parameters": record.parameters,
                            "tokens_per_s": record.tokens_per_s,
                            "protocol_hash": record.protocol_hash,
                            "commit": record.git.commit,
                        }
                    )
    return rows
