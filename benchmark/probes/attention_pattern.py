"""Probe `attention`: where the heads of a model look (arXiv 2606.25010, figures 4 and 8).

Shape letters: B sequences, H heads, L positions as queries (first) and keys (last), K keys that a query needs. Query q
reads tokens 0..q and predicts token q + 1.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from architectures import SequenceModel
from architectures.transformer import TransformerBlock
from benchmark.probes.registry import Measured, Probe, register_probe
from datamodules import Task

MOST_ENTRIES = 2**24
"""Entries of the maps of a layer that are held at once; more sequences than that take are read in turn."""


def attention_entropy(p: Tensor) -> Tensor:
    """Entropy of distributions over the last dimension in nats: (..., L) probabilities to (...)."""
    return torch.special.entr(p).sum(-1)


def attention_mass(map_BHLL: Tensor, keys_BLK: Tensor) -> Tensor:
    """Attention on the keys that queries need, the sum over K: (B, H, L), NaN where a query has none.

    Args:
        map_BHLL: attention probabilities, rows are queries.
        keys_BLK: their positions, -1 where there is none (as in `Task.keys`); B may be 1 for all sequences.
    """
    index_BHLK = keys_BLK.clamp_min(0).long()[:, None].expand(*map_BHLL.shape[:3], -1)
    has_BLK = keys_BLK >= 0
    mass_BHL = (map_BHLL.gather(-1, index_BHLK) * has_BLK[:, None]).sum(-1)
    return mass_BHL.masked_fill(~has_BLK.any(-1)[:, None], torch.nan)


def serving_heads(mass_HL: Tensor) -> tuple[Tensor, Tensor]:
    """The head that has the most mass on the keys of each query, and that mass.

    Args:
        mass_HL: (H, L), as in the table; heads of several layers may be laid end to end.

    Returns:
        (L,) int64, -1 where the mass of a query is NaN, and (L,) in the dtype of the mass.
    """
    best_L, head_L = mass_HL.nan_to_num(-1.0).max(0)
    undefined_L = mass_HL.isnan().all(0)
    return head_L.masked_fill(undefined_L, -1), best_L.masked_fill(undefined_L, torch.nan)


@register_probe("attention")
class AttentionProbe(Probe):
    """Attention of every head: its entropy, its mass on the keys that a query needs, and its map.

    For models that have `attention_maps`. By layer, the index of its block:

    - `entropy` [head], nats: of the attention averaged over the sequences, then the mean over scored queries, as in
      the paper's figure; it is high too where a head looks elsewhere in each sequence;
    - `query_entropy` [head query], nats: the same of each query, NaN where it is not scored;
    - `sample_entropy` [head], nats: of each distribution, then the mean over sequences and scored queries;
    - `mass` [head query]: the share on the ground-truth keys, the mean over the sequences in which the query is
      scored, NaN where it never is or its keys are unknown;
    - `map` [head query key]: the mean over sequences.

    As curves, `attention_entropy_nats`, the mean of `entropy` over all heads, and `attention_mass`, the mean over
    queries of the largest mass that a head of any layer has (`serving_heads`).
    """

    n_sequences = 32

    def __init__(self, model: SequenceModel, task: Task) -> None:
        super().__init__(model, task)
        token = torch.zeros(1, 1, dtype=torch.int64, device=next(model.parameters()).device)
        maps = _maps(model, token) if hasattr(model, "attention_maps") else []
        if not maps:
            raise ValueError(f"model {type(model).__name__} has no attention: take the probe dependency, for any model")
        self.n_heads = max(map_BHLL.shape[1] for map_BHLL in maps)
        blocks = [i for i, block in enumerate(model.blocks) if isinstance(block, TransformerBlock)]
        self.layers = blocks if len(blocks) == len(maps) else range(len(maps))

    def __call__(self, model: SequenceModel, tokens_BN: Tensor) -> Iterator[Measured]:
        """See `Probe.__call__`."""
        scored_BL, keys_BLK = self.task.scored_in(tokens_BN), self.task.keys_in(tokens_BN)
        n_B, length = scored_BL.shape
        sums: list[list[Tensor]] = []
        at_once = max(1, MOST_ENTRIES // (self.n_heads * length**2))
        for here in (slice(start, start + at_once) for start in range(0, n_B, at_once)):
            for layer, map_BHLL in enumerate(_maps(model, tokens_BN[here, :-1])):
                entropy_H = (attention_entropy(map_BHLL) * scored_BL[here, None]).sum((0, 2))
                parts = [map_BHLL.sum(0), entropy_H]
                if keys_BLK is not None:
                    mass_BHL = attention_mass(map_BHLL, keys_BLK[here])
                    parts += [mass_BHL.nansum(0), (~mass_BHL.isnan()).sum(0)]
                if layer == len(sums):
                    sums.append(parts)
                else:
                    sums[layer] = [before + part for before, part in zip(sums[layer], parts, strict=True)]
        scored_L, n_scored = scored_BL.any(0), scored_BL.sum()
        entropies, masses = [], []
        for layer, (sum_HLL, entropy_H, *mass) in zip(self.layers, sums, strict=True):
            map_HLL = sum_HLL / n_B
            entropy_HL = attention_entropy(map_HLL)
            entropies.append(entropy_HL[:, scored_L].mean(-1))
            masses.append(mass[0] / mass[1] if mass else map_HLL.new_full(map_HLL.shape[:2], torch.nan))
            yield Measured("entropy", entropies[-1], "head", layer)
            yield Measured("query_entropy", entropy_HL.masked_fill(~scored_L, torch.nan), "head query", layer)
            yield Measured("sample_entropy", entropy_H / n_scored, "head", layer)
            yield Measured("mass", masses[-1], "head query", layer)
            yield Measured("map", map_HLL, "head query key", layer)
        yield Measured("attention_entropy_nats", torch.cat(entropies).mean())
        if keys_BLK is not None:
            yield Measured("attention_mass", serving_heads(torch.cat(masses))[1].nanmean())


def _maps(model: SequenceModel, tokens_BL: Tensor) -> list[Tensor]:
    """(B, H, L, L) of every layer with attention."""
    maps: list[Tensor] = model.attention_maps(tokens_BL)  # type: ignore[operator]
    return [map_BHLL.float() for map_BHLL in maps]
