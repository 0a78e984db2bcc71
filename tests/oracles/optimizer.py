"""AdamW and its schedule as PyTorch has them, one learning rate scheduler beside the optimizer."""

import math

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from benchmark.config.protocol import OptimizerConfig

UNDECAYED = (
    "A_log",
    ".w1",
    ".w2",
    ".a1",
    ".a2",
    ".v1",
    ".v2",
    ".g1",
    ".g2",
    ".r_k",
    "mixing.x",
    "nu_log",
    "theta_log",
    "gamma_log",
    ".B",
)
"""Ends of names of what the authors of Mamba, RWKV-7 and LRU do not decay; vectors nobody does."""


def adamw(config: OptimizerConfig, model: nn.Module, max_steps: int) -> tuple[Optimizer, LambdaLR]:
    """Linear warm-up to the rate, then constant, or half a cosine to 0 at the end of the budget."""

    def factor(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        if config.schedule == "constant":
            return 1.0
        return (1 + math.cos(math.pi * (step - config.warmup_steps) / (max_steps - config.warmup_steps))) / 2

    undecayed = {name for name, p in model.named_parameters() if p.dim() < 2 or name.endswith(UNDECAYED)}
    groups = [
        {
            "params": [p for name, p in model.named_parameters() if (name in undecayed) == without],
            "weight_decay": 0.0 if without else config.weight_decay,
        }
        for without in (False, True)
    ]
    optimizer = AdamW(groups, lr=config.lr, betas=config.betas)
    return optimizer, LambdaLR(optimizer, factor)
