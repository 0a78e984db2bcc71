"""Choice of the implementation of a sequence operator: plain PyTorch, compiled loops or fused CUDA kernels."""

import warnings
from functools import cache
from importlib.util import find_spec
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

Backend = Literal["auto", "torch", "fused"]
"""Choice of the user: the fastest implementation available, plain PyTorch, or a fused CUDA kernel and nothing else."""

INSTALL = {
    "fla": "pip install 'emergence-benchmark[cuda]'",
    "mamba_ssm": "pip install --no-build-isolation 'emergence-benchmark[mamba]'",
}
"""Commands that install the libraries of fused kernels, by the name under which each is imported."""

MAX_KEYS = 256
"""Most keys per head, or states per channel, that a fused kernel keeps on chip."""

KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
"""Dtypes that fused kernels compute in."""


@cache
def installed(package: str) -> bool:
    """Tell whether a package can be imported, without importing it."""
    return find_spec(package) is not None


@cache
def compiles() -> bool:
    """Tell whether numba works here; warns once if it does not, since plain PyTorch is much slower."""
    try:
        from numba import config

        reason = "NUMBA_DISABLE_JIT is set" if vars(config).get("DISABLE_JIT") else ""
    except Exception as error:  # not installed, or at odds with NumPy: numba raises several kinds
        reason = " ".join(f"{type(error).__name__}: {error}".split())
    if reason:
        warnings.warn(f"recurrent architectures run without compiled loops, slowly ({reason})", stacklevel=2)
    return not reason


def watched() -> bool:
    """Tell whether a tool of PyTorch must see every operator as one: a compiler, a FLOP counter, fake tensors."""
    # A compiler cannot read how many other tools there are: it is asked first.
    return torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0


def require_backend(backend: str, library: str | None) -> None:
    """Check the option `backend` when a model is built.

    Args:
        backend: one of `Backend`.
        library: package of the fused kernel, a key of `INSTALL`; None if no library has one.

    Raises:
        ValueError: if it is none of the choices, or "fused" without a CUDA device or the library; says what to install.
    """
    if backend not in ("auto", "torch", "fused"):
        raise ValueError(f"model.backend must be one of auto, torch, fused; got {backend!r}")
    if backend != "fused":
        return
    if library is None:
        raise ValueError("model.backend = fused: no library has a fused kernel of this architecture; use auto or torch")
    if not torch.cuda.is_available():
        raise ValueError(
            f"model.backend = fused needs a CUDA device and {library} ({INSTALL[library]});"
            " here is no CUDA device: use auto or torch"
        )
    if not installed(library):
        raise ValueError(f"model.backend = fused needs {library}, which is not installed: {INSTALL[library]}")


def choose(
    backend: str, device: torch.device, library: str | None, *, n_keys: int = 1, dtype: torch.dtype = torch.float32
) -> str:
    """Choose the implementation that runs on a device; never fails for "auto" and "torch".

    Args:
        backend: one of `Backend`.
        device: of the tensors.
        library: package of the fused kernel, a key of `INSTALL`; None if no library has one.
        n_keys: keys per head, or states per channel.
        dtype: of the tensors.

    Returns:
        "torch", "numba" (compiled loops, CPU only) or `library`.

    Raises:
        ValueError: if "fused" is requested and the tensors are not on a CUDA device or the library is missing.
    """
    fits = n_keys <= MAX_KEYS and dtype in KERNEL_DTYPES
    if library and device.type == "cuda" and backend != "torch" and installed(library) and (fits or backend == "fused"):
        return library  # whose adapter says what does not fit
    if backend == "fused":
        raise ValueError(f"model.backend = fused needs {library} and tensors on a CUDA device, these are on {device}")
    return "numba" if backend == "auto" and device.type == "cpu" and compiles() else "torch"


class Accelerated(nn.Module):
    """A module whose sequence operator has several implementations.

    Args:
        backend: choice of the user.
        n_keys: keys per head, or states per channel.
    """

    library: ClassVar[str | None] = "fla"
    """Package of the fused kernel, a key of `INSTALL`; None if no library has one."""

    def __init__(self, backend: Backend, n_keys: int = 1) -> None:
        super().__init__()
        self.backend_asked, self.n_keys = backend, n_keys

    def implementation(self, like: Tensor) -> str:
        """The implementation that runs on tensors of this device and dtype, as `choose` returns it."""
        return choose(self.backend_asked, like.device, self.library, n_keys=self.n_keys, dtype=like.dtype)
