"""Checkpoints as models, prompts as tokens, and how sure a model is of the target of each prompt.

Shape letters: B prompts, L positions, V token values.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from architectures.families.adapter import one_line, quiet
from benchmark.config.errors import BenchmarkError
from benchmark.language.prompts import Prompt

MOST_LOGITS = 1 << 25
"""Logits that are held at once: 128 MiB in float32."""


@dataclass(frozen=True)
class TargetTokens:
    """Prompts as tokens, padded on the right, where no position before sees the padding.

    Attributes:
        ids_BL: tokens of the prompts, zeros behind them.
        lengths_B: tokens of each prompt.
        targets_B: the token that each goes on with.
    """

    ids_BL: Tensor
    lengths_B: Tensor
    targets_B: Tensor

    def __len__(self) -> int:
        return len(self.targets_B)

    def chunks(self, size: int) -> Iterator["TargetTokens"]:
        """Some prompts at a time."""
        parts = (self.ids_BL.split(size), self.lengths_B.split(size), self.targets_B.split(size))
        return (TargetTokens(*part) for part in zip(*parts, strict=True))


@dataclass(frozen=True)
class Sureness:
    """How sure a model is of the targets.

    Attributes:
        probability: of the target, mean over the prompts.
        accuracy: share of the prompts whose target is the most probable token.
    """

    probability: float
    accuracy: float


def load_model(folder: Path) -> Any:
    """The causal language model of a checkpoint, on the CPU, in float32; no code but the library's runs.

    Raises:
        ValueError: one line, if the library cannot load it.
    """
    os.environ.setdefault("USE_HUB_KERNELS", "0")  # where the package kernels is installed, it would fetch and run code
    with one_line(f"{folder}: cannot be loaded"), quiet():
        from transformers import AutoModelForCausalLM

        without_bars()
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False
        )
    return model.eval()


def without_bars() -> None:
    """Let the library draw no progress bars: its files are small, or the hub draws one of its own."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder.

    Raises:
        ValueError: one line, if there is none.
    """
    with one_line(f"{folder}: its tokenizer cannot be loaded"), quiet():
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def tokenized(tokenizer: Any, prompts: Sequence[Prompt]) -> TargetTokens:
    """The prompts as tokens, after the token that the tokenizer begins every text with, if it has one.

    Raises:
        ValueError: one line that names the prompt and the pieces, if a target is not one token of its own.
    """
    begin = [token for token in tokenizer("")["input_ids"][:1] if token == tokenizer.bos_token_id]
    rows: list[list[int]] = []
    for prompt in prompts:
        ids = begin + tokenizer(prompt.text, add_special_tokens=False)["input_ids"]
        both = begin + tokenizer(prompt.text + prompt.target, add_special_tokens=False)["input_ids"]
        same = next((at for at, pair in enumerate(zip(ids, both, strict=False)) if pair[0] != pair[1]), len(ids))
        pieces = tokenizer.convert_ids_to_tokens(both[same:])
        if same < len(ids) or len(pieces) != 1 or not ids:
            raise BenchmarkError(
                f"prompt {prompt.text!r}: the target {prompt.target!r} must be one token of its own, but the tokenizer"
                f" makes {len(pieces)} of the text's end: {' '.join(map(repr, pieces))}"
            )
        if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in both:
            at = both.index(tokenizer.unk_token_id)
            raise BenchmarkError(
                f"prompt {prompt.text!r}: token {at} of it is unknown to the tokenizer: the series says by `text` which"
                " kind of prompts its models understand"
            )
        rows.append(both)
    ids_BL = torch.zeros(len(rows), max(map(len, rows)) - 1, dtype=torch.long)
    for i, row in enumerate(rows):
        ids_BL[i, : len(row) - 1] = torch.tensor(row[:-1])
    lengths_B = torch.tensor([len(row) - 1 for row in rows])
    return TargetTokens(ids_BL, lengths_B, torch.tensor([row[-1] for row in rows]))


def chunk_size(model: Any, tokens: TargetTokens) -> int:
    """Prompts that a model looks at together, so that their logits fit into memory."""
    return max(1, MOST_LOGITS // (tokens.ids_BL.shape[1] * int(model.config.vocab_size)))


@torch.no_grad()
def target_probabilities(model: Any, tokens: TargetTokens) -> tuple[Tensor, Tensor]:
    """Probability of the target of each prompt, (B,) float64, and whether it is the most probable token, (B,) bool."""
    logits_BLV = model(input_ids=tokens.ids_BL, use_cache=False).logits
    logits_BV = logits_BLV[torch.arange(len(tokens)), tokens.lengths_B - 1].double()
    p_B = logits_BV.softmax(-1).gather(1, tokens.targets_B[:, None])[:, 0]
    return p_B, logits_BV.argmax(-1) == tokens.targets_B


def sureness_of(parts: Sequence[tuple[Tensor, Tensor]]) -> Sureness:
    """The means over the prompts of all chunks, from what `target_probabilities` gives of each."""
    p_B = torch.cat([p for p, _ in parts])
    correct_B = torch.cat([correct for _, correct in parts])
    return Sureness(p_B.mean().item(), correct_B.double().mean().item())


def sureness(model: Any, tokens: TargetTokens, name: str) -> Sureness:
    """How sure a model is of the targets.

    Args:
        model: of the transformers library.
        tokens: of the prompts.
        name: of the checkpoint, for messages.

    Raises:
        ValueError: one line, if a prompt has a token that the model lacks, or probabilities are not finite.
    """
    most = int(max(tokens.ids_BL.max(), tokens.targets_B.max()))
    if most >= model.config.vocab_size:
        raise BenchmarkError(
            f"{name}: the tokenizer has a token {most}, and the model {model.config.vocab_size} tokens: they do not fit"
        )
    found = sureness_of([target_probabilities(model, part) for part in tokens.chunks(chunk_size(model, tokens))])
    if not math.isfinite(found.probability):
        raise BenchmarkError(f"{name}: its predictions are not finite: the weights are damaged, or training diverged")
    return found
