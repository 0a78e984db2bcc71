"""The page of pairs: any two entries of a suite side by side; which two stands in the address, to be shared.

Every pair is compared here, by the statistics that `compare` prints; the page only chooses what to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any

from leaderboard.board.aggregate import compared
from leaderboard.board.columns import Column, Table, columns_of
from leaderboard.board.standings import Board, SuiteBoard
from leaderboard.board.wording import typeset, win_rate_text
from leaderboard.render.charts import series, specs
from leaderboard.render.charts.colours import Style, shown_standings
from leaderboard.render.escape import visible
from leaderboard.render.site.figures import Figures
from leaderboard.render.site.pages import anchor, render
from leaderboard.statistics.head_to_head import HeadToHead

PATH = "pairs.html"


def pairs_page(board: Board, looks: Mapping[str, Style]) -> str:
    """The page, with every pair of the entries that charts show."""
    drawn = Figures()
    suites = {suite.name: _suite(suite, drawn, looks) for suite in board.suites}
    return render(
        "pairs.html",
        title="Two entries side by side - Emergence Benchmark",
        description="Win rates, verdicts and curves of any two entries",
        root="",
        suites=list(suites),
        data={
            **drawn.data,
            "pairs": [[name, pairs] for name, pairs in suites.items()],  # in this order
            "columns": [{"title": column.heading, "number": column.number is not None} for column in _columns()],
        },
    )


def _columns() -> list[Column]:
    return columns_of(Table.PAIRS, "html")


def _suite(suite: SuiteBoard, drawn: Figures, looks: Mapping[str, Style]) -> dict[str, Any]:
    """Entries, the comparison of each pair by "first second" as positions, and the ids of the charts of the cells."""
    entries = shown_standings(suite)
    arms = [standing.outcomes for standing in entries]
    found = {
        f"{one} {other}": _plain(comparison)
        for one, other in permutations(range(len(entries)), 2)
        if (comparison := compared(arms[other], arms[one])) is not None
    }
    charts = []
    for cell in suite.cells:
        curves = [
            row
            for standing in entries
            if (result := standing.results.get(cell.name)) is not None
            for row in series.emergence(standing.name, result)
        ]
        if curves:
            chart = anchor(suite.name, cell.name, "pair")
            drawn.specs[chart] = specs.emergence(curves, [], {each.name: looks[each.name] for each in entries})
            charts.append({"id": chart, "title": visible(cell.label)})
    names = [{"name": standing.name, "title": visible(standing.title)} for standing in entries]
    return {"entries": names, "found": found, "charts": charts}


def _plain(comparison: HeadToHead) -> dict[str, Any]:
    return {
        "tasks": [
            {
                "task": visible(task),
                "verdict": verdict.kind,
                "rate": typeset(win_rate_text(verdict.win_rate)),
                "reason": typeset(visible(verdict.reason)),
            }
            for task, verdict in comparison.tasks.items()
        ],
        "rows": [[typeset(visible(column.plain(cell))) for column in _columns()] for cell in comparison.cells],
    }
