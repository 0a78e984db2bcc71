"""The overview: for each suite the ranking, then every cell with its charts and its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from leaderboard.board.answers import answers
from leaderboard.board.columns import Table, columns_of, explanations
from leaderboard.board.columns.results import headline_columns
from leaderboard.board.standings import Board, SuiteBoard
from leaderboard.board.wording import count_text
from leaderboard.render.charts.colours import SHOWN, Style, board_styles, shown_standings
from leaderboard.render.site.figures import Figures
from leaderboard.render.site.pages import anchor, render, table

TITLE = "Emergence Benchmark: leaderboard"
LEAD = "How fast, and how reliably over seeds, does a sequence architecture learn the attention pattern of its task?"


def index_page(board: Board) -> tuple[str, dict[str, bytes]]:
    """The page, and its pictures by file name.

    Raises:
        ValueError: the curves of a run that is to be drawn cannot be read.
    """
    drawn, looks = Figures(), board_styles(board)
    suites = [_suite(suite, drawn, looks) for suite in board.suites]
    caption = "Runs for figures and tuning, which belong to no entry"
    columns = columns_of(Table.OTHERS, "html")
    others = table("others-table", caption, columns, board.others, filtered=True) if board.others else ""
    page = render(
        "index.html",
        title=TITLE,
        description=LEAD,
        root="",
        explanations=explanations(),
        suites=suites,
        others=others,
        data=drawn.data,
    )
    return page, drawn.pictures


def _suite(suite: SuiteBoard, drawn: Figures, looks: Mapping[str, Style]) -> dict[str, Any]:
    """The parts of a suite's section, by the names that the template has for them."""
    few = shown_standings(suite)
    runs = sum(len(result.records) for standing in suite.standings for result in standing.measured)
    counts = (
        count_text(len(suite.standings), "entry", "entries"),
        count_text(len(suite.cells), "cell"),
        count_text(runs, "run"),
    )
    return {
        "name": suite.name,
        "size": ", ".join(counts),
        "note": f"Charts show the reference and the best {SHOWN - 1} others."
        if len(few) < len(suite.standings)
        else "",
        "answers": answers(suite),
        "win_rates": Markup("\n").join(drawn.win_rates(suite, task, few, looks) for task in suite.tasks),
        "difficulty": drawn.difficulty(suite, few),
        "overview": table(
            anchor("overview", suite.name),
            f"Entries of the suite {suite.name}, by the mean of the tasks' win rates",
            headline_columns(suite, "html"),
            suite.standings,
            filtered=True,
        ),
        "figures": drawn.heat_maps(suite, few),
        "cells": [
            (
                cell,
                drawn.emergence(suite.name, cell, few, looks) + Markup("\n") + drawn.loss(suite.name, cell, few, looks),
                table(
                    anchor("cell", suite.name, cell.name),
                    f"{cell.label}: entries by rank and mean step",
                    columns_of(Table.CELL, "html"),
                    suite.rows(cell),
                    page_length=10,
                ),
            )
            for cell in suite.cells
        ],
    }
