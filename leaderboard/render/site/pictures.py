"""The charts as SVG files: for those without scripts, for papers and slides."""

from __future__ import annotations

import re
from typing import Any

from leaderboard.render import vega
from leaderboard.render.site.charts import Spec
from leaderboard.render.site.colours import MUTED

WIDTH = 600  # pixels; on the page a chart is as wide as its place
_NUMBERED = re.compile(r"(?<=[\"#])(clip|gradient_)(\d+)(?=[\")])")


def picture(spec: Spec, title: str) -> str:
    """The chart as an SVG with its title, on white, the same text every time.

    Raises:
        ValueError: Vega-Lite cannot draw it.
    """
    svg = vega.draw(static(spec, title))
    numbers: dict[str, str] = {}  # the converter numbers on from one picture to the next

    def again(match: re.Match[str]) -> str:
        return numbers.setdefault(match[0], f"{match[1]}{len(numbers)}")

    return _NUMBERED.sub(again, svg) + "\n"


def static(spec: Spec, title: str) -> Spec:
    """The chart without what answers to a pointer."""
    found = {key: value for key, value in spec.items() if key != "params"}
    found["params"] = [param for param in spec.get("params", []) if "select" not in param]
    if "layer" in spec:
        found["layer"] = [_still(layer) for layer in spec["layer"] if layer.get("name") not in {"band", "places"}]
    if spec.get("width") == "container":
        found["width"] = WIDTH
    axis = {"gridColor": "#e6e9ec", "labelColor": MUTED, "domainColor": "#b8c0c8", "tickColor": "#b8c0c8"}
    # The legend of a line chart has a stroke for each entry; that of a heat map is a ramp, which these leave alone.
    legend = {"orient": "bottom", "columns": 5, "symbolStrokeWidth": 2.5, "symbolSize": 260, "labelLimit": 150}
    return {
        **found,
        "title": {"text": title, "anchor": "start", "fontSize": 13, "offset": 10},
        "background": "#ffffff",
        "padding": 12,
        "config": {"font": "sans-serif", "axis": axis, "legend": legend, "view": {"stroke": None}, "aria": False},
    }


def _still(layer: dict[str, Any]) -> dict[str, Any]:
    encoding = {key: value for key, value in layer.get("encoding", {}).items() if key not in {"opacity", "tooltip"}}
    return {**layer, "encoding": encoding}
