import hashlib
import struct
import subprocess

import pytest
import torch
from torch import nn

from architectures import MLPMixer, Transformer
from benchmark.training.folder.recorder import batch_hash
from benchmark.training.machine import environment
from datamodules import LinearMap


@pytest.mark.slow
def test_flops_of_a_transformer_by_hand() -> None:
    """Matrix products of a step: 2 m n k forward and twice that backward; attention 2 products forward, 5 backward."""
    task = LinearMap(4, 2, 3, task_seed=0, data_seed=0)
    length, d, layers = task.seq_len, 16, 2
    model = Transformer(2, length, d_model=d, n_layers=layers, n_heads=4)
    linear = layers * (3 * d * d + d * d + 8 * d * d) + 2 * d  # qkv, out, two of the MLP; head
    attention = layers * length * length * d
    expected = 6 * length * linear + 2 * (2 + 5) * attention
    assert round(environment.flops_per_token(model, task) * task.n_tokens) == expected  # whole but for rounding
    assert all(parameter.grad is None for parameter in model.parameters())


def test_flops_of_a_mixer_by_hand() -> None:
    """Position mixing is an (L x L) by (L x D) product; it has two gradients, as every product has."""
    task = LinearMap(4, 2, 3, task_seed=0, data_seed=0)
    length, d = task.seq_len, 16
    model = MLPMixer(2, length, d_model=d, n_layers=1)
    expected = 6 * (length * (8 * d * d + 2 * d) + length * length * d)
    assert round(environment.flops_per_token(model, task) * task.n_tokens) == expected  # whole but for rounding


class Branches(nn.Module):
    """Looks at values, which shapes alone do not have."""

    def forward(self, x_BLD: torch.Tensor) -> torch.Tensor:
        return x_BLD if x_BLD.sum().item() > 0 else 2 * x_BLD


@pytest.mark.slow
@pytest.mark.parametrize("extra", [nn.Identity(), Branches()], ids=["plain", "branches on values"])
def test_flops_of_any_model_are_counted(extra: nn.Module) -> None:
    """By hand: what does not multiply matrices counts nothing."""
    task = LinearMap(4, 2, 3, task_seed=0, data_seed=0)
    model = MLPMixer(2, task.seq_len, d_model=16, n_layers=1)
    expected = environment.flops_per_token(model, task)
    model.blocks.append(extra)
    assert environment.flops_per_token(model, task) == expected > 0
    assert all(type(parameter.data) is torch.Tensor and parameter.grad is None for parameter in model.parameters())


def test_batch_hash_is_of_the_first_batch_as_int32() -> None:
    task = LinearMap(4, 2, data_seed=5)
    tokens = task.batch(0, 3).flatten().tolist()
    assert batch_hash(task, 3) == hashlib.sha256(struct.pack(f"<{len(tokens)}i", *tokens)).hexdigest()
    assert batch_hash(task, 3) != batch_hash(LinearMap(4, 2, data_seed=6), 3)


def test_git_state_is_that_of_the_checkout(repository) -> None:
    def git(*args: str) -> str:
        return subprocess.run(["git", "-C", repository, *args], capture_output=True, text=True, check=True).stdout

    state = environment.read_git(repository)
    assert state.commit == git("rev-parse", "HEAD").strip()
    assert state.dirty == bool(git("diff", "HEAD", "--name-only"))


def test_hardware_and_memory() -> None:
    found = environment.hardware(torch.device("cpu"))
    assert (found.device, found.threads) == ("cpu", torch.get_num_threads())
    assert found.name and found.memory_bytes and found.cores >= 1
    before = environment.peak_memory_bytes(torch.device("cpu"))
    held = torch.ones(100 * 2**20 // 4)
    after = environment.peak_memory_bytes(torch.device("cpu"))
    assert held[-1] == 1  # still there; a float32 sum of so many ones depends on how they are grouped
    assert before is not None and after is not None and 10 * 2**20 < before <= after < 2**40
    assert environment.versions()["torch"] == torch.__version__


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_hardware_of_a_gpu() -> None:
    found = environment.hardware(torch.device("cuda", 0))
    assert (found.device, found.name) == ("cuda", torch.cuda.get_device_name(0))
