"""The weights probe of a run: position matrices of the mixer, decays of recurrent layers.

Shape letters: N looks, R rows of the grid, C columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.report.frames import panel
from benchmark.report.map_grid import Grid
from benchmark.report.run_folder import Floats, ReportedRun

PROBE = "weights"

MOST_MATRICES = 8
"""Of the position matrices on the page; the first ones."""


@dataclass(frozen=True)
class WeightsPart:
    """Weights of a run over time.

    Attributes:
        looks: steps of the N looks.
        matrices: names of the position matrices.
        maps: at each look, (matrices, R, C); empty if the model has none.
        decays: by name of the layer and what it is of it, a value per look.
    """

    looks: list[int]
    matrices: list[str]
    maps: list[Floats]
    decays: dict[str, list[float]]

    @property
    def map_looks(self) -> list[int]:
        """Indices of the looks of which maps are kept."""
        return list(range(len(self.maps)))


def weights_part(run: ReportedRun, grid: Grid) -> WeightsPart | None:
    """Weights in a run's table; None where the probe did not look, or kept nothing at most of its looks."""
    length = run.losses_NL.shape[1]
    looks: list[int] = []
    names: list[str] = []
    layers_of_maps: list[list[Floats]] = []
    decays: dict[str, list[float]] = {}
    for layer in run.layers(PROBE):
        steps, matrices = run.looks(PROBE, "position_matrix", layer)
        if steps and (not looks or steps == looks) and matrices[0].shape[-2:] == (length, length):
            looks = steps
            stacked = [matrix.reshape(-1, length, length) for matrix in matrices]
            n = len(stacked[0])
            names += [f"layer {layer}" if n == 1 else f"layer {layer} channel {channel}" for channel in range(n)]
            layers_of_maps.append([grid.map(matrix) for matrix in stacked])
        steps, found = run.looks(PROBE, "decay", layer)
        if steps and (not looks or steps == looks):
            looks = steps
            decays[f"layer {layer} mean"] = [float(value.mean()) for value in found]
            decays[f"layer {layer} largest"] = [float(value.max()) for value in found]
    if not looks:
        return None
    maps = [np.concatenate(of_layers)[:MOST_MATRICES] for of_layers in zip(*layers_of_maps, strict=True)]
    return WeightsPart(looks, names[:MOST_MATRICES], maps, decays)


def weights_panels(part: WeightsPart, grid: Grid, frames: Sequence[int]) -> list[dict[str, Any]]:
    """The position matrices at these looks; beside the first one the pattern, whose scale has no meaning here."""
    panels = []
    for i, name in enumerate(part.matrices):
        maps = [part.maps[frame][i] for frame in frames]
        truth = None if grid.truth_RC is None else np.where(np.isnan(maps[0]), np.nan, grid.truth_RC.astype(float))
        about = {"border": grid.border, "names": list(grid.names), "noun": grid.noun, "main": i == 0}
        panels.append(panel(f"Position matrix of {name}", PROBE, maps, truth, signed=True, **about))
    return panels
