"""Budget, evaluation grid and optimizer settings of a run."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Protocol:
    """Budget and evaluation grid: equal for all runs that are compared.

    Args:
        max_steps: budget in optimizer steps; a run that has not reached its primary target by then is censored.
        eval_every: steps between evaluations on the held-out set; there is one before the first step too.
        stop_when_solved: end the run as soon as every target holds. Switch off for figures that plot a final loss.

    Raises:
        ValueError: if max_steps or eval_every is smaller than 1, or no evaluation fits into the budget.
    """

    max_steps: int = 10_000
    eval_every: int = 50
    stop_when_solved: bool = True

    def __post_init__(self) -> None:
        if self.max_steps < 1:
            raise ValueError(f"protocol.max_steps must be at least 1, got {self.max_steps}")
        if not 1 <= self.eval_every <= self.max_steps:
            raise ValueError(f"protocol.eval_every must be in 1..max_steps = {self.max_steps}, got {self.eval_every}")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW (arXiv 1711.05101) with linear warm-up and gradient clipping.

    Args:
        lr: learning rate after warm-up; an architecture may multiply it for some of its parameters.
        betas: decay rates of the moment estimates.
        weight_decay: decoupled weight decay, none by default; of matrices, but those that the architecture excepts.
        warmup_steps: steps over which the learning rate rises linearly from lr / warmup_steps to lr.
        clip_norm: largest Euclidean norm of the gradient over all parameters; 0 switches clipping off.
        schedule: "constant" after warm-up, or "cosine" to 0 at the end of the budget.

    Raises:
        ValueError: if a value is out of range.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    warmup_steps: int = 100
    clip_norm: float = 1.0
    schedule: Literal["constant", "cosine"] = "constant"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"optimizer.lr must be positive, got {self.lr}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"optimizer.betas must lie in [0, 1), got {self.betas}")
        for name in ("weight_decay", "warmup_steps", "clip_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"optimizer.{name} must not be negative or infinite, got {getattr(self, name)}")

    def factor(self, max_steps: int) -> Callable[[int], float]:
        """Learning rate at a step (counted from 0) as a multiple of `lr`."""

        def at(step: int) -> float:
            if step < self.warmup_steps:
                return (step + 1) / self.warmup_steps
            if self.schedule == "constant":
                return 1.0
            done = (step - self.warmup_steps) / max(1, max_steps - self.warmup_steps)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

        return at
