"""Sequence architectures, one file a paper, in plain PyTorch."""

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
