"""A comparison of two entries as plain data, for JSON."""

from __future__ import annotations

from dataclasses import asdict

from leaderboard.statistics.head_to_head import HeadToHead
from leaderboard.statistics.win_rate_verdict import CellWinRateVerdict, WinRateVerdict


def plain(found: HeadToHead) -> dict[str, object]:
    """Tasks, cells and what is left out, unrounded, without the permuted statistics."""

    def rate(verdict: WinRateVerdict | CellWinRateVerdict) -> dict[str, object]:
        win_rate = verdict.win_rate
        low, high = win_rate.interval()
        about = {"verdict": verdict.kind, "reason": verdict.reason}
        return {**about, "win_rate": win_rate.estimate, "low": low, "high": high, "p": win_rate.p()}

    return {
        "tasks": {task: rate(verdict) for task, verdict in found.tasks.items()},
        "overall": found.overall,
        "cells": [
            {"task": cell.task, "cell": cell.cell, **rate(cell.verdict), "p_holm": cell.verdict.p_holm,
             "ratio": None if cell.ratio is None else asdict(cell.ratio),
             "solved": [cell.solved_entry, cell.solved_reference], "n": [cell.n_entry, cell.n_reference]}
            for cell in found.cells
        ],
        "left_out": dict(found.left_out),
    }  # fmt: skip
