"""The causal MLP-Mixer, one number at a time: explicit loops over positions and channels, no matrix products.

A matrix over positions is read at columns 0..l of row l only. Weights are nested lists, `weight[row][column]`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Rows = list[list[float]]
PositionMap = tuple[Any, Any]
"""Weight (L, L) and bias (L,) of one map over positions."""


def gelu(x: float) -> float:
    """x times the standard normal distribution function at x."""
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def layer_norm(row: Sequence[float], weight: Sequence[float], bias: Sequence[float]) -> list[float]:
    """One position's channels, normalised to mean 0 and variance 1 (eps 1e-5), then scaled and shifted."""
    mean = sum(row) / len(row)
    variance = sum((value - mean) ** 2 for value in row) / len(row)
    return [(x - mean) / math.sqrt(variance + 1e-5) * w + b for x, w, b in zip(row, weight, bias, strict=True)]


def dense(row: Sequence[float], weight: Any, bias: Sequence[float]) -> list[float]:
    """weight @ row + bias."""
    return [sum(w * x for w, x in zip(ws, row, strict=True)) + b for ws, b in zip(weight, bias, strict=True)]


def mix_positions(x: Rows, weight: Any, bias: Any) -> Rows:
    """Row l of the result is bias[l] + sum over m <= l of weight[l][m] x[m], channel by channel."""
    mixed = []
    for l in range(len(x)):  # noqa: E741
        row = [float(bias[l])] * len(x[0])
        for m in range(l + 1):
            for channel in range(len(row)):
                row[channel] += weight[l][m] * x[m][channel]
        mixed.append(row)
    return mixed


def block(x: Rows, norms: Sequence[tuple[Any, Any]], maps: Sequence[PositionMap], mlp: Mapping[str, Any]) -> Rows:
    """One layer on one sequence (L rows of D): one map over positions, or two with GELU between; then the channel MLP.

    `norms` are the (weight, bias) of the two layer norms; `mlp` has "up", "up_bias", "down", "down_bias".
    """
    mixed = mix_positions([layer_norm(row, *norms[0]) for row in x], *maps[0])
    for position_map in maps[1:]:
        mixed = mix_positions([[gelu(value) for value in row] for row in mixed], *position_map)
    x = [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(x, mixed, strict=True)]
    out = []
    for row in x:
        hidden = [gelu(value) for value in dense(layer_norm(row, *norms[1]), mlp["up"], mlp["up_bias"])]
        out.append([a + b for a, b in zip(row, dense(hidden, mlp["down"], mlp["down_bias"]), strict=True)])
    return out
