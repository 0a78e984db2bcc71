"""The overview: for each suite the ranking, then every cell with its charts and its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leaderboard.board import wording
from leaderboard.board.others import SummaryRow
from leaderboard.board.standings import REFERENCE, Board, BoardCell, Standing, SuiteBoard
from leaderboard.render.site import figures, words
from leaderboard.render.site.colours import SHOWN, Style, board_styles, shown
from leaderboard.render.site.figures import Figures
from leaderboard.render.site.html import anchor, entry_page, name, page, text
from leaderboard.render.site.tables import Cell as Td
from leaderboard.render.site.tables import Column, table
from leaderboard.statistics.verdict import MIN_SEEDS

TITLE = "Emergence Benchmark: leaderboard"
LEAD = "How fast, and how reliably over seeds, does a sequence architecture learn the attention pattern of its task?"
OVERVIEW = (
    Column("Rank", numeric=True),
    Column("Entry"),
    Column("Steps vs. transformer", numeric=True),
    Column("Solved", numeric=True),
    Column("Parameters", numeric=True),
    Column("Tokens/s", numeric=True),
    Column("Seeds", numeric=True),
    Column("Date"),
    Column("Records"),
)
CELL = (
    Column("Rank", numeric=True),
    Column("Entry"),
    Column("Solved (95 %)", numeric=True),
    Column("Median step (95 %)", numeric=True),
    Column("Mean step", numeric=True),
    Column("Steps vs. transformer", numeric=True),
    Column("Seeds", numeric=True),
)
OTHERS = ("Task", "Architecture", "Budget", "Solved", "Median step", "Mean step", "Tokens/s", "Note")

HOW = f"""<details class="how"><summary>How to read this</summary>
<p>A capability appears abruptly, at a step that depends on the seed. So each architecture is trained from several seeds
in each cell (a task at one difficulty, with a fixed budget of steps), and what is measured is the step at which it has
solved the task. A run that has not within its budget is not dropped: it says that the step lies beyond the budget.</p>
<dl class="terms">
<dt>Solved</dt><dd>Runs that solved the task, of all runs with an outcome. In brackets Wilson's 95 % interval.</dd>
<dt>Median step</dt><dd>The step by which half of the runs have solved the task, from the Kaplan-Meier curve, which
counts unsolved runs for as long as they ran. <q>&gt; 4,000</q>: fewer than half did within 4,000 steps. <q>900+</q>:
the data do not bound the median from above.</dd>
<dt>Mean step</dt><dd>The restricted mean: the average of the hitting step and, for unsolved runs, the budget. It always
exists.</dd>
<dt>Steps vs. transformer</dt><dd>How many times the steps of the reference, <code>{REFERENCE}</code>, are needed: 2×
takes twice as many, 0.5× half. Stratified over the cells, with its 95 % interval; from ranks, by a permutation test
within cells.</dd>
<dt>Rank</dt><dd>A band: entries that the permutation test cannot tell apart share a rank, marked <q>=</q>. It
takes every cell and {MIN_SEEDS} seeds in each.</dd>
<dt>Missing</dt><dd>A cell without runs is named as missing. Such an entry has no overall rank; nothing is averaged over
the gap.</dd>
<dt>Verified</dt><dd>The maintainers ran or replayed the records themselves; self-reported ones they did not.</dd>
</dl>
<p>To add an architecture, see <code>leaderboard/SUBMITTING.md</code> in the repository.</p>
</details>"""


def index_page(board: Board) -> tuple[str, dict[str, str]]:
    """The page, and its pictures by file name.

    Raises:
        ValueError: the curves of a run that is to be drawn cannot be read.
    """
    drawn, looks = Figures(), board_styles(board)
    chooser = ""
    if len(board.suites) > 1:
        links = "".join(f'<a href="#{anchor("suite", suite.name)}">{name(suite.name)}</a>' for suite in board.suites)
        chooser = f'<nav class="suites" aria-label="Suites">{links}</nav>'
    body = "\n".join(
        (
            f'<div class="lead"><h1>Leaderboard</h1><p>{LEAD}</p></div>',
            HOW,
            chooser,
            *(_suite(suite, drawn, looks) for suite in board.suites),
            "" if board.suites else '<p class="empty">No entry has been handed in yet.</p>',
            _others(board.others),
        )
    )
    return page(TITLE, LEAD, body, drawn.data), drawn.svgs


def _suite(suite: SuiteBoard, drawn: Figures, looks: Mapping[str, Style]) -> str:
    names = shown([standing.name for standing in suite.standings])
    few = [standing for standing in suite.standings if standing.name in names]
    note = f"Charts show the reference and the best {SHOWN - 1} others." if len(few) < len(suite.standings) else ""
    overview = table(
        anchor("overview", suite.name),
        f"Entries of the suite {suite.name}, the fastest first",
        OVERVIEW,
        [_overview_row(rank, standing) for rank, standing in zip(_ranks(suite), suite.standings, strict=True)],
        header=1,
        filtered=True,
    )
    jumps = "".join(f'<li><a href="#{_cell_id(suite, cell)}">{name(cell.label)}</a></li>' for cell in suite.cells)
    runs = sum(len(result.records) for standing in suite.standings for result in wording.present(standing))
    size = f"{_count(len(suite.standings), 'entry', 'entries')}, {_count(len(suite.cells), 'cell', 'cells')}, "
    title = anchor("title", suite.name)
    return f"""<section class="suite" id="{anchor("suite", suite.name)}" aria-labelledby="{title}">
