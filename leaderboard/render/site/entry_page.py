"""An entry's page: who made it, how it fares in each cell, its configuration and every one of its runs."""

from __future__ import annotations

import json
from typing import Any

from leaderboard.board import wording
from leaderboard.board.standings import REFERENCE, BoardCell, Result, Standing, SuiteBoard
from leaderboard.records.record import Record
from leaderboard.render.site import figures, words
from leaderboard.render.site.colours import LIGHT, Style
from leaderboard.render.site.figures import Figures
from leaderboard.render.site.html import anchor, items, link, name, page, text
from leaderboard.render.site.tables import Cell as Td
from leaderboard.render.site.tables import Column, table

RESULTS = (
    Column("Cell"),
    Column("Rank", numeric=True),
    Column("Solved (95 %)", numeric=True),
    Column("Median step (95 %)", numeric=True),
    Column("Mean step", numeric=True),
    Column("Steps vs. transformer", numeric=True),
    Column("p", numeric=True),
    Column("Runs by status"),
)
RUNS = (
    Column("Cell"),
    Column("Seed", numeric=True),
    Column("Status"),
    Column("Hitting step", numeric=True),
    Column("Final loss (nats)", numeric=True),
    Column("Steps", numeric=True),
    Column("Wall time (s)", numeric=True),
    Column("Tokens/s", numeric=True),
    Column("Hardware"),
    Column("Commit"),
    Column("Date"),
)
ENTRY_LOOK, REFERENCE_LOOK = Style(LIGHT[1], (1, 0)), Style(LIGHT[0], (1, 0))


def entry_page(suite: SuiteBoard, standing: Standing) -> str:
    """The page of one entry in one suite."""
    drawn = Figures()
    body = "\n".join(
        (
            f'<nav class="back" aria-label="Back"><a href="../index.html#{anchor("suite", suite.name)}">'
            f"\N{LEFTWARDS ARROW} All entries of {name(suite.name)}</a></nav>",
            _head(suite, standing),
            _about(standing),
            "<h2>Results</h2>",
            _results(suite, standing),
            f"<h2>Against the {REFERENCE}</h2>" if not standing.is_reference else "<h2>Emergence</h2>",
            f'<div class="figures two">{_charts(suite, standing, drawn)}</div>',
            "<h2>Configuration</h2>",
            _configuration(suite, standing),
            "<h2>Runs</h2>",
            _runs(suite, standing),
        )
    )
    title = f"{standing.title} on {suite.name} - Emergence Benchmark"
    return page(title, f"Results, configuration and runs of {standing.title}", body, drawn.data, root="../")


def _head(suite: SuiteBoard, standing: Standing) -> str:
    kind = "verified" if standing.verified else "self-reported"
    if standing.is_reference:
        line = "The reference that every entry of this suite is compared with."
    elif standing.missing:
        line = f"Incomplete, so without a rank: no runs in {', '.join(standing.missing)}."
    elif standing.ratio is None:
        line = f"There is no {REFERENCE} in this suite to compare it with."
    else:
        line = f"Steps needed, as a multiple of the {REFERENCE}'s: {words.ratio(standing.ratio)}."
    if standing.rank is None and not standing.missing:
        line += " Without a rank: that needs more seeds."
    ranks = words.ranks(each.rank for each in suite.standings)
    rank = ranks[[each.name for each in suite.standings].index(standing.name)]
    place = "" if standing.rank is None else f"Rank {rank.replace('=', ', shared,')} of {len(suite.standings)}."
    return (
        f'<div class="lead"><h1>{name(standing.title)}</h1><p><span class="badge {kind}">{kind}</span> '
        f"{text(f'{place} {line}')}</p></div>"
    )


def _about(standing: Standing) -> str:
    entry, results = standing.entry, wording.present(standing)
    facts = [("Name", f"<code>{name(standing.name)}</code>"), ("Suite", f"<code>{name(standing.suite)}</code>")]
    if entry is not None:
        tuning = entry.tuning
        seeds = "" if tuning.seeds is None else f" on seeds {name(tuning.seeds)}"
        facts += [
            ("Architecture", f"<code>{name(entry.architecture)}</code>"),
            ("Authors", ", ".join(name(author) for author in entry.authors)),
            ("Licence", name(entry.licence)),
            ("Paper", link(entry.paper, entry.paper or "")),
            ("Code", link(entry.code, entry.code or "")),
            ("Tuning", f"{tuning.trials:,} trial{'' if tuning.trials == 1 else 's'}{seeds}: {name(tuning.note)}"),
        ]
    facts += [
        ("Parameters", words.span([result.parameters for result in results])),
        ("State", _bytes([result.state_bytes for result in results if result.state_bytes is not None])),
        ("FLOPs a token", words.span([r.flops_per_token for r in results if r.flops_per_token is not None])),
        ("Tokens/s", text(words.speeds(results))),
        ("Run", text(words.dates(standing.first_date, standing.last_date))),
    ]
    return items(facts)


