"""Facts for a record about the machine, the code and the model: measured or asked for, never typed in."""

import copy
import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from architectures import SequenceModel
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
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    memory = (
        torch.cuda.get_device_properties(device).total_memory
        if device.type == "cuda"
        else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    )
    return Hardware(
        device=device.type, name=name, cores=usable_cores(), threads=torch.get_num_threads(), memory_bytes=memory
    )


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """Model name of the CPU."""
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that was not installed
            continue
    return found


@cache
def git_state() -> Git:
    """Commit of this checkout, and whether anything tracked differs from it; both None outside a checkout."""

    def git(*args: str) -> str:
        root = Path(__file__).parent
        return subprocess.run(["git", "-C", root, *args], capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != Path(__file__).resolve().parents[2]:
            return Git(commit=None, dirty=None)  # installed somewhere inside another project's checkout
        return Git(commit=git("rev-parse", "HEAD"), dirty=bool(git("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.CalledProcessError):
        return Git(commit=None, dirty=None)


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


def peak_memory_bytes(device: torch.device) -> int:
    """Largest memory so far: allocated on a CUDA device, resident in the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
