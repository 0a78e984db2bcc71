"""The few training steps that checks of the contract make."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from architectures import SequenceModel
from benchmark.config.protocol import OptimizerConfig
from benchmark.training.step import Step

OPTIMIZER = OptimizerConfig(lr=3e-3, betas=(0.9, 0.999), warmup_steps=0)


def cross_entropy(model: SequenceModel, tokens: Tensor, scored: Tensor | slice = slice(None)) -> Tensor:
    """Mean next-token loss in nats on whole sequences (B, L + 1), over the `scored` ones of the L positions."""
    return F.cross_entropy(model(tokens[:, :-1])[:, scored].flatten(0, 1), tokens[:, 1:][:, scored].flatten())


def step_on(model: SequenceModel, batch: Callable[[], Tensor]) -> Step:
    """The suite's training step on whole sequences (B, L + 1), made anew by `batch` at every step."""
    return Step(model, lambda start: batch()[None], 1, OPTIMIZER, max_steps=1)
