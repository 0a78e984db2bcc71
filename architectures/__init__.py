"""Sequence architectures, one file per paper, in plain PyTorch. A file in this folder is imported by that alone."""

from importlib import import_module
from pkgutil import iter_modules

from architectures.gated_deltanet import GatedDeltaNet
from architectures.mamba import Mamba
from architectures.mamba2 import Mamba2
from architectures.mlp_mixer import MLPMixer
from architectures.model import RecurrentBlock, SequenceModel
from architectures.registry import ARCHITECTURES, FAMILIES, register
from architectures.rwkv import RWKV
from architectures.transformer import Transformer

__all__ = [
    "ARCHITECTURES",
    "FAMILIES",
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
    try:
        import_module(f"{__name__}.{_module.name}")
    except Exception as _error:  # of a file that is being written: one line, in place of a traceback from every command
        _reason = f"{type(_error).__name__}: {' '.join(str(_error).split())}"
        raise ValueError(f"{__path__[0]}/{_module.name}: cannot be imported: {_reason}") from _error
