"""The answers of a suite, task by task: who is ahead of the reference, who behind, and who is not told apart."""

from __future__ import annotations

from leaderboard.board.standings import REFERENCE, Standing, SuiteBoard
from leaderboard.board.wording import count_text, win_rate_text
from leaderboard.statistics.win_rate_verdict import WinRateVerdict

WORDS = {
    "better": "Faster",
    "worse": "Slower",
    "same": "The same",
    "mixed": "Faster in some cells and slower in others",
    "needs-seeds": "Not told apart",
}


def answers(suite: SuiteBoard) -> list[tuple[str, str, list[str]]]:
    """For each task its name, its size, and lines like `Faster than the transformer: mamba 91 % (84-95 %)`."""
    found = []
    for task in suite.tasks:
        verdicts = [(standing, verdict) for standing in suite.standings if (verdict := standing.task(task)) is not None]
        if not verdicts:
            continue
        verdicts.sort(key=lambda pair: -pair[1].win_rate.estimate)
        lines = [
            f"{words} {'as' if kind == 'same' else 'from' if kind == 'needs-seeds' else 'than'} the {REFERENCE}: "
            + ", ".join(_named(standing, verdict) for standing, verdict in verdicts if verdict.kind == kind)
            for kind, words in WORDS.items()
            if any(verdict.kind == kind for _, verdict in verdicts)
        ]
        cells = count_text(sum(cell.task == task for cell in suite.cells), "cell")
        found.append((task, f"{cells}, {_seeds(suite)} seeds", lines))
    return found


def _named(standing: Standing, verdict: WinRateVerdict) -> str:
    return f"{standing.name} {win_rate_text(verdict.win_rate)}"


def _seeds(suite: SuiteBoard) -> str:
    seeds = sorted({standing.min_seeds for standing in suite.standings if standing.min_seeds})
    return f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]}-{seeds[-1]}"
