"""The few training steps that checks of the contract make."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from architectures import SequenceModel


def cross_entropy(model: SequenceModel, tokens: Tensor, scored: Tensor | slice = slice(None)) -> Tensor:
    """Mean next-token loss in nats on whole sequences (B, L + 1), over the `scored` ones of the L positions."""
    return F.cross_entropy(model(tokens[:, :-1])[:, scored].flatten(0, 1), tokens[:, 1:][:, scored].flatten())


def adamw(model: SequenceModel) -> torch.optim.Optimizer:
    """AdamW at 3e-3, without weight decay."""
    return torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)


def train(model: SequenceModel, optimizer: torch.optim.Optimizer, batches: Iterable[Tensor]) -> None:
    """One step a batch of whole sequences, gradients clipped to norm 1."""
    for tokens in batches:
        optimizer.zero_grad()
        cross_entropy(model, tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
