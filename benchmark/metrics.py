"""Metrics on the held-out set: by position, and their summaries.

Shape letters: B sequences, L positions, V token values, S cells of a state, T states.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassExactMatch

from datamodules import States, Task


def next_token_loss(logits_BLV: Tensor, tokens: Tensor) -> Tensor:
    """Mean cross-entropy in nats over all L predicted positions.

    Args:
        logits_BLV: (B, L, V) for the first L tokens.
        tokens: (B, L + 1), the whole sequences.
    """
    return F.cross_entropy(logits_BLV.flatten(0, 1), tokens[:, 1:].flatten())


class MeanByPosition(Metric):
    """Mean over sequences of a quantity that each position has: sums and counts, so that chunks add up exactly.

    Args:
        n_positions: number of positions L.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, n_positions: int) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(n_positions, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, value_BL: Tensor) -> None:
        """Add the (B, L) values of B sequences."""
        self.total += value_BL.sum(0, dtype=torch.float64)
        self.count += value_BL.shape[0]

    def compute(self) -> Tensor:
        """(L,) float64."""
        return self.total / self.count


@dataclass(frozen=True)
class Evaluation:
    """Result of one pass over the held-out set.

    Args:
        metrics: loss_nats (all L positions), loss_scored_nats, accuracy (scored positions), exact_match (fraction of
            predicted states with every cell right), and the task's own.
        loss_L: mean loss by position in nats, (L,) on the CPU.
        accuracy_L: accuracy by position, (L,) on the CPU.
    """

    metrics: dict[str, float]
    loss_L: Tensor
    accuracy_L: Tensor


class HeldOutMetrics(nn.Module):
    """Accumulates the metrics of one pass over held-out sequences of a task.

    Args:
        task: says which positions are scored, and adds its own metrics.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        assert isinstance(task, States)  # of any other task each sequence may have scored positions of its own
        self.task = task
        self.loss = MeanByPosition(task.seq_len)
        self.correct = MeanByPosition(task.seq_len)
        self.accuracy = MulticlassAccuracy(task.vocab_size, average="micro", validate_args=False)
        self.exact_match = MulticlassExactMatch(task.vocab_size, validate_args=False)

    def update(self, logits_BLV: Tensor, tokens: Tensor) -> None:
        """Add B sequences: logits (B, L, V) for their first L tokens; tokens (B, L + 1)."""
        target_BL, predicted_BL = tokens[:, 1:], logits_BLV.argmax(-1)
        self.loss.update(F.cross_entropy(logits_BLV.transpose(1, 2), target_BL, reduction="none"))
        self.correct.update(predicted_BL == target_BL)
        first_scored = self.task.state_size - 1
        states = [x[:, first_scored:].reshape(-1, self.task.state_size) for x in (predicted_BL, target_BL)]
        self.accuracy.update(*states)
        self.exact_match.update(*states)

    def compute(self) -> Evaluation:
        """Everything that was added since the last reset."""
        loss_L, accuracy_L = self.loss.compute().cpu(), self.correct.compute().cpu()
        metrics = {
            "loss_nats": loss_L.mean().item(),
            "loss_scored_nats": loss_L[self.task.scored].mean().item(),
            "accuracy": self.accuracy.compute().item(),
            "exact_match": self.exact_match.compute().item(),
            **self.task.metrics(loss_L, accuracy_L),
        }
        return Evaluation(metrics, loss_L, accuracy_L)

    def reset(self) -> None:
        """Forget everything."""
        for metric in (self.loss, self.correct, self.accuracy, self.exact_match):
            metric.reset()
