"""Loops over time compiled for the CPU by numba: what every `*_loops.py` is built with.

A recurrence run step by step keeps its state in the first-level cache, needs no exponential of a growing sum, so it is
exact at any decay, and is linear in length in time and memory. Compiled, that beats matrix forms on a CPU.

Numba's own threads are left alone: the loops release the interpreter lock, and Python threads, as many as PyTorch uses,
each take a share of the rows. That needs no second OpenMP pool, which would spin against PyTorch's.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload
from torch import Tensor

# Sums may be reordered so that they vectorise; NaN and infinity keep their meaning, for runs that diverge.
_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}

_MIN_WORK = 1 << 14
"""Tensor elements below which handing work to threads costs more than it saves."""


def loop(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function whose last two arguments are the first row and one past the last row to work on.

    The machine code is kept beside the source file (or in numba's cache folder, where that cannot be written), so that
    only the first call on a machine compiles.
    """
    compiled: Callable[..., None] = numba.njit(cache=True, nogil=True, fastmath=_FASTMATH, error_model="numpy")(
        function
    )
    return compiled


def exp(x: float) -> float:
    """e^x inside a loop, for x < 88: in float32 a form that vectorises, relative error 3e-7, never below e^-87."""
    return math.exp(x)


@intrinsic
def _float32_of_bits(typing: Any, bits: Any) -> Any:
    """The float32 with the given int32 as its bits."""
    return types.float32(types.int32), lambda context, builder, sig, args: builder.bitcast(args[0], ir.FloatType())


_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LOG2_E, _HALF, _ONE, _LEAST = np.float32(1 / math.log(2)), np.float32(0.5), np.float32(1), np.float32(-87)
# Coefficients of Cephes' expf (S. Moshier): (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2, highest power first.
_C5, _C4, _C3, _C2, _C1, _C0 = (
    np.float32(c)
    for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
)


@overload(exp, jit_options={"fastmath": _FASTMATH, "error_model": "numpy"})
def _exp(x: Any) -> Any:
    def exp_float64(x: Any) -> Any:
        return math.exp(x)

    def exp_float32(x: Any) -> Any:
        # e^x = 2^n e^r with integer n and small r; 2^n is made of bits, because a call to libm would not vectorise.
        x = max(x, _LEAST)
        n = np.floor(x * _LOG2_E + _HALF)
        r = (x - n * _LN2_HIGH) - n * _LN2_LOW
        p = ((((_C5 * r + _C4) * r + _C3) * r + _C2) * r + _C1) * r + _C0
        return (p * r * r + r + _ONE) * _float32_of_bits((np.int32(n) + np.int32(127)) << np.int32(23))  # type: ignore[call-arg]

    return exp_float32 if x == types.float32 else exp_float64


def run(compiled: Callable[..., None], n_rows: int, *args: Any) -> None:
    """Run a `loop` on rows 0..n_rows-1, shared among as many threads as PyTorch uses.

    Rows must not write to the same place, so that the result does not depend on the number of threads.

    Args:
        compiled: what `loop` returned.
        n_rows: number of independent rows.
        args: its arguments without the last two; tensors are handed over as arrays, without copying.
    """
    arrays = [array(arg) if isinstance(arg, Tensor) else arg for arg in args]
    work = max((arg.numel() for arg in args if isinstance(arg, Tensor)), default=0)
    threads = min(torch.get_num_threads(), n_rows) if work >= _MIN_WORK else 1
    if threads == 1:
        compiled(*arrays, 0, n_rows)
        return
    edges = [n_rows * i // threads for i in range(threads + 1)]
    parts = [_pool(threads).submit(compiled, *arrays, *edges[i : i + 2]) for i in range(threads)]
    for part in parts:
        part.result()


def array(tensor: Tensor) -> Any:
    """The NumPy array of a contiguous CPU tensor, sharing its memory."""
    assert tensor.is_contiguous(), "compiled loops take contiguous tensors"
    return tensor.detach().numpy()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="scan")


if hasattr(os, "register_at_fork"):  # the threads of a pool do not live on in a forked process
    os.register_at_fork(after_in_child=_pool.cache_clear)
