"""The table of seed-steps per second: in the terminal and as Markdown."""

import os

import torch

from benchmark.speed import sections
from benchmark.speed.seed_speed import SeedSpeed
from benchmark.speed.seed_step import MATRIX
from benchmark.training.machine.environment import hardware, versions

NONE = "-"


def header(results: list[SeedSpeed]) -> list[str]:
    """Titles of the columns."""
    rates = list(dict.fromkeys(title for result in results for title in result.rates))
    shares = list(dict.fromkeys(title for result in results for title in result.utilisation))
    return [
        "model", "backend", "parameters", *rates, *(f"of a matrix product, {title}" for title in shares),
        "tokens' share", "harness", "MiB a step",
    ]  # fmt: skip


def rows(results: list[SeedSpeed]) -> list[list[str]]:
    """One line a model that could be measured, in the order of `header`."""
    rates = list(dict.fromkeys(title for result in results for title in result.rates))
    shares = list(dict.fromkeys(title for result in results for title in result.utilisation))
    table = []
    for result in results:
        if result.error is not None:
            continue
        line = [result.name, result.backend, f"{result.parameters:,}"]
        line += [f"{result.rates[title]:,.1f}" if title in result.rates else NONE for title in rates]
        line += [f"{result.utilisation[title]:.1%}" if title in result.utilisation else NONE for title in shares]
        harness = NONE if result.harness is None else f"{result.harness:.2f}"
        table.append([*line, f"{result.data_share:.1%}", harness, f"{result.peak_bytes / 2**20:,.1f}"])
    return table


def notes(results: list[SeedSpeed], cell: str, device: torch.device) -> list[str]:
    """Notes below the table: units, machine, and what could not be or was not measured."""
    machine = hardware(device)
    found = {name: v for name, v in versions().items() if name in ("python", "torch", "numba", "fla-core", "mamba-ssm")}
    lines = [
        f"Cell {cell}. Seed-steps per second (tokens, forward, backward, clipping, AdamW), wall time.",
        f"Of a matrix product: operations of the model alone against those of a float32 product of {MATRIX} x {MATRIX}"
        f" matrices on the same device and thread(s), precision setting {torch.get_float32_matmul_precision()}.",
        "Tokens' share: of a step of one seed, what making its tokens takes. Harness: Lightning's loop, recorder and"
        " checkpoints against a bare loop, CPU time. Memory: of one seed, beyond weights and optimizer state.",
        f"{machine.name}, {machine.cores} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}; "
        + ", ".join(f"{name} {v}" for name, v in found.items())
        + ".",
    ]
    if device.type != "cuda":
        lines.append("Ensembles on a GPU: not yet measured.")
    return lines + [f"{r.name} could not be measured: {r.error}" for r in results if r.error is not None]


def print_table(results: list[SeedSpeed], cell: str, device: torch.device) -> None:
    """Print it."""
    sections.print_table(header(results), rows(results), notes(results, cell, device))


def markdown(results: list[SeedSpeed], cell: str, device: torch.device) -> str:
    """The same as a section of a Markdown page."""
    return sections.section("Seeds", header(results), rows(results), notes(results, cell, device))
