"""Metrics on the held-out set: by position, and their summaries, for E >= 1 seeds at once.

Shape letters: E seeds, B sequences, L positions, V token values, U units that are right as a whole (states, sequences).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from benchmark.metrics.registry import BASIC, METRICS
from datamodules import Task

_SUMMARIES = ("loss_scored", "accuracy", "exact_match")


def next_token_loss(logits_BLV: Tensor, tokens: Tensor) -> Tensor:
    """Mean cross-entropy in nats over all L predicted positions.

    Args:
        logits_BLV: (B, L, V) for the first L tokens.
        tokens: (B, L + 1), the whole sequences.
    """
    return F.cross_entropy(logits_BLV.flatten(0, 1), tokens[:, 1:].flatten())


@dataclass(frozen=True)
class Evaluation:
    """Result of one pass of one seed over the held-out set.

    Args:
        metrics: loss_nats (all L positions), loss_scored_nats, accuracy (scored positions), exact_match (share of the
            task's units, states or sequences, that are right as a whole), the task's own, and the extra ones.
        loss_L: mean loss by position in nats, (L,) on the CPU.
        accuracy_L: accuracy by position, (L,) on the CPU.
        parts_P: which of the task's parts are solved, (P,) bool on the CPU; it has none where P = 0.
    """

    metrics: dict[str, float]
    loss_L: Tensor
    accuracy_L: Tensor
    parts_P: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))


class HeldOutMetrics(Metric):
    """Accumulates one pass over the held-out sequences of E seeds, as sums on the device that nothing reads meanwhile.

    Every process of a run sees the whole held-out set, so nothing is reduced between them.

    Args:
        task: of any of the seeds: says which positions are scored, and adds its own metrics.
        n_seeds: E.
        extra: names of registered metrics to add.

    Raises:
        ValueError: if one of these has the name of one of the task's own.
    """

    full_state_update = False
    loss_EL: Tensor
    correct_EL: Tensor
    scored_loss_E: Tensor
    scored_correct_E: Tensor
    scored_E: Tensor
    exact_E: Tensor
    units_E: Tensor
    n_sequences: Tensor
    extra_NE: Tensor

    def __init__(self, task: Task, n_seeds: int = 1, extra: Sequence[str] = ()) -> None:
        super().__init__(sync_on_compute=False)
        self.task, self.extra = task, tuple(extra)
        nothing_L = torch.zeros(task.seq_len)
        if twice := sorted({*extra} & task.metrics(nothing_L, nothing_L).keys()):
            raise ValueError(
                f"--metrics {', '.join(twice)}: task {task.name} has a metric of this name, which every run has"
            )
        shapes = {"loss_EL": (n_seeds, task.seq_len), "correct_EL": (n_seeds, task.seq_len), "n_sequences": ()}
        shapes["extra_NE"] = (len(self.extra), n_seeds)
        for name in ("scored_loss_E", "scored_correct_E", "scored_E", "exact_E", "units_E"):
            shapes[name] = (n_seeds,)
        for name, shape in shapes.items():
            dtype = torch.float64 if "loss" in name or name == "extra_NE" else torch.int64
            self.add_state(name, torch.zeros(shape, dtype=dtype), dist_reduce_fx=None)

    def update(self, logits_EBLV: Tensor, tokens_EB: Tensor) -> None:
        """Add B sequences of every seed: logits (E, B, L, V) for their first L tokens; tokens (E, B, L + 1)."""
        target_EBL = tokens_EB[..., 1:]
        loss = F.cross_entropy(logits_EBLV.flatten(0, 1).transpose(1, 2), target_EBL.flatten(0, 1), reduction="none")
        loss_EBL, correct_EBL = loss.view(target_EBL.shape), logits_EBLV.argmax(-1) == target_EBL
        self.loss_EL += loss_EBL.sum(1, dtype=torch.float64)
        self.correct_EL += correct_EBL.sum(1)
        scored_EBL = self.task.scored_in(tokens_EB)
        exact_EBU = self.task.exact(correct_EBL, scored_EBL)
        self.exact_E += exact_EBU.sum((1, 2))
        self.units_E += exact_EBU[0].numel()
        if self.task.scored is None:
            self.scored_loss_E += (loss_EBL * scored_EBL).sum((1, 2), dtype=torch.float64)
            self.scored_correct_E += (correct_EBL & scored_EBL).sum((1, 2))
            self.scored_E += scored_EBL.sum((1, 2))
        self.n_sequences += target_EBL.shape[1]
        for i, name in enumerate(self.extra):
            try:
                value_EB = METRICS[name](logits_EBLV, tokens_EB, scored_EBL.expand(target_EBL.shape))
            except Exception as error:
                raise ValueError(f"metric {name} raised {type(error).__name__}: {error}") from error
            self.extra_NE[i] += _checked(name, value_EB, target_EBL).sum(1, dtype=torch.float64)

    def compute(self) -> dict[str, Tensor]:
        """Means of everything that was added since the last reset, on the CPU, a row or an element per seed."""
        loss_EL, accuracy_EL = ((x / self.n_sequences).cpu() for x in (self.loss_EL, self.correct_EL.double()))
        scored_L = self.task.scored
        if scored_L is None:
            loss_scored_E = (self.scored_loss_E / self.scored_E).cpu()
            right_E, scored_E = self.scored_correct_E, self.scored_E
        else:  # a mean over positions, since all have the same number of sequences
            loss_scored_E = torch.stack([loss_L[scored_L].mean() for loss_L in loss_EL])
            right_E = self.correct_EL[:, scored_L.to(self.correct_EL.device)].sum(1)
            scored_E = self.n_sequences * int(scored_L.sum())
        # Divided in float32, as torchmetrics does, so that records keep their digits.
        accuracy_E, exact_E = right_E.float() / scored_E, self.exact_E.float() / self.units_E
        return {
            "loss_EL": loss_EL,
            "accuracy_EL": accuracy_EL,
            "loss_scored_E": loss_scored_E,
            "accuracy_E": accuracy_E.cpu(),
            "exact_match_E": exact_E.cpu(),
            "extra_EN": (self.extra_NE / self.n_sequences).cpu().T,
        }

    def evaluations(self) -> list[Evaluation]:
        """The same as numbers with the task's own metrics, one item per seed.

        Raises:
            ValueError: if an added metric is not finite although the loss is.
        """
        # torchmetrics makes a scalar of whatever has one element, like the loss of one seed at one position
        means = {name: x.view(len(self.extra_NE.T), -1) for name, x in self.compute().items()}
        summaries = zip(*(means[f"{name}_E"].flatten().tolist() for name in _SUMMARIES), strict=True)
        rows = zip(means["loss_EL"], means["accuracy_EL"], summaries, means["extra_EN"].tolist(), strict=True)
        found = []
        for loss_L, accuracy_L, of_seed, added in rows:
            metrics = dict(zip(BASIC, (loss_L.mean().item(), *of_seed), strict=True))
            metrics |= self.task.metrics(loss_L, accuracy_L)
            for name, value in zip(self.extra, added, strict=True):
                if not math.isfinite(value) and math.isfinite(metrics["loss_nats"]):
                    raise ValueError(f"metric {name} is {value}, although the held-out loss is finite")
                metrics[name] = value
            found.append(Evaluation(metrics, loss_L, accuracy_L, self.task.parts_solved(loss_L, accuracy_L)))
        return found


def _checked(name: str, value_EB: object, target_EBL: Tensor) -> Tensor:
    """The values of an added metric.

    Raises:
        ValueError: if they are not one real number per sequence, on the device of the tokens.
    """
    expected = f"metric {name} must return a value per sequence, {tuple(target_EBL.shape[:2])}, on {target_EBL.device}"
    if not isinstance(value_EB, Tensor):
        raise ValueError(f"{expected}; it returned {type(value_EB).__name__}")
    if value_EB.shape != target_EBL.shape[:2] or value_EB.is_complex() or value_EB.device != target_EBL.device:
        raise ValueError(f"{expected}; it returned {tuple(value_EB.shape)}, {value_EB.dtype}, on {value_EB.device}")
    return value_EB
