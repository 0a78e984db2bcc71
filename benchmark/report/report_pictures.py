"""Pictures of a run: its staircase, and its maps at the start, before and after the largest jump, and at the end."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from benchmark.report.attention_part import truth_of_attention
from benchmark.report.frames import blocks
from benchmark.report.page_data import RunPart, nearest
from benchmark.report.run_folder import Floats
from benchmark.training.display.picture import curves_png, png_of

WORDS = {"start": "start", "before": "before the jump", "after": "after the jump", "end": "end"}
_SIDE = 190
"""Of the longer side of a map, in pixels."""


def pictures_of(part: RunPart) -> dict[str, bytes]:
    """PNG files by name: "staircase", and "attention" and "dependency" where maps were kept.

    Raises:
        RuntimeError: if one cannot be drawn.
    """
    pictures = {"staircase": curves_png(part.run.record, part.run.curves)}
    attention, dependency = part.attention, part.dependency
    if attention is not None and (maps := attention.row_maps):
        looks = [attention.looks[i] for i in attention.map_looks]
        pictures["attention"] = _maps_png(part, "attention of the head that serves each row", looks, maps)
    if dependency is not None and dependency.maps:
        looks = [dependency.looks[i] for i in dependency.map_looks]
        pictures["dependency"] = _maps_png(part, "dependency of each prediction", looks, dependency.maps)
    return pictures


def _maps_png(part: RunPart, title: str, looks: list[int], maps: list[Floats]) -> bytes:
    """Maps at each moment, and beside them the true pattern."""
    found = [
        (f"{WORDS[name]} ({looks[at := nearest(looks, step)]:,})", maps[at]) for name, step in part.moments.items()
    ]
    truth = part.grid.truth_RC
    if truth is not None:
        true = truth_of_attention(part.grid, maps[0]) if title.startswith("attention") else truth.astype(float)
        assert true is not None
        found.append(("true pattern", np.where(np.isnan(maps[0]), np.nan, true)))
    shown = [(name, blocks(map_RC)) for name, map_RC in found]
    top = max(float(np.nanmax(map_RC)) for _, map_RC in shown)
    panels = [_map(name, map_RC, top, part.grid.noun) for name, map_RC in shown]
    heading = alt.Title(f"{part.run.label}: {title}", anchor="start")
    return png_of(alt.hconcat(*panels, title=heading).configure_view(stroke=None).configure_axis(grid=False))


def _map(name: str, map_RC: Floats, top: float, noun: str) -> alt.Chart:
    n_rows, n_columns = map_RC.shape
    row, column = np.indices(map_RC.shape)
    values: dict[str, Any] = {noun: row.ravel(), "token": column.ravel(), "value": map_RC.ravel()}
    frame = pd.DataFrame(values).dropna()
    side = _SIDE / max(n_rows, n_columns)
    return (
        alt.Chart(frame, title=name)
        .mark_rect()
        .encode(
            x=alt.X("token:O", axis=None),
            y=alt.Y(f"{noun}:O", axis=alt.Axis(labels=n_rows <= 32, ticks=False, domain=False)),
            color=alt.Color("value:Q", scale=alt.Scale(domain=[0, top], scheme="blues"), title=None),
        )
        .properties(width=side * n_columns, height=side * n_rows)
    )
