"""One colour and dash per entry, the same in every chart, in a light and a dark version.

The reference is in ink, the others in five hues that keep apart under protanopia, deuteranopia and tritanopia and stand
out by 3:1 from the page (`test_page.py` computes both); a sixth entry starts over with dashes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from leaderboard.board.standings import REFERENCE, Board, Standing, SuiteBoard

SHOWN = 11  # lines in a chart; more cannot be told apart
LIGHT_PAGE, DARK_PAGE = "#ffffff", "#151a21"
LIGHT = ("#1f2328", "#1832f9", "#aa9408", "#0093b9", "#7c1a8d", "#a63600")
DARK = ("#e8eaed", "#4c7dff", "#f9ad12", "#56c0ff", "#b97fb5", "#fc4a24")
MUTED, DARK_MUTED = "#66707a", "#a3adb8"  # what is not an entry: levels, labels
DASHES = ([1, 0], [6, 3], [2, 3])
DARK_OF = {**dict(zip(LIGHT, DARK, strict=True)), MUTED: DARK_MUTED}


@dataclass(frozen=True)
class Style:
    """Looks of an entry: a colour of `LIGHT` and a dash pattern (pixels on, pixels off)."""

    colour: str
    dash: tuple[int, ...]


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each name, in the order given; the reference is always the one in ink."""
    others = [name for name in dict.fromkeys(names) if name != REFERENCE]
    hues = LIGHT[1:]
    found = {REFERENCE: Style(LIGHT[0], (1, 0))}
    for position, name in enumerate(others):
        on, off = DASHES[position // len(hues) % len(DASHES)]
        found[name] = Style(hues[position % len(hues)], (on, off))
    return found


def board_styles(board: Board) -> dict[str, Style]:
    """Styles of all entries of a board, so that a name looks the same in every suite it is in."""
    return styles(standing.name for suite in board.suites for standing in suite.standings)


def shown(names: Iterable[str]) -> list[str]:
    """The entries that charts show when there are many: the reference and the best of the others, in their order."""
    ordered = list(names)
    others = [name for name in ordered if name != REFERENCE][: SHOWN - (REFERENCE in ordered)]
    return [name for name in ordered if name == REFERENCE or name in others]


def shown_standings(suite: SuiteBoard) -> list[Standing]:
    """The standings of those entries."""
    names = shown(standing.name for standing in suite.standings)
    return [standing for standing in suite.standings if standing.name in names]
