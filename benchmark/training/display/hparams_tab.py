"""TensorBoard's HPARAMS tab of a run that has ended: its options, hitting steps and last evaluation."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger

from leaderboard.records.record import FINAL_STATUSES, Record

FINAL = ("loss_nats", "accuracy", "exact_match")


def show_outcome(loggers: Iterable[Logger], options: Mapping[str, Any], records: Sequence[Record]) -> None:
    """Write the outcome of a run for the tab, if it has come to its end; a failure is a warning.

    Args:
        loggers: of the trainer; those of TensorBoard are written to.
        options: everything that decides the run, by name.
        records: of its seeds.
    """
    if not records or any(record.status not in FINAL_STATUSES for record in records):
        return
    plain = {name: x if isinstance(x, bool | int | float | str) else str(x) for name, x in options.items()}
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger) and not getattr(logger, "has_failed", False):
            try:
                _write(logger, plain, outcome_of(records), max(record.steps for record in records))
            except Exception as error:  # of a disk, or of TensorBoard itself
                warnings.warn(f"{logger.log_dir}: the HPARAMS tab was not written: {error}", stacklevel=2)


def outcome_of(records: Sequence[Record]) -> dict[str, float | None]:
    """Values by the names of their columns: the mean over seeds, None for a target that not every seed has reached."""
    first = records[0]
    values: dict[str, list[float | None]] = {
        **{f"hit_step/{name}": [record.hits[name].step for record in records] for name in first.hits},
        **{f"final/{name}": [getattr(record.final, name, None) for record in records] for name in FINAL},
        "final/steps": [record.steps for record in records],
    }
    means: dict[str, float | None] = {}
    for name, column in values.items():
        known = [value for value in column if value is not None]
        means[name] = fmean(known) if len(known) == len(column) else None
    return means


def _write(
    logger: TensorBoardLogger, options: Mapping[str, Any], outcome: Mapping[str, float | None], step: int
) -> None:
    """Every column is declared, also those without a value: the tab takes its columns from the first run it finds."""
    from torch.utils.tensorboard.summary import hparams

    writer = (
        logger.experiment._get_file_writer()
    )  # as Lightning does, which knows only a placeholder in the place of None
    for summary in hparams(dict(options), dict.fromkeys(outcome, 0.0)):
        writer.add_summary(summary, step)
    logger.log_metrics({name: value for name, value in outcome.items() if value is not None}, step)
    logger.finalize("success")
