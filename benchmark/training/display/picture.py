"""The picture of a run: its losses and its emergence over training steps."""

import json
import subprocess
import sys
from pathlib import Path

import altair as alt
import pandas as pd

from leaderboard.records.record import Record
from leaderboard.whole_files import write_whole

_WIDTH, _HEIGHT = 640, 220
_MOST_LINES = 32
"""Lines of a panel: more than that cannot be told apart."""

_MOST_POINTS = _WIDTH
"""Points of a line: more than one per pixel cannot be seen, and 32 lines of 10,000 points take a minute to draw."""

_CONVERT = """
import sys, vl_convert
sys.stdout.buffer.write(vl_convert.vegalite_to_png(sys.stdin.read(), scale=2))
"""
_PATIENCE_S = 300.0

_STEP = alt.X("step:Q", title="optimizer step", scale=alt.Scale(nice=False))


def write_curves_plot(path: Path, record: Record, curves: pd.DataFrame) -> None:
    """Write the picture of a run, see `curves_png`.

    Raises:
        RuntimeError: if it cannot be drawn.
        CannotWrite: if it cannot be written.
    """
    write_whole(path, curves_png(record, curves))


def curves_png(record: Record, curves: pd.DataFrame) -> bytes:
    """A run drawn: mean loss between chance and floor; loss of each output position; what the targets measure.

    Args:
        record: the run's record.
        curves: one row per evaluation, as `recorder.curves_table` makes it.

    Raises:
        RuntimeError: if it cannot be drawn.
    """
    curves = _thinned(curves)
    task = ", ".join(f"{name} {value}" for name, value in record.task.config.items())
    hit = record.primary_step
    end = (
        f"{record.protocol.primary} at step {hit}" if hit is not None else f"{record.status} after {record.steps} steps"
    )
    title = alt.Title(
        f"{record.architecture.name} on {record.task.name} ({task}): {end}",
        subtitle=f"seeds: task {record.seeds.task_seed}, init {record.seeds.init_seed}, data {record.seeds.data_seed}",
        anchor="start",
    )
    panels = [_loss(record, curves), _positions(record, curves), _targets(record, curves)]
    chart = alt.vconcat(*panels, title=title).configure_view(stroke=None).configure_axis(grid=False)
    return png_of(chart)


def _thinned(curves: pd.DataFrame) -> pd.DataFrame:
    """At most `_MOST_POINTS` evaluations, evenly spaced, the first and the last among them."""
    n_rows = len(curves)
    if n_rows <= _MOST_POINTS:
        return curves
    return curves.iloc[[round(i * (n_rows - 1) / (_MOST_POINTS - 1)) for i in range(_MOST_POINTS)]]


def png_of(chart: alt.TopLevelMixin) -> bytes:
    """The picture, drawn by another process: the library ends the one in which it does not find the memory it wants.

    Raises:
        RuntimeError: if that process has failed.
    """
    # Altair refuses more than 5,000 rows by default; the number of points is bounded here already.
    with alt.data_transformers.enable("default", max_rows=None):
        content = json.dumps(chart.to_dict()).encode()
    # In a session of its own, so that Ctrl-C does not end it: it takes a second.
    command = [sys.executable, "-P", "-c", _CONVERT]
    done = subprocess.run(
        command, input=content, capture_output=True, timeout=_PATIENCE_S, start_new_session=True, check=False
    )
    if done.returncode < 0:
        raise RuntimeError(f"the process that draws was ended by signal {-done.returncode}")
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip().rpartition("\n")[2])
    return done.stdout


def _hits(record: Record) -> alt.Chart:
    """A vertical rule at each hitting step; targets hit at the same step share one."""
    names: dict[int, list[str]] = {}
    for name, hit in record.hits.items():
        if hit.step is not None:
            names.setdefault(hit.step, []).append(name)
    rows = [{"step": float(step), "target": ", ".join(targets)} for step, targets in names.items()]
    # Altair cannot tell the types of an empty table, so they are said.
    return alt.Chart(pd.DataFrame(rows, columns=["step", "target"])).encode(x=_STEP, text="target:N")


def _loss(record: Record, curves: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    lines = curves.melt("step", ["loss_nats", "loss_scored_nats"], var_name="loss", value_name="nats")
    lines["loss"] = lines["loss"].map({"loss_nats": "all positions", "loss_scored_nats": "predictable positions"})
    levels = {"chance": record.chance_loss_nats, "floor (all positions)": record.floor_loss_nats}
    level = pd.DataFrame([{"nats": v, "level": k} for k, v in levels.items() if v is not None])
    curve = (
        alt.Chart(lines)
        .mark_line(clip=True)
        .encode(x=_STEP, y=alt.Y("nats:Q", title="held-out loss (nats)"), color=alt.Color("loss:N", title="mean over"))
    )
    rule = alt.Chart(level).mark_rule(strokeDash=[6, 4]).encode(y="nats:Q")
    text = alt.Chart(level).encode(y="nats:Q", text="level")
    # A run starts at chance and ends at the floor: each name stands where the curve is not.
    chance = text.transform_filter("datum.level == 'chance'").mark_text(align="right", dy=-6)
    floor = text.transform_filter("datum.level != 'chance'").mark_text(align="left", dy=-6)
    names = alt.layer(chance.encode(x=alt.value(_WIDTH)), floor.encode(x=alt.value(4)))
    return alt.layer(_hits(record).mark_rule(strokeDash=[2, 3], color="#888"), curve, rule, names).properties(
        width=_WIDTH, height=_HEIGHT
    )


def _positions(record: Record, curves: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """The loss of each cell, averaged over the predicted states, where a task has states: the staircase of the linear
    map; of each position where it has none."""
    state_size = record.task.config.get("state_size")
    size = state_size if isinstance(state_size, int) else None
    by_position = curves["loss_by_position_nats"]
    title = "cell of the state" if size else "position"
    n_lines = size or len(by_position.iloc[0])
    shown = range(0, n_lines, -(-n_lines // _MOST_LINES))
    rows = [
        {"step": step, "line": line, "nats": float(losses[size - 1 + line :: size].mean() if size else losses[line])}
        for step, losses in zip(curves["step"], by_position, strict=True)
        for line in shown
    ]
    lines = (
        alt.Chart(pd.DataFrame(rows))
        .mark_line(strokeWidth=1.2, opacity=0.8, clip=True)
        .encode(
            x=_STEP,
            y=alt.Y("nats:Q", title=f"loss by {'cell' if size else 'position'} (nats)"),
            detail="line:N",
            color=alt.Color("line:Q", title=title, scale=alt.Scale(scheme="viridis")),
        )
    )
    return alt.layer(_hits(record).mark_rule(strokeDash=[2, 3], color="#888"), lines).properties(
        width=_WIDTH, height=_HEIGHT
    )


def _targets(record: Record, curves: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    own = [name for name in curves.columns if name in {"rows_solved", "accuracy_second_half"}]
    shares = ["accuracy", "exact_match", *own]
    lines = curves.melt("step", shares, var_name="metric", value_name="fraction")
    curve = (
        alt.Chart(lines)
        .mark_line(clip=True)
        .encode(
            x=_STEP,
            y=alt.Y("fraction:Q", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("metric:N", title="fraction"),
        )
    )
    names = _hits(record).mark_text(angle=270, align="left", baseline="bottom", dy=-4, color="#555")
    names = names.encode(y=alt.value(_HEIGHT - 4))
    return (
        alt.layer(_hits(record).mark_rule(strokeDash=[2, 3], color="#888"), curve, names)
        .resolve_scale(color="independent")
        .properties(width=_WIDTH, height=_HEIGHT)
    )
