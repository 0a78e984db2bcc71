"""The attention probe of a run: curves of heads, the table of rows, maps.

Shape letters: N looks, H heads of all layers, L positions, R rows of the grid, C columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.report.frames import panel
from benchmark.report.learned_rows import LearnedRow, learned_rows, serving
from benchmark.report.map_grid import Grid
from benchmark.report.run_folder import Floats, ReportedRun

PROBE = "attention"

MOST_HEADS = 16
"""Maps of single heads on the page."""


@dataclass(frozen=True)
class AttentionPart:
    """Attention of a run over time.

    Attributes:
        looks: steps of the N looks.
        heads: names of the H heads.
        entropy_NH: in nats, of each head, as the paper's figure has it.
        masses_NHR: on the keys of each row.
        rows: what happened to each row; the entropy in it is that of the row's own queries.
        map_looks: indices of the looks of which maps are kept.
        maps: of each of these, (H, R, C).
    """

    looks: list[int]
    heads: list[str]
    entropy_NH: Floats
    masses_NHR: Floats
    rows: list[LearnedRow]
    map_looks: list[int]
    maps: list[Floats]

    @property
    def order(self) -> list[int]:
        """Heads that serve a row, in the order in which they learned it."""
        return serving(self.rows)

    @property
    def row_maps(self) -> list[Floats]:
        """Maps whose every row is that of the head with most mass on it at the end; empty where that is not known."""
        best = [row.best for row in self.rows if row.best is not None]
        if len(best) < len(self.rows):
            return []
        return [map_HRC[best, np.arange(len(best))] for map_HRC in self.maps]

    @property
    def best_NR(self) -> Floats:
        """The mass of the head that has most of it at the end, for each row; NaN where it is not known."""
        best = [0 if row.best is None else row.best for row in self.rows]
        found: Floats = self.masses_NHR[:, best, np.arange(len(best))]
        return found


def attention_part(run: ReportedRun, grid: Grid) -> AttentionPart | None:
    """Attention in a run's table; None where the probe did not look."""
    layers = [layer for layer in run.layers(PROBE) if run.looks(PROBE, "entropy", layer)[0]]
    if not layers:
        return None
    looks = run.looks(PROBE, "entropy", layers[0])[0]
    entropies = [np.stack(run.looks(PROBE, "entropy", layer)[1]) for layer in layers]
    masses: list[Floats] = []
    entropy_rows: list[Floats] = []
    maps: list[dict[int, Floats]] = []
    for layer, entropy_NH in zip(layers, entropies, strict=True):
        for quantity, found_rows in (("mass", masses), ("query_entropy", entropy_rows)):
            found_steps, values = run.looks(PROBE, quantity, layer)
            everywhere = found_steps == looks  # a large table is kept at some looks only
            shape = (*entropy_NH.shape, len(grid.rows))
            found_rows.append(grid.by_row(np.stack(values)) if everywhere else np.full(shape, np.nan))
        map_steps, found = run.looks(PROBE, "map", layer)
        maps.append({step: grid.map(map_HLL) for step, map_HLL in zip(map_steps, found, strict=True)})
    mapped = sorted(set(looks).intersection(*maps))
    masses_NHR, entropies_NHR = np.concatenate(masses, 1), np.concatenate(entropy_rows, 1)
    rows = learned_rows(
        run.steps, grid.by_row(run.losses_NL), run.record.chance_loss_nats, looks, masses_NHR, entropies_NHR
    )
    names = [
        f"head {head}" if len(layers) == 1 else f"layer {layer} head {head}"
        for layer, entropy in zip(layers, entropies, strict=True)
        for head in range(entropy.shape[1])
    ]
    return AttentionPart(
        looks=looks,
        heads=names,
        entropy_NH=np.concatenate(entropies, 1),
        masses_NHR=masses_NHR,
        rows=rows,
        map_looks=[looks.index(step) for step in mapped],
        maps=[np.concatenate([of_layer[step] for of_layer in maps]) for step in mapped],
    )


def truth_of_attention(grid: Grid, map_RC: Floats) -> Floats | None:
    """Attention that is spread evenly over the keys of each row and is nowhere else, NaN where the map has it."""
    if grid.truth_RC is None:
        return None
    even = grid.truth_RC / np.maximum(grid.truth_RC.sum(1, keepdims=True), 1)
    return np.where(np.isnan(map_RC), np.nan, even)


def attention_panels(part: AttentionPart, grid: Grid, frames: Sequence[int]) -> list[dict[str, Any]]:
    """The maps of these frames (of `part.maps`): of each row from the head that learned it, then of single heads."""
    if not frames:
        return []
    maps = [part.maps[frame] for frame in frames]
    truth = truth_of_attention(grid, maps[0][0])
    common: dict[str, Any] = {"border": grid.border, "names": list(grid.names), "noun": grid.noun}
    panels = []
    if truth is not None and (row_maps := part.row_maps):
        joined = [row_maps[frame] for frame in frames]
        panels.append(panel("Each row from its head", PROBE, joined, truth, main=True, **common))
    most = np.nan_to_num(part.masses_NHR[-1], nan=0).max(1)
    shown = sorted(np.argsort(-most, kind="stable")[:MOST_HEADS].tolist())
    panels += [
        panel(part.heads[head], PROBE, [map_HRC[head] for map_HRC in maps], truth, head=head, main=not panels, **common)
        for head in shown
    ]
    return panels
