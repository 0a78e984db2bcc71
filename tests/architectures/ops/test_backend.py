"""Choice of the implementation, on machines with and without a GPU and the optional libraries."""

from typing import Any

import pytest
import torch

from architectures.ops import backend

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def machine(monkeypatch: pytest.MonkeyPatch, *packages: str, cuda: bool = False) -> None:
    monkeypatch.setattr(backend, "installed", lambda package: package in packages)
    monkeypatch.setattr(backend, "compiles", lambda: "numba" in packages)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)


@pytest.mark.parametrize(
    ("asked", "device", "packages", "runs"),
    [
        ("auto", CPU, ("numba", "fla"), "numba"),
        ("auto", CPU, (), "torch"),
        ("auto", CUDA, ("numba", "fla"), "fla"),
        ("auto", CUDA, ("numba",), "torch"),
        ("torch", CPU, ("numba", "fla"), "torch"),
        ("torch", CUDA, ("numba", "fla"), "torch"),
        ("fused", CUDA, ("numba", "fla"), "fla"),
    ],
)
def test_choice(
    monkeypatch: pytest.MonkeyPatch, asked: str, device: torch.device, packages: tuple[str, ...], runs: str
) -> None:
    machine(monkeypatch, *packages)
    assert backend.choose(asked, device, "fla") == runs


@pytest.mark.parametrize("kernel_limit", [{"n_keys": 257}, {"dtype": torch.float64}], ids=str)
def test_auto_passes_over_a_kernel_that_does_not_fit(monkeypatch: pytest.MonkeyPatch, kernel_limit: Any) -> None:
    machine(monkeypatch, "fla", cuda=True)
    assert backend.choose("auto", CUDA, "fla", n_keys=256, dtype=torch.bfloat16) == "fla"
    assert backend.choose("auto", CUDA, "fla", **kernel_limit) == "torch"
    assert backend.choose("fused", CUDA, "fla", **kernel_limit) == "fla"  # whose adapter says what does not fit


@pytest.mark.parametrize(("device", "packages"), [(CPU, ("numba", "fla")), (CUDA, ("numba",))])
def test_fused_is_never_replaced(monkeypatch: pytest.MonkeyPatch, device: torch.device, packages: tuple[str]) -> None:
    machine(monkeypatch, *packages)
    with pytest.raises(ValueError, match=r"model\.backend = fused needs fla and tensors on a CUDA device"):
        backend.choose("fused", device, "fla")


def test_fused_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "fla")
    with pytest.raises(ValueError, match="here is no CUDA device: use auto or torch"):
        backend.require_backend("fused", "fla")
    machine(monkeypatch, cuda=True)
    with pytest.raises(
        ValueError, match=r"needs fla, which is not installed: pip install 'emergence-benchmark\[cuda\]'"
    ):
        backend.require_backend("fused", "fla")
    with pytest.raises(ValueError, match=r"needs mamba_ssm, which is not installed: pip install .*\[mamba\]'"):
        backend.require_backend("fused", "mamba_ssm")
    machine(monkeypatch, "fla", cuda=True)
    backend.require_backend("fused", "fla")


def test_the_rest_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    backend.require_backend("auto", "fla")
    backend.require_backend("torch", "fla")
    with pytest.raises(ValueError, match=r"model\.backend must be one of auto, torch, fused; got 'triton'"):
        backend.require_backend("triton", "fla")


def test_installed_looks_without_importing() -> None:
    assert backend.installed("torch")
    assert not backend.installed("no_such_package_here")
