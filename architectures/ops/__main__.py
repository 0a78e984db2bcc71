"""``python -m architectures.ops``: compile the CPU loops of all architectures, so that no first run waits for it."""

import inspect

import torch
import torch.nn.functional as F

from architectures import ARCHITECTURES


def compile_loops(dtype: torch.dtype = torch.float32) -> None:
    """Run a tiny training step of every architecture; numba caches the machine code on disk."""
    tokens = torch.zeros(1, 3, dtype=torch.int64)
    for name, cls in ARCHITECTURES.items():
        build: type = cls
        # Two layers, because first ones may be special.
        depth = {"n_layers": 2} if "n_layers" in inspect.signature(cls).parameters else {}
        model = build(2, 2, **depth).to(dtype)
        F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
        print(f"{name}: {model.backend}")


if __name__ == "__main__":
    compile_loops()