<h2 id="{title}">Suite {name(suite.name)}</h2>
<p class="muted">{size}{_count(runs, "run", "runs")}. {note}</p>
{overview}
<h3>At a glance</h3>
<div class="figures">{figures.headline(drawn, suite, few, looks)}
{figures.heat_maps(drawn, suite, few)}</div>
<h3>Cells</h3>
<ul class="jumps">{jumps}</ul>
{"".join(_cell(suite, cell, few, drawn, looks) for cell in suite.cells)}
</section>"""


def _overview_row(rank: str, standing: Standing) -> list[Td]:
    results = wording.present(standing)
    n, n_solved = sum(result.n for result in results), sum(result.n_solved for result in results)
    parameters = [result.parameters for result in results]
    speeds = [speed for result in results for speed in result.tokens_per_s.values()]
    ratio = words.ratio(standing.ratio, standing.is_reference)
    order = words.ratio_order(standing.ratio, standing.is_reference)
    if standing.missing:
        ratio, order = f"missing: {', '.join(standing.missing)}", None
    kind = "verified" if standing.verified else "self-reported"
    seeds = sorted({result.n for result in results})
    spread = f"{seeds[0]}{words.NONE}{seeds[-1]}" if len(seeds) > 1 else f"{standing.min_seeds}"
    return [
        Td(rank, standing.rank),
        Td(_entry(standing), standing.title.lower()),
        Td(f'<span class="{"missing" if standing.missing else "headline"}">{text(ratio)}</span>', order),
        Td(f"{n_solved}/{n}", n_solved / n if n else None),
        Td(words.span(parameters), max(parameters, default=None)),
        Td(text(words.speeds(results)), max(speeds, default=None)),
        Td(spread, standing.min_seeds),
        Td(text(standing.last_date)),
        Td(f'<span class="badge {kind}">{kind}</span>', kind),
    ]


def _cell(
    suite: SuiteBoard, cell: BoardCell, few: Sequence[Standing], drawn: Figures, looks: Mapping[str, Style]
) -> str:
    order = sorted(
        suite.standings,
        key=lambda standing: (
            (result := standing.results.get(cell.name)) is None,
            result is None or result.restricted_mean_step is None,
            0.0 if result is None else result.restricted_mean_step or 0.0,
            standing.name,
        ),
    )
    results = [standing.results.get(cell.name) for standing in order]
    ranks = words.ranks(None if result is None else result.rank for result in results)
    rows = [_cell_row(rank, standing, cell) for rank, standing in zip(ranks, order, strict=True)]
    caption = f"{cell.label}: entries by mean step"
    shown_table = table(anchor("cell", suite.name, cell.name), caption, CELL, rows, header=1, page_length=10)
    return f"""<section class="cell" id="{_cell_id(suite, cell)}">
<h4 class="cell-title">{name(cell.label)}</h4>
<p class="muted"><code>{name(cell.name)}</code>: {cell.budget:,} steps of {cell.tokens_per_step:,} tokens, evaluated
every {cell.eval_every:,}; solved is <code>{name(cell.primary)}</code>; protocol
<code>{text(cell.protocol_hash[:8])}</code></p>
<div class="figures two">{figures.emergence(drawn, suite.name, cell, few, looks)}
{figures.loss(drawn, suite.name, cell, few, looks)}</div>
{shown_table}
</section>"""


def _cell_row(rank: str, standing: Standing, cell: BoardCell) -> list[Td]:
    result = standing.results.get(cell.name)
    entry = Td(_entry(standing), standing.title.lower())
    if result is None:
        return [Td(words.NONE), entry, Td('<span class="missing">missing</span>'), *(Td(words.NONE) for _ in CELL[3:])]
    middle, mean, is_reference = result.median.step, result.restricted_mean_step, standing.is_reference
    # A median beyond the budget sorts after those within it, by how few of the runs were solved.
    beyond = None if not result.n else 2.0 * cell.budget * (2 - result.n_solved / result.n)
    return [
        Td(rank, result.rank),
        entry,
        Td(words.solved(result), result.n_solved / result.n if result.n else None),
        Td(text(words.median(result, cell.budget)), beyond if middle is None else middle),
        Td(words.step(mean), mean),
        Td(text(words.ratio(result.ratio, is_reference)), words.ratio_order(result.ratio, is_reference)),
        Td(str(result.n), result.n),
    ]


def _others(rows: Sequence[SummaryRow]) -> str:
    if not rows:
        return ""
    columns = [Column(title, numeric=title in {"Budget", "Solved", "Median step", "Mean step"}) for title in OTHERS]
    cells = [
        [
            Td(name(row.task)),
            Td(name(row.architecture)),
            Td(f"{row.budget:,}", row.budget),
            Td(f"{row.n_solved}/{row.n}", row.n_solved / row.n if row.n else None),
            Td(words.steps(row.median_step, row.budget) if row.n else words.NONE, row.median_step),
            Td(words.step(row.restricted_mean_step), row.restricted_mean_step),
            Td(text(", ".join(f"{words.short(v)} {device}" for device, v in row.tokens_per_s.items()) or words.NONE)),
            Td(text(row.note)),
        ]
        for row in rows
    ]
    caption = "Runs for figures and tuning, which belong to no entry"
    shown_table = table("others-table", caption, columns, cells, filtered=True)
    return f'<section id="others"><h2>Other runs</h2><p class="muted">Shown, never ranked.</p>{shown_table}</section>'


def _entry(standing: Standing) -> str:
    return f'<a href="{text(entry_page(standing.suite, standing.name))}">{name(standing.title)}</a>'


def _ranks(suite: SuiteBoard) -> list[str]:
    return words.ranks(standing.rank for standing in suite.standings)


def _cell_id(suite: SuiteBoard, cell: BoardCell) -> str:
    return anchor("suite", suite.name, cell.name)


def _count(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"
