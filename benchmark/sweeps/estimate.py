"""The work that a sweep would do, and the time that it would take."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmark.config.files.yaml_text import from_text
from benchmark.config.parser import parse
from benchmark.sweeps.naming import CellNames
from benchmark.sweeps.plan import Plan, PlanEntry
from benchmark.sweeps.progress import duration, run_seconds
from benchmark.sweeps.state import outcome
from benchmark.training.display.terminal import tracked
from benchmark.training.measure import cpu_seconds, one_thread
from benchmark.training.run import Run, build
from datamodules import Rows


@dataclass
class Estimate:
    """An architecture on a cell.

    Attributes:
        entry: the architecture and the cell.
        todo: units that have not ended.
        done_s: seconds of each that is done.
        conflicts: one line for each unit whose folder holds something else.
        run_s: seconds of one run.
    """

    entry: PlanEntry
    todo: int = 0
    done_s: list[float] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    run_s: float = 0.0


def estimates(plan: Plan, out: Path) -> list[Estimate]:
    """The work to do, and its cost: from the records that are there, or measured on one step and one evaluation.

    A bar in the terminal shows how far the measuring is.

    Args:
        plan: the sweep.
        out: its folder.
    """
    found = {entry: Estimate(entry) for entry in plan.entries}
    for entry, seed in plan.runs():
        unit, estimate = entry.unit(seed), found[entry]
        try:
            record = outcome(out / unit.folder, unit, entry.identity_of(seed))
        except (ValueError, OSError) as error:
            estimate.conflicts.append(str(error))
            continue
        if record is None:
            estimate.todo += 1
        else:
            estimate.done_s.append(run_seconds(record))
    for entry, estimate in tracked(found.items(), "measuring"):
        if estimate.done_s:
            estimate.run_s = sum(estimate.done_s) / len(estimate.done_s)
        elif estimate.todo:
            config = parse(from_text(entry.config))
            estimate.run_s = whole_run_seconds(build(config.of_seed(plan.seeds[0])))
    return list(found.values())


def whole_run_seconds(run: Run) -> float:
    """CPU seconds of a run that uses its whole budget: of one thread, by one step and one chunk of an evaluation.

    The step before is left out, because it compiles.
    """
    module, data, protocol = run.module, run.data, run.config.protocol
    chunk = min(data.batch_size, data.eval_sequences)

    @torch.no_grad()
    def evaluate() -> None:
        module.on_validation_epoch_start()
        module.validation_step(Rows("eval", 0, chunk), 0)
        module.held_out.evaluations()

    with one_thread():
        step = module.new_step()
        chunks = (1 + protocol.max_steps // protocol.eval_every) * data.eval_sequences / chunk
        step(0)
        return protocol.max_steps * cpu_seconds(lambda: step(1)) + chunks * cpu_seconds(evaluate)


def print_plan(plan: Plan, out: Path, slots: int | None) -> int:
    """Print what the sweep would do; the exit code is 1 if something is in its way, otherwise 0.

    Args:
        plan: the sweep.
        out: its folder.
        slots: how many runs at once; None where that is not known.
    """
    console = Console()
    found = estimates(plan, out)
    table = Table()
    for column in ("cell", "architecture"):
        table.add_column(column)
    for column in ("to do", "done", "one run", "all"):
        table.add_column(column, justify="right", no_wrap=True)
    name = CellNames([each.entry.cell for each in found])
    for each in found:
        bound = "~" if each.done_s else "≤"
        costs = [f"{bound} {duration(s)}" for s in (each.run_s, each.todo * each.run_s)] if each.todo else ["", ""]
        table.add_row(name(each.entry.cell), each.entry.architecture, str(each.todo), str(len(each.done_s)), *costs)
    console.print(table)
    todo = sum(each.todo for each in found)
    total_s = sum(each.todo * each.run_s for each in found)
    bound = "about" if all(each.done_s for each in found if each.todo) else "at most"
    n = todo + sum(len(each.done_s) for each in found)
    line = f"{todo} of {n} runs to do: {bound} {duration(total_s)} of one core"
    if slots is not None:
        line += f", {bound} {duration(total_s / slots)} with {slots} at once"
    console.print(line + " (a run that is solved ends early)" * (bound == "at most"), highlight=False, soft_wrap=True)
    conflicts = [line for each in found for line in each.conflicts]
    for line in conflicts:
        console.print(f"in the way: {line}", highlight=False, markup=False, soft_wrap=True)
    return int(bool(conflicts))
