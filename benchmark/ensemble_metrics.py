"""Metrics on the held-out sets of many seeds at once: those of `benchmark.metrics`, as vectors over seeds.

Shape letters: E seeds, B sequences, L positions, V token values, S cells of a state.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.metrics import Evaluation
from datamodules import States, Task


class EnsembleMetrics:
    """Accumulates the metrics of one pass over the held-out sequences of E seeds, on the device, without reading them.

    Args:
        task: of any of the seeds: says which positions are scored, and adds its own metrics.
        n_seeds: E.
        device: where logits will be.
    """

    def __init__(self, task: Task, n_seeds: int, device: torch.device) -> None:
        assert isinstance(task, States)  # as in HeldOutMetrics
        self.task = task
        self.loss_EL = torch.zeros(n_seeds, task.seq_len, dtype=torch.float64, device=device)
        self.correct_EL = torch.zeros(n_seeds, task.seq_len, dtype=torch.int64, device=device)
        self.exact_E = torch.zeros(n_seeds, dtype=torch.int64, device=device)
        self.n_sequences = 0

    def update(self, logits_EBLV: Tensor, tokens_EB: Tensor) -> None:
        """Add B sequences of every seed: logits (E, B, L, V) for their first L tokens; tokens (E, B, L + 1)."""
        target_EBL = tokens_EB[..., 1:]
        loss = F.cross_entropy(logits_EBLV.flatten(0, 2), target_EBL.flatten(), reduction="none")
        self.loss_EL += loss.view(target_EBL.shape).sum(1, dtype=torch.float64)
        correct_EBL = logits_EBLV.argmax(-1) == target_EBL
        self.correct_EL += correct_EBL.sum(1)
        states = correct_EBL[..., self.task.state_size - 1 :].unflatten(-1, (-1, self.task.state_size))
        self.exact_E += states.all(-1).sum((1, 2))
        self.n_sequences += target_EBL.shape[1]

    def compute(self) -> list[Evaluation]:
        """Of everything that was added, a seed an item."""
        loss_EL = (self.loss_EL / self.n_sequences).cpu()
        accuracy_EL = (self.correct_EL.double() / self.n_sequences).cpu()
        n_states = self.n_sequences * (self.task.n_states - 1)
        evaluations = []
        for loss_L, accuracy_L, exact in zip(loss_EL, accuracy_EL, self.exact_E.tolist(), strict=True):
            metrics = {
                "loss_nats": loss_L.mean().item(),
                "loss_scored_nats": loss_L[self.task.scored].mean().item(),
                "accuracy": accuracy_L[self.task.scored].mean().item(),
                "exact_match": exact / n_states,
                **self.task.metrics(loss_L, accuracy_L),
            }
            evaluations.append(Evaluation(metrics, loss_L, accuracy_L))
        return evaluations
