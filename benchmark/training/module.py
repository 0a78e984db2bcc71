"""The one LightningModule: trains E >= 1 seeds of any architecture on any task.

Shape letters: E seeds, B sequences, L positions, V token values, N steps.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor

from architectures import SequenceModel
from benchmark.config.protocol import OptimizerConfig, Protocol
from benchmark.metrics.held_out import Evaluation, HeldOutMetrics
from benchmark.training.biasing import Biasing
from benchmark.training.ensemble import Ensemble, logits_of
from benchmark.training.folder.old_checkpoints import upgrade
from benchmark.training.step import Step
from datamodules import Rows, Task, TaskEnsemble
from leaderboard.records.record import RecordedBias


class EmergenceModule(LightningModule):
    """Next-token training on streams of a task, and evaluation on held-out sequences, each seed as it would be alone.

    A batch is the numbers of the sequences to read; the module makes their tokens, (E, B, L + 1), on its own device. A
    model reads the first L and predicts the last L. The training loss is the mean cross-entropy over all L positions,
    the unpredictable ones included, as in arXiv 2606.25010.

    Optimisation is manual (`Step`), so that one training step serves one seed and many, inside a trainer and outside.

    Args:
        models: of every seed, freshly initialised: same class and options.
        tasks: of every seed: they differ in seeds only.
        optimizer: AdamW's settings.
        protocol: budget and evaluation grid.
        seeds: numbers of the seeds.
        batch_size: sequences of every seed in a step.
        use_cuda_graph: capture the step on a CUDA device.
        metrics: names of registered metrics to add to an evaluation.
        bias: added to the attention logits in training and evaluation, while it holds.

    Attributes:
        model: the only seed's model itself, or an `Ensemble`.
        task: of the first seed.
        seeds: of the models that still train, in order.
        evaluations: by seed, of the last pass over the held-out sets.
        evaluation: their mean, for the progress bar and for callbacks that monitor it under ``val/``.
        at: optimizer steps that the weights have seen, where no trainer counts them.
    """

    model: SequenceModel | Ensemble

    def __init__(
        self,
        models: Sequence[SequenceModel],
        tasks: Sequence[Task],
        optimizer: OptimizerConfig,
        protocol: Protocol,
        *,
        seeds: Sequence[int] = (0,),
        batch_size: int,
        use_cuda_graph: bool = False,
        metrics: Sequence[str] = (),
        bias: RecordedBias | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = models[0] if len(models) == 1 else Ensemble(models)
        self.task, self.tasks = tasks[0], TaskEnsemble(tasks)
        self.task_of = dict(zip(seeds, tasks, strict=True))
        self.optimizer_config, self.protocol = optimizer, protocol
        self.seeds, self.batch_size, self.use_cuda_graph = list(seeds), batch_size, use_cuda_graph
        self.metrics = tuple(metrics)
        self.held_out = HeldOutMetrics(self.task, len(self.seeds), self.metrics)
        self.evaluations: dict[int, Evaluation] = {}
        self.evaluation: Evaluation | None = None
        self.losses: list[Tensor] = []
        self.biasing = None if bias is None else Biasing(bias, self.tasks)
        self.at = 0
        self.step: Step | None = None

    def forward(self, tokens_EBL: Tensor, bias: Tensor | None = None) -> Tensor:
        """Next-token logits (E, B, L, V); the bias is as for `logits_of`."""
        return logits_of(self.model, tokens_EBL, bias)

    def new_step(self, share: int | None = None) -> Step:
        """The training step, with an optimizer that has seen nothing yet.

        Args:
            share: sequences that this process makes in a step; all of them by default.
        """
        if isinstance(self.model, Ensemble):
            if self.device.type != "cpu":  # where other implementations run than those that were tried
                self.model.try_mapping()
            if not self.model.mapped:
                name = type(self.model.template).__name__
                warnings.warn(f"{name}: its seeds are computed one at a time: {self.model.reason}", stacklevel=2)
        in_trainer = self._trainer is not None and not self.use_cuda_graph
        return Step(
            self.model,
            lambda start: self.tasks.rows_at(start, share or self.batch_size),
            self.batch_size,
            self.optimizer_config,
            self.protocol.max_steps,
            biasing=self.biasing,
            backward=self.manual_backward if in_trainer else Tensor.backward,
            use_cuda_graph=self.use_cuda_graph,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over the parameters; every step sets the learning rate."""
        self.step = self.new_step(self.batch_size // self.trainer.world_size)
        return self.step.optimizer

    def training_step(self, batch: Rows, batch_idx: int) -> Tensor:
        """One step of every seed; the mean of their losses in nats."""
        assert self.step is not None
        self.step.prepare(batch.start // self.batch_size, batch.start)
        captured = self.step.optimizer.captured is not None
        self.optimizers().step(None if captured else self.step.gradients)  # type: ignore[union-attr]
        self.losses.append(self.step.loss_E.clone())
        return self.step.loss_E.mean()

    def take_losses(self) -> Tensor:
        """Training losses since the last call, (N, E) on the device. Reading them is what makes a GPU wait."""
        losses = torch.stack(self.losses) if self.losses else torch.empty(0, len(self.seeds))
        self.losses = []
        return losses

    def on_validation_epoch_start(self) -> None:
        """Start a pass over the held-out sets."""
        self.held_out = HeldOutMetrics(self.task, len(self.seeds), self.metrics).to(self.device)

    def validation_step(self, batch: Rows, batch_idx: int) -> None:
        """Add a chunk of every seed's held-out sequences."""
        tokens_EB = self.tasks.rows(batch.start, batch.stop, batch.split, self.device)
        self.held_out.update(self(tokens_EB[..., :-1], self.bias_in(tokens_EB)), tokens_EB)

    def bias_in(self, tokens_EB: Tensor) -> Tensor | None:
        """The bias that an evaluation of the present weights adds to the attention logits; None for none."""
        if self.biasing is None:
            return None
        in_fit = self._trainer is not None and self._trainer.state.fn == "fit"
        return self.biasing(tokens_EB, self.trainer.global_step if in_fit else self.at)

    def on_validation_epoch_end(self) -> None:
        """Leave the results in `evaluations`, their mean in `evaluation`, and for callbacks under ``val/``."""
        self._conclude("val")

    def on_test_epoch_start(self) -> None:
        """Start a pass over the test sets."""
        self.on_validation_epoch_start()

    def test_step(self, batch: Rows, batch_idx: int) -> None:
        """Add a chunk of every seed's test sequences."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """As after a validation, under ``test/``."""
        self._conclude("test")

    def _conclude(self, stage: str) -> None:
        self.evaluations = dict(zip(self.seeds, self.held_out.evaluations(), strict=True))
        self.evaluation = mean_of(list(self.evaluations.values()))
        self.log_dict({f"{stage}/{name}": value for name, value in self.evaluation.metrics.items()}, logger=False)

    def model_of(self, seed: int) -> SequenceModel:
        """The model of a seed that still trains, with its current weights; a copy where it is one of many."""
        return self.model.model(self.seeds.index(seed)) if isinstance(self.model, Ensemble) else self.model

    def keep(self, seeds: Sequence[int]) -> None:
        """Go on with these seeds only; the others cost nothing any more."""
        if list(seeds) == self.seeds:
            return
        indices = [self.seeds.index(seed) for seed in seeds]
        if self.step is not None:
            self.step.keep(indices)
        else:
            assert isinstance(self.model, Ensemble)
            self.model.keep(indices)
        self.tasks.keep(indices)
        self.losses = [loss_E[indices] for loss_E in self.losses]
        self.seeds = list(seeds)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the seeds that the stacked tensors belong to, and the metrics that the curves have."""
        checkpoint["seeds"], checkpoint["metrics"] = list(self.seeds), list(self.metrics)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Before the weights are loaded: those of seeds that had ended are not among them."""
        upgrade(checkpoint, self.seeds)
        self.keep(checkpoint["seeds"])
        dtypes = {x.dtype for x in checkpoint["state_dict"].values() if x.is_floating_point()}
        if len(dtypes) == 1:  # or weights of 64-true would be rounded to float32 before the trainer converts the model
            self.model.to(dtypes.pop())


def mean_of(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The mean over seeds of every metric; the evaluation itself if there is one."""
    if len(evaluations) == 1:
        return evaluations[0]
    names = evaluations[0].metrics
    return Evaluation(
        {name: sum(e.metrics[name] for e in evaluations) / len(evaluations) for name in names},
        torch.stack([e.loss_L for e in evaluations]).mean(0),
        torch.stack([e.accuracy_L for e in evaluations]).mean(0),
    )
