"""Models at kept checkpoints, and how sure one is of what it should predict.

Shape letters: B sequences, N = L + 1 tokens, L positions a model reads, V token values.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from architectures import SequenceModel
from architectures.transformer import Attention, attentions_of
from benchmark.config.errors import BenchmarkError
from benchmark.training.loading import load
from benchmark.training.run import Run

MOST_PROBABILITIES = 1 << 25
"""Attention probabilities of a model that are held at once: 128 MiB in float32."""

Head = tuple[int, int]
"""The number of a block, and that of a head in it, both from 0."""


def run_at(folder: Path, step: int, *, trust: bool = False) -> Run:
    """The run of one seed in a folder, with the weights of a step.

    Args:
        folder: run folder.
        step: one after which a checkpoint was kept, or that of the last checkpoint.
        trust: as for `load`.

    Raises:
        ValueError: one line, if there are no such weights (it names the steps that there are), or many seeds.
    """
    try:
        run = load(folder, step=step, trust=trust)
    except BenchmarkError as missing:
        try:
            run = load(folder, trust=trust)
        except BenchmarkError:
            raise missing from None
        if run.step != step:
            raise BenchmarkError(f"{missing}; the last checkpoint is of step {run.step}") from None
    if len(run.members) > 1:
        raise BenchmarkError(f"{folder}: holds {len(run.members)} seeds: give the folder of one, like {folder}/seed0")
    return run


class Subject:
    """A model at a step of its run, and the sequences on which it is looked at: the first ones of the test set.

    Args:
        run: of one seed, with its weights.
        n_sequences: number of sequences.

    Raises:
        ValueError: one line, if there is no sequence, or fewer exist than were asked for.
    """

    def __init__(self, run: Run, n_sequences: int) -> None:
        if n_sequences < 1:
            raise BenchmarkError(f"--sequences must be at least 1, got {n_sequences}")
        self.run, self.model, self.n_sequences = run, run.model.eval(), n_sequences
        heads = sum(attention.n_heads for attention in self.attentions.values())
        self.chunk = max(1, MOST_PROBABILITIES // (max(heads, 1) * run.task.seq_len**2))

    @property
    def attentions(self) -> dict[int, Attention]:
        """The attention of every block that has some, by the number of the block."""
        try:
            return attentions_of(self.model)
        except AttributeError:  # a model of a library, which keeps its blocks in its own way
            return {}

    @property
    def heads(self) -> list[Head]:
        """All heads in order."""
        return [(layer, head) for layer, attention in self.attentions.items() for head in range(attention.n_heads)]

    def chunks(self) -> Iterator[Tensor]:
        """The sequences, (B, N), some at a time."""
        for start in range(0, self.n_sequences, self.chunk):
            yield self.run.task.rows(start, min(start + self.chunk, self.n_sequences), "test")

    def logits(self, tokens_BN: Tensor) -> Tensor:
        """Next-token logits (B, L, V), with the run's attention bias if it has one at this step."""
        model: SequenceModel = self.model
        bias = self.run.module.bias_in(tokens_BN[None])
        return model(tokens_BN[:, :-1]) if bias is None else model(tokens_BN[:, :-1], attention_bias=bias[0])

    def sure_of(self, tokens_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Probability of the right next token: sums over the sequences where it is scored, and their numbers, (L,)."""
        p_BL = self.logits(tokens_BN).softmax(-1).gather(-1, tokens_BN[:, 1:, None])[..., 0].double()
        scored_BL = self.run.task.scored_in(tokens_BN)
        return (p_BL * scored_BL).sum(0), scored_BL.sum(0)


def head_text(head: Head) -> str:
    """A head as it is written on the command line, LAYER:HEAD."""
    return f"{head[0]}:{head[1]}"


def parse_head(text: str, option: str, known: list[Head], model: str) -> Head:
    """The head that a text names.

    Args:
        text: LAYER:HEAD, both from 0.
        option: that the text is given to, for messages.
        known: heads that there are.
        model: name of the architecture.

    Raises:
        ValueError: one line, if there is no such head.
    """
    if not known:
        raise BenchmarkError(f"{option} {text}: {model} has no attention heads")
    layer, _, head = text.partition(":")
    if layer.isdecimal() and head.isdecimal() and (found := (int(layer), int(head))) in known:
        return found
    n_heads = {layer: 1 + max(h for at, h in known if at == layer) for layer, _ in known}
    there = ", ".join(f"{layer}:0 to {layer}:{n - 1}" for layer, n in n_heads.items())
    raise BenchmarkError(f"{option} must be LAYER:HEAD, got {text!r}; there are {there}")


def means(parts: list[tuple[Tensor, Tensor]]) -> tuple[float, list[float | None]]:
    """The mean over scored positions of all chunks, and that of every position, None where nothing is scored."""
    sums_L, counts_L = (torch.stack(list(each)).sum(0) for each in zip(*parts, strict=True))
    by_position = [s / n if n else None for s, n in zip(sums_L.tolist(), counts_L.tolist(), strict=True)]
    return float(sums_L.sum() / counts_L.sum()), by_position
