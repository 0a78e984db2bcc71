"""Tables for a paper: LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leaderboard.board.columns import Column
from leaderboard.render.escape import visible

_ESCAPES = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def latex_text(text: str) -> str:
    """Text that LaTeX sets as it stands."""
    return "".join(_ESCAPES.get(char, char) for char in visible(text))


def table(columns: Sequence[Column], rows: Sequence[Any]) -> str:
    r"""A `tabular` to paste; it needs `\usepackage{booktabs}`."""
    lines = [[latex_text(column.title) for column in columns]]
    lines += ([latex_text(column.plain(row)) for column in columns] for row in rows)
    head, *body = [" & ".join(line) + r" \\" for line in lines]
    alignment = "".join("r" if column.number else "l" for column in columns)
    return "\n".join(
        [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    )
