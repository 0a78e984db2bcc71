"""The summary that a person reads when a command ends."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmark.config.errors import optional
from benchmark.training.folder.checkpoint import CHECKPOINT
from benchmark.training.folder.layout import CONFIG, CURVES, PICTURE, RECORD
from benchmark.training.folder.outcome import Outcome
from benchmark.training.loading import resume
from benchmark.training.module import EmergenceModule
from benchmark.training.processes import ignore_interrupts_beside_the_first, is_rank_zero
from leaderboard.records.record import Hit, Record
from leaderboard.streams import flushed, say
from leaderboard.whole_files import CannotWrite


def resume_and_print(folder: Path, *, begin_anew: bool = False, trust: bool = False) -> int:
    """Go on with the run in a folder and print how it ended; the exit code.

    Args:
        folder: run folder.
        begin_anew: as for `Run.fit`.
        trust: as for `load`.

    Raises:
        ValueError: one line, if this is no run folder or the run has ended.
    """
    ignore_interrupts_beside_the_first()
    run = resume(folder, begin_anew=begin_anew, trust=trust)
    assert run.outcome is not None
    if is_rank_zero():
        print_outcome(run.outcome, run.folder)
    return run.outcome.exit_code


def print_outcome(outcome: Outcome, folder: Path | None) -> None:
    """Print how a run, or an ensemble, ended and where its files are; after an error, the traceback first.

    Args:
        outcome: of the run.
        folder: its run folder.
    """
    assert folder is not None
    if outcome.error is not None and not isinstance(outcome.error, CannotWrite):
        with optional("standard error"):
            traceback.print_exception(outcome.error)
    with optional("the summary was not printed"):
        _print_ends(outcome, folder)
        sys.stdout.flush()
    flushed()
    for error in dict.fromkeys(record.error for record in outcome.records):
        if outcome.exit_code and error:
            status = next(record.status for record in outcome.records if record.error == error)
            say(f"error: run ended as {status}: {error}")


def _print_ends(outcome: Outcome, folder: Path) -> None:
    console = Console()
    if (folder / RECORD).exists():
        _print_run(outcome.records[0], folder, console)
    else:
        _print_ensemble(outcome.records, folder, console)
    if any(folder.glob("events.out.tfevents.*")):
        console.print(f"{'TensorBoard':>13}: tensorboard --logdir {folder}", soft_wrap=True, highlight=False)
    interrupted = any(record.status == "interrupted" for record in outcome.records)
    if interrupted:
        console.print(f"{'go on':>13}: python -m benchmark resume {folder}", soft_wrap=True, highlight=False)


def _print_run(record: Record, folder: Path, console: Console) -> None:
    """One run: its targets, its last evaluation, its files."""
    table = Table(title=f"{record.architecture.name} on {record.task.name}", title_justify="left", show_header=False)
    table.add_row("status", record.status + (f" ({record.error})" if record.error else ""))
    for target in record.protocol.targets:
        primary = "  (primary)" if target.name == record.protocol.primary else ""
        what = f"{target.name}: {target.metric} {target.op} {target.value:.4g}{primary}"
        table.add_row(what, _hit(record.hits[target.name], record))
    if record.final is not None:
        floor = "unknown" if record.floor_loss_nats is None else f"{record.floor_loss_nats:.4f}"
        table.add_row(
            f"loss at step {record.final.step} (nats)",
            f"{record.final.loss_nats:.4f}; floor {floor}, chance {record.chance_loss_nats:.4f}",
        )
        table.add_row("accuracy, exact match", f"{record.final.accuracy:.3f}, {record.final.exact_match:.3f}")
    speed = "" if record.tokens_per_s is None else f"; {record.tokens_per_s:,.0f} tokens/s"
    table.add_row("trained", f"{record.steps} steps, {record.tokens:,} tokens, {record.wall_train_s:.1f} s{speed}")
    if record.intervention is not None:
        table.add_row("intervention", f"{record.intervention.text}: this run cannot be part of an entry")
    for code in record.resumed:
        table.add_row("other code", f"from step {code.step} on: this run cannot be part of an entry")
    console.print(table)
    files = {RECORD: "record", CURVES: "curves", PICTURE: "plot", CONFIG: "configuration", CHECKPOINT: "checkpoint"}
    for name, what in files.items():
        if (folder / name).exists():
            console.print(f"{what:>13}: {folder / name}", soft_wrap=True, highlight=False)


def _print_ensemble(records: Sequence[Record], folder: Path, console: Console) -> None:
    """Many seeds: a line each, and where their folders are."""
    first = records[0]
    title = f"{first.architecture.name} on {first.task.name}, {len(records)} seeds"
    table = Table(title=title, title_justify="left")
    for column in ("init seed", "status", "steps", first.protocol.primary, "loss (nats)"):
        table.add_column(column, justify="left" if column == "status" else "right")
    for record in records:
        step = record.primary_step
        loss = "" if record.final is None else f"{record.final.loss_nats:.4f}"
        table.add_row(
            str(record.seeds.init_seed), record.status, str(record.steps), "" if step is None else f"step {step}", loss
        )
    console.print(table)
    solved = sum(record.status == "solved" for record in records)
    trained_s = max(record.wall_train_s for record in records)
    steps = sum(record.steps for record in records)
    speed = f", {steps / trained_s:.1f} seed-steps/s" if trained_s > 0 else ""
    console.print(f"{solved} of {len(records)} solved; {trained_s:.1f} s of training{speed}", highlight=False)
    console.print(f"{'records':>13}: {folder}/seed*/{RECORD}", soft_wrap=True, highlight=False)
    console.print(f"{'checkpoint':>13}: {folder / CHECKPOINT}", soft_wrap=True, highlight=False)


def _hit(hit: Hit, record: Record) -> str:
    if hit.step is None:
        return f"not within {record.steps} steps"
    return f"step {hit.step}" + ("" if hit.previous_step is None else f"  (not yet at {hit.previous_step})")


def print_evaluation(module: EmergenceModule, what: str) -> None:
    """Print the metrics that the module holds.

    Args:
        module: after a validation or test.
        what: name of the set.
    """
    assert module.evaluation is not None
    table = Table(title=what, title_justify="left", show_header=False)
    for name, value in module.evaluation.metrics.items():
        table.add_row(name, f"{value:.4f}")
    floor = module.task.floor_loss_nats
    table.add_row("floor of loss_nats", "unknown" if floor is None else f"{floor:.4f}")
    Console().print(table)
