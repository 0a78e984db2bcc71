"""The charts, as Vega-Lite specifications made with Altair. Colours are the light page's; `site.js` sets the dark ones.

The same rows give the same specification: whatever Altair would number has a name, because its counter goes on from one
chart to the next. Altair takes long for a chart, so those that a site has many of are made once (`_emergence`, `_loss`)
and filled with rows, entries and colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import altair as alt

from leaderboard.board.standings import REFERENCE, BoardCell
from leaderboard.render.charts.colours import LIGHT, MUTED, Style
from leaderboard.render.charts.series import OFF_CHART, Row, rounded

Spec = dict[str, Any]
HEIGHT = 270
_ENTRIES = "entries of the chart"  # stands for the names, colours and dashes until a chart is filled


def emergence(curves: Sequence[Row], ticks: Sequence[Row], looks: Mapping[str, Style]) -> Spec:
    """Share solved against step, a step function per entry; its band shows when the entry is pointed at."""
    spec = _filled(_emergence(), looks, {"curves": curves, "ticks": ticks})
    if not ticks:  # Vega warns of a layer without rows
        spec["layer"] = [layer for layer in spec["layer"] if layer["data"]["name"] != "ticks"]
        del spec["datasets"]["ticks"]
    return spec


def loss(curves: Sequence[Row], cell: BoardCell, looks: Mapping[str, Style]) -> Spec:
    """Held-out loss against step, one run per entry, between the losses of chance and of the floor."""
    levels = [{"level": "chance", "loss": rounded(cell.chance_loss_nats)}]
    if cell.floor_loss_nats is not None:
        levels.append({"level": "floor", "loss": rounded(cell.floor_loss_nats)})
    values = [row["loss"] for row in curves]
    spec = _filled(_loss(), looks, {"curves": curves, "levels": levels})
    low = rounded(min(0.0, *values, 0.0))
    high = rounded(min(max(1.08 * cell.chance_loss_nats, *values, 0.0), OFF_CHART * cell.chance_loss_nats))
    bounds = {"low": low, "high": high}
    spec["params"] = [
        {**param, "value": bounds[param["name"]]} if param["name"] in bounds else param for param in spec["params"]
    ]
    return spec


@lru_cache(maxsize=1)
def _emergence() -> Spec:
    x = alt.X("step:Q", title="optimizer step", scale=alt.Scale(nice=False, zero=True), axis=alt.Axis(tickCount=6))
    share = alt.Scale(domain=[0, 1])
    y = alt.Y("share:Q", title="share of runs that solved it", scale=share, axis=alt.Axis(format="%", tickCount=5))
    base = alt.Chart(alt.NamedData(name="curves")).encode(x=x, color=_colour())
    pointed = alt.SelectionPredicateComposition(**{"or": [_chosen("point"), _chosen("pick")]})
    band = (
        base.mark_area(interpolate="step-after", clip=True)
        .transform_filter("isValid(datum.low) && isValid(datum.high)")
        .encode(
            y=alt.Y("low:Q", scale=share),
            y2="high:Q",
            opacity=alt.when(pointed).then(alt.value(0.2)).otherwise(alt.value(0.0)),
        )
        .properties(name="band")
    )
    line = (
        base.mark_line(interpolate="step-after", clip=True)
        .encode(y=y, strokeDash=_dash(), strokeWidth=_width(), opacity=_faded())
        .properties(name="lines")
        .add_params(_picked())
    )
    tooltip = [
        alt.Tooltip("entry:N"),
        alt.Tooltip("step:Q", format=","),
        alt.Tooltip("share:Q", title="solved so far", format=".0%"),
        alt.Tooltip("low:Q", title="95 % band from", format=".0%"),
        alt.Tooltip("high:Q", title="to", format=".0%"),
    ]
    places = base.mark_circle(size=160, opacity=0).encode(y=y, tooltip=tooltip).properties(name="places")
    censored = (
        alt.Chart(alt.NamedData(name="ticks"))
        .mark_tick(orient="vertical", size=11, thickness=1.6, opacity=1)
        .encode(
            x=x,
            y=y,
            color=_colour(),
            opacity=_faded(),
            tooltip=["entry:N", alt.Tooltip("n:Q", title="runs unsolved"), alt.Tooltip("step:Q", format=",")],
        )
    )
    return _plain(alt.layer(band, line, censored, places.add_params(_pointed())))


@lru_cache(maxsize=1)
def _loss() -> Spec:
    low, high = alt.param(name="low", value=0.0), alt.param(name="high", value=1.0)
    scale = alt.Scale(domainMin=low, domainMax=high, nice=False, zero=False)
    x = alt.X("step:Q", title="optimizer step", scale=alt.Scale(nice=False, zero=True), axis=alt.Axis(tickCount=6))
    y = alt.Y("loss:Q", title="held-out loss (nats)", scale=scale, axis=alt.Axis(tickCount=5))
    base = alt.Chart(alt.NamedData(name="curves")).encode(x=x, y=y, color=_colour())
    line = (
        base.mark_line(clip=True)
        .encode(strokeDash=_dash(), strokeWidth=_width(), opacity=_faded())
        .properties(name="lines")
        .add_params(_picked())
    )
    tooltip = ["entry:N", "seed:Q", alt.Tooltip("step:Q", format=","), alt.Tooltip("loss:Q", format=".4f")]
    places = base.mark_circle(size=120, opacity=0).encode(tooltip=tooltip).properties(name="places")
    rules = alt.Chart(alt.NamedData(name="levels")).encode(y=y)
    rule = rules.mark_rule(strokeDash=[3, 4], color=MUTED)
    label = rules.mark_text(align="right", dx=-4, dy=-6, fontSize=11, color=MUTED)
    label = label.encode(x=alt.value("width"), text="level:N")
    return _plain(alt.layer(rule, line, label, places.add_params(_pointed())).add_params(low, high))


def headline(rows: Sequence[Row], looks: Mapping[str, Style]) -> Spec:
    """Times the steps of the reference, on a logarithmic scale, with intervals; an open end runs to the edge."""
    ends = [value for row in rows for value in (row["ratio"], row["low"], row["high"]) if value is not None]
    bottom, top = min(0.5, *(0.9 * end for end in ends)), max(2.0, *(1.1 * end for end in ends))
    scale = alt.Scale(type="log", base=2, domain=[bottom, top], nice=False)
    powers = [2.0**power for power in range(-6, 7) if bottom <= 2.0**power <= top]
    x = alt.X(
        "ratio:Q",
        title=[f"times the steps of the {REFERENCE}", "(left: faster, right: slower)"],
        scale=scale,
        axis=alt.Axis(values=powers, labelExpr="datum.value + '×'"),
    )
    order = [row["entry"] for row in rows]
    y = alt.Y("entry:N", title=None, sort=order, axis=alt.Axis(ticks=False, domain=False, labelLimit=150))
    colour = alt.Color("entry:N", legend=None, scale=_scale("colour"))
    drawn = [{**row, "from": row["low"] or bottom, "to": row["high"] or top} for row in rows]
    base = alt.Chart(alt.NamedData(name="ratios")).encode(y=y, color=colour, tooltip=["entry:N", "text:N"])
    interval = base.mark_rule(strokeWidth=2.5, opacity=0.55).encode(x=alt.X("from:Q", scale=scale), x2="to:Q")
    estimate = base.mark_circle(size=110, opacity=1).encode(x=x)
    one = alt.Chart(alt.NamedData(name="one")).mark_rule(color=LIGHT[0], strokeDash=[4, 3]).encode(x="ratio:Q")
    spec = _plain(alt.layer(one, interval, estimate))
    return {**_filled(spec, looks, {"ratios": drawn, "one": [{"ratio": 1}]}), "height": 30 * max(len(rows), 2)}


def heat_maps(rows: Sequence[Row], entries: Sequence[str]) -> Spec:
    """Share solved over state size S and non-zeros per row s, one map per entry; what is missing stays blank."""
    base = alt.Chart().encode(
        x=alt.X("S:O", title="state size S", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("s:O", title="non-zeros per row s", sort="descending"),
        tooltip=["entry:N", "S:O", "s:O", alt.Tooltip("text:N", title="solved")],
    )
    blank = base.mark_rect(filled=False, stroke=MUTED, strokeWidth=0.6, strokeDash=[2, 2])
    filled = (
        base.mark_rect()
        .transform_filter("isValid(datum.share)")
        .encode(
            color=alt.Color(
                "share:Q",
                title="share solved",
                scale=alt.Scale(scheme="cividis", domain=[0, 1]),
                legend=alt.Legend(format="%", orient="bottom", direction="horizontal", tickCount=5, gradientLength=190),
            )
        )
    )
    on_dark, on_light, on_page = alt.value("#ffffff"), alt.value("#14181d"), alt.value(MUTED)
    numbers = base.mark_text(fontSize=11).encode(
        text="text:N",
        color=alt.when("!isValid(datum.share)").then(on_page).when("datum.share < 0.5").then(on_dark)
        .otherwise(on_light),
    )  # fmt: skip
    panel = alt.layer(blank, filled, numbers).properties(width=alt.Step(48), height=alt.Step(36))
    facet = alt.Facet("entry:N", title=None, sort=list(entries), header=alt.Header(labelFontWeight="bold"))
    chart = panel.facet(facet, columns=4, data=alt.NamedData(name="cells")).resolve_axis(x="independent")
    spec = _plain(chart)
    del spec["height"], spec["width"]
    return {**spec, "datasets": {"cells": list(rows)}}


def still(spec: Spec) -> Spec:
    """A copy of a chart without what answers to a pointer."""
    found = {**spec, "params": [param for param in spec.get("params", []) if "select" not in param]}
    if "layer" in spec:
        layers = [layer for layer in spec["layer"] if layer.get("name") not in {"band", "places"}]
        found["layer"] = [{**layer, "encoding": _without(layer.get("encoding", {}))} for layer in layers]
    return found


def _without(encoding: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in encoding.items() if key not in {"opacity", "tooltip"}}


def _scale(kind: str) -> alt.Scale:
    return alt.Scale(domain=[_ENTRIES], range=[kind] if kind == "colour" else [[1, 0]])


def _colour() -> alt.Color:
    return alt.Color("entry:N", title=None, scale=_scale("colour"), legend=_legend())


def _dash() -> alt.StrokeDash:
    return alt.StrokeDash("entry:N", title=None, scale=_scale("dash"), legend=_legend())


def _legend() -> alt.Legend:
    return alt.Legend(symbolType="stroke", symbolOpacity=1)


def _width() -> Any:
    return alt.when(f"datum.entry === '{REFERENCE}'").then(alt.value(2.8)).otherwise(alt.value(1.8))


def _pointed() -> alt.Parameter:
    return alt.selection_point(name="point", fields=["entry"], on="pointerover", nearest=True, clear="pointerout")


def _picked() -> alt.Parameter:
    return alt.selection_point(name="pick", fields=["entry"], bind="legend")


def _chosen(name: str) -> Any:
    return {"param": name, "empty": False}


def _faded() -> Any:
    both = alt.SelectionPredicateComposition(**{"and": [{"param": "point"}, {"param": "pick"}]})
    return alt.when(both).then(alt.value(1.0)).otherwise(alt.value(0.18))


def _plain(chart: Any) -> Spec:
    spec: Spec = chart.to_dict(validate=False)  # the tests hold it against the schema, which takes half a second
    spec.pop("config", None)  # Altair's own, which names colours
    return {**spec, "width": "container", "height": HEIGHT}


def _filled(template: Spec, looks: Mapping[str, Style], data: Mapping[str, Sequence[Row]]) -> Spec:
    """A copy of the chart with these entries in place of the placeholder, and with its rows."""

    def copy(node: Any) -> Any:
        if isinstance(node, list):
            return [copy(part) for part in node]
        if not isinstance(node, dict):
            return node
        if node.get("domain") == [_ENTRIES]:
            colours = node["range"] == ["colour"]
            ranges = [style.colour if colours else list(style.dash) for style in looks.values()]
            return {**node, "domain": list(looks), "range": ranges}
        return {key: copy(part) for key, part in node.items()}

    return {**copy(template), "datasets": {name: list(rows) for name, rows in data.items()}}
