"""Compilation of loops over time for the CPU by numba, and their distribution over threads.

A recurrence run step by step keeps its state in the first-level cache, is exact at any decay, because it needs no
exponential of a growing sum, and takes time and memory linear in length. Compiled, it beats matrix forms on a CPU.

Numba's own threads are left alone: the loops release the interpreter lock, and Python threads, as many as PyTorch uses,
each take a share of the rows. That needs no second OpenMP pool, which would spin against PyTorch's.
"""

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any

import numba
import torch
from numba.core.caching import FunctionCache
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
"""Flags of LLVM: sums may be reordered, so that they vectorise; NaN and infinity survive, for runs that diverge."""

_MIN_WORK = 1 << 14
"""Number of tensor elements below which threads cost more time than they save."""


def loop(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function whose last two arguments are the first row and one past the last row to work on.

    The machine code is cached beside the source file (or in numba's cache folder, where that cannot be written), so
    that only the first call on a machine compiles; where neither can be written, every process compiles for itself.
    Loops are written out, without slices on the left of an assignment, which take numba seconds to compile.
    """
    compiled: Any = numba.njit(nogil=True, fastmath=FASTMATH, error_model="numpy")(function)
    try:
        compiled._cache = _Cache(function)  # as `cache=True` does, where a folder that cannot be written is an error
    except (RuntimeError, OSError) as error:
        _say_uncached(str(error))
    return compiled


class _Cache(FunctionCache):
    """Numba's cache on disk. What goes wrong with it costs the time to compile, and never a run."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code for a signature; None if there is none. A damaged cache is emptied."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # of pickle, above all
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code, if that is possible."""
        try:
            super().save_overload(sig, data)
        except Exception as error:  # a full disk, a folder that is gone
            _say_uncached(str(error))


_SAID: list[str] = []


def _say_uncached(reason: str) -> None:
    """Warn once in a process."""
    if not _SAID:
        _SAID.append(reason)
        warnings.warn(
            "compiled loops cannot be kept on disk, so each process compiles them, which takes up to a minute: set"
            f" NUMBA_CACHE_DIR to a folder that can be written ({reason})",
            stacklevel=2,
        )


def run(compiled: Callable[..., None], n_rows: int, *args: Any) -> None:
    """Run a `loop` on rows 0..n_rows-1, shared among as many threads as PyTorch uses.

    Rows must not write to the same place, so that the result does not depend on the number of threads. Tensors without
    data (fake or meta tensors, when PyTorch asks for shapes only) are left alone.

    Args:
        compiled: a function that `loop` returned.
        n_rows: number of independent rows.
        args: its arguments without the last two; tensors, and tensors in tuples, are passed as arrays, without copying.
    """
    arrays: list[Any] = []
    work = 0
    for arg in args:
        if isinstance(arg, Tensor | tuple):
            tensors = (arg,) if isinstance(arg, Tensor) else arg
            if tensors[0].is_meta or isinstance(tensors[0], FakeTensor):
                return
            found = tuple(map(array, tensors))
            arrays.append(found[0] if isinstance(arg, Tensor) else found)
            work = max(work, found[0].size)
        else:
            arrays.append(arg)
    threads = min(torch.get_num_threads(), n_rows) if work >= _MIN_WORK else 1
    if threads == 1:
        compiled(*arrays, 0, n_rows)
        return
    edges = [n_rows * i // threads for i in range(threads + 1)]
    parts = [_pool(threads).submit(compiled, *arrays, *edges[i : i + 2]) for i in range(threads)]
    for part in parts:
        part.result()


def array(tensor: Tensor) -> Any:
    """View a contiguous CPU tensor as a NumPy array."""
    assert tensor.is_contiguous(), "compiled loops take contiguous tensors"
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="scan")


if hasattr(os, "register_at_fork"):  # a forked process does not have the threads of its parent
    os.register_at_fork(after_in_child=_pool.cache_clear)
