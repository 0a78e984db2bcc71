"""The charts as Vega-Lite specifications: templates in `vega_lite/`, filled with rows, entries and colours.

Colours are the light page's; `site.js` sets the dark ones. In a template a text like "$entries" stands for a value, or
for a part that several have, in `parts.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from leaderboard.board.standings import REFERENCE, BoardCell
from leaderboard.render.charts.colours import LIGHT, MUTED, Style
from leaderboard.render.charts.series import OFF_CHART, Row, rounded

Spec = dict[str, Any]
TEMPLATES = Path(__file__).with_name("vega_lite")


def emergence(curves: Sequence[Row], ticks: Sequence[Row], looks: Mapping[str, Style]) -> Spec:
    """Share solved against step, a step function per entry; its band shows when the entry is pointed at."""
    spec = _filled("emergence", looks, {"curves": curves, "ticks": ticks})
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
    low = rounded(min(0.0, *values, 0.0))
    high = rounded(min(max(1.08 * cell.chance_loss_nats, *values, 0.0), OFF_CHART * cell.chance_loss_nats))
    return _filled("loss", looks, {"curves": curves, "levels": levels}, low=low, high=high)


def win_rates(rows: Sequence[Row], looks: Mapping[str, Style]) -> Spec:
    """Share of pairs of runs in which the entry is ahead of the reference, with intervals; a line at one half."""
    spec = _filled("win_rates", looks, {"rates": rows, "half": [{"rate": 0.5}]})
    return {**spec, "height": 30 * max(len(rows), 2)}


def difficulty(rows: Sequence[Row], entries: Sequence[str], cells: Sequence[str]) -> Spec:
    """Entries by cells: the colour is the win rate against the reference, the number the runs that solved the task."""
    spec = _filled("difficulty", {}, {"cells": rows}, entries=list(entries), cells=list(cells))
    return {**spec, "height": 28 * max(len(entries), 2)}


def heat_maps(rows: Sequence[Row], entries: Sequence[str]) -> Spec:
    """Share solved over state size S and non-zeros per row s, one map per entry; missing cells stay blank."""
    return _filled("heat_maps", {}, {"cells": rows}, entries=list(entries))


def tuning(rows: Sequence[Row]) -> Spec:
    """Share solved, and time in budgets, against the learning rate, a line for each task."""
    return _filled("tuning", {}, {"rates": rows})


def runs(rows: Sequence[Row], metric: str, target: float, looks: Mapping[str, Style]) -> Spec:
    """The metric of the target against step, a panel for each entry and a line for each run."""
    words = {"rows_solved": "share of rows solved", "accuracy_second_half": "accuracy, second half of the states"}
    top = rounded(1.02 * max([target, *(row["value"] for row in rows)])) if metric.startswith("loss") else 1.02
    title = words.get(metric, metric.replace("_", " "))
    return _filled("runs", looks, {"runs": rows}, top=top, target=rounded(target), metric=title)


def still(spec: Spec) -> Spec:
    """A copy of a chart without what answers to a pointer."""
    found = {**spec, "params": [param for param in spec.get("params", []) if "select" not in param]}
    if "layer" in spec:
        layers = [layer for layer in spec["layer"] if layer.get("name") not in {"band", "places"}]
        found["layer"] = [{**layer, "encoding": _without(layer.get("encoding", {}))} for layer in layers]
    return found


def _without(encoding: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in encoding.items() if key not in {"opacity", "tooltip"}}


@cache
def _template(name: str) -> Any:
    return json.loads((TEMPLATES / f"{name}.json").read_text(encoding="utf-8"))


def _filled(name: str, looks: Mapping[str, Style], data: Mapping[str, Sequence[Row]], **values: Any) -> Spec:
    """A copy of a template with values in place of their names, and with its rows."""
    values = {
        "entries": list(looks),
        "colours": [style.colour for style in looks.values()],
        "dashes": [list(style.dash) for style in looks.values()],
        "ink": LIGHT[0],
        "muted": MUTED,
        "is_reference": f"datum.entry === '{REFERENCE}'",
        "ahead": f"pairs ahead of the {REFERENCE}",
        **values,
    }

    def copy(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: copy(part) for key, part in node.items()}
        if isinstance(node, list):
            return [copy(part) for part in node]
        if not isinstance(node, str) or not node.startswith("$"):
            return node
        part = node[1:]
        return values[part] if part in values else copy(_template("parts")[part])

    return {**copy(_template(name)), "datasets": {name: list(rows) for name, rows in data.items()}}
