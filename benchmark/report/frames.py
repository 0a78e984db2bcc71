"""Maps over time, small enough for a page: few frames, few entries, one byte each.

Shape letters: N frames, R rows, C columns.
"""

import base64
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchmark.report.run_folder import Floats

MOST_SIDE = 96
"""Rows or columns of a map on the page; of larger ones, the means of blocks are shown."""

UNDEFINED = 255
"""Byte of what is not defined; the others are 0..254 in equal parts of the range."""


def kept_frames(n: int, most: int, needed: Iterable[int]) -> list[int]:
    """At most `most` of n frames, evenly spaced: the first, the last and those needed in any case."""
    if n <= most:
        return list(range(n))
    always = {0, n - 1, *needed}
    others = np.linspace(0, n - 1, max(most - len(always), 0)).round().astype(int)
    return sorted({*always, *others.tolist()})


def blocks(map_RC: Floats) -> Floats:
    """Means of blocks, so that neither side is longer than `MOST_SIDE`; (..., R, C), NaN are left out."""
    for axis in (-2, -1):
        n = map_RC.shape[axis]
        if n > MOST_SIDE:
            bounds = np.unique(np.linspace(0, n, MOST_SIDE + 1).round().astype(int))[:-1]
            there = ~np.isnan(map_RC)
            sums = np.add.reduceat(np.where(there, map_RC, 0), bounds, axis)
            counts = np.add.reduceat(there.astype(int), bounds, axis)
            map_RC = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return map_RC


def quantised(maps_NRC: Floats, top: float) -> str:
    """Values of 0..top as bytes in base64, row-major; see `UNDEFINED`."""
    levels = np.clip(np.nan_to_num(maps_NRC) / top, 0, 1) * (UNDEFINED - 1)
    content = np.where(np.isnan(maps_NRC), UNDEFINED, levels.round()).astype(np.uint8)
    return base64.b64encode(content.tobytes()).decode()


def panel(
    title: str, kind: str, maps: Sequence[Floats], truth_RC: Floats | None, *, signed: bool = False, **more: Any
) -> dict[str, Any]:
    """A map over time, as the page's script reads it.

    Args:
        title: above it.
        kind: what its values are: the name of the probe.
        maps: of the frames, each (R, C), values from 0 on unless `signed`.
        truth_RC: what they would be if the pattern was read and nothing else, with NaN where they have it.
        signed: values of either sign, whose scale has no meaning: the pattern is drawn as strong as the largest.
        more: for the script.
    """
    shown = np.stack([blocks(map_RC) for map_RC in maps])
    true = None if truth_RC is None else blocks(truth_RC)
    top = max(float(np.nanmax(np.abs(shown), initial=0.0)), 1e-6)
    if true is not None:
        top = top if signed else max(top, float(np.nanmax(true)))
        true = top * true if signed else true
    low = -top if signed else 0.0
    n_rows, n_columns = shown.shape[1:]
    return {
        "title": title,
        "kind": kind,
        "rows": n_rows,
        "columns": n_columns,
        "whole": list(maps[0].shape),
        "top": round(top, 6),
        "signed": signed,
        "frames": quantised(shown - low, top - low),
        "truth": None if true is None else quantised(true[None] - low, top - low),
        **more,
    }