def _results(suite: SuiteBoard, standing: Standing) -> str:
    rows = [_result_row(cell, standing.results.get(cell.name), standing) for cell in suite.cells]
    return table("results", f"Results of {standing.title} in each cell", RESULTS, rows)


def _result_row(cell: BoardCell, result: Result | None, standing: Standing) -> list[Td]:
    if result is None:
        blank = [Td(words.NONE) for _ in RESULTS[3:]]
        return [Td(name(cell.label)), Td(words.NONE), Td('<span class="missing">missing</span>'), *blank]
    mean, ratio = result.restricted_mean_step, result.ratio
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(result.statuses.items()))
    return [
        Td(name(cell.label)),
        Td(words.NONE if result.rank is None else str(result.rank), result.rank),
        Td(words.solved(result), result.n_solved / result.n if result.n else None),
        Td(text(words.median(result, cell.budget)), result.median.step),
        Td(words.step(mean), mean),
        Td(text(words.ratio(ratio, standing.is_reference)), words.ratio_order(ratio, standing.is_reference)),
        Td(text(words.typeset(wording.p_text(ratio))), None if ratio is None else ratio.p),
        Td(text(statuses)),
    ]


def _charts(suite: SuiteBoard, standing: Standing, drawn: Figures) -> str:
    references = [each for each in suite.standings if each.is_reference and not standing.is_reference]
    looks = {standing.name: REFERENCE_LOOK if standing.is_reference else ENTRY_LOOK}
    looks |= {each.name: REFERENCE_LOOK for each in references}
    pairs = [standing, *references]
    return "\n".join(
        figures.emergence(drawn, suite.name, cell, pairs, looks, drawn=False)
        for cell in suite.cells
        if standing.results.get(cell.name) is not None
    )


def _configuration(suite: SuiteBoard, standing: Standing) -> str:
    cells = [(cell, result) for cell in suite.cells if (result := standing.results.get(cell.name)) is not None]
    settings = {cell.name: _settings(result) for cell, result in cells}
    knobs = list(dict.fromkeys(knob for each in settings.values() for knob in each))
    columns = [Column("Setting"), *(Column(cell.label) for cell, _ in cells)]
    rows = [
        [
            Td(f"<code>{name(knob)}</code>"),
            *(Td(name(_plain(each.get(knob, words.NONE)))) for each in settings.values()),
        ]
        for knob in knobs
    ]
    return table("configuration", f"Configuration of {standing.title} in each cell", columns, rows, page_length=100)


def _settings(result: Result) -> dict[str, Any]:
    record = result.records[0]
    return {
        "architecture": record.architecture.name,
        "version": record.architecture.version,
        **record.architecture.config,
        "backend": record.architecture.backend,  # which ran; the option of that name may say auto
        **{f"optimizer.{knob}": value for knob, value in record.optimizer.items()},
        "precision": record.precision,
        "parameters": f"{result.parameters:,}",
        "state": _bytes([] if result.state_bytes is None else [result.state_bytes]) or words.NONE,
        "FLOPs a token": words.NONE if result.flops_per_token is None else words.short(result.flops_per_token),
    }


def _runs(suite: SuiteBoard, standing: Standing) -> str:
    rows = [
        _run_row(cell, record)
        for cell in suite.cells
        if (result := standing.results.get(cell.name)) is not None
        for record in result.records
    ]
    return table("runs", f"Every run of {standing.title}", RUNS, rows, filtered=True)


def _run_row(cell: BoardCell, record: Record) -> list[Td]:
    seeds, hardware, final, step = record.seeds, record.hardware, record.final, record.primary_step
    same = len(set(seeds.model_dump().values())) == 1
    seed = str(seeds.init_seed) if same else f"task {seeds.task_seed}, init {seeds.init_seed}, data {seeds.data_seed}"
    wall = record.wall_train_s + record.wall_eval_s + record.wall_compile_s
    status = f'<span class="status {record.status}">{record.status}</span>'
    if record.error is not None:
        status += f'<br><span class="muted">{name(record.error[:200])}</span>'
    unseen = record.status in {"error", "interrupted"}
    commit = (record.git.commit or "unknown")[:9] + (" (changed)" if record.git.dirty else "")
    machine = f"{hardware.name} ({hardware.device}, {hardware.threads} thread{'' if hardware.threads == 1 else 's'})"
    return [
        Td(name(cell.label)),
        Td(text(seed), seeds.init_seed),
        Td(status, record.status),
        Td(words.NONE if step is None and unseen else words.steps(step, cell.budget), step),
        Td(words.NONE if final is None else f"{final.loss_nats:.4f}", None if final is None else final.loss_nats),
        Td(f"{record.steps:,}", record.steps),
        Td(f"{wall:,.0f}", round(wall, 1)),
        Td(words.NONE if record.tokens_per_s is None else f"{record.tokens_per_s:,.0f}", record.tokens_per_s),
        Td(name(machine)),
        Td(f"<code>{text(commit)}</code>"),
        Td(text(record.started_at.date().isoformat())),
    ]


def _bytes(values: list[int]) -> str:
    return f"{words.span(values)}B" if values else ""


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
