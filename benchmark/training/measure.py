"""Cost of one training step of a model: CPU seconds and memory.

Shape letters: B sequences, L positions, V token values.
"""

import inspect
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from architectures import SequenceModel
from benchmark.config.protocol import OptimizerConfig
from benchmark.training.step import Step

VOCAB_SIZE = 16
"""Token values of every model that is measured: few, as in the tasks, so that the head costs next to nothing."""


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside, as many as before afterwards; the caller's random state is left alone too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(before)


def sized(cls: type[SequenceModel], seq_len: int, **options: Any) -> SequenceModel:
    """A model for `VOCAB_SIZE` token values, with those of the options that its class has."""
    known = inspect.signature(cls).parameters
    return cls(VOCAB_SIZE, seq_len, **{name: value for name, value in options.items() if name in known})


class TrainingStep:
    """The suite's training step, without clipping, on fixed random tokens, so that it can be repeated.

    Args:
        model: maps tokens (B, L) to logits (B, L, V).
        batch_size: sequences B in a step.
        length: positions L.
    """

    def __init__(self, model: nn.Module, batch_size: int, length: int) -> None:
        self.model, self.n_tokens = model.train(), batch_size * length
        self.tokens = torch.randint(VOCAB_SIZE, (batch_size, length + 1))
        config = OptimizerConfig(clip_norm=0.0, warmup_steps=0)
        self.step = Step(self.model, lambda start: self.tokens[None], batch_size, config, max_steps=1)
        self.optimizer = self.step.optimizer

    def __call__(self) -> None:
        """Make one step."""
        self.step(0)


def cpu_seconds(step: Callable[[], None]) -> float:
    """CPU time of this process during one call: other programs on the machine do not count."""
    start = time.process_time()
    step()
    return time.process_time() - start


class Repeatable(Protocol):
    """A training step that can be repeated."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """It holds the gradients."""

    def __call__(self) -> None:
        """Make one step."""


def peak_bytes(step: Repeatable) -> int:
    """Most memory that a step holds at any moment beyond what is there before it: activations, gradients, workspace.

    PyTorch's profiler reports every allocation and release of its CPU allocator, to the byte, inside custom operators
    too; what a compiled loop puts into NumPy arrays of its own (a chunk's states, below a few megabytes) goes unseen.
    The resident size of a process would see it, but also what the C library keeps back of memory freed before.

    Args:
        step: called once before, so that the optimizer has its state and everything is compiled.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its tracer announces itself on stderr
    step.optimizer.zero_grad()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        step()
    results = profiler.profiler.kineto_results
    changes = [(event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]"]
    changes.sort(key=lambda change: change[0])
    return max(accumulate(size for _, size in changes), default=0)
