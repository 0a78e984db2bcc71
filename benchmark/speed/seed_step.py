"""The training step of one seed or many of a configuration, and how many times per second something can be done."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from benchmark.config.parser import parse
from benchmark.training.run import build

MATRIX = 2048
"""Rows and columns of the matrix product that stands for what the hardware can do."""

Content = Mapping[str, Any]
"""The content of a YAML file for `fit`: model, data, optimizer, protocol, and seeds of their own."""


class SeedStep:
    """The training step of a run, as `fit` makes it, that can be repeated outside of a trainer.

    Args:
        content: the configuration of the run.
        device: where to train.
        n_seeds: how many seeds train together; more than one are captured as a CUDA graph where that is possible.
    """

    def __init__(self, content: Content, device: torch.device, n_seeds: int = 1) -> None:
        seeds = {} if n_seeds == 1 else {"seeds": f"0-{n_seeds - 1}"}
        self.run = build(parse({**content, **seeds}))
        module = self.run.module.to(device).train()
        self.model, self.data, self.device = module.model_of(0), self.run.data, device
        self.step, self.count = module.new_step(), 0
        self.optimizer = self.step.optimizer

    def tokens(self) -> Tensor:
        """The next batch of the first seed."""
        return self.run.task.batch(self.count, self.data.batch_size, device=self.device)

    def __call__(self) -> None:
        """Make one step."""
        self.step(self.count)
        self.count += 1


def rate(step: Callable[[], object], seconds: float, synchronise: Callable[[], None]) -> float:
    """Calls a second, over at least so many seconds and three calls."""
    synchronise()
    count, start = 0, time.perf_counter()
    while True:
        step()
        count += 1
        if count >= 3 and time.perf_counter() - start >= seconds:
            synchronise()
            if (passed := time.perf_counter() - start) >= seconds:
                return count / passed


def matrix_product_flops(device: torch.device, seconds: float) -> float:
    """Operations a second of a large float32 matrix product at PyTorch's present setting of its precision."""
    a, b = (torch.randn(MATRIX, MATRIX, device=device) for _ in range(2))
    a @ b
    return 2 * MATRIX**3 * rate(lambda: a @ b, seconds, synchroniser(device))


def synchroniser(device: torch.device) -> Callable[[], None]:
    """Waits until the device has done all that it was asked to."""
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None
