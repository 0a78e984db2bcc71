"""The LightningModule of many seeds: trains E independent models in one process.

Shape letters: E seeds, B sequences, L positions, V token values, N steps.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor

from benchmark.ensemble import Ensemble
from benchmark.ensemble_metrics import EnsembleMetrics
from benchmark.ensemble_step import EnsembleStep
from benchmark.metrics import Evaluation
from benchmark.module import EmergenceModule
from benchmark.protocol import OptimizerConfig, Protocol
from datamodules import Rows, TaskDataModule, TaskEnsemble


class EnsembleData(LightningDataModule):
    """Hands the module the numbers of the sequences to read; it makes their tokens for every seed on its own device.

    Args:
        of_one_seed: the data module of any of the seeds: they differ in seeds only.
    """

    def __init__(self, of_one_seed: TaskDataModule) -> None:
        super().__init__()
        self.of_one_seed = of_one_seed

    def train_dataloader(self) -> Iterator[Rows]:
        """Endless: the trainer's max_steps ends it."""
        self.of_one_seed.trainer = self.trainer
        return self.of_one_seed.train_dataloader()  # type: ignore[return-value]

    def val_dataloader(self) -> Any:
        """The held-out sequences."""
        return self.of_one_seed.val_dataloader()

    def transfer_batch_to_device(self, batch: Rows, device: torch.device, dataloader_idx: int) -> Rows:
        """Numbers stay where they are."""
        return batch


class EnsembleModule(EmergenceModule):
    """Trains E seeds at once, as each would be alone: own weights, sequences, clipping, optimizer state, metrics.

    Args:
        members: the LightningModule of every seed alone, freshly initialised.
        seeds: their numbers.
        batch_size: sequences of every seed in a step.
        use_cuda_graph: capture the step on a CUDA device.

    Attributes:
        seeds: of the models that still train, in order.
        evaluations: by seed, of the last pass over the held-out sets.
        evaluation: their mean, for the progress bar and for callbacks that monitor it under ``val/``.
    """

    def __init__(
        self, members: Sequence[EmergenceModule], seeds: Sequence[int], batch_size: int, use_cuda_graph: bool = True
    ) -> None:
        first = members[0]
        optimizer: OptimizerConfig = first.optimizer_config
        protocol: Protocol = first.protocol
        super().__init__(first.model, first.task, optimizer, protocol)
        self.ensemble = Ensemble([member.model for member in members])
        del self.model  # the stacked parameters are the only ones to train and to save
        self.tasks = TaskEnsemble([member.task for member in members])
        self.task_of = {seed: member.task for seed, member in zip(seeds, members, strict=True)}
        self.seeds, self.batch_size, self.use_cuda_graph = list(seeds), batch_size, use_cuda_graph
        self.automatic_optimization = False
        self.evaluations: dict[int, Evaluation] = {}
        self.losses: list[Tensor] = []
        self._metrics: EnsembleMetrics | None = None

    def forward(self, tokens_EBL: Tensor) -> Tensor:
        """Next-token logits (E, B, L, V)."""
        return self.ensemble(tokens_EBL)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over the stacked parameters; every step sets the learning rate."""
        if self.device.type != "cpu":  # where other implementations run than those that were tried
            self.ensemble.try_mapping()
        if not self.ensemble.mapped:
            name = type(self.ensemble.template).__name__
            print(f"{name}: its seeds are computed one at a time: {self.ensemble.reason}", file=sys.stderr)
        self.step = EnsembleStep(
            self.ensemble, self.tasks, self.optimizer_config, self.batch_size, self.protocol.max_steps,
            self.use_cuda_graph,
        )  # fmt: skip
        return self.step.optimizer

    def training_step(self, batch: Rows, batch_idx: int) -> Tensor:  # type: ignore[override]
        """One step of every seed; the mean of their losses in nats."""
        self.step.prepare(batch.start // self.batch_size)
        captured = self.step.optimizer.captured is not None
        self.optimizers().step(None if captured else self.step.gradients)  # type: ignore[union-attr]
        self.losses.append(self.step.loss_E.clone())
        return self.step.loss_E.mean()

    def take_losses(self) -> Tensor:
        """Training losses since the last call: (N, E) on the CPU. Reading them is what makes a GPU wait."""
        losses = torch.stack(self.losses).cpu() if self.losses else torch.empty(0, len(self.seeds))
        self.losses = []
        return losses

    def on_validation_epoch_start(self) -> None:
        """Start a pass over the held-out sets."""
        self._metrics = EnsembleMetrics(self.task, len(self.seeds), self.device)

    def validation_step(self, batch: Rows, batch_idx: int) -> None:  # type: ignore[override]
        """Add a chunk of every seed's held-out sequences."""
        assert self._metrics is not None
        tokens_EB = self.tasks.rows(batch.start, batch.stop, batch.split, self.device)
        self._metrics.update(self.ensemble(tokens_EB[..., :-1]), tokens_EB)

    def on_validation_epoch_end(self) -> None:
        """Leave the results in `evaluations` and their mean in `evaluation`."""
        assert self._metrics is not None
        self.evaluations = dict(zip(self.seeds, self._metrics.compute(), strict=True))
        self.evaluation = _mean(list(self.evaluations.values()))
        self.log_dict({f"val/{name}": value for name, value in self.evaluation.metrics.items()}, logger=False)

    def member(self, seed: int) -> EmergenceModule:
        """The model of a seed that still trains, as a module of its own with its current weights."""
        model = self.ensemble.model(self.seeds.index(seed))
        return EmergenceModule(model, self.task_of[seed], self.optimizer_config, self.protocol).to(self.device)

    def keep(self, seeds: Sequence[int]) -> None:
        """Go on with these seeds only; the others cost nothing any more."""
        if list(seeds) == self.seeds:
            return
        indices = [self.seeds.index(seed) for seed in seeds]
        if hasattr(self, "step"):
            self.step.keep(indices)
        else:
            self.ensemble.keep(indices)
            self.tasks.keep(indices)
        self.losses = [loss_E[indices] for loss_E in self.losses]
        self.seeds = list(seeds)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Which seeds the stacked tensors belong to."""
        checkpoint["seeds"] = list(self.seeds)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Before the weights are loaded: those of seeds that had ended are not among them."""
        self.keep(checkpoint["seeds"])


def _mean(evaluations: Sequence[Evaluation]) -> Evaluation:
    names = evaluations[0].metrics
    return Evaluation(
        {name: sum(e.metrics[name] for e in evaluations) / len(evaluations) for name in names},
        torch.stack([e.loss_L for e in evaluations]).mean(0),
        torch.stack([e.accuracy_L for e in evaluations]).mean(0),
    )
