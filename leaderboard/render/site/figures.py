"""Figures as HTML: a picture that says its numbers, in whose place a chart is drawn where scripts run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from leaderboard.board.standings import BoardCell, Standing, SuiteBoard
from leaderboard.render.site import charts, series, words
from leaderboard.render.site.charts import Spec
from leaderboard.render.site.colours import DARK_OF, Style
from leaderboard.render.site.html import anchor, text
from leaderboard.render.site.pictures import picture


@dataclass
class Figures:
    """The charts of one page.

    Attributes:
        specs: by id, for the page's data.
        svgs: pictures by file name, for the folder `figures/`; a page without pictures of its own has none.
    """

    specs: dict[str, Spec] = field(default_factory=dict)
    svgs: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> dict[str, object]:
        """What the scripts read."""
        return {"charts": self.specs, "dark": DARK_OF}

    def add(self, figure_id: str, spec: Spec, title: str, numbers: str, caption: str, drawn: bool = True) -> str:
        """HTML of a figure.

        Args:
            figure_id: an id, also the name of its file.
            numbers: what it shows, in words and numbers: the text for those who do not see it.
            caption: HTML below it.
            drawn: whether to make the picture; without it the numbers stand there until the chart is drawn.
        """
        self.specs[figure_id] = {**spec, "description": f"{title}. {numbers}"}
        of = f'<span class="sr"> of {text(title)}</span>'
        save = f'<button type="button" class="save" data-format="png" hidden>PNG{of}</button>'
        if drawn:
            svg = self.svgs[f"{figure_id}.svg"] = picture(spec, title)
            width, height = _size(svg)
            shown = (
                f'<img src="figures/{figure_id}.svg" alt="{text(f"{title}. {numbers}")}" width="{width}" '
                f'height="{height}" loading="lazy">'
            )
            links = f'<a class="save" href="figures/{figure_id}.svg" download>SVG{of}</a> {save}'
        else:
            shown = f"<p>{text(numbers)}</p>"
            links = f'<button type="button" class="save" data-format="svg" hidden>SVG{of}</button> {save}'
        return (
            f'<figure id="{figure_id}" data-chart="{figure_id}" aria-labelledby="{figure_id}-title"><div class="head">'
            f'<strong id="{figure_id}-title">{text(title)}</strong>'
            f'<span class="saves">{links}</span></div><div class="canvas">{shown}</div>'
            f"<figcaption>{caption}</figcaption></figure>"
        )


def emergence(
    figures: Figures,
    suite: str,
    cell: BoardCell,
    shown: Sequence[Standing],
    looks: Mapping[str, Style],
    drawn: bool = True,
) -> str:
    """The Kaplan-Meier curves of a cell."""
    curves: list[series.Row] = []
    ticks: list[series.Row] = []
    parts, names = [], []
    for standing in shown:
        result = standing.results.get(cell.name)
        if result is None or result.curve is None:
            continue
        rows, ends = series.emergence(standing.name, result, cell.budget)
        curves, ticks = [*curves, *rows], [*ticks, *ends]
        names.append(standing.name)
        parts.append(
            f"{standing.name}: {result.n_solved} of {result.n} solved, median {words.median(result, cell.budget)}"
        )
    spec = charts.emergence(curves, ticks, _only(looks, names))
    caption = "Kaplan-Meier estimate; a tick marks runs that ended unsolved. Point at a line for its 95 % band."
    numbers = "; ".join(parts) + "." if parts else "No run has an outcome."
    return figures.add(anchor(suite, cell.name, "solved"), spec, f"Solved: {cell.label}", numbers, caption, drawn)


def loss(figures: Figures, suite: str, cell: BoardCell, shown: Sequence[Standing], looks: Mapping[str, Style]) -> str:
    """The loss of one run an entry; nothing where no run has curves."""
    curves: list[series.Row] = []
    parts, names = [], []
    for standing in shown:
        result = standing.results.get(cell.name)
        rows = [] if result is None else series.staircase(standing.name, result, cell.chance_loss_nats)
        if rows:
            curves += rows
            names.append(standing.name)
            parts.append(
                f"{standing.name} (seed {rows[0]['seed']}): {rows[0]['loss']:.3f} at step {rows[0]['step']:,}, "
                f"{rows[-1]['loss']:.3f} at step {rows[-1]['step']:,}"
            )
    if not curves:
        return ""
    floor = "" if cell.floor_loss_nats is None else f", floor {cell.floor_loss_nats:.3f}"
    numbers = f"Chance {cell.chance_loss_nats:.3f} nats{floor}. {'; '.join(parts)}."
    caption = "One run an entry: the seed with the median hitting step. Many evaluations are thinned to their extremes."
    spec = charts.loss(curves, cell, _only(looks, names))
    return figures.add(anchor(suite, cell.name, "loss"), spec, f"Loss: {cell.label}", numbers, caption)


def headline(figures: Figures, suite: SuiteBoard, shown: Sequence[Standing], looks: Mapping[str, Style]) -> str:
    """Ratios with their intervals; nothing while no entry has one."""
    rows = series.ratios(shown)
    if not any(standing.ratio is not None and standing.ratio.estimate is not None for standing in shown):
        return ""
    spec = charts.headline(rows, _only(looks, [row["entry"] for row in rows]))
    numbers = "; ".join(f"{row['entry']} {row['text']}" for row in rows) + "."
    caption = "Time ratio stratified over all cells, 95 % interval; an open interval runs to the edge."
    title = f"Steps needed on {suite.name}, as a multiple of the reference's"
    return figures.add(anchor(suite.name, "headline"), spec, title, numbers, caption)


def heat_maps(figures: Figures, suite: SuiteBoard, shown: Sequence[Standing]) -> str:
    """Success over (S, s), wherever a suite has four such cells."""
    parts = []
    for position, cells in enumerate(series.difficulty_groups(suite)):
        rows = series.success(cells, shown)
        spec = charts.heat_maps(rows, [standing.name for standing in shown])
        other = [f"{knob} {value}" for knob, value in cells[0].knobs.items() if knob not in {"state_size", "n_nonzero"}]
        title = f"Solved within the budget, linear map ({', '.join(other)})" if other else "Solved within the budget"
        numbers = "; ".join(f"{row['entry']} at S={row['S']}, s={row['s']}: {row['text']}" for row in rows) + "."
        caption = "Runs solved of all runs. A dashed box is a cell that the entry has not run."
        parts.append(figures.add(anchor(suite.name, "success", str(position)), spec, title, numbers, caption))
    return "\n".join(parts)


def _only(looks: Mapping[str, Style], names: Sequence[str]) -> dict[str, Style]:
    return {name: looks[name] for name in names}


def _size(svg: str) -> tuple[int, int]:
    """Width and height in pixels, so that the page does not jump when the picture arrives."""
    head = svg[: svg.index(">")]
    width, height = (float(head.split(f' {name}="', 1)[1].split('"', 1)[0]) for name in ("width", "height"))
    return round(width), round(height)
