"""Emergence over the seeds of a series: the summary by size, and the charts of figures 1 and 2 of arXiv 2606.25010."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from benchmark.language.capability_record import CapabilityRecord
from benchmark.training.display.picture import png_of
from leaderboard.render.charts import vega
from leaderboard.statistics.survival import kaplan_meier, median
from leaderboard.whole_files import write_whole

_LONG = 10_000
"""Training of so many steps is drawn on an axis that is logarithmic but near 0, as its checkpoints are spaced."""

_WIDTH, _HEIGHT = 260, 170
_STATUS = {
    "emerged": "emerged",
    "left_censored": "there at the first checkpoint",
    "right_censored": "not by the last one",
}


@dataclass(frozen=True)
class EmergenceSummary:
    """Emergence of a capability in the models of a size.

    Attributes:
        size: of the models.
        capability: which.
        n: seeds whose search has ended.
        n_emerged: of them those in which it emerged between two checkpoints.
        n_at_first: those in which it was there at the first checkpoint.
        n_never: those in which it was not there at the last one.
        median_step: Kaplan-Meier median; None if it lies beyond the last checkpoint.
        low: end of its 95 % interval.
        high: the other end; None if the seeds do not bound it.
        first: earliest emergence step; None without one.
        last: latest one.
    """

    size: str
    capability: str
    n: int
    n_emerged: int
    n_at_first: int
    n_never: int
    median_step: float | None
    low: float | None
    high: float | None
    first: int | None
    last: int | None


def summaries(records: Sequence[CapabilityRecord]) -> list[EmergenceSummary]:
    """One summary for each size and capability, in the order in which they come first; unfinished searches left out."""
    groups: dict[tuple[str, str], list[CapabilityRecord]] = {}
    for record in records:
        if record.status != "unfinished":
            groups.setdefault((record.size, record.capability), []).append(record)
    return [_summary(size, capability, group) for (size, capability), group in groups.items()]


def _summary(size: str, capability: str, records: Sequence[CapabilityRecord]) -> EmergenceSummary:
    steps, there = zip(*(record.observation for record in records), strict=True)
    middle = median(steps, there)
    counts = [record.status for record in records]
    hits = [record.emergence_step for record in records if record.emergence_step is not None]
    return EmergenceSummary(
        size, capability, len(records), counts.count("emerged"), counts.count("left_censored"),
        counts.count("right_censored"), middle.step, middle.low, middle.high, min(hits, default=None),
        max(hits, default=None),
    )  # fmt: skip


def summary_json(records: Sequence[CapabilityRecord]) -> str:
    """The summaries and the step of every seed as JSON."""
    seeds = [
        {
            "size": record.size, "seed": record.seed, "capability": record.capability, "status": record.status,
            "emergence_step": record.emergence_step, "previous_step": record.previous_step,
            "method": record.method, "looked_at": len(record.looks), "jump": record.jump,
        }
        for record in records
    ]  # fmt: skip
    content = {"summaries": [asdict(summary) for summary in summaries(records)], "seeds": seeds}
    return json.dumps(content, indent=2, allow_nan=False)


def write_charts(records: Sequence[CapabilityRecord], out: Path) -> list[Path]:
    """Draw the charts of all finished searches as SVG and PNG files, and return their paths.

    Raises:
        ValueError: one line, if one cannot be drawn.
        RuntimeError: if the process that draws has failed.
        CannotWrite: if a file cannot be written.
    """
    ended = [record for record in records if record.status != "unfinished"]
    if not ended:
        return []
    charts = {"probability": probability_chart, "emergence": emergence_chart, "survival": survival_chart}
    return [path for name, chart in charts.items() for path in write_chart(chart(ended), out / name)]


def write_chart(chart: alt.TopLevelMixin, stem: Path) -> list[Path]:
    """Draw a chart as `stem`.svg and `stem`.png; raises as `write_charts`."""
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png")]
    with alt.data_transformers.enable("default", max_rows=None):
        svg = vega.draw(chart.to_dict())
    write_whole(paths[0], svg.encode())
    write_whole(paths[1], png_of(chart))
    return paths


def probability_chart(records: Sequence[CapabilityRecord]) -> alt.TopLevelMixin:
    """Figure 1: probability of the target against the step, a line for each seed; a point is a checkpoint looked at."""
    rows = [
        {"size": r.size, "capability": r.capability, "seed": r.seed, "step": look.step, "probability": look.probability}
        for r in records
        for look in r.looks
    ]
    encoded = alt.Chart(pd.DataFrame(rows)).encode(
        x=_step(records),
        y=alt.Y("probability:Q", title="probability of the target", scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("seed:N", title="seed", scale=alt.Scale(scheme="tableau20")),
    )
    lines = encoded.mark_line(strokeWidth=1.3) + encoded.mark_circle(size=22)
    return _panels(lines, records, "Probability of the target at the checkpoints that were looked at")


def emergence_chart(records: Sequence[CapabilityRecord]) -> alt.TopLevelMixin:
    """Figure 2: emergence step by size, a point for each seed and a bar at the median; triangles are censored."""
    sizes = list(dict.fromkeys(record.size for record in records))
    rows = [
        {"size": r.size, "capability": r.capability, "step": r.observation[0], "status": _STATUS[r.status]}
        for r in records
    ]
    middles = [
        {"size": found.size, "capability": found.capability, "step": found.median_step, "status": "median"}
        for found in summaries(records)
        if found.median_step is not None
    ]
    shape = alt.Shape(
        "status:N",
        title=None,
        scale=alt.Scale(domain=list(_STATUS.values()), range=["circle", "triangle-down", "triangle-up"]),
        legend=alt.Legend(orient="bottom"),
    )
    base = alt.Chart(pd.DataFrame([*rows, *middles])).encode(
        x=alt.X("size:N", sort=sizes, title="size", axis=alt.Axis(labelAngle=0)), y=_step(records, alt.Y)
    )
    points = base.transform_filter("datum.status != 'median'").mark_point(filled=True, size=55, opacity=0.7)
    bars = base.transform_filter("datum.status == 'median'").mark_tick(thickness=2, size=34, color="#1f2328")
    return _panels(points.encode(shape=shape) + bars, records, "Emergence step by size; bars are medians", rows=False)


def survival_chart(records: Sequence[CapabilityRecord]) -> alt.TopLevelMixin:
    """Kaplan-Meier curves: share of the seeds that have the capability by a step, with the 95 % band."""
    rows: list[dict[str, Any]] = []
    for found in summaries(records):
        group = [r for r in records if (r.size, r.capability) == (found.size, found.capability)]
        steps, there = zip(*(record.observation for record in group), strict=True)
        curve = kaplan_meier(steps, there)
        about = {"size": found.size, "capability": found.capability}
        rows.append({**about, "step": 0.0, "share": 0.0, "low": 0.0, "high": 0.0})
        for step, survival, low, high in zip(curve.steps, curve.survival, curve.low, curve.high, strict=True):
            band = {"low": None, "high": None} if math.isnan(low) else {"low": 1 - float(high), "high": 1 - float(low)}
            rows.append({**about, "step": float(step), "share": 1 - float(survival), **band})
    sizes = list(dict.fromkeys(record.size for record in records))
    frame = alt.Chart(pd.DataFrame(rows)).encode(
        x=_step(records), color=alt.Color("size:N", sort=sizes, title="size", scale=alt.Scale(scheme="tableau10"))
    )
    share = alt.Y("share:Q", title="share of the seeds", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%"))
    lines = frame.mark_line(interpolate="step-after").encode(y=share)
    bands = frame.mark_area(interpolate="step-after", opacity=0.15).encode(y=alt.Y("low:Q"), y2="high:Q")
    return _panels(bands + lines, records, "Share of the seeds that have the capability (Kaplan-Meier)", rows=False)


def _step(records: Sequence[CapabilityRecord], channel: Any = alt.X) -> Any:
    last = max(record.last_step for record in records)
    scale = alt.Scale(type="symlog", constant=1, nice=False) if last > _LONG else alt.Scale(nice=False)
    axis = alt.Axis(values=[0, 10, 100, 1000, 10_000, 100_000]) if last > _LONG else alt.Axis()
    return channel("step:Q", title="training step", scale=scale, axis=axis)


def _panels(
    layers: alt.LayerChart, records: Sequence[CapabilityRecord], title: str, *, rows: bool = True
) -> alt.TopLevelMixin:
    """A panel for each capability, and for each size where `rows` says so."""
    sizes = list(dict.fromkeys(record.size for record in records))
    order = list(dict.fromkeys(record.capability for record in records))
    facets: dict[str, Any] = {"column": alt.Column("capability:N", sort=order, title=None)}
    if rows and len(sizes) > 1:
        facets["row"] = alt.Row("size:N", sort=sizes, title=None)
    heading = alt.Title(title, subtitle=f"series {records[0].series}", anchor="start")
    sized = layers.properties(width=_WIDTH, height=_HEIGHT)
    return sized.facet(**facets).properties(title=heading).configure_view(stroke=None).configure_axis(grid=False)
