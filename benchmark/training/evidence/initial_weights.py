"""A hash of initial weights that is the same on every make of CPU.

The weights of one seed differ in their last bits between vector instructions (AVX2 against none: by 2e-6 at most, in
most tensors of six architectures), so their bytes cannot be hashed. Each tensor is summed up in two numbers instead,
which are rounded coarsely before they are hashed.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

STEPS_OF_ONE = 8
"""Rounding: to eighths. Both numbers of a tensor are around 1 and differ from seed to seed by about as much."""

MARGIN = 1e-3
"""Steps of rounding from a boundary within which another CPU may round the other way; 4e-5 is the most that was
measured, on 216 models."""

MAX_UNSURE = 12
"""Numbers so close to a boundary, of one model; more than one of a hundred is not to be expected."""


def init_hash(model: nn.Module) -> str:
    """SHA-256 (hex) of a model's parameters: names, shapes, dtypes, and of each tensor its size and one projection.

    It binds the architecture, its options and the seed of the initial weights: the projections of another seed are
    other numbers. It does not bind single weights: a change of few of them, or of less than an eighth of a standard
    deviation along the projections, may leave it as it is.
    """
    return _hash(model, (round(value) for value in _numbers(model)))


def init_hashes(model: nn.Module) -> set[str]:
    """The hashes that a CPU of any make may give for the model that was built here: nearly always one.

    Raises:
        ValueError: if so many numbers are close to a boundary that the hash says nothing.
    """
    choices = []
    for value in _numbers(model):
        near = abs(value - math.floor(value) - 0.5) < MARGIN
        choices.append((math.floor(value), math.floor(value) + 1) if near else (round(value),))
    if sum(len(choice) > 1 for choice in choices) > MAX_UNSURE:
        raise ValueError(f"more than {MAX_UNSURE} tensors of the initial weights are on a boundary of rounding")
    return {_hash(model, numbers) for numbers in itertools.product(*choices)}


def _numbers(model: nn.Module) -> list[float]:
    """Two numbers for each parameter, in steps of rounding; of constant parameters they are the same everywhere."""
    return [STEPS_OF_ONE * number for parameter in model.parameters() for number in _summary(parameter.detach())]


def _summary(x: Tensor) -> tuple[float, float]:
    """log2 of the root mean square, and the projection on a fixed direction in units of its standard deviation."""
    flat = x.flatten().to("cpu", torch.float64)
    rms = flat.square().mean().sqrt().item() if len(flat) else 0.0
    if not rms > 0 or not math.isfinite(rms):
        return 0.0, 0.0
    # Integers of 32 bits that look random (Knuth's multiplicative hash), as numbers in [-1, 1), exact in float64.
    direction = (torch.arange(1, len(flat) + 1) * 2654435761 % 2**32).double() / 2**31 - 1
    return math.log2(rms), (flat @ direction).item() / rms / math.sqrt(len(flat) / 3)


def _hash(model: nn.Module, numbers: Iterable[int]) -> str:
    names = [[name, list(x.shape), str(x.dtype)] for name, x in model.named_parameters()]
    return hashlib.sha256(json.dumps([names, list(numbers)]).encode()).hexdigest()
