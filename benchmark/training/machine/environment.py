"""Facts for a record about the machine, the code and the model: measured or asked for, never typed in."""

import copy
import os
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.machinery import all_suffixes
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from architectures import SequenceModel
from benchmark.config.errors import optional
from benchmark.config.limits import usable_cores, usable_memory_bytes
from benchmark.metrics.held_out import next_token_loss
from datamodules import Task
from leaderboard.records.record import Git, Hardware

_ATEN = torch.ops.aten
# PyTorch has formulas for its CUDA attention kernels only; the CPU one gets the same, so that devices count alike.
_CPU_ATTENTION = {
    _ATEN._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *args, **kwargs: sdpa_flop_count(q, k, v),
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, q, k, v, *args, **kwargs: sdpa_backward_flop_count(grad, q, k, v)
    ),
}

PACKAGES = ("emergence-benchmark", "torch", "lightning", "torchmetrics", "numpy", "numba", "fla-core", "mamba-ssm")


def hardware(device: torch.device) -> Hardware:
    """The device that trains, by its own name, and the processor around it."""
    name, memory = device.type, None
    with optional("the device's name is unknown"):
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    with suppress(Exception):  # not every system tells
        memory = (
            torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else usable_memory_bytes()
        )
    return Hardware(
        device=device.type, name=name, cores=usable_cores(), threads=torch.get_num_threads(), memory_bytes=memory
    )


def _processor() -> str:
    """Model name of the CPU."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine() or "unknown"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers, when this module was imported: what is
    installed later does not run here."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that was not installed
            continue
    return found


def git_state() -> Git:
    """Commit of the code that runs, and whether it differs from it; both None outside a checkout of this repository.

    Python keeps the code that it has imported. So the state when this module was imported counts, which is early in a
    process, and for the runs of a sweep in the fork server that they come from. A checkout that has changed since then,
    either way, is dirty: what is imported later could be other code. What changes after this call is not seen.
    """
    if _AT_IMPORT.dirty is not False or read_git(ROOT) == _AT_IMPORT:
        return _AT_IMPORT
    return _AT_IMPORT.model_copy(update={"dirty": True})


def read_git(root: Path) -> Git:
    """Commit of a checkout, and whether its files differ from it; both None if git does not know, or does not answer.

    Differing is any change of a tracked file; a module in a room that git does not track, since rooms import what lies
    in them; and a file of which git was told to overlook changes. The environment's and the user's settings that would
    make git look elsewhere, or not as closely, do not count.
    """

    def git(*args: str) -> str:
        words = ["git", "--no-optional-locks", "-C", str(root), *_LOOKING_CLOSELY, *args]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(
            words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_GIT_TIMEOUT_S
        )
        return done.stdout.decode(errors="surrogateescape")

    try:
        top, commit = git("rev-parse", "--show-toplevel", "HEAD").splitlines()
        if Path(top) != root.resolve():
            return Git(commit=None, dirty=None)  # installed somewhere inside another project's checkout
        changed = bool(git("status", "--porcelain", "--untracked-files=no"))
        files = git("ls-files", "-v", "--cached", "--others", "-z", "--", *_ROOMS).split("\0")
    except Exception:  # whatever keeps a program from running; no checkout is the common case
        return Git(commit=None, dirty=None)
    return Git(commit=commit, dirty=changed or any(_is_unseen(root, line) for line in files if line))


def _is_unseen(root: Path, line: str) -> bool:
    """Whether a line of ``git ls-files -v`` is a module that git does not track, or a file that it does not look at."""
    tag, path = line[0], Path(line[2:])
    if tag == "?":
        is_package = (root / path).is_dir()  # a link, or a repository of its own: git goes into neither
        return is_package or (path.suffix in _SUFFIXES and "__pycache__" not in path.parts)
    return (tag.islower() or tag == "S") and (root / path).exists()  # S: not checked out, unless it is there


ROOT = Path(__file__).resolve().parents[3]
_ROOMS = ("architectures", "benchmark", "datamodules", "leaderboard")
_SUFFIXES = {f".{suffix.rpartition('.')[2]}" for suffix in all_suffixes()}  # .py, .pyc, .so
_GIT_TIMEOUT_S = 20.0
_LOOKING_CLOSELY = [
    *("-c", "safe.directory=*"),  # the code in it runs already
    *("-c", "core.fsmonitor=false", "-c", "core.ignoreStat=false", "-c", "core.checkStat=default"),
    *("-c", "core.trustctime=true"),
]
_AT_IMPORT = read_git(ROOT)
_versions()


def flops_per_token(model: SequenceModel, task: Task) -> float:
    """Floating-point operations of one training step (forward and backward) per token, counted on one sequence.

    PyTorch's counter sees matrix products, convolutions, attention and our scans, a multiplication and an addition each
    as one; elementwise work is left out, as usual, and attention counts all L x L pairs. A copy on the CPU is counted,
    because fused CUDA kernels cannot be seen, and with the compiled scans, so that records of all devices and backends
    count alike.
    """
    model = copy.deepcopy(model).cpu()
    for module in model.modules():
        if hasattr(module, "backend_asked"):
            module.backend_asked = "auto"  # type: ignore[assignment]
    tokens = task.batch(0, 1)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):  # shapes only: nothing is computed
            total = _flops(model, tokens)
    except Exception:  # an architecture that looks at values, say for a branch
        total = _flops(model, tokens)
    return total / task.n_tokens


def _flops(model: SequenceModel, tokens: Tensor) -> int:
    """Of the forward and the backward pass on whole sequences (B, L + 1)."""
    with FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION) as counter, torch.enable_grad():
        next_token_loss(model(tokens[:, :-1]), tokens).backward()
    model.zero_grad(set_to_none=True)
    return int(counter.get_total_flops())


def peak_memory_bytes(device: torch.device) -> int | None:
    """Largest memory so far: allocated on a CUDA device, resident in the whole process on a CPU; None if unknown."""
    with suppress(Exception):  # not every system tells
        if device.type == "cuda":
            return torch.cuda.max_memory_allocated(device)
        unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return None
