"""The charts as SVG and PDF files: for those without scripts, for papers and slides."""

from __future__ import annotations

import json
import re
from functools import lru_cache

from leaderboard.render.charts import vega
from leaderboard.render.charts.colours import MUTED
from leaderboard.render.charts.specs import Spec, still

WIDTH = 600  # pixels; on the page a chart is as wide as its place
_NUMBERED = re.compile(r"(?<=[\"#])(clip|gradient_)(\d+)(?=[\")])")


def picture(spec: Spec, title: str) -> str:
    """The chart as an SVG with its title, on white, the same text every time.

    Raises:
        ValueError: Vega-Lite cannot draw it.
    """
    return _drawn(json.dumps(static(spec, title), sort_keys=True))


@lru_cache(maxsize=256)  # a chart may stand on two pages
def _drawn(chart: str) -> str:
    svg = vega.draw(json.loads(chart))
    numbers: dict[str, str] = {}  # the converter numbers on from one picture to the next

    def again(match: re.Match[str]) -> str:
        return numbers.setdefault(match[0], f"{match[1]}{len(numbers)}")

    return _NUMBERED.sub(again, svg) + "\n"


def static(spec: Spec, title: str) -> Spec:
    """The chart without what answers to a pointer, in a frame of its own."""
    found = still(spec)
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
