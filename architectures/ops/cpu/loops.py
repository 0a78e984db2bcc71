"""Loops over time compiled for the CPU by numba: what every `*_loops.py` is built with.

A recurrence run step by step keeps its state in the first-level cache, needs no exponential of a growing sum, so it is
exact at any decay, and is linear in length in time and memory. Compiled, that beats matrix forms on a CPU.

Numba's own threads are left alone: the loops release the interpreter lock, and Python threads, as many as PyTorch uses,
each take a share of the rows. That needs no second OpenMP pool, which would spin against PyTorch's.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
"""Sums may be reordered so that they vectorise; NaN and infinity keep their meaning, for runs that diverge."""

_MIN_WORK = 1 << 14
"""Tensor elements below which handing work to threads costs more than it saves."""


def loop(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function whose last two arguments are the first row and one past the last row to work on.

    The machine code is kept beside the source file (or in numba's cache folder, where that cannot be written), so that
    only the first call on a machine compiles. Loops are written out, without slices on the left of an assignment, which
    would cost numba seconds to compile.
    """
    compiled: Callable[..., None] = numba.njit(cache=True, nogil=True, fastmath=FASTMATH, error_model="numpy")(function)
    return compiled


def run(compiled: Callable[..., None], n_rows: int, *args: Any) -> None:
    """Run a `loop` on rows 0..n_rows-1, shared among as many threads as PyTorch uses.

    Rows must not write to the same place, so that the result does not depend on the number of threads.

    Args:
        compiled: what `loop` returned.
        n_rows: number of independent rows.
        args: its arguments without the last two; tensors are handed over as arrays, without copying.
    """
    tensors = [arg for arg in args if isinstance(arg, Tensor)]
    if any(x.is_meta or isinstance(x, FakeTensor) for x in tensors):
        return
    arrays = [array(arg) if isinstance(arg, Tensor) else arg for arg in args]
    work = max((x.numel() for x in tensors), default=0)
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
