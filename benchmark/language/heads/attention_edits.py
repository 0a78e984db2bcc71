"""Attention of transformers' models, taken out and changed through the library's own attention interface.

A function that is registered by a name takes the place of the library's in every layer that asks the interface for one;
with it goes the mask that the eager attention has, since an unknown name gets none. It computes

    P = softmax(scaling * Q K^T + mask),   Y = P V

and hands P and V to an edit where there is one for the layer. Models whose layers do not ask (gptj, gpt_neo, bloom) are
refused, and those whose own attention is something else (gpt_oss: sinks).

Shape letters: B prompts, H heads, L positions, K head width.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from architectures.families.adapter import quiet
from architectures.transformer import Edit
from benchmark.config.errors import BenchmarkError
from benchmark.interventions.subject import Head
from benchmark.language.language_model import TargetTokens, target_probabilities

ATTENTION = "emergence_benchmark"
"""Name of the attention implementation."""

_CLOSE = 1e-4
"""Largest difference in a target's probability between our attention and the library's; in float32 it is about 1e-7."""

_edits: ContextVar[Mapping[int, Edit] | None] = ContextVar("edits", default=None)
_seen: ContextVar[dict[int, int] | None] = ContextVar("seen", default=None)


def attention(
    module: Any,
    query_BHLK: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor]:
    """The library's attention function of a layer, with its edit: outputs (B, L, H, K) and probabilities (B, H, L, L).

    Raises:
        ValueError: one line, if the layer's attention has sinks.
    """
    if s_aux is not None:
        raise BenchmarkError("its attention has sinks beside the tokens: patterns of heads do not say what they do")
    groups = query_BHLK.shape[1] // key_BHLK.shape[1]
    if groups > 1:  # heads that share keys and values
        key_BHLK, value_BHLK = (each.repeat_interleave(groups, 1) for each in (key_BHLK, value_BHLK))
    scaling = query_BHLK.shape[-1] ** -0.5 if scaling is None else scaling
    logits_BHLL = query_BHLK @ key_BHLK.transpose(2, 3) * scaling
    if softcap is not None:
        logits_BHLL = torch.tanh(logits_BHLL / softcap) * softcap
    if mask is not None:
        logits_BHLL = logits_BHLL + mask[..., : key_BHLK.shape[2]]
    p_BHLL = logits_BHLL.softmax(-1, dtype=torch.float32).to(query_BHLK.dtype)
    layer = int(module.layer_idx)
    if (seen := _seen.get()) is not None:
        seen[layer] = p_BHLL.shape[1]
    edit = (_edits.get() or {}).get(layer)
    y_BHLK = p_BHLL @ value_BHLK if edit is None else edit(p_BHLL, value_BHLK)
    return y_BHLK.transpose(1, 2).contiguous(), p_BHLL


@contextmanager
def attention_edited(edits: Mapping[int, Edit]) -> Iterator[None]:
    """A block in which the layers of these numbers have edits, in every model whose attention was taken over."""
    token = _edits.set(edits)
    try:
        yield
    finally:
        _edits.reset(token)


def take_over_attention(model: Any, tokens: TargetTokens, name: str) -> list[Head]:
    """Let a model compute its attention by `attention`, and return its heads.

    Args:
        model: of the transformers library.
        tokens: of prompts; the first ones are looked at with both functions.
        name: of the checkpoint, for messages.

    Raises:
        ValueError: one line, if some layers do not ask the interface, or the model predicts something else with it.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, eager_mask)
    few = next(tokens.chunks(4))
    before_B, _ = target_probabilities(model, few)
    kind, n_layers = model.config.model_type, int(model.config.num_hidden_layers)
    seen: dict[int, int] = {}
    token = _seen.set(seen)
    try:
        with quiet():
            model.set_attn_implementation(ATTENTION)
        after_B, _ = target_probabilities(model, few)
    except Exception as error:
        why = str(error) if isinstance(error, BenchmarkError) else " ".join(f"{type(error).__name__}: {error}".split())
        raise BenchmarkError(f"{name}: heads of {kind} cannot be patched: {why[:200]}") from error
    finally:
        _seen.reset(token)
    if len(seen) < n_layers:
        raise BenchmarkError(
            f"{name}: heads of {kind} cannot be patched: {len(seen)} of its {n_layers} layers compute their attention"
            " through transformers' attention interface"
        )
    if (difference := (after_B - before_B).abs().max().item()) > _CLOSE:
        raise BenchmarkError(
            f"{name}: heads of {kind} cannot be patched: its attention is not softmax(QK)V alone (probabilities of"
            f" targets differ by {difference:.2g})"
        )
    return [(layer, head) for layer in sorted(seen) for head in range(seen[layer])]
