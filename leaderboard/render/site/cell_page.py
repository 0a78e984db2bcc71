"""A cell's page: how every entry fares in it, and every single run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from leaderboard.board.columns import Table, columns_of
from leaderboard.board.standings import BoardCell, Standing, SuiteBoard
from leaderboard.render.charts.colours import Style
from leaderboard.render.site.figures import Figures
from leaderboard.render.site.pages import anchor, render, table


def cell_page(
    suite: SuiteBoard, cell: BoardCell, shown: Sequence[Standing], looks: Mapping[str, Style]
) -> tuple[str, dict[str, bytes]]:
    """The page of one cell, and its pictures by file name.

    Args:
        shown: entries that charts show.
        looks: of each entry.

    Raises:
        ValueError: the curves of a run that is to be drawn cannot be read.
    """
    drawn = Figures()
    figures = [
        drawn.runs(suite.name, cell, shown, looks),
        drawn.emergence(suite.name, cell, shown, looks),
        drawn.loss(suite.name, cell, shown, looks),
    ]
    page = render(
        "cell.html",
        title=f"{cell.label} of {suite.name} - Emergence Benchmark",
        description=f"Every entry and every run in the cell {cell.name} of {suite.name}",
        root="",
        suite=suite,
        cell=cell,
        knobs=cell.knobs,
        table=table(
            anchor("cell", suite.name, cell.name),
            f"{cell.label}: entries by rank and mean step",
            columns_of(Table.CELL, "html"),
            suite.rows(cell),
        ),
        runs=figures[0],
        figures=Markup("\n").join(figures[1:]),
        data=drawn.data,
    )
    return page, drawn.pictures
