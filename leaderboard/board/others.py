"""One row per task cell, architecture and protocol: what `python -m leaderboard show` prints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from statistics import median as median_of
from typing import Any, Literal

from leaderboard.records.record import Record
from leaderboard.statistics.survival import Median, earliest_per_seed, median, restricted_mean, sample, wilson_interval

# The papers' letters for the two tasks' knobs; any other knob is shown under its own name.
SHORT = {
    "state_size": "S",
    "n_nonzero": "s",
    "n_states": "T",
    "n_rules": "N",
    "rule_steps": "k",
    "n_colors": "C",
    "window": "W",
}
HEADER = ("task", "architecture", "protocol", "budget", "n", "solved", "median step", "mean step", "tokens/s", "note")
RIGHT_ALIGNED = frozenset({"budget", "n", "solved", "median step", "mean step"})


@dataclass(frozen=True)
class SummaryRow:
    """Statistics of the runs that share task, protocol, architecture, optimizer and precision.

    `n` counts observed runs. `median_step*` None with n > 0 means beyond the budget. `restricted_mean_step` is the mean
    of min(step, budget). `tokens_per_s` is the median over runs, per device.
    """

    task: str
    architecture: str
    protocol_hash: str
    budget: int
    n: int
    n_solved: int
    solved_low: float | None
    solved_high: float | None
    median_step: float | None
    median_step_low: float | None
    median_step_high: float | None
    restricted_mean_step: float | None
    tokens_per_s: dict[str, float]
    statuses: dict[str, int]
    repeated_seeds: int

    @property
    def note(self) -> str:
        """Runs that need a second look: diverged ones count as unsolved; the others named here are not in n."""
        parts = [f"{count} {status}" for status, count in self.statuses.items() if status not in {"solved", "censored"}]
        if self.repeated_seeds:
            parts.append(f"{self.repeated_seeds} repeated {'seeds' if self.repeated_seeds > 1 else 'seed'} ignored")
        return ", ".join(parts)


def summarise(records: Iterable[Record]) -> list[SummaryRow]:
    """Rows sorted by task and protocol, then by restricted mean; in a cell those without an observation come last."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(_canonical(_identity(record), record.protocol_hash), []).append(record)
    first = [group[0] for group in groups.values()]
    rows = [_row(group, _architecture_label(group[0], first)) for group in groups.values()]
    return sorted(
        rows,
        key=lambda row: (
            natural(row.task),
            row.protocol_hash,
            row.restricted_mean_step is None,
            row.restricted_mean_step or 0,
            row.architecture,
        ),
    )


def task_label(record: Record) -> str:
    """Readable name of the task cell, e.g. `lm S=16 s=3 T=2`; the task's version is named from 2 on."""
    task = record.task
    name = task.name if task.version == 1 else f"{task.name} v{task.version}"
    return " ".join([name, *(f"{SHORT.get(knob, knob)}={_plain(value)}" for knob, value in task.config.items())])


def natural(text: str) -> list[int | str]:
    """Sort key that puts S=8 before S=16."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]


def to_json(rows: Sequence[SummaryRow]) -> str:
    """The rows as a JSON list of objects, unrounded."""
    return json.dumps([asdict(row) for row in rows], indent=2, allow_nan=False)


def to_markdown(rows: Sequence[SummaryRow]) -> str:
    """A GitHub-flavoured table; a bar inside a cell is escaped."""
    rule = ["---:" if name in RIGHT_ALIGNED else "---" for name in HEADER]
    lines = [list(HEADER), rule, *([cell.replace("|", "\\|") for cell in _cells(row)] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_text(rows: Sequence[SummaryRow]) -> str:
    """Aligned plain text for pipes and files: as wide as it needs to be, nothing cut or wrapped."""
    lines = [HEADER, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if name in RIGHT_ALIGNED else cell.ljust(width)
            for name, cell, width in zip(HEADER, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def print_rich(rows: Sequence[SummaryRow]) -> None:
    """One table a cell on the terminal. Words wrap where they must, numbers do not, and nothing is cut."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    columns = [
        HEADER.index(name) for name in ("architecture", "solved", "median step", "mean step", "tokens/s", "note")
    ]
    console = Console(highlight=False)
    if console.width < 72:  # the numbers alone would not fit
        print(to_text(rows))
        return
    for (task, protocol), cell_rows in groupby(rows, key=lambda row: (row.task, row.protocol_hash)):
        members = list(cell_rows)
        title = f"[bold]{escape(task)}[/]   budget {members[0].budget:,} steps, protocol {protocol[:8]}"
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for column in columns:
            justify: Literal["left", "right"] = "right" if HEADER[column] in RIGHT_ALIGNED else "left"
            table.add_column(
                HEADER[column],
                justify=justify,
                overflow="fold",
                no_wrap=justify == "right",
                min_width=len(HEADER[column]),
            )
        for row in members:
            cells = _cells(row)
            table.add_row(*(escape(cells[column]) for column in columns))
        console.print(title, table, sep="\n")
    console.print("Brackets: 95 % intervals. Mean step: of min(step, budget).")


