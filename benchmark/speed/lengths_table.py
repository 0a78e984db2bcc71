"""The table of ``python -m benchmark speed``: in the terminal and as Markdown."""

import os
from importlib.metadata import PackageNotFoundError, version
from statistics import median

import torch

from architectures import SequenceModel
from benchmark.speed import sections
from benchmark.speed.lengths import BASELINE, Sizes, TimedModel
from benchmark.training.machine.environment import hardware, versions
from benchmark.training.measure import VOCAB_SIZE, one_thread

NONE = "-"


def header(lengths: list[int]) -> list[str]:
    """Titles of the columns."""
    names = ["model", "backend", "parameters", *(f"L = {length}" for length in lengths)]
    shorter, longest = lengths[-2:][0], lengths[-1]
    if shorter < longest:
        names.append(f"time a token, {longest} : {shorter}")
    return [*names, f"KiB a token, L = {longest}", f": {BASELINE}'s, L = {shorter}"]


def rows(entries: list[TimedModel], lengths: list[int]) -> list[list[str]]:
    """One line per entry that could be measured, in the order of `header`."""
    shorter, longest = lengths[-2:][0], lengths[-1]
    baseline = next(entry for entry in entries if entry.name == BASELINE).timings
    table = []
    for entry in entries:
        if entry.error is not None or not entry.timings:
            continue
        timings = entry.timings
        model = next(iter(timings.values())).step.model
        backend = model.backend if isinstance(model, SequenceModel) else "torch"
        # Positions and position matrices grow with the length: the size at the longest.
        count = sum(parameter.numel() for parameter in timings[max(timings)].step.model.parameters())
        line = [entry.name, backend, f"{count:,}"]
        for length in lengths:
            if length not in timings:
                line.append(NONE)
                continue
            seconds = timings[length].token_seconds
            slower = f" ({seconds / baseline[length].token_seconds:.2f})" if length in baseline else ""
            line.append(f"{1 / seconds:,.0f}{slower}")
        both = shorter in timings and longest in timings
        if shorter < longest:
            ratio = timings[longest].token_seconds / timings[shorter].token_seconds if both else None
            line.append(NONE if ratio is None else f"{ratio:.2f}")
        ours = timings[longest].token_bytes if longest in timings else None
        theirs = baseline[shorter].token_bytes if shorter in baseline else None
        line.append(NONE if ours is None else f"{ours / 1024:,.1f}")
        line.append(NONE if ours is None or not theirs else f"{ours / theirs:.2f}")
        table.append(line)
    return table


def notes(entries: list[TimedModel], rounds: int, sizes: Sizes) -> list[str]:
    """Notes below the table: units, method, machine, and what could not be measured."""
    timings = [timing for entry in entries for timing in entry.timings.values()]
    late = [median(timing.seconds) / min(timing.seconds) - 1 for timing in timings]
    with one_thread():
        machine = hardware(torch.device("cpu"))
    found = {name: v for name, v in versions().items() if name in ("python", "torch", "numba")}
    try:
        found["transformers"] = version("transformers")
    except PackageNotFoundError:
        found["transformers"] = "not installed"
    lines = [
        f"Under L: tokens per CPU-second (forward, backward, AdamW), in brackets times slower than {BASELINE}."
        f" Width {sizes.d_model}, {sizes.n_layers} layers, {sizes.tokens:,} tokens per step, {VOCAB_SIZE} token values,"
        " float32.",
        "Parameters: at the longest length, learned positions included."
        " Memory: the most that a step holds at any moment beyond weights and optimizer state.",
        f"CPU time, the fastest of {rounds} rounds in which the models take turns; the median round took"
        f" {median(late):.0%} longer, {max(late):.0%} at worst." if late else "",
        f"{machine.name}, {machine.cores} cores, {machine.threads} thread,"
        f" OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}; "
        + ", ".join(f"{name} {v}" for name, v in found.items()) + ".",
    ]  # fmt: skip
    for entry in entries:
        if entry.error is not None:
            lines.append(f"{entry.name} could not be measured: {entry.error}")
        elif entry.most_tokens is not None and entry.timings:
            lines.append(
                f"{entry.name}: {entry.most_tokens} tokens per step and no length above {entry.longest}: too slow."
            )
    return [line for line in lines if line]


def print_table(entries: list[TimedModel], lengths: list[int], rounds: int, sizes: Sizes) -> None:
    """Print it."""
    sections.print_table(header(lengths), rows(entries, lengths), notes(entries, rounds, sizes))


def markdown(entries: list[TimedModel], lengths: list[int], rounds: int, sizes: Sizes) -> str:
    """The same as a section of a Markdown page."""
    return sections.section("Lengths", header(lengths), rows(entries, lengths), notes(entries, rounds, sizes))
