"""Sequence architectures, one file per paper, in plain PyTorch. A file in this folder is imported by that alone."""

from importlib import import_module
from pkgutil import iter_modules

from architectures.gated_deltanet import GatedDeltaNet
from architectures.mamba import Mamba
from architectures.mamba2 import Mamba2
from architectures.mlp_mixer import MLPMixer
from architectures.model import RecurrentBlock, SequenceModel
from architectures.registry import ARCHITECTURES, register
from architectures.rwkv import RWKV
from architectures.transformer import Transformer

__all__ = [
    "ARCHITECTURES",
    "RWKV",
    "GatedDeltaNet",
    "MLPMixer",
    "Mamba",
    "Mamba2",
    "RecurrentBlock",
    "SequenceModel",
    "Transformer",
    "register",
]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