def _row(group: Sequence[Record], architecture: str) -> SummaryRow:
    kept = earliest_per_seed(group)
    seen = sample(kept)
    n, n_solved = len(seen.steps), int(seen.solved.sum())
    solved_low, solved_high = wilson_interval(n_solved, n) if n else (None, None)
    middle = median(seen.steps, seen.solved) if n else Median(None, None, None)
    speeds: dict[str, list[float]] = {}
    for record in kept:
        if record.tokens_per_s is not None:
            speeds.setdefault(record.hardware.device, []).append(record.tokens_per_s)
    return SummaryRow(
        task=task_label(group[0]),
        architecture=architecture,
        protocol_hash=group[0].protocol_hash,
        budget=seen.budget,
        n=n,
        n_solved=n_solved,
        solved_low=solved_low,
        solved_high=solved_high,
        median_step=middle.step,
        median_step_low=middle.low,
        median_step_high=middle.high,
        restricted_mean_step=restricted_mean(seen.steps, seen.solved, seen.budget) if n else None,
        tokens_per_s={device: median_of(values) for device, values in sorted(speeds.items())},
        statuses=dict(sorted(seen.statuses.items())),
        repeated_seeds=len(group) - len(kept),
    )


def _cells(row: SummaryRow) -> tuple[str, ...]:
    def step(value: float | None) -> str:
        return f"> {row.budget:,}" if value is None else f"{value:,.0f}"

    solved = f"{row.n_solved}/{row.n}"
    if row.solved_low is not None and row.solved_high is not None:
        solved += f" ({100 * row.solved_low:.0f}-{100 * row.solved_high:.0f} %)"
    median_step = step(row.median_step)
    if row.median_step_low is not None:
        end = "+" if row.median_step_high is None else f"-{step(row.median_step_high)}"
        median_step += f" ({step(row.median_step_low)}{end})"
    return (
        row.task,
        row.architecture,
        row.protocol_hash[:8],
        f"{row.budget:,}",
        str(row.n),
        solved,
        median_step if row.n else "-",
        "-" if row.restricted_mean_step is None else step(row.restricted_mean_step),
        ", ".join(f"{value:,.0f} {device}" for device, value in row.tokens_per_s.items()) or "-",
        row.note,
    )


def _identity(record: Record) -> dict[str, Any]:
    """Everything, apart from task and protocol, that makes two runs the same arm; flat, so that it can be compared."""
    architecture = record.architecture
    return {
        **architecture.config,
        "architecture.name": architecture.name,
        "architecture.version": architecture.version,
        "architecture.backend": architecture.backend,
        **{f"optimizer.{knob}": value for knob, value in record.optimizer.items()},
        "precision": record.precision,
    }


def _architecture_label(record: Record, others: Iterable[Record]) -> str:
    """The architecture's name, with the settings in which the rows of this architecture in the same cell differ."""
    own = _identity(record)
    rivals = [
        _identity(other)
        for other in others
        if other.protocol_hash == record.protocol_hash and other.architecture.name == record.architecture.name
    ]
    differing = [key for key in own if any(_canonical(rival.get(key)) != _canonical(own[key]) for rival in rivals)]
    return " ".join([record.architecture.name, *(f"{key.rpartition('.')[2]}={_plain(own[key])}" for key in differing)])


def _canonical(*values: Any) -> str:
    return json.dumps(values, sort_keys=True)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
