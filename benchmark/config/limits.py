"""Cores and memory that this process may use: what its machine has, or less where its container has a limit."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import torch

UNLIMITED_BYTES = 2**60
"""Version 1 of control groups writes a limit of this size or more where there is none."""


def usable_cores() -> int:
    """Cores that this process may run on: those of its affinity, or its share of their time where that is less.

    A share of one and a half cores counts as two, so that none of it lies idle.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = core_share()
    return cores if share is None else min(cores, max(1, math.ceil(share)))


def usable_memory_bytes() -> int:
    """Memory of the machine, or of this process's control group where that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = memory_limit_bytes()
    return physical if limit is None else min(physical, limit)


@contextmanager
def threads_within_limits() -> Iterator[None]:
    """No more threads inside than usable cores: PyTorch counts the machine's, and a container would be stopped for most
    of each period."""
    before = torch.get_num_threads()
    if before <= (most := usable_cores()):
        yield
        return
    torch.set_num_threads(most)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def core_share(root: Path = Path("/")) -> float | None:
    """The processor time that the control groups of this process may take, in cores; None if there is no limit.

    Args:
        root: folder that holds `proc` and `sys`.
    """
    shares = []
    for folder in _groups(root, "cpu"):
        with suppress(OSError, ValueError, IndexError, ZeroDivisionError):
            if (both := folder / "cpu.max").exists():
                quota, period = both.read_text(encoding="ascii").split()[:2]
            else:
                quota, period = (
                    (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
                )
            if (share := float(quota) / float(period)) > 0:  # "max" is no number, -1 is no limit
                shares.append(share)
    return min(shares, default=None)


@cache
def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """The memory that the control groups of this process may take; None if there is no limit."""
    limits = []
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):
                if 0 < (limit := int((folder / name).read_text(encoding="ascii"))) < UNLIMITED_BYTES:
                    limits.append(limit)
    return min(limits, default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The control groups of this process that may limit it: its own and those above, of both versions."""
    mounts = root / "sys" / "fs" / "cgroup"
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        if number == "0" and not controllers:
            tops = [mounts, mounts / "unified"]
        elif controller in controllers.split(","):
            tops = [mounts / controllers, mounts / controller]
        else:
            continue
        # In a container the place may be the host's, which is not seen from inside: there the mount is the group.
        parts = [part for part in Path(place).parts if part not in {"/", ".."}]
        for top in tops:
            yield from (top.joinpath(*parts[:n]) for n in range(len(parts), -1, -1))
