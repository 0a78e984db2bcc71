"""Figures as HTML: a picture that says its numbers, in whose place a chart is drawn where scripts run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from leaderboard.board.standings import REFERENCE, BoardCell, Standing, SuiteBoard
from leaderboard.board.wording import count_text, median_text, typeset
from leaderboard.render.charts import series, specs, vega
from leaderboard.render.charts.colours import DARK_OF, Style
from leaderboard.render.charts.pictures import picture
from leaderboard.render.charts.specs import Spec
from leaderboard.render.site.pages import anchor, render
from leaderboard.statistics.tried_rates import TriedRate

NOTHING_TO_SHOW = Markup("")


@dataclass
class Figures:
    """The charts of one page.

    Attributes:
        root: path from the page to the folder of the site.
        entry: name of the entry that the page is of, which its charts' names begin with; none on other pages.
        specs: by id, for the page's data.
        pictures: SVG and PDF by file name, for the folder `figures/`.
    """

    root: str = ""
    entry: tuple[str, ...] = ()
    specs: dict[str, Spec] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)

    @property
    def data(self) -> dict[str, object]:
        """The data that the scripts read: charts, and the dark version of each colour."""
        return {"charts": self.specs, "dark": DARK_OF}

    def add(self, figure_id: str, spec: Spec, title: str, numbers: str, caption: str) -> Markup:
        """HTML of a figure.

        Args:
            figure_id: an id, also the name of its file.
            numbers: the figure in words and numbers: the text for those who do not see it.
            caption: text below it.
        """
        self.specs[figure_id] = {**spec, "description": f"{title}. {numbers}"}
        svg = picture(spec, title)
        self.pictures |= {f"{figure_id}.svg": svg.encode(), f"{figure_id}.pdf": vega.pdf(svg)}
        return render(
            "figure.html", figure_id=figure_id, title=title, numbers=numbers, caption=caption, size=_size(svg),
            root=self.root,
        )  # fmt: skip

    def emergence(self, suite: str, cell: BoardCell, shown: Sequence[Standing], looks: Mapping[str, Style]) -> Markup:
        """The Kaplan-Meier curves of a cell."""
        curves: list[series.Row] = []
        ticks: list[series.Row] = []
        parts, names = [], []
        for standing in shown:
            result = standing.results.get(cell.name)
            if result is None or result.curve is None:
                continue
            curves += series.emergence(standing.name, result)
            ticks += series.censored(standing.name, result)
            names.append(standing.name)
            median = typeset(median_text(result.median, cell.budget))
            parts.append(f"{standing.name}: {result.n_solved} of {result.n} solved, median {median}")
        spec = specs.emergence(curves, ticks, _only(looks, names))
        caption = "Kaplan-Meier estimate; a tick marks runs that ended unsolved. Point at a line for its 95 % band."
        numbers = "; ".join(parts) + "." if parts else "No run has an outcome."
        name = anchor(suite, *self.entry, cell.name, "solved")
        return self.add(name, spec, f"Solved: {cell.label}", numbers, caption)

    def loss(self, suite: str, cell: BoardCell, shown: Sequence[Standing], looks: Mapping[str, Style]) -> Markup:
        """The loss of one run per entry; nothing where no run has curves."""
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
            return NOTHING_TO_SHOW
        floor = "" if cell.floor_loss_nats is None else f", floor {cell.floor_loss_nats:.3f}"
        numbers = f"Chance {cell.chance_loss_nats:.3f} nats{floor}. {'; '.join(parts)}."
        caption = (
            "One run per entry: the seed with the median hitting step. Many evaluations are thinned to their extremes."
        )
        spec = specs.loss(curves, cell, _only(looks, names))
        return self.add(anchor(suite, cell.name, "loss"), spec, f"Loss: {cell.label}", numbers, caption)

    def runs(self, suite: str, cell: BoardCell, shown: Sequence[Standing], looks: Mapping[str, Style]) -> Markup:
        """Every single run: the metric of the target by step; nothing where no run has curves."""
        rows: list[series.Row] = []
        target, parts, names = None, [], []
        for standing in shown:
            result = standing.results.get(cell.name)
            if result is None:
                continue
            (target,) = (each for each in result.records[0].protocol.targets if each.name == cell.primary)
            if found := series.runs(standing.name, result, target.metric):
                rows += found
                names.append(standing.name)
                ended = [record for record in result.records if record.status in {"solved", "censored"}]
                hits = [record.primary_step for record in ended if record.primary_step is not None]
                parts.append(f"{standing.name}: {', '.join(f'{step:,}' for step in sorted(hits)) or 'none'}")
        if target is None or not rows:
            return NOTHING_TO_SHOW
        numbers = f"Steps at which runs reached {target.metric} {target.op} {target.value:g}: {'; '.join(parts)}."
        caption = "A line for each run, up to the dashed target. Point at one, or tap it, to see its seed."
        spec = specs.runs(rows, target.metric, target.value, _only(looks, names))
        return self.add(anchor(suite, cell.name, "runs"), spec, f"Single runs: {cell.label}", numbers, caption)

    def tuning(self, suite: str, tried: Sequence[TriedRate]) -> Markup:
        """Share solved and mean time, in budgets, at each learning rate that was tried; nothing where none is known."""
        if not tried:
            return NOTHING_TO_SHOW
        numbers = "; ".join(
            f"{row.task} at {row.learning_rate:g}: {row.n_solved} of {row.n} solved, {row.time:.2f} of the budget"
            + (", the best" if row.best else "")
            for row in tried
        )
        caption = "Seeds of the tuning alone. A large dot marks the best rate: the one with the least mean time."
        spec = specs.tuning(series.tuning(tried))
        title = "Learning rates that were tried"
        return self.add(anchor(suite, *self.entry, "tuning"), spec, title, f"{numbers}.", caption)

    def win_rates(self, suite: SuiteBoard, task: str, shown: Sequence[Standing], looks: Mapping[str, Style]) -> Markup:
        """Win rates on a task with their intervals; nothing while no entry has one."""
        rows = series.win_rates(task, shown)
        if not any(standing.task(task) for standing in shown):
            return NOTHING_TO_SHOW
        spec = specs.win_rates(rows, _only(looks, [row["entry"] for row in rows]))
        numbers = "; ".join(f"{row['entry']} {row['text']}" for row in rows) + "."
        cells = count_text(sum(cell.task == task for cell in suite.cells), "cell")
        caption = f"Mean over {cells}, with its 95 % interval. 50 %: neither is ahead more often."
        title = f"Win rate on {task}, against the {REFERENCE}"
        return self.add(anchor(suite.name, "win-rate", task), spec, title, numbers, caption)

    def difficulty(self, suite: SuiteBoard, shown: Sequence[Standing]) -> Markup:
        """Every entry in every cell: the colour is its win rate, the number the runs that solved the task."""
        rows = series.difficulty(suite, shown)
        if not any(row["rate"] is not None for row in rows):
            return NOTHING_TO_SHOW
        entries, cells = [standing.name for standing in shown], [cell.name for cell in suite.cells]
        numbers = "; ".join(f"{row['entry']} in {row['cell']}: {row['text']}, {row['win_rate']}" for row in rows) + "."
        caption = f"Colour: win rate against the {REFERENCE} in the cell. Number: runs that solved the task, of all."
        return self.add(
            anchor(suite.name, "difficulty"), specs.difficulty(rows, entries, cells), "Difficulty map", numbers, caption
        )

    def heat_maps(self, suite: SuiteBoard, shown: Sequence[Standing]) -> Markup:
        """Success over (S, s), wherever a suite has four such cells."""
        parts = []
        for position, cells in enumerate(series.difficulty_groups(suite)):
            rows = series.success(cells, shown)
            spec = specs.heat_maps(rows, [standing.name for standing in shown])
            knobs = [f"{knob} {value}" for knob, value in cells[0].knobs.items() if knob not in series.DIFFICULTY]
            title = "Solved within the budget" + (f", linear map ({', '.join(knobs)})" if knobs else "")
            numbers = "; ".join(f"{row['entry']} at S={row['S']}, s={row['s']}: {row['text']}" for row in rows) + "."
            caption = "Runs solved of all runs. A dashed box is a cell that the entry has not run."
            parts.append(self.add(anchor(suite.name, "success", str(position)), spec, title, numbers, caption))
        return Markup("\n").join(parts)


def _only(looks: Mapping[str, Style], names: Sequence[str]) -> dict[str, Style]:
    return {name: looks[name] for name in names}


def _size(svg: str) -> tuple[int, int]:
    """Width and height in pixels, so that the page does not jump when the picture arrives."""
    width, height = (re.search(rf'^<svg[^>]* {name}="([\d.]+)', svg) for name in ("width", "height"))
    assert width is not None and height is not None
    return round(float(width[1])), round(float(height[1]))
