"""Checkpoints that are kept along the way: on a grid of steps, or around the steps at which something emerged."""

from contextlib import suppress
from typing import TYPE_CHECKING

from lightning import Trainer

from benchmark.config.run_config import RunConfig
from benchmark.training.emergence import part_hits_of
from benchmark.training.folder.checkpoint import save_weights
from benchmark.training.folder.layout import kept_checkpoint, kept_steps
from benchmark.training.folder.seed_log import SeedLog
from benchmark.training.processes import is_rank_zero
from leaderboard.whole_files import writing

if TYPE_CHECKING:
    from benchmark.training.module import EmergenceModule

MOST_AROUND_HITS = 96
"""Checkpoints that are kept around hits: three for each of 32."""


class Keeper:
    """Writes the checkpoints that a run keeps, after the evaluations that they belong to.

    A hit is known one evaluation later (it must hold twice), so around hits the last two evaluations wait in the folder
    until the next one decides.

    Args:
        every: steps between those that are kept; None for none.
        around_hits: keep the evaluation before the hit of every target and part, the one of it and the one after.
        resumable: keep the optimizer and the log too, from which training can go on.
    """

    def __init__(self, every: int | None = None, *, around_hits: bool = False, resumable: bool = False) -> None:
        self.every, self.around_hits, self.resumable = every, around_hits, resumable

    @classmethod
    def of(cls, config: RunConfig) -> "Keeper":
        """The one that a run asks for."""
        every = config.keep_every or (config.protocol.eval_every if config.keep_checkpoints == "every" else None)
        return cls(every, around_hits=config.keep_checkpoints == "around_hits", resumable=config.keep_resumable)

    def keep(self, trainer: Trainer, module: "EmergenceModule", logs: dict[int, SeedLog], step: int) -> None:
        """Keep the evaluation of this step, of the seeds that train; all processes call it.

        Raises:
            CannotWrite: if a file cannot be written.
        """
        if not (self.around_hits or self._on_grid(step)):
            return
        for seed in module.evaluations:
            log = logs[seed]
            path = kept_checkpoint(log.folder, step)
            if is_rank_zero():
                with writing(path):
                    for folder in (log.folder, path.parent):
                        folder.mkdir(exist_ok=True)
            if self.resumable:
                trainer.save_checkpoint(path)
            elif is_rank_zero():
                save_weights(path, module.model_of(seed), log.identity, step)
            self.tidy(log, waiting=2)

    def tidy(self, log: SeedLog, waiting: int = 0) -> None:
        """Remove what lies around no hit, but for the grid's and for those of the last evaluations."""
        if not (self.around_hits and is_rank_zero()):
            return
        steps = [row["step"] for row in log.curves]
        wanted = {*around(log), *steps[len(steps) - waiting :]}
        for step in kept_steps(log.folder):
            if step not in wanted and not self._on_grid(step):
                with suppress(OSError):  # an optional file less or more is no reason to end a run
                    kept_checkpoint(log.folder, step).unlink()

    def _on_grid(self, step: int) -> bool:
        return self.every is not None and step % self.every == 0


def around(log: SeedLog) -> list[int]:
    """The steps of the evaluations around the hits so far, targets before parts, earlier ones first; at most
    `MOST_AROUND_HITS`."""
    every = log.identity.protocol.eval_every
    parts = sorted(hit.step for hit in part_hits_of(log.curves) or () if hit.step is not None)
    targets = sorted(hit.step for hit in log.hits.values() if hit.step is not None)
    steps = [step + offset for step in [*targets, *parts] for offset in (-every, 0, every) if step + offset >= 0]
    return list(dict.fromkeys(steps))[:MOST_AROUND_HITS]
