"""Attention patterns of heads from the checkpoint after emergence in the one before, with controls; and their ablation.

If a capability waits for sparse attention patterns, those of a few heads after emergence, put into the model before it,
should bring most of it (arXiv 2606.25010, figure 2). Beside each number stand the same numbers of other choices: as
many random heads, heads of matched entropy, all heads of each layer. Its counterpart is the later model without the
patterns of the same heads.

Shape letters: B prompts, H heads, L positions, K head width.
"""

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from architectures.transformer import Edit
from benchmark.config.errors import BenchmarkError
from benchmark.interventions.patching import (
    Ablation,
    even_pattern,
    given_pattern,
    heads_by_layer,
    mean_output,
    noted_pattern,
)
from benchmark.interventions.subject import Head, head_text
from benchmark.language.heads.attention_edits import attention_edited, take_over_attention
from benchmark.language.language_model import (
    MOST_LOGITS,
    Sureness,
    TargetTokens,
    chunk_size,
    sureness_of,
    target_probabilities,
)

Heads = tuple[Head, ...]


@dataclass(frozen=True)
class HeadChoice:
    """Measurement of one choice of heads.

    Attributes:
        heads: LAYER:HEAD.
        probability: of the target, mean over the prompts.
        accuracy: share of the prompts that are right.
    """

    heads: tuple[str, ...]
    probability: float
    accuracy: float


@dataclass(frozen=True)
class PatchResult:
    """Result of patching one pair of checkpoints.

    Attributes:
        before: the model that is patched, as it is.
        after: the model whose patterns are taken, as it is.
        own_pattern_change: largest change of a target's probability by the model's own patterns; 0 but for rounding.
        entropies: of the patterns of each head after emergence, nats, mean over the positions from the second one on.
        alone: each head by itself.
        best: the best heads together, found greedily: the best one, the best two with it, and so on.
        random: as many random heads as `best` has at its end, none the same choice; every other choice where there
            are few.
        matched: for the same number, the heads beyond the best ones whose entropies are nearest to theirs.
        layers: all heads of each layer.
        all_heads: all of them.
        ablated_alone: the later model with each head ablated.
        ablated_best: with the best heads ablated.
        ablated_random: with each choice of `random` ablated.
        maps: of the best heads on the first prompt, before and after: {LAYER:HEAD: (before (L, L), after (L, L))}.
    """

    before: Sureness
    after: Sureness
    own_pattern_change: float
    entropies: dict[str, float]
    alone: list[HeadChoice]
    best: list[HeadChoice]
    random: list[HeadChoice]
    matched: HeadChoice
    layers: list[HeadChoice]
    all_heads: HeadChoice
    ablated_alone: list[HeadChoice]
    ablated_best: HeadChoice
    ablated_random: list[HeadChoice]
    maps: dict[str, tuple[Tensor, Tensor]] = field(repr=False)

    def recovered(self, choice: HeadChoice, what: Literal["probability", "accuracy"] = "probability") -> float | None:
        """The share of what is gained between the checkpoints that a choice brings; None where nothing is gained."""
        low, high = getattr(self.before, what), getattr(self.after, what)
        return None if high <= low else (getattr(choice, what) - low) / (high - low)


