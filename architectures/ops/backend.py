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

MAX_KEYS = 256
"""Keys a head, or states a channel, that a fused kernel keeps on chip at once."""

KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
"""What fused kernels compute in."""


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


def choose(
    backend: str, device: torch.device, library: str, *, n_keys: int = 1, dtype: torch.dtype = torch.float32
) -> str:
    """The implementation that runs on a device; never fails for "auto" and "torch".

    Args:
        backend: one of `Backend`.
        device: where the tensors are.
        library: package of the fused kernel, a key of `INSTALL`.
        n_keys: keys a head, or states a channel.
        dtype: of the tensors.

    Returns:
        "torch", "numba" (compiled loops, CPU only) or `library`.

    Raises:
        ValueError: if "fused" is asked for and the tensors are not on a CUDA device or the library is missing.
    """
    fits = n_keys <= MAX_KEYS and dtype in KERNEL_DTYPES
    if device.type == "cuda" and backend != "torch" and installed(library) and (fits or backend == "fused"):
        return library  # whose adapter says what does not fit
    if backend == "fused":
        raise ValueError(f"model.backend = fused needs {library} and tensors on a CUDA device, these are on {device}")
    return "numba" if backend == "auto" and device.type == "cpu" and installed("numba") else "torch"
