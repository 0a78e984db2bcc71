"""Architectures whose code is a library's, by the library's own name: `hf:llama`, `fla:gla`."""

from architectures.families import flash_linear_attention, huggingface

__all__ = ["flash_linear_attention", "huggingface"]
