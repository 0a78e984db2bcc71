"""Speed at which the tasks make tokens, beside a plain NumPy loop over samples.

Run it as `python -m benchmark.speed.generator_speed`.

Both sides make the default cells' training batches on one thread. They are timed in turns, several times, and the best
round of each counts, because a shared machine disturbs single measurements.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from datamodules import CellularAutomata, LinearMap, Task

BATCH_TOKENS = (8_192, 65_536, 524_288)
ROUNDS = 25
ROUND_SECONDS = 0.02


def numpy_linear_map(task: LinearMap, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """A batch as one would write it first: (B, S*T) int64, one sample after another."""
    matrix = task.matrix.numpy().astype(np.int64)
    sequences = []
    for _ in range(batch_size):
        states = [rng.integers(0, 2, task.state_size)]
        for _ in range(task.n_states - 1):
            states.append(matrix @ states[-1] % 2)
        sequences.append(np.concatenate(states))
    return np.stack(sequences)


def numpy_cellular_automata(task: CellularAutomata, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """A batch as one would write it first: (B, S*T) int64, one sample after another."""
    rules, reach = task.rules.numpy(), task.window // 2
    sequences = []
    for _ in range(batch_size):
        rule = rules[rng.integers(len(rules))]
        states = [rng.integers(0, task.n_colors, task.state_size)]
        for _ in range(task.n_states - 1):
            state = states[-1]
            for _ in range(task.rule_steps):
                index = np.zeros_like(state)
                for offset in range(-reach, reach + 1):
                    index = index * task.n_colors + np.roll(state, -offset)
                state = rule[index]
            states.append(state)
        sequences.append(np.concatenate(states))
    return np.stack(sequences)


@dataclass(frozen=True)
class GeneratorTiming:
    """Tokens per second of one task at one batch size."""

    task: str
    batch_tokens: int
    ours_tokens_per_s: float
    loop_tokens_per_s: float

    def __str__(self) -> str:
        ratio = self.ours_tokens_per_s / self.loop_tokens_per_s
        return (
            f"{self.task:4} {self.batch_tokens:>12,} {self.ours_tokens_per_s / 1e6:>10.1f}"
            f" {self.loop_tokens_per_s / 1e6:>14.3f} {ratio:>8.0f}"
        )


def _seconds_per_call(make: Callable[[], object], limit_s: float) -> float:
    start, calls = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < limit_s or not calls:
        make()
        calls += 1
    return elapsed / calls


def compare(
    task: Task, loop: Callable[[int], object], batch_tokens: int, rounds: int = ROUNDS, round_s: float = ROUND_SECONDS
) -> GeneratorTiming:
    """Time `task.batch` and `loop(batch_size)` in turns; the best of the rounds counts for each."""
    batch_size = max(1, batch_tokens // task.n_tokens)
    loop_size = min(batch_size, max(1, BATCH_TOKENS[0] // task.n_tokens))  # a loop is no faster at a larger batch
    ours, theirs = [], []
    task.batch(0, batch_size)
    for _ in range(rounds):
        ours.append(_seconds_per_call(lambda: task.batch(1, batch_size), round_s))
        theirs.append(_seconds_per_call(lambda: loop(loop_size), round_s))
    n_tokens = task.n_tokens
    return GeneratorTiming(
        task.name, batch_size * n_tokens, batch_size * n_tokens / min(ours), loop_size * n_tokens / min(theirs)
    )


def main() -> None:
    """Print the table for the two default cells."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    linear_map, automata = LinearMap(), CellularAutomata()
    loops: list[tuple[Task, Callable[[int], object]]] = [
        (linear_map, lambda batch_size: numpy_linear_map(linear_map, batch_size, rng)),
        (automata, lambda batch_size: numpy_cellular_automata(automata, batch_size, rng)),
    ]
    print(
        f"Million tokens per second, CPU, {torch.get_num_threads()} thread, torch {torch.__version__}; best of {ROUNDS}"
    )
    print(f"{'task':4} {'batch tokens':>12} {'this suite':>10} {'per-sample loop':>14} {'ratio':>7}")
    for task, loop in loops:
        for batch_tokens in BATCH_TOKENS:
            print(compare(task, loop, batch_tokens))


if __name__ == "__main__":
    main()
