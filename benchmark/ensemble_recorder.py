"""Follows the fit of an ensemble: every seed has its own curves, targets, end and record."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning import __version__ as lightning_version

from benchmark import environment
from benchmark.checkpoint import CHECKPOINT
from benchmark.ensemble_module import EnsembleModule
from benchmark.recorder import N_FIRST_LOSSES, RunRecorder, log_metrics
from benchmark.run import CONFIG, finished_record
from leaderboard.record import Record


def seed_folder(folder: Path, seed: int) -> Path:
    """Where the record of a seed lies in the run folder of its ensemble."""
    return folder / f"seed{seed}"


class EnsembleRecorder(Callback):
    """Takes the losses and evaluations of every seed, and ends a seed that is solved or has diverged: its record is
    written at once, and the others go on without it.

    Args:
        folder: run folder of the ensemble.
        recorders: of every seed, in folders of their own.
        configs: YAML from which the run of each seed alone can be repeated.
    """

    def __init__(self, folder: Path, recorders: Mapping[int, RunRecorder], configs: Mapping[int, str]) -> None:
        self.folder, self.recorders, self.configs = folder, dict(recorders), dict(configs)
        self.records: dict[int, Record] = {}
        self._module: EnsembleModule | None = None
        self._step = 0
        self._diverged: dict[int, str] = {}
        for recorder in self.recorders.values():
            recorder.ensemble_size = len(self.recorders)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the operations of a step; leave out the seeds that have ended before the run was cut short."""
        assert isinstance(pl_module, EnsembleModule)
        self._module = pl_module
        flops = environment.flops_per_token(pl_module.member(pl_module.seeds[0]).model, pl_module.task)
        for seed, recorder in self.recorders.items():
            recorder.flops_per_token = flops
            if (record := finished_record(recorder.folder)) is not None:
                self.records[seed] = record

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks."""
        assert isinstance(pl_module, EnsembleModule)
        for seed in pl_module.seeds:
            self.recorders[seed].on_train_start(trainer, pl_module)
        self._step = trainer.global_step
        self._end(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step."""
        assert isinstance(pl_module, EnsembleModule)
        self._step = trainer.global_step
        for seed in pl_module.seeds:
            if seed not in self._diverged:
                self.recorders[seed].step = trainer.global_step

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on it is evaluation."""
        assert isinstance(pl_module, EnsembleModule)
        for seed in pl_module.seeds:
            self.recorders[seed].eval_clock()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take in losses and evaluations, and end the seeds that are done."""
        assert isinstance(pl_module, EnsembleModule) and pl_module.evaluation is not None
        for seed in pl_module.seeds:
            self.recorders[seed].train_clock(running=False)  # what is written below is neither training nor evaluation
        log_metrics(trainer, {f"val/{name}": value for name, value in pl_module.evaluation.metrics.items()})
        if (loss := self._take_losses(pl_module)) is not None:
            log_metrics(trainer, {"train/loss_nats": loss, "train/seeds": len(pl_module.seeds)})
        for seed, evaluation in pl_module.evaluations.items():
            if seed not in self._diverged:
                self.recorders[seed].tracker.take(trainer.global_step, evaluation)
                if not math.isfinite(loss := evaluation.metrics["loss_nats"]):
                    self._diverged[seed] = f"held-out loss is {loss} at step {trainer.global_step}"
        self._end(trainer, pl_module)
        for seed in pl_module.seeds:
            self.recorders[seed].train_clock(running=not trainer.sanity_checking)

    def _take_losses(self, module: EnsembleModule) -> float | None:
        """Look at the losses since the last time, for the first ones and for seeds whose loss became NaN or infinite.

        That is at evaluations and checkpoints only, because reading them makes a GPU wait. The steps of a seed after it
        diverged do not count, so that its record is the one of a run alone.

        Returns:
            The mean of the last losses; None if there was no step.
        """
        losses_NE = module.take_losses()
        first_step = self._step - len(losses_NE) + 1
        for seed, losses in zip(module.seeds, losses_NE.T.tolist(), strict=True):
            recorder = self.recorders[seed]
            if seed in self._diverged:
                continue
            wrong = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), None)
            missing = N_FIRST_LOSSES - len(recorder.first_losses)
            recorder.first_losses += losses[:wrong][:missing]
            if wrong is not None:
                recorder.step = first_step + wrong
                self._diverged[seed] = f"training loss is {losses[wrong]} at step {recorder.step}"
        return losses_NE[-1].mean().item() if len(losses_NE) else None

    def _end(self, trainer: Trainer, module: EnsembleModule) -> None:
        """Write the records of the seeds that are done, and go on with the rest."""
        for seed in module.seeds:
            recorder = self.recorders[seed]
            if seed in self.records:
                continue
            if seed in self._diverged:
                self._write(module, seed, "diverged", self._diverged[seed])
            elif recorder.identity.protocol.stop_when_solved and recorder.tracker.all_hit:
                self._write(module, seed, recorder.outcome(), None)
        if left := [seed for seed in module.seeds if seed not in self.records]:
            module.keep(left)
        else:
            trainer.should_stop = True

    def write(self, module: EnsembleModule, status: str | None, error: str | None) -> list[Record]:
        """Write the records of the seeds that have none yet; all records, in the order of the seeds.

        Args:
            module: the LightningModule of the ensemble.
            status: how the seeds that still train end; None where nothing cut them short.
            error: what to say of it.

        Raises:
            OSError: if a file cannot be written.
        """
        self._take_losses(module)  # since the last evaluation
        for seed in module.seeds:
            if seed in self._diverged and seed not in self.records:
                self._write(module, seed, "diverged", self._diverged[seed])
            elif seed not in self.records:
                self._write(module, seed, status or self.recorders[seed].outcome(), error)
        return [self.records[seed] for seed in self.recorders]

    def _write(self, module: EnsembleModule, seed: int, status: str, error: str | None) -> None:
        recorder, member = self.recorders[seed], module.member(seed)
        recorder.folder.mkdir(exist_ok=True)
        (recorder.folder / CONFIG).write_text(self.configs[seed])
        steps = sum(min(other.step, recorder.step) for other in self.recorders.values())
        recorder.ensemble_tokens = steps * recorder.identity.protocol.tokens_per_step
        recorder.compile_s = module.step.capture_s if hasattr(module, "step") else 0.0
        weights = {"state_dict": member.state_dict(), "identity": recorder.identity.flat()}
        temporary = recorder.folder / f".{CHECKPOINT}.tmp"
        torch.save(weights | {"global_step": recorder.step, "pytorch-lightning_version": lightning_version}, temporary)
        temporary.replace(recorder.folder / CHECKPOINT)
        self.records[seed] = recorder.write(member, status, error)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed ensemble needs of every seed."""
        if self._module is not None:
            self._take_losses(self._module)
        return {
            "diverged": dict(self._diverged),
            "seeds": {
                seed: {"recorder": recorder.state_dict(), "tracker": recorder.tracker.state_dict()}
                for seed, recorder in self.recorders.items()
            },
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._diverged = dict(state_dict["diverged"])
        for seed, recorder in self.recorders.items():
            recorder.load_state_dict(state_dict["seeds"][seed]["recorder"])
            recorder.tracker.load_state_dict(state_dict["seeds"][seed]["tracker"])
