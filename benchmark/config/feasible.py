"""Can a run be carried out on this machine at all? Estimated from whole numbers, before anything of its size is made.

The estimates are lower bounds: what they refuse cannot work. Set `UNLIMITED` to let a run try all the same.
"""

import inspect
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmark.config.limits import usable_memory_bytes
from benchmark.config.run_config import SEEDS, Choice, RunConfig
from datamodules import TaskDataModule
from datamodules.stream import INDEX_BITS

UNLIMITED = "EMERGENCE_UNLIMITED"
"""Set this environment variable to true to try what the estimates refuse."""

MOST_SECONDS = 3600.0
"""For one step or one evaluation."""

CPU_TOKENS_PER_S, GPU_TOKENS_PER_S = 1e6, 1e7
"""Of a core and of a GPU: several times what the smallest models here reach, forward only."""

LARGEST_SIZE = 10**12
"""Of an option: products of a few such numbers are still exact in floating point, and no machine has so much."""

GIB = 1 << 30


@dataclass(frozen=True)
class Cost:
    """Least that a run costs, for all of its seeds together.

    Attributes:
        parameters: weights.
        memory_bytes: weights with gradients and moments, one copy of the residual streams and the logits, tokens, and
            what all sequences share.
        step_tokens: of a training step.
        evaluation_tokens: of an evaluation.
    """

    parameters: int
    memory_bytes: int
    step_tokens: int
    evaluation_tokens: int


def require_feasible(config: RunConfig, *, most_seconds: float = MOST_SECONDS) -> None:
    """Refuse a run that this machine cannot carry out.

    Args:
        config: of the run.
        most_seconds: for one step or one evaluation.

    Raises:
        ValueError: one line with the option that is too large, what the run would take and what there is.
    """
    for name, value, _ in _sizes(config):
        if abs(value) > LARGEST_SIZE:
            raise ValueError(f"{name} = {value} is too large: at most {LARGEST_SIZE:,}")
    data = _data_of(config)
    _require_counters(config, data)
    _require_shares(config, data)
    if os.environ.get(UNLIMITED) == "true":
        return
    spent, there = cost(config, data), memory_of_this_machine(on_gpu=(on_gpu := _on_gpu(config)))
    if spent.memory_bytes > there:
        raise ValueError(
            f"{_largest(config)} is too large: the run would take at least {spent.memory_bytes / GIB:,.1f} GiB of"
            f" memory, and there are {there / GIB:,.1f} GiB"
        )
    rate = GPU_TOKENS_PER_S * torch.cuda.device_count() if on_gpu else CPU_TOKENS_PER_S * (os.cpu_count() or 1)
    for what, tokens in (("step", spent.step_tokens), ("evaluation", spent.evaluation_tokens)):
        if tokens > most_seconds * rate:
            raise ValueError(
                f"{_largest(config)} is too large: one {what} of {tokens:,} tokens would take at least"
                f" {tokens / rate / 3600:,.1f} hours, and {most_seconds / 3600:g} are allowed"
            )


def cost(config: RunConfig, data: TaskDataModule | None = None) -> Cost:
    """The least that a run costs.

    Args:
        config: of the run.
        data: its data module, if it is there already.
    """
    data = data or _data_of(config)
    n_seeds, positions = len(config.numbers), data.batch_size * data.seq_len
    layers, width = (int(_option(config.model, name) or 1) for name in ("n_layers", "d_model"))
    parameters = _parameters(config, data, layers)
    wide, narrow = (2 if config.precision.endswith("16-true") else 4), (2 if "16" in config.precision else 4)
    memory = 4 * wide * parameters + narrow * positions * (layers * width + data.vocab_size)
    memory += 8 * data.tokens_per_step + data.task.shared_bytes
    tokens = data.eval_sequences * data.task.n_tokens
    return Cost(n_seeds * parameters, n_seeds * memory, n_seeds * data.tokens_per_step, n_seeds * tokens)


def _data_of(config: RunConfig) -> TaskDataModule:
    data: TaskDataModule = config.data.build(task_seed=0, data_seed=0)
    return data


def _parameters(config: RunConfig, data: TaskDataModule, layers: int) -> int:
    """Of a model of one seed, from one of two layers at most whose tensors have shapes and no memory; 0 if it cannot be
    built like that, which says nothing."""
    counts = []
    for n in sorted({1, min(2, layers)}):
        options = {**config.model.options} | ({"n_layers": n} if "n_layers" in config.model.options else {})
        try:
            with torch.random.fork_rng(devices=[]), torch.device("meta"):
                model = replace(config.model, options=options).build(data.vocab_size, data.seq_len)
        except ValueError:  # the mistake of the caller, which the real model names too
            raise
        except Exception:  # an architecture that looks at its numbers while it is built
            return 0
        counts.append(sum(parameter.numel() for parameter in model.parameters()))
    first, second = counts[0], counts[-1] - counts[0]
    return first + (layers - 1) * min(first, second)  # layers may alternate: none is taken for more than the smaller


def _require_counters(config: RunConfig, data: TaskDataModule) -> None:
    """Every sequence has random numbers of its own: there must be enough of them."""
    steps = config.protocol.max_steps
    most = (1 << INDEX_BITS) // (data.batch_size * data.task.words_per_sequence)
    if steps > most:
        raise ValueError(f"protocol.max_steps = {steps} needs more sequences than the task has: at most {most}")


def _require_shares(config: RunConfig, data: TaskDataModule) -> None:
    """Every process takes at least one sequence of a step."""
    n = 1
    for name in ("devices", "num_nodes"):
        value = config.trainer.get(name)
        if isinstance(value, int | str) and str(value).isdecimal():
            n *= int(value)
        if n > data.batch_size:
            raise ValueError(f"trainer.{name} = {value}: {n} processes cannot share a batch of {data.batch_size}")


def _on_gpu(config: RunConfig) -> bool:
    return config.trainer.get("accelerator", "auto") in {"auto", "gpu", "cuda"} and torch.cuda.is_available()


def memory_of_this_machine(*, on_gpu: bool = False) -> int:
    """Bytes: of all GPUs that this process may use; or of the machine or the container, swap included."""
    if on_gpu:
        return sum(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count()))
    try:
        return usable_memory_bytes() + _swap_bytes()
    except (OSError, ValueError, AttributeError):  # a system that does not tell: nothing is refused
        return sys.maxsize


def _swap_bytes() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("SwapTotal:"))


def _option(choice: Choice, name: str) -> Any:
    """The value of an option, or its default."""
    parameter = inspect.signature(choice.cls).parameters.get(name)
    default = None if parameter is None or parameter.default is inspect.Parameter.empty else parameter.default
    return choice.options.get(name, default)


def _sizes(config: RunConfig) -> Iterator[tuple[str, int, int]]:
    """Every option that is a whole number, its value and its default."""
    for part, choice in (("model", config.model), ("data", config.data)):
        for name, parameter in inspect.signature(choice.cls).parameters.items():
            value = _option(choice, name)
            if name not in SEEDS and isinstance(value, int) and not isinstance(value, bool):
                yield f"{part}.{name}", value, parameter.default if isinstance(parameter.default, int) else 1


def _largest(config: RunConfig) -> str:
    """The option that is furthest above its default, with its value."""
    sizes = [*_sizes(config), ("the number of seeds", len(config.numbers), 1)]
    name, value, _ = max(sizes, key=lambda size: size[1] / max(size[2], 1))
    return f"{name} = {value:,}"