class PatchSubject:
    """A model whose attention is taken over, and the prompts.

    Args:
        model: of the transformers library.
        tokens: of the prompts.
        name: of the checkpoint, for messages.

    Raises:
        ValueError: one line, if its heads cannot be patched.
    """

    def __init__(self, model: Any, tokens: TargetTokens, name: str) -> None:
        self.model, self.tokens = model, tokens
        self.heads = take_over_attention(model, tokens, name)
        probabilities = len(self.heads) * tokens.ids_BL.shape[1] ** 2
        self.chunk = min(chunk_size(model, tokens), max(1, MOST_LOGITS // probabilities))

    def measured(self, edits_of: Callable[[TargetTokens], Mapping[int, Edit]] | None = None) -> list[Any]:
        """Probability and correctness of each prompt, chunk by chunk, with edits made for the chunk."""
        found = []
        for part in self.tokens.chunks(self.chunk):
            with attention_edited({} if edits_of is None else edits_of(part)):
                found.append(target_probabilities(self.model, part))
        return found

    def maps(self, part: TargetTokens) -> dict[int, Tensor]:
        """The attention probabilities of every layer on some prompts, (B, H, L, L)."""
        maps: dict[int, Tensor] = {}

        with attention_edited({layer: partial(noted_pattern, maps, layer) for layer, _ in self.heads}):
            target_probabilities(self.model, part)
        return maps


def patch_capability(
    source: PatchSubject, target: PatchSubject, top: int, draws: int, without: Ablation = "uniform", seed: int = 0
) -> PatchResult:
    """Put patterns of heads of one model into another, and ablate them in the first.

    Args:
        source: the model after emergence, whose patterns are taken.
        target: the model before it, which is patched.
        top: most heads of the greedy search; no more than all but one.
        draws: most random choices of as many heads.
        without: what an ablated head has: `uniform`, attention spread evenly over the past; `mean`, its mean output
            over the prompts, position by position.
        seed: draws the random choices.

    Raises:
        ValueError: one line, if the models differ in their heads, or have a single one.
    """
    heads = tuple(target.heads)
    if source.heads != target.heads:
        raise BenchmarkError(f"the checkpoints differ: {len(source.heads)} heads and {len(heads)}")
    if len(heads) < 2:
        raise BenchmarkError("the model has one head: there is none to compare it with")
    top = min(top, len(heads) - 1)
    patch = _Patch(source, target)
    ablation = _Ablation(source, without)
    before_parts = target.measured()
    own_parts = _Patch(target, target).parts(heads)
    own = max((a - b).abs().max().item() for (a, _), (b, _) in zip(own_parts, before_parts, strict=True))
    alone = [patch.of((head,)) for head in heads]
    best = [max(alone, key=_gain)]
    chosen: Heads = (heads[alone.index(best[0])],)
    while len(chosen) < top:
        tried = {head: patch.of((*chosen, head)) for head in heads if head not in chosen}
        head = max(tried, key=lambda each: _gain(tried[each]))
        chosen, best = (*chosen, head), [*best, tried[head]]
    entropies = patch.entropies()
    others = _other_choices(heads, chosen, draws, seed)
    layers = sorted({layer for layer, _ in heads})
    first = next(target.tokens.chunks(1))
    length, (theirs, ours) = int(first.lengths_B[0]), (source.maps(first), target.maps(first))
    shown = {head: tuple(maps[head[0]][0, head[1], :length, :length] for maps in (ours, theirs)) for head in chosen}
    return PatchResult(
        before=sureness_of(before_parts),
        after=sureness_of(source.measured()),
        own_pattern_change=own,
        entropies={head_text(head): entropies[head] for head in heads},
        alone=alone,
        best=best,
        random=[patch.of(other) for other in others],
        matched=patch.of(_matched(heads, chosen, entropies)),
        layers=[patch.of(tuple(head for head in heads if head[0] == layer)) for layer in layers],
        all_heads=patch.of(heads),
        ablated_alone=[ablation.of((head,)) for head in heads],
        ablated_best=ablation.of(chosen),
        ablated_random=[ablation.of(other) for other in others],
        maps={head_text(head): (maps[0], maps[1]) for head, maps in shown.items()},
    )


def _gain(choice: HeadChoice) -> tuple[float, float]:
    return choice.probability, choice.accuracy


def _other_choices(heads: Heads, chosen: Heads, draws: int, seed: int) -> list[Heads]:
    """Random choices of as many heads, each another; all that there are where they are no more than `draws`."""
    size, best = len(chosen), tuple(sorted(chosen))
    if math.comb(len(heads), size) - 1 <= draws:
        return [choice for choice in itertools.combinations(heads, size) if choice != best]
    draw, found = random.Random(seed), dict[Heads, None]()
    while len(found) < draws:
        choice = tuple(sorted(draw.sample(heads, size)))
        if choice != best:
            found[choice] = None
    return list(found)


def _matched(heads: Heads, chosen: Heads, entropies: Mapping[Head, float]) -> Heads:
    """For each chosen head another one, none twice, whose entropy is nearest."""
    left = [head for head in heads if head not in chosen]
    found: list[Head] = []
    for head in chosen:
        if left:
            near = min(left, key=lambda other: abs(entropies[other] - entropies[head]))
            left.remove(near)
            found.append(near)
    return tuple(found)


class _Patch:
    """Patterns of one model in another."""

    def __init__(self, source: PatchSubject, target: PatchSubject) -> None:
        self.target = target
        parts = list(target.tokens.chunks(target.chunk))
        # The maps of all prompts are kept: a greedy search asks for them again and again.
        self.maps = {id(part): source.maps(part) for part in parts}
        self.parts_of_prompts = parts

    def parts(self, heads: Heads) -> list[tuple[Tensor, Tensor]]:
        """Probability and correctness of each prompt, chunk by chunk."""
        found = []
        for part in self.parts_of_prompts:
            maps = self.maps[id(part)]
            with attention_edited(
                {layer: partial(given_pattern, maps[layer], own) for layer, own in heads_by_layer(heads).items()}
            ):
                found.append(target_probabilities(self.target.model, part))
        return found

    def of(self, heads: Heads) -> HeadChoice:
        """The measurement with these heads patched."""
        return _choice(heads, self.parts(heads))

    def entropies(self) -> dict[Head, float]:
        """Entropy of each head's patterns in nats, mean over the positions of the prompts from the second one on."""
        sums: dict[Head, float] = {}
        n = 0
        for part in self.parts_of_prompts:
            position_L = torch.arange(part.ids_BL.shape[1])
            counted_BL = (position_L >= 1) & (position_L < part.lengths_B[:, None])
            n += int(counted_BL.sum())
            for layer, p_BHLL in self.maps[id(part)].items():
                entropy_BHL = torch.special.entr(p_BHLL.double()).sum(-1)
                for head, total in enumerate((entropy_BHL * counted_BL[:, None]).sum((0, 2)).tolist()):
                    sums[layer, head] = sums.get((layer, head), 0.0) + total
        return {head: total / max(n, 1) for head, total in sums.items()}


class _Ablation:
    """Heads without their patterns."""

    def __init__(self, subject: PatchSubject, without: Ablation) -> None:
        self.subject, self.without = subject, without
        self.means = _mean_outputs(subject) if without == "mean" else {}

    def of(self, heads: Heads) -> HeadChoice:
        """The measurement with these heads ablated."""
        edits: dict[int, Edit] = {
            layer: partial(mean_output, self.means[layer], own)
            if self.without == "mean"
            else partial(even_pattern, own)
            for layer, own in heads_by_layer(heads).items()
        }
        return _choice(heads, self.subject.measured(lambda part: edits))


def _mean_outputs(subject: PatchSubject) -> dict[int, Tensor]:
    """The outputs of the heads of every layer, (H, L, K), mean over the prompts that reach the position."""
    sums: dict[int, Tensor] = {}
    n_L = torch.zeros(subject.tokens.ids_BL.shape[1])
    for part in subject.tokens.chunks(subject.chunk):
        there_BL = (torch.arange(part.ids_BL.shape[1]) < part.lengths_B[:, None]).float()
        n_L += there_BL.sum(0)

        def added(layer: int, p_BHLL: Tensor, v_BHLK: Tensor, there_BL: Tensor = there_BL) -> Tensor:
            y_BHLK = p_BHLL @ v_BHLK
            sums[layer] = sums.get(layer, torch.zeros(())) + (y_BHLK * there_BL[:, None, :, None]).sum(0)
            return y_BHLK

        with attention_edited({layer: partial(added, layer) for layer, _ in subject.heads}):
            target_probabilities(subject.model, part)
    return {layer: total / n_L.clamp(min=1)[:, None] for layer, total in sums.items()}


def _choice(heads: Heads, parts: Sequence[tuple[Tensor, Tensor]]) -> HeadChoice:
    found = sureness_of(parts)
    return HeadChoice(tuple(map(head_text, heads)), found.probability, found.accuracy)
