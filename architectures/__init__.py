"""Sequence architectures, one file a paper, in plain PyTorch."""

from architectures.mlp_mixer import MLPMixer
from architectures.model import SequenceModel
from architectures.registry import ARCHITECTURES, register
from architectures.transformer import Transformer

__all__ = ["ARCHITECTURES", "MLPMixer", "SequenceModel", "Transformer", "register"]
