"""The size of a run, estimated from its configuration before any of it is built.

The model is built and run on one sequence with fake tensors, which have shapes and no values: it takes no memory
however large it is, and an instant per operation. Plain bounds on every integer come first, so that this is quick.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from architectures import SequenceModel
from benchmark.config.errors import BenchmarkError
from benchmark.config.limits import usable_memory_bytes
from benchmark.config.run_config import Choice, RunConfig
from benchmark.metrics.held_out import next_token_loss
from datamodules import TaskDataModule

MAX_INTEGER = 65_536
"""Of an option of an architecture or a task."""

MAX_LAYERS = 256
"""Of an option of an architecture whose name speaks of layers or depth."""

MAX_TOKENS = 16_384
"""Tokens of a sequence; the longest of the paper has 8,192."""

MAX_STEP_TOKENS, MAX_EVAL_TOKENS = 2**22, 2**26
"""Tokens of a training step, and of the held-out set."""

FLOPS_PER_S, BYTES_PER_S, OPERATION_S = 5e9, 4e9, 2e-5
"""Of one CPU core on small tensors, rounded down: what it multiplies, writes, and needs to begin an operation."""

_BYTES_PER_PARAMETER = 16  # in float32: weight, gradient and the two moments of Adam


@dataclass(frozen=True)
class StepCost:
    """An estimate, good to a small factor.

    Attributes:
        parameters: of the model, exactly.
        memory_bytes: of weights, optimizer and the activations of a training step.
        step_s: seconds of a training step on one CPU core.
        evaluation_s: of a pass over the held-out set.
    """

    parameters: int
    memory_bytes: int
    step_s: float
    evaluation_s: float

    def seconds(self, steps: int, eval_every: int) -> float:
        """Of a number of steps and the evaluations before and within them."""
        return steps * self.step_s + (1 + steps // eval_every) * self.evaluation_s


class _Outputs(TorchDispatchMode):
    """Counts operations, and the bytes that they write."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.n_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.operations += 1
        self.n_bytes += sum(x.numel() * x.element_size() for x in tree_leaves(out) if isinstance(x, Tensor))
        return out


def step_cost(config: RunConfig) -> StepCost:
    """The cost of a run of one seed.

    Raises:
        ValueError: one line, if a number is beyond what the suite was made for, or options do not go together.
    """
    require_bounded(config)
    seeds = config.three_seeds(config.numbers[0])
    data = config.data.build(task_seed=seeds.task_seed, data_seed=seeds.data_seed)
    n_tokens = data.task.n_tokens
    for name, value, most in (
        ("tokens in a sequence", n_tokens, MAX_TOKENS),
        ("tokens in a step", data.tokens_per_step, MAX_STEP_TOKENS),
        ("tokens in the held-out set", data.eval_sequences * n_tokens, MAX_EVAL_TOKENS),
    ):
        if value > most:
            raise BenchmarkError(f"too large: {value:,} {name}, at most {most:,} are possible")
    key = repr((config.model, config.data))
    if key not in _KNOWN:
        try:
            _KNOWN[key] = _measured(config.model, data)
        except Exception:  # an architecture that looks at values, or options that do not go together
            _KNOWN[key] = _crude(config.model, data)
    return _KNOWN[key]


_KNOWN: dict[str, StepCost] = {}  # all seeds of a configuration cost the same


def _measured(choice: Choice, data: TaskDataModule) -> StepCost:
    """From one sequence of fake tensors."""
    with torch.random.fork_rng(devices=[]), FakeTensorMode(allow_non_fake_inputs=True):
        model: SequenceModel = choice.build(data.vocab_size, data.seq_len)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        for module in model.modules():  # compiled scans are one operation, those in PyTorch one for each position
            if hasattr(module, "backend_asked"):
                module.backend_asked = "auto"  # type: ignore[assignment]
        tokens = torch.zeros(1, data.task.n_tokens, dtype=torch.int64)
        with FlopCounterMode(display=False) as flops, _Outputs() as outputs:
            next_token_loss(model(tokens[:, :-1]), tokens)
    forward_s = flops.get_total_flops() / FLOPS_PER_S + outputs.n_bytes / BYTES_PER_S
    own_s = parameters * _BYTES_PER_PARAMETER / BYTES_PER_S  # of the optimizer
    begin_s = outputs.operations * OPERATION_S
    chunks = math.ceil(data.eval_sequences / data.batch_size)
    return StepCost(
        parameters,
        parameters * _BYTES_PER_PARAMETER + data.batch_size * outputs.n_bytes,
        3 * (data.batch_size * forward_s + begin_s) + own_s,
        data.eval_sequences * forward_s + chunks * begin_s,
    )


def _crude(choice: Choice, data: TaskDataModule) -> StepCost:
    """Of a transformer of the same width and depth."""
    width, layers = (int(choice.options.get(name) or 1) for name in ("d_model", "n_layers"))
    parameters = 12 * width**2 * layers + width * (data.vocab_size + data.seq_len)
    token_s = 2 * parameters / FLOPS_PER_S
    memory = parameters * _BYTES_PER_PARAMETER + data.tokens_per_step * layers * width * 4 * 16
    evaluation_s = data.eval_sequences * data.task.n_tokens * token_s
    return StepCost(parameters, memory, 3 * data.tokens_per_step * token_s, evaluation_s)


def require_affordable(config: RunConfig, steps: int, limit_s: float) -> StepCost:
    """The cost of the first steps of a run, if there is memory and time for them.

    Raises:
        ValueError: one line, if there is not, or as `step_cost`.
    """
    needed = step_cost(config)
    memory = usable_memory_bytes()
    if needed.memory_bytes > memory / 2:
        raise BenchmarkError(
            f"too large: {needed.parameters:,} parameters and a step take about {needed.memory_bytes / 1e9:,.1f} GB of"
            f" memory, half of this machine's is {memory / 2e9:,.1f} GB"
        )
    if (seconds := needed.seconds(steps, config.protocol.eval_every)) > limit_s:
        raise BenchmarkError(
            f"too slow: {steps} steps and their evaluations take about {seconds:,.0f} s on one core, the limit is"
            f" {limit_s:,.0f} s"
        )
    return needed


def require_bounded(config: RunConfig) -> None:
    """Raise a ValueError that names the first option beyond any that the suite was made for."""
    for part, options in (("model", config.model.options), ("data", config.data.options)):
        for name, value in _plain(options):
            deep = part == "model" and ("layer" in name or "depth" in name)
            most = MAX_LAYERS if deep else MAX_EVAL_TOKENS if name in _OWN_BOUNDS else MAX_INTEGER
            if isinstance(value, int | float) and abs(value) > most:
                raise BenchmarkError(f"too large: {part}.{name} = {value:,}, at most {most:,} is possible")
            if isinstance(value, str | list | tuple) and len(value) > _MAX_LENGTH:
                raise BenchmarkError(f"too large: {part}.{name} has {len(value):,} items, at most {_MAX_LENGTH} can be")


_OWN_BOUNDS = {"tokens_per_step", "batch_size", "eval_sequences"}
_MAX_LENGTH = 100


def _plain(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every option, and every item of those that are lists."""
    for name, value in options.items():
        yield name, value
        if isinstance(value, list | tuple) and len(value) <= _MAX_LENGTH:
            yield from ((name, item) for item in value)
