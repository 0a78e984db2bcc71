"""The training step of one seed of a configuration, and how often a second something can be done."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from architectures import ARCHITECTURES
from benchmark.identity import SEEDS
from benchmark.module import EmergenceModule
from benchmark.protocol import OptimizerConfig, Protocol
from benchmark.sweeps.suite import options_of
from datamodules import TASKS, TaskDataModule

MATRIX = 2048
"""Rows and columns of the matrix product that stands for what the hardware can do."""

Content = Mapping[str, Any]
"""What `fit` would read from a YAML file: model, data, optimizer, protocol, and seeds of their own."""


class SeedStep:
    """The training step of one seed, as the harness makes it, that can be repeated.

    Args:
        content: the configuration of the run.
        device: where to train.
        seed: sets all three seeds.
    """

    def __init__(self, content: Content, device: torch.device, seed: int = 0) -> None:
        self.module, self.data = built(content, seed)
        self.model = self.module.model.to(device).train()
        self.device, self.count = device, 0
        self.optimizer, self.schedule = self.module.optimizer_config.build(self.model, self.module.protocol.max_steps)

    def tokens(self) -> Tensor:
        """The next batch."""
        return self.data.task.batch(self.count, self.data.batch_size, device=self.device)

    def __call__(self) -> None:
        """Make one step."""
        tokens = self.tokens()
        self.optimizer.zero_grad()
        self.module.training_step(tokens, 0).backward()
        self.module.configure_gradient_clipping()
        self.optimizer.step()
        self.schedule.step()
        self.count += 1


def built(content: Content, seed: int) -> tuple[EmergenceModule, TaskDataModule]:
    """Model and data of a run, from registered names: nothing is imported.

    Args:
        content: the configuration of the run.
        seed: sets those of the three seeds that the configuration leaves open.

    Raises:
        ValueError: if an option is out of range.
    """
    model, data = content["model"], content["data"]
    task_seed, init_seed, data_seed = (seed if content.get(name) is None else content[name] for name in SEEDS)
    options = {**data.get("init_args", {}), "task_seed": task_seed, "data_seed": data_seed}
    source: TaskDataModule = TASKS[data["class_path"].rpartition(".")[2]](**options)
    torch.manual_seed(init_seed)
    cls = ARCHITECTURES[model["class_path"].rpartition(".")[2]]
    defaults = options_of(cls, source.model_defaults)
    network = cls(source.vocab_size, source.seq_len, **{**defaults, **model.get("init_args", {})})
    optimizer: dict[str, Any] = dict(content.get("optimizer", {}))
    if "betas" in optimizer:
        optimizer["betas"] = tuple(optimizer["betas"])
    module = EmergenceModule(
        network, source.task, OptimizerConfig(**optimizer), Protocol(**content.get("protocol", {}))
    )
    return module, source


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
