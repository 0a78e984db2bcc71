"""Panels that figures are made of, as Vega-Lite specifications, and their SVG and PNG files.

Colours are those of the leaderboard's charts. A dot is a run, a line goes through the medians, and what the paper
reports is drawn hollow, dashed, beside it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

from benchmark.figures.figure_runs import FigureRun, Runs
from leaderboard.render.charts import vega
from leaderboard.render.charts.colours import DASHES, LIGHT, MUTED
from leaderboard.render.charts.series import rounded
from leaderboard.whole_files import write_whole

Spec = dict[str, Any]
Row = dict[str, Any]
RUN, UNSOLVED, PUBLISHED = "a run", "no hit within the budget", "published"
SHAPES = {RUN: "circle", UNSOLVED: "triangle-up", PUBLISHED: "diamond"}
_SHAPE = {
    "field": "what", "type": "nominal", "title": None, "scale": {"domain": list(SHAPES), "range": list(SHAPES.values())}
}  # fmt: skip
WIDTH, HEIGHT = 360, 250
ALONE = 540
"""Width of a panel that is the whole picture."""

CONFIG: Spec = {
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 14, "titleFontSize": 15, "titleFontWeight": "normal", "gridColor": "#e6e9ec",
        "labelColor": "#222", "titleColor": "#222", "domainColor": "#666", "tickColor": "#666",
    },
    "legend": {
        "orient": "bottom", "labelFontSize": 14, "titleFontSize": 14, "titleFontWeight": "normal", "symbolSize": 110,
        "labelLimit": 300, "columns": 3,
    },
    "title": {"fontSize": 15, "anchor": "start", "fontWeight": "normal", "color": "#111"},
    "header": {"labelFontSize": 14, "titleFontSize": 14, "labelColor": "#111"},
    "aria": False,
}  # fmt: skip


def hits(runs: Runs, target: str, x: Callable[[FigureRun], float], series: Callable[[FigureRun], str]) -> list[Row]:
    """Rows of `dots`: the hitting time of each run; at its budget where it has none."""
    return [
        {
            "x": x(run),
            "y": run.times[target] if run.times[target] < inf else run.budget,
            "series": series(run),
            "what": RUN if run.times[target] < inf else UNSOLVED,
        }
        for run in runs
    ]


def strip_rows(runs: Runs, target: str, name: Callable[[FigureRun], str]) -> list[Row]:
    """Rows of `strip`: the hitting time of each run; at its budget where it has none."""
    return [
        {"name": row["series"], "y": row["y"], "what": row["what"]} for row in hits(runs, target, lambda run: 0, name)
    ]


def losses(runs: Runs, x: Callable[[FigureRun], float], series: Callable[[FigureRun], str]) -> list[Row]:
    """Rows of `dots`: the loss at the end of each run."""
    return [{"x": x(run), "y": rounded(run.loss), "series": series(run), "what": RUN} for run in runs]


def dots(
    rows: Iterable[Row],
    published: Iterable[Row],
    *,
    x_title: str,
    y_title: str,
    title: str = "",
    x_log: bool = False,
    y_log: bool = True,
    series: Sequence[str] = (),
    levels: Mapping[str, float] | None = None,
) -> Spec:
    """A panel of runs over a knob.

    Args:
        rows: of runs, with x, y, series and what.
        published: rows with x, y and series.
        x_title, y_title: with units.
        title: of the panel.
        x_log, y_log: whether the axes are logarithmic; that of x in powers of 2.
        series: their order; those of the rows by default.
        levels: horizontal lines, by name.
    """
    runs = list(rows)
    papers = [{**row, "what": PUBLISHED} for row in published]
    names = list(series) or list(dict.fromkeys(row["series"] for row in [*runs, *papers]))
    xs = sorted({row["x"] for row in [*runs, *papers]})
    x_scale: Spec = (
        {"type": "log", "base": 2, "padding": 14, "nice": False} if x_log else {"zero": False, "padding": 14}
    )
    axis: Spec = {"values": xs, "format": "~g"} if len(xs) <= 10 else {"tickCount": 8}
    encoding = {
        "x": {"field": "x", "type": "quantitative", "title": x_title, "scale": x_scale, "axis": axis},
        "y": {
            "field": "y", "type": "quantitative", "title": y_title,
            "scale": {"type": "log", "padding": 10, "nice": False} if y_log else {"zero": False},
            "axis": {"format": "," if y_log else "~g", "tickCount": 6},
        },
        "color": {
            "field": "series", "type": "nominal", "title": None,
            "scale": {"domain": names, "range": [LIGHT[i % len(LIGHT)] for i in range(len(names))]},
            "legend": {} if len(names) > 1 else None,
        },
    }  # fmt: skip
    layers: list[Spec] = []
    if levels:
        level_rows = [{"name": name, "y": rounded(value)} for name, value in levels.items()]
        layers += _levels(level_rows)
    if papers:
        layers.append(_layer(papers, {"type": "line", "strokeDash": [5, 4], "opacity": 0.7}, encoding))
        layers.append(
            _layer(
                papers, {"type": "point", "size": 90, "filled": False, "strokeWidth": 2}, {**encoding, "shape": _SHAPE}
            )
        )
    if middles := _medians(runs):
        layers.append(_layer(middles, {"type": "line", "strokeWidth": 2.5}, encoding))
    if runs:
        mark = {"type": "point", "size": 55, "filled": True, "opacity": 0.6}
        layers.append(_layer(runs, mark, {**encoding, "shape": _SHAPE}))
    return {"width": WIDTH, "height": HEIGHT, "title": title, "layer": layers}


def _layer(rows: Sequence[Row], mark: Spec, encoding: Spec) -> Spec:
    return {"data": {"values": list(rows)}, "mark": mark, "encoding": encoding}


def _levels(rows: Sequence[Row]) -> list[Spec]:
    y = {"y": {"field": "y", "type": "quantitative"}}
    words = {"text": {"field": "name"}, "x": {"value": "width"}, **y}
    return [
        _layer(rows, {"type": "rule", "color": MUTED, "strokeDash": [2, 3]}, y),
        _layer(rows, {"type": "text", "align": "right", "dy": -6, "color": MUTED, "fontSize": 12}, words),
    ]


def _medians(rows: Sequence[Row]) -> list[Row]:
    """The median of each place and series, where most of its runs have a value."""
    places: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        places.setdefault((row["series"], row["x"]), []).append(row)
    found = []
    for (name, x), group in places.items():
        middle = median(inf if row["what"] == UNSOLVED else row["y"] for row in group)
        if middle < inf:
            found.append({"x": x, "y": rounded(middle), "series": name})
    return found


def curves(
    rows: Sequence[Row],
    *,
    y_title: str,
    title: str = "",
    levels: Mapping[str, float] | None = None,
    marks: Sequence[float] = (),
) -> Spec:
    """A panel of lines over optimizer steps.

    Args:
        rows: with step, value and series, and `faint` for those that are background.
        y_title: with its unit.
        title: of the panel.
        levels: horizontal lines, by name.
        marks: steps with a vertical line.
    """
    names = list(dict.fromkeys(row["series"] for row in rows))
    layers = _levels([{"name": name, "y": rounded(value)} for name, value in (levels or {}).items()])
    encoding = {
        "x": {
            "field": "step", "type": "quantitative", "title": "optimizer step",
            "axis": {"tickCount": 5, "format": ",.0f"},
        },
        "y": {"field": "value", "type": "quantitative", "title": y_title},
        "color": {
            "field": "series", "type": "nominal", "title": None, "legend": None,
            "scale": {"domain": names, "range": [LIGHT[i % len(LIGHT)] for i in range(len(names))]},
        },
        "strokeDash": {
            "field": "series", "type": "nominal", "legend": None,
            "scale": {"domain": names, "range": [list(DASHES[i // len(LIGHT) % 3]) for i in range(len(names))]},
        },
    }  # fmt: skip
    if marks:
        where = {"x": {"field": "step", "type": "quantitative"}}
        layers.append(
            _layer([{"step": step} for step in marks], {"type": "rule", "color": MUTED, "opacity": 0.5}, where)
        )
    layers.append(_layer(rows, {"type": "line", "strokeWidth": 2, "opacity": 0.85}, encoding))
    return {"width": WIDTH, "height": HEIGHT, "title": title, "layer": layers}


def intervals(rows: Sequence[Row], *, x_title: str, null: float, title: str = "", domain: Sequence[float] = ()) -> Spec:
    """A panel of estimates with their 95 % intervals, one above the other.

    Args:
        rows: with name, value, low and high, in the order from above.
        x_title: with its unit.
        null: has a vertical line.
        title: of the panel.
        domain: of the axis; that of the data by default.
    """
    scale = {"domain": list(domain)} if domain else {"zero": False}
    y = {"field": "name", "type": "nominal", "title": None, "sort": [row["name"] for row in rows],
         "axis": {"labelLimit": 260}}  # fmt: skip
    x = {"field": "value", "type": "quantitative", "title": x_title, "scale": scale}
    layers = [
        _layer([{"value": null}], {"type": "rule", "color": MUTED, "strokeDash": [2, 3]}, {"x": x}),
        _layer(
            rows,
            {"type": "rule", "color": LIGHT[1], "strokeWidth": 2.5},
            {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}},
        ),
        _layer(rows, {"type": "point", "filled": True, "size": 110, "color": LIGHT[1], "opacity": 1}, {"y": y, "x": x}),
    ]
    return {"width": WIDTH, "height": max(60, 34 * len(rows)), "title": title, "layer": layers}


def bars(rows: Sequence[Row], *, x_title: str, title: str = "") -> Spec:
    """A panel of stacked bars, one for each name.

    Args:
        rows: with name, series and value, in the order of bars and of their parts.
        x_title: with its unit.
        title: of the panel.
    """
    names, parts = (list(dict.fromkeys(row[key] for row in rows)) for key in ("name", "series"))
    encoding = {
        "y": {"field": "name", "type": "nominal", "title": None, "sort": names, "axis": {"labelLimit": 260}},
        "x": {"field": "value", "type": "quantitative", "title": x_title, "stack": "zero", "scale": {"nice": False}},
        "order": {"field": "place", "type": "ordinal"},
        "color": {
            "field": "series", "type": "nominal", "title": None,
            "scale": {"domain": parts, "range": [LIGHT[i % len(LIGHT)] for i in range(len(parts))]},
        },
    }  # fmt: skip
    placed = [{**row, "place": parts.index(row["series"])} for row in rows]
    layer = _layer(placed, {"type": "bar"}, encoding)
    return {"width": WIDTH, "height": max(80, 34 * len(names)), "title": title, "layer": [layer]}


def strip(
    rows: Sequence[Row],
    names: Sequence[str],
    *,
    x_title: str,
    title: str = "",
    marks: Mapping[str, float] | None = None,
) -> Spec:
    """A panel of runs in lines, one for each name, with a stroke at the median.

    Args:
        rows: with name, y (the value) and what.
        names: in the order from above.
        x_title: with its unit; the axis is logarithmic.
        title: of the panel.
        marks: vertical lines, by name.
    """
    y = {"field": "name", "type": "nominal", "title": None, "sort": list(names), "axis": {"labelLimit": 260}}
    x = {
        "field": "y", "type": "quantitative", "title": x_title, "scale": {"type": "log", "padding": 10, "nice": False},
        "axis": {"format": ",", "tickCount": 5},
    }  # fmt: skip
    keyed = _medians([{"series": row["name"], "x": 0.0, "y": row["y"], "what": row["what"]} for row in rows])
    middles = [{"name": row["series"], "y": row["y"]} for row in keyed]
    mark = {"type": "point", "size": 55, "filled": True, "opacity": 0.55, "color": LIGHT[1]}
    layers = [_layer(rows, mark, {"x": x, "y": y, "shape": _SHAPE})]
    height = max(80, 34 * len(names))
    if marks:
        at = [{"word": word, "y": value} for word, value in marks.items()]
        words = {"x": x, "y": {"value": height / 2}, "text": {"field": "word"}}
        layers.append(_layer(at, {"type": "rule", "color": MUTED, "strokeDash": [5, 4]}, {"x": x}))
        layers.append(_layer(at, {"type": "text", "align": "left", "dx": 5, "color": MUTED, "fontSize": 12}, words))
    if middles:
        tick = {"type": "tick", "thickness": 3, "size": 24, "color": LIGHT[0]}
        layers.append(_layer(middles, tick, {"x": x, "y": y}))
    return {"width": WIDTH, "height": height, "title": title, "layer": layers}


def beside(*panels: Spec, columns: int = 2) -> Spec:
    """Panels beside one another, in rows."""
    return {"concat": list(panels), "columns": columns, "spacing": 34}


def finished(spec: Spec, title: str, subtitle: str) -> Spec:
    """The whole picture, with its heading."""
    heading = {
        "text": title, "subtitle": subtitle, "fontSize": 18, "subtitleFontSize": 13, "subtitleColor": "#444",
        "anchor": "start", "offset": 14, "fontWeight": "bold",
    }  # fmt: skip
    panels = spec if "concat" in spec else beside({**spec, "width": ALONE})
    whole = _with_legend(panels, {kind for kind in SHAPES if shows(spec, kind)})
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json", **whole, "title": heading,
        "background": "#ffffff", "padding": 14, "config": CONFIG,
    }  # fmt: skip


def shows(part: Any, kind: str) -> bool:
    """Whether a row of a specification is of a kind."""
    if isinstance(part, Mapping):
        return part.get("what") == kind or any(shows(inner, kind) for inner in part.values())
    return isinstance(part, list) and any(shows(inner, kind) for inner in part)


def _with_legend(part: Any, kinds: set[str]) -> Any:
    """A copy of a specification whose legend of shapes names these kinds only."""
    if isinstance(part, list):
        return [_with_legend(inner, kinds) for inner in part]
    if not isinstance(part, Mapping):
        return part
    if part == _SHAPE:
        return {**part, "legend": {"values": [kind for kind in SHAPES if kind in kinds]}}
    return {key: inner if key == "data" else _with_legend(inner, kinds) for key, inner in part.items()}


def write_pictures(stem: Path, spec: Spec) -> list[Path]:
    """Write a picture as SVG and as PNG of twice its size; returns both paths.

    Raises:
        ValueError: one line, if it cannot be drawn.
        CannotWrite: if a file cannot be written.
    """
    svg = stable(vega.draw(spec))
    paths = [stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.png")]
    write_whole(paths[0], svg.encode())
    write_whole(paths[1], vega.png(svg))
    return paths


def stable(svg: str) -> str:
    """The SVG with its parts numbered from 0: the converter numbers on from one picture to the next."""
    numbers: dict[str, str] = {}
    return (
        re.sub(
            r"(?<=[\"#])(clip|gradient_)(\d+)(?=[\")])",
            lambda match: numbers.setdefault(match[0], f"{match[1]}{len(numbers)}"),
            svg,
        )
        + "\n"
    )
