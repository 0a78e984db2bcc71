"""AdamW and its schedule as PyTorch has them, one learning rate scheduler beside the optimizer."""

import math

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from benchmark.config.protocol import OptimizerConfig


def adamw(config: OptimizerConfig, model: nn.Module, max_steps: int) -> tuple[Optimizer, LambdaLR]:
    """Linear warm-up to the rate, then constant, or half a cosine to 0 at the end of the budget."""

    def factor(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        if config.schedule == "constant":
            return 1.0
        return (1 + math.cos(math.pi * (step - config.warmup_steps) / (max_steps - config.warmup_steps))) / 2

    optimizer = AdamW(model.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)
    return optimizer, LambdaLR(optimizer, factor)
