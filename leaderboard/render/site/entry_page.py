"""An entry's page: who made it, how it fares in each cell, its configuration and every one of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from markupsafe import Markup

from leaderboard.board.columns import Code, Column, Name, Piece, Table, columns_of
from leaderboard.board.columns.runs import RunRow
from leaderboard.board.others import plain
from leaderboard.board.standings import REFERENCE, CellRow, Standing, SuiteBoard
from leaderboard.board.wording import NOTHING, typeset, win_rate_text
from leaderboard.render.charts.colours import LIGHT, Style
from leaderboard.render.site.figures import Figures
from leaderboard.render.site.pages import pair_address, render, table
from leaderboard.statistics.tried_rates import TriedRate

ENTRY_LOOK, REFERENCE_LOOK = Style(LIGHT[1], (1, 0)), Style(LIGHT[0], (1, 0))
COSTS = ("parameters", "state", "FLOPs per token")  # columns that the configuration names, too


def entry_page(suite: SuiteBoard, standing: Standing, tried: Sequence[TriedRate] = ()) -> tuple[str, dict[str, bytes]]:
    """The page of one entry in one suite, and its pictures by file name.

    Args:
        tried: learning rates that were tried for the suite, of all architectures.
    """
    architecture = standing.name if standing.entry is None else standing.entry.architecture
    tried = [row for row in tried if row.architecture == architecture]
    drawn = Figures(root="../", entry=(standing.name,))
    rows = [CellRow(standing, cell) for cell in suite.cells]
    ran = [row for row in rows if row.measured]
    runs = [RunRow(row.cell, record) for row in ran for result in row.measured for record in result.records]
    title = standing.title
    results_caption = f"Results of {title} in each cell"
    figures = _charts(suite, standing, ran, drawn)
    page = render(
        "entry.html",
        title=f"{title} on {suite.name} - Emergence Benchmark",
        description=f"Results, configuration and runs of {title}",
        root="../",
        reference=REFERENCE,
        standing=standing,
        summary=_summary(suite, standing),
        facts=columns_of(Table.FACTS, "html"),
        pair=pair_address(suite.name, standing.name, REFERENCE),
        commands=_commands(standing, ran),
        results=table("results", results_caption, columns_of(Table.RESULTS, "html"), rows),
        figures=figures,
        tuning=drawn.tuning(suite.name, tried),
        rates=table("rates", f"Learning rates tried for {title}", columns_of(Table.TUNING, "html")[1:], tried)
        if tried
        else "",
        configuration=_configuration(title, ran),
        runs=table("runs", f"Every run of {title}", columns_of(Table.RUNS, "html"), runs, filtered=True),
        data=drawn.data,
    )
    return page, drawn.pictures


def _commands(standing: Standing, rows: Sequence[CellRow]) -> list[str]:
    """The commands that train an entry again, compare it, replay the first steps of a run, and look inside of one."""
    if not rows:
        return []
    entry = standing.entry
    architecture = standing.name if entry is None else entry.architecture
    record = rows[0].measured[0].records[0]
    seed = record.seeds.init_seed
    place = f"leaderboard/results/{standing.suite}/{standing.name}/{rows[0].cell.name}/seed{seed}"
    last = max(each.seeds.init_seed for row in rows for result in row.measured for each in result.records)
    return [
        f"python -m benchmark sweep --suite {standing.suite} --models {architecture} --seeds 0-{last}",
        f"python -m leaderboard compare runs/{standing.suite} {REFERENCE}",
        f"python -m benchmark replay {place}",
        f"python -m benchmark sweep --suite {standing.suite} --models {architecture} --cells {rows[0].cell.name}"
        f" --seeds {seed} --probes dependency --out watched",
        f"python -m benchmark report watched/{standing.suite}/{rows[0].cell.name}/{architecture}/seed{seed}",
    ]


def _summary(suite: SuiteBoard, standing: Standing) -> str:
    """Rank and headline in two sentences."""
    if standing.is_reference:
        line = "The reference that every entry of this suite is compared with."
    elif standing.missing:
        line = f"Incomplete, so without a rank: no runs in {', '.join(standing.missing)}."
    elif standing.against is None:
        line = f"There is no {REFERENCE} in this suite to compare it with."
    else:
        rates = [f"{task} {win_rate_text(found.win_rate)}" for task, found in standing.against.tasks.items()]
        line = f"Win rate against the {REFERENCE}: {typeset(', '.join(rates))}."
    if standing.rank is None:
        return line if standing.missing else f"{line} Without a rank: that needs more seeds."
    shared = [each.rank for each in suite.standings].count(standing.rank) > 1
    return f"Rank {standing.rank}{', shared,' if shared else ''} of {len(suite.standings)}. {line}"


def _charts(suite: SuiteBoard, standing: Standing, rows: Sequence[CellRow], drawn: Figures) -> Markup:
    references = [each for each in suite.standings if each.is_reference and not standing.is_reference]
    looks = {standing.name: REFERENCE_LOOK if standing.is_reference else ENTRY_LOOK}
    looks |= {each.name: REFERENCE_LOOK for each in references}
    pairs = [standing, *references]
    return Markup("\n").join(drawn.emergence(suite.name, row.cell, pairs, looks) for row in rows)


def _configuration(title: str, rows: Sequence[CellRow]) -> Markup:
    """A table with a row per setting and a column per cell."""
    settings = [_settings(row) for row in rows]
    knobs = list(dict.fromkeys(knob for each in settings for knob in each))
    columns = [Column("setting", Code, heads_row=True)]
    for row, values in zip(rows, settings, strict=True):
        columns.append(Column(Name(row.cell.label), partial(_setting, values)))
    return table("configuration", f"Configuration of {title} in each cell", columns, knobs, page_length=100)


def _setting(values: Mapping[str, Piece], knob: str) -> Piece:
    return values.get(knob, NOTHING)


def _settings(row: CellRow) -> dict[str, Piece]:
    (result,) = row.measured
    architecture, record = result.records[0].architecture, result.records[0]
    said: dict[str, Any] = {
        "architecture": architecture.name,
        "version": architecture.version,
        **({"library": architecture.library} if architecture.library else {}),
        **architecture.config,
        "backend": architecture.backend,  # which ran; the option of that name may say auto
        **{f"optimizer.{knob}": value for knob, value in record.optimizer.items()},
        "precision": record.precision,
    }
    costs = {column.title: column.pieces(row)[0] for column in columns_of(Table.FACTS) if column.title in COSTS}
    return {**{knob: Name(plain(value)) for knob, value in said.items()}, **{k: v or NOTHING for k, v in costs.items()}}
