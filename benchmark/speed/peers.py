"""The same architectures in the transformers library: what a CPU user would otherwise train.

Sizes are the suite's: width, depth, heads, states, vocabulary. The library takes its PyTorch paths as long as no
kernels for a GPU can be imported; where it finds some, it calls them on a CPU too, and they fail.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from benchmark.training.measure import VOCAB_SIZE


class Logits(nn.Module):
    """A model of the library, cut down to what ours do.

    Args:
        model: one of its ``...ForCausalLM``.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens_BL: Tensor) -> Tensor:
        """Tokens (B, L) to logits (B, L, V)."""
        logits_BLV: Tensor = self.model(input_ids=tokens_BL, use_cache=False).logits
        return logits_BLV


@dataclass(frozen=True)
class Peer:
    """One architecture of the library.

    Attributes:
        name: for the table.
        config, model: names of its classes.
        options: of its configuration, from width, depth and length.
        longest: the greatest length worth waiting for; None has no limit.
        most_tokens: in a step, where the usual number takes too long; None has no limit.
    """

    name: str
    config: str
    model: str
    options: Callable[[int, int, int], dict[str, Any]]
    longest: int | None = None
    most_tokens: int | None = None

    def build(self, d_model: int, n_layers: int, length: int) -> nn.Module:
        """An instance with fresh weights.

        Raises:
            ImportError: if the library is not installed.
        """
        from transformers.utils import logging

        logging.set_verbosity_error()
        import transformers

        options = self.options(d_model, n_layers, length)
        config = getattr(transformers, self.config)(vocab_size=VOCAB_SIZE, use_cache=False, **options)
        return Logits(getattr(transformers, self.model)(config))


def gpt2(d_model: int, n_layers: int, length: int) -> dict[str, Any]:
    """Without dropout, with 8 heads."""
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    size = {"n_embd": d_model, "n_layer": n_layers, "n_head": 8, "n_positions": length}
    return {**dropout, **size, "bos_token_id": 0, "eos_token_id": 0, "attn_implementation": "sdpa"}


def mamba(d_model: int, n_layers: int, length: int) -> dict[str, Any]:
    """State of 16 a channel."""
    return {"hidden_size": d_model, "num_hidden_layers": n_layers, "state_size": 16}


def mamba2(d_model: int, n_layers: int, length: int) -> dict[str, Any]:
    """Chunks of 64, heads of 64, states of 64."""
    heads = {"head_dim": 64, "num_heads": 2 * d_model // 64, "n_groups": 1}
    return {"hidden_size": d_model, "num_hidden_layers": n_layers, "state_size": 64, "chunk_size": 64, **heads}


def gated_deltanet(d_model: int, n_layers: int, length: int) -> dict[str, Any]:
    """Every layer linear, no experts; 3 heads with keys of d_model / 4 and values of d_model / 2."""
    heads = {"linear_num_key_heads": 3, "linear_num_value_heads": 3}
    widths = {"linear_key_head_dim": d_model // 4, "linear_value_head_dim": d_model // 2}
    size = {"hidden_size": d_model, "num_hidden_layers": n_layers, "intermediate_size": 11 * d_model // 4}
    return {**size, **heads, **widths, "num_experts": 0, "layer_types": ["linear_attention"] * n_layers}


def rwkv4(d_model: int, n_layers: int, length: int) -> dict[str, Any]:
    """Version 4: the library has no later one."""
    return {"hidden_size": d_model, "num_hidden_layers": n_layers, "context_length": length}


PEERS = (
    Peer("GPT-2, sdpa", "GPT2Config", "GPT2LMHeadModel", gpt2),
    Peer("Mamba", "MambaConfig", "MambaForCausalLM", mamba, longest=128, most_tokens=128),
    Peer("Mamba-2", "Mamba2Config", "Mamba2ForCausalLM", mamba2),
    Peer("Gated DeltaNet (Qwen3-Next)", "Qwen3NextConfig", "Qwen3NextForCausalLM", gated_deltanet),
    Peer("RWKV-4", "RwkvConfig", "RwkvForCausalLM", rwkv4, longest=512),
)
