"""Kaplan-Meier curves of a suite as a static SVG: a panel a cell, a line an entry, for README and LEADERBOARD.md.

The picture brings its own white ground, so that it reads on a dark page too. Its font is the one that vl-convert
carries: any other would move the labels from machine to machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from leaderboard.board.standings import BoardCell, Standing, SuiteBoard
from leaderboard.render import vega
from leaderboard.render.escape import visible
from leaderboard.render.markdown import has_curves
from leaderboard.render.site.colours import Style, styles

if TYPE_CHECKING:
    import altair as alt

N_OTHERS = 6  # lines beside the reference's; the site shows more
# The reference's line is solid. Where lines lie on one another, the dashes let each be seen.
DASHES = ([8, 3], [3, 2], [8, 3, 2, 3], [14, 3], [5, 2, 2, 2, 2, 2], [2, 4])
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
COLUMNS = 3
PANEL_WIDTH, PANEL_HEIGHT, PADDING = 198, 140, 14


def render(suite: SuiteBoard, style: Mapping[str, Style] | None = None) -> str | None:
    """The SVG, the same text for the same suite; None without an outcome in any cell.

    Args:
        style: colour by entry, as the site has them (default: those of a board of this suite alone).

    Shown are the reference and the `N_OTHERS` best others, those with the lowest ranks.
    """
    if not has_curves(suite):
        return None
    shown = drawn(suite)
    looks = styles(standing.name for standing in suite.standings) if style is None else style
    left_out = sum(any(result and result.curve for result in s.results.values()) for s in suite.standings) - len(shown)
    svg = vega.draw(
        # Not validated: the tests hold it against the schema, which takes its time.
        _chart(suite, shown, left_out, looks).to_dict(validate=False),
        config=_config([standing.name for standing in shown]),
    )
    words = f"Share of runs solved against optimizer step, suite {suite.name}: " + "; ".join(
        f"{cell.label}: " + ", ".join(_summary(standing, cell) for standing in shown) for cell in suite.cells
    )
    return _framed(svg, f"Kaplan-Meier curves of the suite {suite.name}", words)


def drawn(suite: SuiteBoard) -> list[Standing]:
    """The standings that get a line, in the order of the legend."""
    able = [s for s in suite.standings if any(result and result.curve for result in s.results.values())]
    others = [standing for standing in able if not standing.is_reference][:N_OTHERS]
    return [standing for standing in able if standing.is_reference or standing in others]


def points(standing: Standing, cell: BoardCell) -> list[tuple[float, float]]:
    """(step, share solved) from (0, 0) to the budget; the share holds from its step on. Empty without an outcome."""
    result = standing.results.get(cell.name)
    if result is None or result.curve is None:
        return []
    curve = result.curve
    # Rounded: the text of a last digit must not depend on how a machine adds.
    line = [(0.0, 0.0)]
    line += [
        (float(step), round(1 - float(survival), 6))
        for step, survival in zip(curve.steps, curve.survival, strict=True)
        if step <= cell.budget
    ]
    return [*line, (float(cell.budget), line[-1][1])]


def _summary(standing: Standing, cell: BoardCell) -> str:
    result = standing.results.get(cell.name)
    return f"{standing.name} {result.n_solved}/{result.n}" if result else f"{standing.name} missing"


def _chart(suite: SuiteBoard, shown: list[Standing], left_out: int, looks: Mapping[str, Style]) -> alt.ConcatChart:
    import altair as alt

    more = f"; {left_out} more entries in the tables" if left_out else ""
    title = alt.Title(
        f"Share of runs solved by a step, suite {visible(suite.name)}",
        subtitle=f"Kaplan-Meier, up to each cell's budget: further left and higher is better{more}",
        fontSize=15,
        fontWeight="bold",
        subtitleFontSize=13,
        subtitleColor="#444",
        subtitlePadding=5,
        offset=16,
    )
    panels = [_panel(shown, cell, place, looks) for place, cell in enumerate(suite.cells)]
    return alt.concat(*panels, columns=COLUMNS, title=title, spacing=18)


def _panel(shown: list[Standing], cell: BoardCell, place: int, looks: Mapping[str, Style]) -> alt.Chart:
    import altair as alt

    names = [standing.name for standing in shown]
    others = [standing.name for standing in shown if not standing.is_reference]
    dashes = dict.fromkeys(names, [1, 0]) | dict(zip(others, DASHES, strict=False))
    values = [
        {"entry": standing.name, "step": step, "share": share}
        for standing in shown
        for step, share in points(standing, cell)
    ]
    colour = alt.Scale(domain=names, range=[looks[name].colour for name in names])
    dash = alt.Scale(domain=names, range=[dashes[name] for name in names])
    x_axis = alt.Axis(values=[0, cell.budget / 2, cell.budget], format=",.0f", labelFlush=True)
    y_title = "share solved" if place % COLUMNS == 0 else None
    return (
        alt.Chart(alt.Data(values=values), title=visible(cell.label), width=PANEL_WIDTH, height=PANEL_HEIGHT)
        .mark_line(interpolate="step-after", strokeWidth=2.2, strokeCap="butt", clip=False)
        .encode(
            x=alt.X(
                "step:Q", title="optimizer step", scale=alt.Scale(domain=[0, cell.budget], nice=False), axis=x_axis
            ),
            y=alt.Y("share:Q", title=y_title, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=4)),
            color=alt.Color("entry:N", scale=colour, title=None),
            strokeDash=alt.StrokeDash("entry:N", scale=dash, title=None),
        )
    )


def _config(names: list[str]) -> dict[str, Any]:
    colours = {"labelColor": "#222", "titleColor": "#222", "domainColor": "#666", "tickColor": "#666"}
    # The legend is to be no wider than the panels: one row where it fits, else columns as wide as the longest name.
    widths = [60 + 8 * len(name) for name in names]
    in_a_row = len(names) if sum(widths) <= 800 else max(1, 760 // max(widths))
    return {
        "aria": False,  # a label on every mark says less than the description of the whole
        "background": None,
        "padding": PADDING,
        "font": FONT,
        "axis": {
            **colours,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "gridColor": "#e5e5e5",
        },
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
