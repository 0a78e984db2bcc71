"""Kaplan-Meier curves of a suite as a static SVG: a panel per cell, a line per entry, for README and LEADERBOARD.md.

The panels are the site's charts without what answers to a pointer. The picture brings its own white ground, so that it
reads on a dark page too. Its font is the one that vl-convert carries: any other would move the labels from machine to
machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from leaderboard.board.standings import BoardCell, Standing, SuiteBoard
from leaderboard.render.charts import series, specs, vega
from leaderboard.render.charts.colours import Style, styles
from leaderboard.render.escape import visible

N_OTHERS = 6  # lines beside the reference's; the site shows more
# The reference's line is solid. Where lines lie on one another, the dashes let each be seen.
DASHES = ((8, 3), (3, 2), (8, 3, 2, 3), (14, 3), (5, 2, 2, 2, 2, 2), (2, 4))
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
COLUMNS = 3
PANEL_WIDTH, PANEL_HEIGHT, PADDING = 198, 140, 14


def render(suite: SuiteBoard, style: Mapping[str, Style] | None = None) -> str | None:
    """The SVG, the same text for the same suite; None without an outcome in any cell.

    Args:
        style: colour by entry, as the site has them (default: those of a board of this suite alone).

    Shown are the reference and the `N_OTHERS` best others, those with the lowest ranks.
    """
    if not suite.has_curves:
        return None
    shown = drawn(suite)
    looks = styles(standing.name for standing in suite.standings) if style is None else style
    svg = vega.draw(chart(suite, looks), config=_config([standing.name for standing in shown]))
    words = f"Share of runs solved against optimizer step, suite {suite.name}: " + "; ".join(
        f"{cell.label}: " + ", ".join(_summary(standing, cell) for standing in shown) for cell in suite.cells
    )
    return _framed(svg, f"Kaplan-Meier curves of the suite {suite.name}", words)


def drawn(suite: SuiteBoard) -> list[Standing]:
    """The standings that get a line, in the order of the legend."""
    able = _able(suite)
    others = [standing for standing in able if not standing.is_reference][:N_OTHERS]
    return [standing for standing in able if standing.is_reference or standing in others]


def chart(suite: SuiteBoard, looks: Mapping[str, Style]) -> dict[str, Any]:
    """The Vega-Lite specification of all panels."""
    shown = drawn(suite)
    left_out = len(_able(suite)) - len(shown)
    more = f"; {left_out} more entries in the tables" if left_out else ""
    title = {
        "text": f"Share of runs solved by a step, suite {visible(suite.name)}",
        "subtitle": f"Kaplan-Meier, up to each cell's budget: further left and higher is better{more}",
        "fontSize": 15,
        "fontWeight": "bold",
        "subtitleFontSize": 13,
        "subtitleColor": "#444",
        "subtitlePadding": 5,
        "offset": 16,
    }
    dashes = iter(DASHES)
    dashed = {s.name: Style(looks[s.name].colour, (1, 0) if s.is_reference else next(dashes)) for s in shown}
    panels = [_panel(shown, cell, place, dashed) for place, cell in enumerate(suite.cells)]
    return {"concat": panels, "columns": COLUMNS, "title": title, "spacing": 18}


def _able(suite: SuiteBoard) -> list[Standing]:
    return [standing for standing in suite.standings if any(result.curve for result in standing.measured)]


def _summary(standing: Standing, cell: BoardCell) -> str:
    result = standing.results.get(cell.name)
    return f"{standing.name} {result.n_solved}/{result.n}" if result else f"{standing.name} missing"


def _panel(shown: list[Standing], cell: BoardCell, place: int, looks: Mapping[str, Style]) -> dict[str, Any]:
    """The lines of the site's chart of a cell, in a small frame."""
    rows = [
        row
        for s in shown
        if (result := s.results.get(cell.name)) is not None
        for row in series.emergence(s.name, result)
    ]
    spec = specs.still(specs.emergence(rows, [], looks))
    (line,) = (layer for layer in spec["layer"] if layer.get("name") == "lines")
    line["mark"] |= {"strokeCap": "butt", "clip": False}
    encoding = line["encoding"]
    encoding["x"] |= {
        "scale": {"domain": [0, cell.budget], "nice": False},
        "axis": {"values": [0, cell.budget / 2, cell.budget], "format": ",.0f", "labelFlush": True},
    }
    encoding["y"] |= {
        "title": "share solved" if place % COLUMNS == 0 else None,
        "axis": {"format": "%", "tickCount": 4},
    }
    for channel in ("color", "strokeDash"):
        del encoding[channel]["legend"]
    size = {"width": PANEL_WIDTH, "height": PANEL_HEIGHT, "title": visible(cell.label)}
    return {**size, "mark": line["mark"], "encoding": encoding, "data": {"values": rows}}


def _config(names: list[str]) -> dict[str, Any]:
    colours = {"labelColor": "#222", "titleColor": "#222", "domainColor": "#666", "tickColor": "#666"}
    sizes = {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
    # The legend is to be no wider than the panels: one row where it fits, else columns as wide as the longest name.
    widths = [60 + 8 * len(name) for name in names]
    in_a_row = len(names) if sum(widths) <= 800 else max(1, 760 // max(widths))
    return {
        "aria": False,  # a label on every mark says less than the description of the whole
        "background": None,
        "padding": PADDING,
        "font": FONT,
        "axis": {**colours, **sizes, "gridColor": "#e5e5e5"},
        "view": {"stroke": None},
        "title": {"fontSize": 12, "fontWeight": "normal", "anchor": "start", "frame": "group", "color": "#111"},
        "legend": {
            "orient": "bottom",
            "labelFontSize": 13,
            "labelLimit": 600,
            "symbolSize": 700,
            "symbolStrokeWidth": 2.2,
            "columns": in_a_row,
        },
    }


def _framed(svg: str, title: str, words: str) -> str:
    """The SVG with a white rounded ground, and with words for those who cannot see it."""
    opening = re.match(r"<svg[^>]*>", svg)
    if opening is None:
        raise RuntimeError(f"vl-convert gave no SVG: {svg[:60]!r}")
    head = opening.group()[:-1] + ' role="img">'
    ground = '<rect width="100%" height="100%" rx="12" fill="#ffffff"/>'
    described = f"<title>{escape(visible(title))}</title><desc>{escape(visible(words))}</desc>"
    return f"{head}{described}{ground}{svg[opening.end() :]}".rstrip("\n") + "\n"
