"""Attention patterns of one checkpoint in the model of another, ablated heads, and exchanged mixing sublayers.

If a capability is waiting for a sparse attention pattern, the pattern of a few heads after emergence, put into the
model before it, should bring most of the capability (arXiv 2606.25010, figure 2). Only the probabilities change hands:
values, MLPs and all the rest are those of the model that is patched.

Shape letters: B sequences, H heads, L positions, K head width.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from architectures.model import mixing_parameters
from architectures.transformer import Edit, edited
from benchmark.config.errors import BenchmarkError
from benchmark.interventions.subject import Head, Subject, head_text, means

Ablation = Literal["uniform", "mean"]
Patch = Callable[[Tensor], ExitStack]
"""A context in which the model is another for a chunk of sequences, (B, N)."""


@dataclass(frozen=True)
class Effect:
    """The effect of a patch.

    Attributes:
        parts: heads (LAYER:HEAD) or layers that were patched together.
        probability: of the right next token, mean over the scored positions.
        change: of it by the patch.
        change_by_position: the same of every position; None where nothing is scored.
    """

    parts: tuple[str, ...]
    probability: float
    change: float
    change_by_position: tuple[float | None, ...]


@dataclass(frozen=True)
class Effects:
    """Result of a series of patches.

    Attributes:
        what: "head" or "layer".
        before: probability of the right next token without a patch, mean over the scored positions.
        source: that of the model that the patches come from; None where there is none.
        n_sequences: sequences that were looked at.
        alone: each part by itself, in the order of the model or of the question.
        together: several at once; of a greedy search the best one, the best two with it, and so on.
    """

    what: Literal["head", "layer"]
    before: float
    source: float | None
    n_sequences: int
    alone: tuple[Effect, ...]
    together: tuple[Effect, ...]


class _Measure:
    """Measures patches of a model against the model as it is."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.before, self.by_position = means([subject.sure_of(tokens_BN) for tokens_BN in subject.chunks()])

    def effects(self, patches: Sequence[tuple[tuple[str, ...], Patch]]) -> list[Effect]:
        """The effect of every patch, named by its parts."""
        parts: list[list[tuple[Tensor, Tensor]]] = [[] for _ in patches]
        for tokens_BN in self.subject.chunks():
            for (_, patch), found in zip(patches, parts, strict=True):
                with patch(tokens_BN):
                    found.append(self.subject.sure_of(tokens_BN))
        return [self._effect(names, *means(found)) for (names, _), found in zip(patches, parts, strict=True)]

    def _effect(self, names: tuple[str, ...], probability: float, by_position: list[float | None]) -> Effect:
        pairs = zip(by_position, self.by_position, strict=True)
        changes = tuple(None if a is None or b is None else a - b for a, b in pairs)
        return Effect(names, probability, probability - self.before, changes)


@torch.no_grad()
def patch_heads(source: Subject, target: Subject, top: int) -> Effects:
    """Put the attention probabilities of each head of one model into another, alone and the best ones together.

    Args:
        source: the model whose patterns are taken.
        target: the model that is patched, of the same sizes.
        top: most heads of the greedy search, which adds the head that raises the probability most.

    Raises:
        ValueError: one line, if there are no heads.
    """
    if not target.heads:
        raise BenchmarkError(f"{type(target.model).__name__} has no attention heads: exchange its layers")
    maps_of = _maps_of(source)

    def patched(heads: Sequence[Head], tokens_BN: Tensor) -> ExitStack:
        maps = maps_of(tokens_BN)
        edits = {layer: partial(given_pattern, maps[layer], chosen) for layer, chosen in heads_by_layer(heads).items()}
        return _edited(target, edits)

    patches = {head_text(head): head for head in target.heads}
    return _searched(
        "head", source, target, top, list(patches), lambda names: partial(patched, [patches[name] for name in names])
    )


@torch.no_grad()
def exchange_layers(source: Subject, target: Subject, top: int) -> Effects:
    """Put the mixing sublayer of each block of a model, with its norm, into another; otherwise as `patch_heads`.

    Raises:
        ValueError: one line, if the model has no blocks that can be told apart.
    """
    if not isinstance(blocks := getattr(target.model, "blocks", None), nn.ModuleList):
        name = type(target.model).__name__
        raise BenchmarkError(f"{name} does not say which of its parts mix positions: there is nothing to exchange")

    def exchanged(names: Sequence[str], tokens_BN: Tensor) -> ExitStack:
        with ExitStack() as stack:
            for block in map(int, names):
                theirs, ours = (mixing_parameters(each.model.blocks[block]) for each in (source, target))
                stack.enter_context(_values(ours, theirs))
            return stack.pop_all()

    names = [str(block) for block in range(len(blocks))]
    return _searched("layer", source, target, top, names, lambda chosen: partial(exchanged, chosen))


