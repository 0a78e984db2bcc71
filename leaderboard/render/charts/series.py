"""Rows of plain values for the charts: from the board, and from the curves beside its records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leaderboard.board.standings import BoardCell, Result, Standing, Statistics, SuiteBoard
from leaderboard.board.wording import NOTHING, typeset, win_rate_text
from leaderboard.records.bounded import MAX_CURVES_BYTES, read_bytes
from leaderboard.records.record import Record
from leaderboard.statistics.survival import sample
from leaderboard.statistics.tried_rates import TriedRate

Row = dict[str, Any]
MAX_ROWS = 1_000_000
MAX_POINTS = 160  # of a loss curve; a chart is 600 pixels wide
MAX_POINTS_OF_A_RUN = 48  # where the curves of all runs stand in one chart
DIFFICULTY = ("state_size", "n_nonzero")  # the axes of a heat map
OFF_CHART = 1.25  # times the loss of chance: above it a curve is not drawn


def emergence(entry: str, result: Statistics) -> list[Row]:
    """The share solved, 1 - S, as a step function from (0, 0) to the budget, with its band.

    Returns:
        rows with step, share, low, high: shares hold from their step on; None where the band is undefined. No row
        without an outcome.
    """
    curve, budget = result.curve, result.budget
    if curve is None:
        return []
    steps, shares = [0.0, *curve.steps.tolist()], [0.0, *(1 - curve.survival).tolist()]
    lows, highs = [0.0, *(1 - curve.high).tolist()], [0.0, *(1 - curve.low).tolist()]
    if steps[-1] < budget:
        steps, shares = [*steps, float(budget)], [*shares, shares[-1]]
        lows, highs = [*lows, lows[-1]], [*highs, highs[-1]]
    return [
        {"entry": entry, "step": int(step), "share": _share(share), "low": _share(low), "high": _share(high)}
        for step, share, low, high in zip(steps, shares, lows, highs, strict=True)
    ]


def censored(entry: str, result: Result) -> list[Row]:
    """Rows with step, share, n for the steps at which n runs stopped being watched without a hit."""
    curve = result.curve
    if curve is None:
        return []
    seen = sample(result.records)
    ends, counts = np.unique(seen.steps[~seen.solved], return_counts=True)
    at = np.searchsorted(curve.steps, ends, side="right") - 1
    return [
        {"entry": entry, "step": int(end), "share": _share(float(1 - curve.survival[place])), "n": int(count)}
        for end, count, place in zip(ends, counts, at, strict=True)
    ]


def representative(result: Result) -> tuple[Record, Path] | None:
    """The run whose hitting step is the median one: the middle run, unsolved ones after all solved ones.

    None where no run with an outcome has curves.
    """
    runs = [
        (record, folder)
        for record, folder in zip(result.records, result.folders, strict=True)
        if record.status not in {"error", "interrupted"} and record.curves is not None
    ]
    if not runs:
        return None

    def order(run: tuple[Record, Path]) -> tuple[float, tuple[int, ...]]:
        record = run[0]
        step = None if record.status == "diverged" else record.primary_step
        return float("inf") if step is None else step, tuple(record.seeds.model_dump().values())

    return sorted(runs, key=order)[(len(runs) - 1) // 2]


def staircase(entry: str, result: Result, chance: float) -> list[Row]:
    """Held-out loss against step of the representative run, thinned for a chart.

    Raises:
        ValueError: one line, when the file of the curves is missing or is not what the suite writes.
    """
    found = representative(result)
    if found is None:
        return []
    record, folder = found
    assert record.curves is not None
    steps, losses = _read(folder / record.curves.file, "loss_nats")
    keep = np.isfinite(losses) & (losses <= OFF_CHART * chance)
    steps, losses = steps[keep], losses[keep]
    picked = thinned(losses, MAX_POINTS)
    return [
        {"entry": entry, "step": int(step), "loss": rounded(float(loss), 4), "seed": record.seeds.init_seed}
        for step, loss in zip(steps[picked], losses[picked], strict=True)
    ]


def runs(entry: str, result: Result, metric: str) -> list[Row]:
    """A metric against step of every run with an outcome, thinned for a chart: rows with entry, seed, step and value.

    Of rows solved it is the staircase of hitting steps, where the record has them.

    Raises:
        ValueError: as `staircase`.
    """
    rows: list[Row] = []
    for record, folder in zip(result.records, result.folders, strict=True):
        if record.status in {"error", "interrupted"} or record.curves is None:
            continue
        if metric == "rows_solved" and record.part_hits is not None:
            points = _staircase(record)
        else:
            steps, values = _read(folder / record.curves.file, metric)
            known = np.flatnonzero(np.isfinite(values))
            picked = known[np.unique(np.linspace(0, len(known) - 1, MAX_POINTS_OF_A_RUN).astype(int))]
            points = list(zip(steps[picked].tolist(), values[picked].tolist(), strict=True))
        seed = record.seeds.init_seed
        rows += [{"entry": entry, "seed": seed, "step": step, "value": rounded(value, 3)} for step, value in points]
    return rows


def _staircase(record: Record) -> list[tuple[int, float]]:
    """Step and share of the parts that are solved for good from then on."""
    assert record.part_hits is not None
    hits = sorted(hit.step for hit in record.part_hits if hit.step is not None)
    stairs = [(step, (place + 1) / len(record.part_hits)) for place, step in enumerate(hits)]
    return [(0, 0.0), *stairs, (record.steps, len(hits) / len(record.part_hits))]


def thinned(values: np.ndarray, limit: int) -> np.ndarray:
    """Indices of at most `limit` (even, at least 4) that keep a curve's shape: both ends and the extremes between.

    The values are cut into equal stretches; of each its smallest and its largest stay, so that no jump is lost.
    """
    if len(values) <= limit:
        return np.arange(len(values))
    picked = {0, len(values) - 1}
    for stretch in np.array_split(np.arange(len(values)), limit // 2 - 1):
        picked |= {int(stretch[np.argmin(values[stretch])]), int(stretch[np.argmax(values[stretch])])}
    return np.array(sorted(picked))


def win_rates(task: str, standings: Sequence[Standing]) -> list[Row]:
    """The win rate on a task of each entry that has one, with its 95 % interval; 0.5 for the reference."""
    rows: list[Row] = []
    for standing in standings:
        found = standing.task(task)
        if standing.is_reference and not standing.missing:
            rows.append({"entry": standing.name, "rate": 0.5, "low": 0.5, "high": 0.5, "text": "reference"})
        elif found is not None:
            low, high = map(rounded, found.win_rate.interval())
            said = "" if found.kind == "needs-seeds" else f", {found.kind}"
            text = typeset(win_rate_text(found.win_rate)) + said
            rate = rounded(found.win_rate.estimate)
            rows.append({"entry": standing.name, "rate": rate, "low": low, "high": high, "text": text})
    return rows


def tuning(tried: Sequence[TriedRate]) -> list[Row]:
    """Share solved and mean time in budgets at each learning rate, by task, each as a row with `what` and `value`."""
    return [
        {"task": row.task, "rate": row.learning_rate, "what": what, "value": rounded(value), "best": row.best}
        for row in tried
        for what, value in (("share solved", row.n_solved / row.n), ("time in budgets", row.time))
    ]


def difficulty(suite: SuiteBoard, standings: Sequence[Standing]) -> list[Row]:
    """Win rate and solved runs of every entry in every cell; the rate is None where there is none."""
    rows: list[Row] = []
    for standing in standings:
        for cell in suite.cells:
            result = standing.results.get(cell.name)
            rate = 0.5 if standing.is_reference else None
            said = "reference" if standing.is_reference else "not compared"
            if result is not None and result.against is not None:
                found = result.against.verdict.win_rate
                rate, said = rounded(found.estimate), typeset(win_rate_text(found))
            ran = result is not None and result.n > 0
            rows.append(
                {
                    "entry": standing.name,
                    "cell": cell.name,
                    "rate": rate if ran else None,
                    "win_rate": said if ran else "no run",
                    "text": f"{result.n_solved}/{result.n}" if result is not None and ran else typeset(NOTHING),
                }
            )
    return rows


def difficulty_groups(suite: SuiteBoard) -> list[list[BoardCell]]:
    """`lm` cells that differ in S and s only, wherever there are at least four: the cells of a heat map."""
    groups: dict[str, dict[tuple[Any, Any], BoardCell]] = {}
    for cell in suite.cells:
        knobs = dict(cell.knobs)
        size, nonzero = knobs.pop("state_size", None), knobs.pop("n_nonzero", None)
        if cell.task == "lm" and isinstance(size, int) and isinstance(nonzero, int):
            groups.setdefault(repr(sorted(knobs.items())), {}).setdefault((size, nonzero), cell)
    return [list(group.values()) for _, group in sorted(groups.items()) if len(group) >= 4]


def success(cells: Sequence[BoardCell], standings: Sequence[Standing]) -> list[Row]:
    """Share solved by entry and cell with S and s; None where the entry has no outcome in the cell."""
    rows: list[Row] = []
    for standing in standings:
        for cell in cells:
            result = standing.results.get(cell.name)
            n = 0 if result is None else result.n
            rows.append(
                {
                    "entry": standing.name,
                    "S": cell.knobs["state_size"],
                    "s": cell.knobs["n_nonzero"],
                    "share": _share(result.n_solved / n) if result is not None and n else None,
                    "text": f"{result.n_solved}/{n}" if result is not None and n else typeset(NOTHING),
                }
            )
    return rows


def rounded(value: float, digits: int = 5) -> float:
    """To significant digits: no chart shows more, and the text is the same wherever it is computed."""
    return float(f"{value:.{digits}g}")


def _read(path: Path, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a column of curves."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise ValueError(f"{path}: the curves that the record beside it names are not there")
    content = read_bytes(path, MAX_CURVES_BYTES)
    try:
        # use_threads: the pool's start costs more than these small files
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            if file.metadata.num_rows > MAX_ROWS:  # a few bytes can stand for billions of them
                raise ValueError(f"{file.metadata.num_rows:,} rows, at most {MAX_ROWS:,} are allowed")
            found = file.read(columns=["step", metric], use_threads=False)
        steps, values = found["step"].to_numpy().astype(np.int64), found[metric].to_numpy().astype(np.float64)
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: no readable curves: {' '.join(str(error).split())[:200]}") from error
    return steps, values


def _share(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
