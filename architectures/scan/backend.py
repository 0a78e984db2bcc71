"""Which implementation of a sequence operator runs."""

from functools import cache
from importlib.util import find_spec
from typing import Literal

import torch

Backend = Literal["auto", "torch", "fused"]
"""What a user asks for: the fastest that is there, plain PyTorch, or the fused CUDA kernel and nothing else."""

INSTALL = {
    "fla": "pip install 'emergence-benchmark[cuda]'",
    "mamba_ssm": "pip install --no-build-isolation 'emergence-benchmark[mamba]'",
}
"""How to get the libraries of fused kernels, by the name under which each is imported."""


@cache
def installed(package: str) -> bool:
    """Whether a package can be imported; it is not imported here."""
    return find_spec(package) is not None


def require_backend(backend: str, library: str) -> None:
    """Raise a ValueError, one line that says what to install, if "fused" kernels are asked for and cannot run.

    Args:
        backend: one of `Backend`.
        library: package of the fused kernel, a key of `INSTALL`.
    """
    if backend not in ("auto", "torch", "fused"):
        raise ValueError(f"model.backend must be one of auto, torch, fused; got {backend!r}")
    if backend != "fused":
        return
    if not torch.cuda.is_available():
        raise ValueError(
            f"model.backend = fused needs a CUDA device and {library} ({INSTALL[library]});"
            " here is no CUDA device: use auto or torch"
        )
    if not installed(library):
        raise ValueError(f"model.backend = fused needs {library}, which is not installed: {INSTALL[library]}")


def choose(backend: str, device: torch.device, library: str) -> str:
    """The implementation that runs on a device; never fails for "auto" and "torch".

    Args:
        backend: one of `Backend`.
        device: where the tensors are.
        library: package of the fused kernel, a key of `INSTALL`.

    Returns:
        "torch", "numba" (compiled loops, CPU only) or `library`.

    Raises:
        ValueError: if "fused" is asked for and the tensors are not on a CUDA device or the library is missing.
    """
    if device.type == "cuda" and backend != "torch" and installed(library):
        return library
    if backend == "fused":
        raise ValueError(f"model.backend = fused needs {library} and tensors on a CUDA device, these are on {device}")
    return "numba" if backend == "auto" and device.type == "cpu" and installed("numba") else "torch"
