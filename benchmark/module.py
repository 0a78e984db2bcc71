"""The one LightningModule: trains any architecture on any task."""

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from architectures import SequenceModel
from benchmark.metrics import Evaluation, HeldOutMetrics, next_token_loss
from benchmark.protocol import OptimizerConfig, Protocol
from datamodules import Task


class EmergenceModule(LightningModule):
    """Next-token training of a sequence model on the stream of a task, and its evaluation on held-out sequences.

    A batch is (B, S*T) tokens; the model reads the first L = S*T - 1 and predicts the last L. The training loss is the
    mean cross-entropy over all L positions, the unpredictable first state included, as in arXiv 2606.25010.

    Args:
        model: the architecture.
        task: the task whose batches the data module delivers.
        optimizer: AdamW's settings.
        protocol: budget and evaluation grid.
    """

    def __init__(self, model: SequenceModel, task: Task, optimizer: OptimizerConfig, protocol: Protocol) -> None:
        super().__init__()
        self.model, self.task = model, task
        self.optimizer_config, self.protocol = optimizer, protocol
        self.held_out = HeldOutMetrics(task)
        self.evaluation: Evaluation | None = None

    def forward(self, tokens_BL: Tensor) -> Tensor:
        """Next-token logits (B, L, V)."""
        return self.model(tokens_BL)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Mean loss in nats over a (B, S*T) batch."""
        return next_token_loss(self.model(batch[:, :-1]), batch)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, with the learning rate set at every step."""
        optimizer, schedule = self.optimizer_config.build(self.model, self.protocol.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, *args: object, **kwargs: object) -> None:
        """Clip by the norm over all parameters, as `OptimizerConfig.clip_norm` says."""
        if self.optimizer_config.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.optimizer_config.clip_norm)

    def on_validation_epoch_start(self) -> None:
        """Start a pass over the held-out set."""
        self.held_out.reset()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Add the sequences of a (B, S*T) chunk."""
        self.held_out.update(self.model(batch[:, :-1]), batch)

    def on_validation_epoch_end(self) -> None:
        """Leave the result in `evaluation`, and for callbacks that monitor it under ``val/``."""
        self._conclude("val")

    def on_test_epoch_start(self) -> None:
        """Start a pass over the test set."""
        self.held_out.reset()

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        """Add the sequences of a (B, S*T) chunk."""
        self.held_out.update(self.model(batch[:, :-1]), batch)

    def on_test_epoch_end(self) -> None:
        """Leave the result in `evaluation`, and for callbacks that monitor it under ``test/``."""
        self._conclude("test")

    def _conclude(self, stage: str) -> None:
        self.evaluation = self.held_out.compute()
        self.log_dict({f"{stage}/{name}": value for name, value in self.evaluation.metrics.items()}, logger=False)
