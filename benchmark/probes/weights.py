"""Probe `weights`: what the weights of blocks without attention say of positions and memory.

Shape letters: B sequences, N tokens of a sequence, L = N - 1 positions that a model reads.
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from architectures import SequenceModel
from benchmark.probes.registry import Measured, Probe, register_probe
from datamodules import Task

MATRICES, DECAY = "position_matrices", "decay"
"""Methods by which a module takes part: ``position_matrices(length)``, a list of (L, L), and ``decay`` of what its
forward pass takes, (B, L, ...) with the axes that ``decay_axes`` names."""


@register_probe("weights")
class WeightsProbe(Probe):
    """Position matrices of the mixer, and decays of recurrent layers.

    By layer, the index of its block:

    - `position_matrix` [query key]: weight of each input position in each output position of `mlp_mixer`, 0 where
      key > query; [channel query key], the matrices in the order of their use, where a block has several;
    - `decay`: the share of the memory that is left after a token, the mean over held-out tokens where it depends on
      them: of `mamba2`, `gated_deltanet` and xLSTM's matrix memory [head], of `lru` [channel], the modulus of lambda,
      of `rwkv` and xLSTM's scalar memory [head channel], of `mamba` [channel state]. What a token overwrites (delta
      rule, removal key) is not counted.
    """

    def __init__(self, model: SequenceModel, task: Task) -> None:
        super().__init__(model, task)
        if not any(hasattr(module, name) for module in model.modules() for name in (MATRICES, DECAY)):
            raise ValueError(f"model {type(model).__name__} has no position matrices and no decays")

    def __call__(self, model: SequenceModel, tokens_BN: Tensor) -> Iterator[Measured]:
        """See `Probe.__call__`."""
        found: list[Measured] = []
        hooks = []
        for name, module in model.named_modules():
            number = re.search(r"(?:^|\.)(\d+)(?:\.|$)", name)
            layer = None if number is None else int(number[1])
            if hasattr(module, MATRICES):
                matrices: list[Tensor] = module.position_matrices(self.task.seq_len)
                axes = "query key" if len(matrices) == 1 else "channel query key"
                yield Measured(
                    "position_matrix", matrices[0] if len(matrices) == 1 else torch.stack(matrices), axes, layer
                )
            if hasattr(module, DECAY):
                hooks.append(module.register_forward_pre_hook(partial(_take_decay, found, layer)))
        if hooks:
            try:
                model(tokens_BN[:, :-1])
            finally:
                for hook in hooks:
                    hook.remove()
        yield from found


def _take_decay(found: list[Measured], layer: int | None, module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Add the mean decay of a module that is about to read its inputs."""
    decay: Tensor = module.decay(*inputs)  # type: ignore[operator]
    found.append(Measured("decay", decay.mean((0, 1)), str(module.decay_axes), layer))