@torch.no_grad()
def ablate(subject: Subject, heads: Sequence[Head], kind: Ablation) -> Effects:
    """Take from heads what they look at, from each alone and from all together.

    Args:
        subject: the model.
        heads: which, at least one.
        kind: "uniform" spreads a head's attention evenly over the past; "mean" makes its output the mean over the
            sequences, position by position.
    """
    measure = _Measure(subject)
    outputs = _mean_outputs(subject) if kind == "mean" else {}

    def ablated(chosen: Sequence[Head], tokens_BN: Tensor) -> ExitStack:
        edits: dict[int, Edit] = {}
        for layer, own in heads_by_layer(chosen).items():
            edits[layer] = partial(mean_output, outputs[layer], own) if kind == "mean" else partial(even_pattern, own)
        return _edited(subject, edits)

    alone = measure.effects([((head_text(head),), partial(ablated, [head])) for head in heads])
    several = [(tuple(map(head_text, heads)), partial(ablated, heads))] if len(heads) > 1 else []
    together = measure.effects(several)
    return Effects("head", measure.before, None, subject.n_sequences, tuple(alone), tuple(together))


def _searched(
    what: Literal["head", "layer"],
    source: Subject,
    target: Subject,
    top: int,
    names: Sequence[str],
    patch_of: Callable[[Sequence[str]], Patch],
) -> Effects:
    """Every part alone, then greedily the best ones together: the first one is the best alone."""
    if top < 1:
        raise BenchmarkError(f"--top must be at least 1, got {top}")
    measure, original = _Measure(target), _Measure(source).before
    alone = measure.effects([((name,), patch_of([name])) for name in names])
    together = [max(alone, key=lambda effect: effect.probability)]
    while len(together) < min(top, len(names)):
        chosen = together[-1].parts
        tried = [(*chosen, name) for name in names if name not in chosen]
        found = measure.effects([(each, patch_of(each)) for each in tried])
        together.append(max(found, key=lambda effect: effect.probability))
    return Effects(what, measure.before, original, target.n_sequences, tuple(alone), tuple(together))


def _maps_of(source: Subject) -> Callable[[Tensor], dict[int, Tensor]]:
    """A function from sequences to the attention probabilities of every layer; it remembers those of the last ones."""
    last: list[Tensor] = []
    maps: dict[int, Tensor] = {}

    def of(tokens_BN: Tensor) -> dict[int, Tensor]:
        if not (last and last[0] is tokens_BN):
            last[:] = [tokens_BN]
            with _edited(source, {layer: partial(noted_pattern, maps, layer) for layer in source.attentions}):
                source.logits(tokens_BN)
        return maps

    return of


def _mean_outputs(subject: Subject) -> dict[int, Tensor]:
    """The outputs of the heads of every layer, (H, L, K), mean over the sequences."""
    sums: dict[int, Tensor] = {}

    def added(layer: int, p_BHLL: Tensor, v_BHLK: Tensor) -> Tensor:
        y_BHLK = p_BHLL @ v_BHLK
        sums[layer] = sums.get(layer, torch.zeros(())) + y_BHLK.sum(0)
        return y_BHLK

    for tokens_BN in subject.chunks():
        with _edited(subject, {layer: partial(added, layer) for layer in subject.attentions}):
            subject.logits(tokens_BN)
    return {layer: total / subject.n_sequences for layer, total in sums.items()}


def noted_pattern(maps: dict[int, Tensor], layer: int, p_BHLL: Tensor, v_BHLK: Tensor) -> Tensor:
    maps[layer] = p_BHLL
    return p_BHLL @ v_BHLK


def given_pattern(given_BHLL: Tensor, heads: list[int], p_BHLL: Tensor, v_BHLK: Tensor) -> Tensor:
    """Outputs with the given probabilities in these heads."""
    p_BHLL = p_BHLL.clone()
    p_BHLL[:, heads] = given_BHLL[:, heads].to(p_BHLL.dtype)
    return p_BHLL @ v_BHLK


def even_pattern(heads: list[int], p_BHLL: Tensor, v_BHLK: Tensor) -> Tensor:
    """Outputs where these heads attend to every position up to the query alike."""
    length = p_BHLL.shape[-1]
    even_LL = torch.ones(length, length).tril() / torch.arange(1, length + 1)[:, None]
    return given_pattern(even_LL.expand_as(p_BHLL), heads, p_BHLL, v_BHLK)


def mean_output(mean_HLK: Tensor, heads: list[int], p_BHLL: Tensor, v_BHLK: Tensor) -> Tensor:
    """Outputs where these heads have their mean output."""
    y_BHLK = p_BHLL @ v_BHLK
    y_BHLK[:, heads] = mean_HLK[heads]
    return y_BHLK


def heads_by_layer(heads: Sequence[Head]) -> dict[int, list[int]]:
    layers: dict[int, list[int]] = {}
    for layer, head in heads:
        layers.setdefault(layer, []).append(head)
    return layers


def _edited(subject: Subject, edits: Mapping[int, Edit]) -> ExitStack:
    """A context in which the attention of these layers is computed by functions of their own."""
    with ExitStack() as stack:
        for layer, edit in edits.items():
            stack.enter_context(edited(subject.attentions[layer], edit))
        return stack.pop_all()


@contextmanager
def _values(parameters: Mapping[str, nn.Parameter], others: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Give parameters the values of others, by name, inside the block."""
    before = {name: x.detach().clone() for name, x in parameters.items()}
    try:
        for name, x in parameters.items():
            x.copy_(others[name])
        yield
    finally:
        for name, x in parameters.items():
            x.copy_(before[name])
