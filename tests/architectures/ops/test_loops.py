"""Compiled loops: the exponential, and the sharing of rows among threads."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from numba.core.caching import CacheImpl, IndexDataCacheFile
from numpy.typing import NDArray

from architectures.ops.cpu import elementary, loops
from architectures.ops.delta_rule import delta_rule


@loops.loop
def exponentials(x: NDArray[np.floating], y: NDArray[np.floating], first: int, last: int) -> None:
    for n in range(first, last):
        for i in range(x.shape[1]):
            y[n, i] = elementary.exp(x[n, i])


def worst_error(dtype: torch.dtype) -> float:
    """Largest relative error against NumPy's float64 exponential over the whole range that float32 has."""
    x = torch.linspace(-87, 88, 1 << 20, dtype=torch.float64).to(dtype).view(1, -1)
    y = torch.empty_like(x)
    loops.run(exponentials, 1, x, y)
    return np.abs(y.double().numpy() / np.exp(x.double().numpy()) - 1).max()


def test_exponential() -> None:
    """In float64 it is the C library's against NumPy's, which may be a unit in the last place off either way."""
    assert worst_error(torch.float32) <= 3e-7
    assert worst_error(torch.float64) <= 1e-15


@pytest.mark.process
def test_exponential_on_an_older_cpu(tmp_path: Path) -> None:
    """Numba compiles for a CPU without instructions that multiply and add at once, where each product is rounded."""
    code = f"import torch; from {__name__} import worst_error; print(worst_error(torch.float32))"
    older = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | older, cwd=root, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) <= 3e-7


def test_exponential_of_the_extremes() -> None:
    x = torch.tensor([[-torch.inf, -1e30, -200.0, 0.0, torch.nan]])
    y = torch.empty_like(x)
    loops.run(exponentials, 1, x, y)
    assert y[0, :3].tolist() == pytest.approx([0, 0, 0], abs=1e-37)
    assert y[0, 3] == 1
    assert y[0, 4].isnan()


@loops.loop
def mark(out: NDArray[np.floating], first: int, last: int) -> None:
    for n in range(first, last):
        out[n, :] += n


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_every_row_is_done_once(threads: int) -> None:
    """Also with more threads than rows, and with rows that do not divide evenly."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for rows in (1, 2, 4, 7):
            out = torch.zeros(rows, 1 << 14)
            loops.run(mark, rows, out)
            assert torch.equal(out, torch.arange(rows)[:, None].expand_as(out).float())
    finally:
        torch.set_num_threads(before)


def inputs() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(4, 64, 2, 16) for _ in range(5)] + [-torch.rand(4, 64, 2, 16)]


def test_threads_do_not_change_a_bit() -> None:
    """Each row is computed by one thread, whichever that is: the same loop over the same numbers."""
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            leaves = [x.requires_grad_() for x in inputs()]
            y, state = delta_rule(*leaves, implementation="numba")
            found.append([y, state, *torch.autograd.grad(y.sum(), leaves)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(x, y) for x, y in zip(*found, strict=True))


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    """The pool's threads are not forked: a child that kept the parent's pool would wait for ever."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        out = torch.zeros(2, 1 << 14)
        loops.run(mark, 2, out)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            loops.run(mark, 2, out)  # on the parent's memory: a large new tensor would be filled by OpenMP
            os._exit(0 if loops.array(out)[1, 0] == 2 else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        torch.set_num_threads(before)


def doubled(x: NDArray[np.floating], first: int, last: int) -> None:
    for n in range(first, last):
        x[n] *= 2


def result() -> list[float]:
    """Two rows through a loop that is new to this process."""
    x = torch.ones(2)
    loops.run(loops.loop(doubled), 2, x)
    return x.tolist()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Numba's folder."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(loops, "_SAID", [])
    return tmp_path


@pytest.mark.slow
def test_a_damaged_cache_costs_time_only(cache: Path) -> None:
    assert result() == [2, 2]
    for ending in ("nbi", "nbc"):
        (path,) = cache.rglob(f"*doubled*.{ending}")
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert result() == [2, 2]
        assert path.read_bytes() != whole[: len(whole) // 2]  # it is whole again


@pytest.mark.slow
def test_a_cache_that_takes_nothing_is_said_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "save", full)
    with pytest.warns(UserWarning, match="NUMBA_CACHE_DIR.*No space left") as said:
        assert result() == result() == [2, 2]
    assert len(said) == 1


@pytest.mark.slow
def test_without_any_folder_each_process_compiles(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    with pytest.warns(UserWarning, match="NUMBA_CACHE_DIR.*cannot cache") as said:
        assert result() == result() == [2, 2]
    assert len(said) == 1 and list(cache.iterdir()) == []


def test_only_contiguous_tensors_are_taken() -> None:
    with pytest.raises(AssertionError, match="contiguous"):
        loops.array(torch.zeros(2, 3).T)
