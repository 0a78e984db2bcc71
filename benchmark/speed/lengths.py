"""Cost of training per token, for each architecture by length: the first part of ``python -m benchmark speed``.

Forward, backward and AdamW on one thread, in CPU time, so that other programs count as little as possible. What they do
to caches and clock rates still counts: therefore the models take turns, one step each a round, and the fastest round
stands for each, because every disturbance only adds time. The first step, which compiles, is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from torch import nn

from architectures import ARCHITECTURES
from benchmark.config.errors import said
from benchmark.config.plugins import architecture
from benchmark.speed.peers import PEERS
from benchmark.sweeps.sources import bases
from benchmark.training.measure import TrainingStep, cpu_seconds, one_thread, peak_bytes, sized


@dataclass(frozen=True)
class Sizes:
    """Size of every model, and tokens per step at every length."""

    d_model: int = 128
    n_layers: int = 2
    tokens: int = 4096


BASELINE = "transformer"


@dataclass
class Timing:
    """One model at one length."""

    step: TrainingStep
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None

    @property
    def token_seconds(self) -> float:
        """CPU seconds per token, of the fastest round."""
        return min(self.seconds) / self.step.n_tokens

    @property
    def token_bytes(self) -> float | None:
        """Memory of a step, a token; None where it was not measured."""
        return None if self.peak_bytes is None else self.peak_bytes / self.step.n_tokens


@dataclass
class TimedModel:
    """A model to measure.

    Attributes:
        name: for the table.
        build: makes it for a length.
        longest: the greatest length to measure; None has no limit.
        most_tokens: in a step; None has no limit.
        ours: registered here.
        timings: by length.
        error: why it could not be measured.
    """

    name: str
    build: Callable[[int], nn.Module]
    longest: int | None = None
    most_tokens: int | None = None
    ours: bool = True
    timings: dict[int, Timing] = field(default_factory=dict)
    error: str | None = None

    def warm_up(self, length: int, tokens: int) -> None:
        """Build it and make its first step, of so many tokens; what goes wrong is kept in `error`."""
        if self.error is not None or (self.longest is not None and length > self.longest):
            return
        tokens = min(tokens, self.most_tokens or tokens)
        try:
            step = TrainingStep(self.build(length), max(1, tokens // length), length)
            step()
        except Exception as error:  # one model that cannot run must not cost the others their measurement
            self.error = said(error)
            self.timings.clear()
        else:
            self.timings[length] = Timing(step)


@dataclass(frozen=True)
class SuiteCell:
    """A cell of a suite, and how each architecture is set up for it.

    Args:
        name: of suite and cell.
        contents: configurations by architecture.
    """

    name: str
    contents: dict[str, dict[str, Any]]


def chosen_cell(suite: str, cell: str, names: str) -> SuiteCell:
    """The cell on which seeds are measured.

    Args:
        suite: its name or path; empty for `lite`, on a GPU for `paper`.
        cell: its name; empty for the first.
        names: architectures with commas between; empty for all that the suite lists.

    Raises:
        ValueError: if one of them is unknown.
    """
    models = [name.strip() for name in names.split(",")] if names else []
    found = bases(suite or ("paper" if torch.cuda.is_available() else "lite"), [], models, [cell] if cell else [])
    first = [base for base in found if base.cell == found[0].cell]
    return SuiteCell(f"{first[0].suite}/{first[0].cell}", {base.architecture: base.content for base in first})


def chosen(names: str, peers: bool, sizes: Sizes = Sizes()) -> list[TimedModel]:
    """The models to measure, the baseline first.

    Args:
        names: with commas between; empty for every registered architecture.
        peers: the transformers library's models too.
        sizes: of the models.

    Raises:
        ValueError: if a name is unknown.
    """
    asked = [name.strip() for name in names.split(",")] if names else list(ARCHITECTURES)
    classes = {name: architecture(name) for name in (BASELINE, *asked)}
    size = {"d_model": sizes.d_model, "n_layers": sizes.n_layers}
    entries = [TimedModel(name, partial(sized, cls, **size)) for name, cls in classes.items()]
    for peer in PEERS if peers else ():
        build = partial(peer.build, sizes.d_model, sizes.n_layers)
        entries.append(TimedModel(f"transformers: {peer.name}", build, peer.longest, peer.most_tokens, ours=False))
    return entries


def parsed_lengths(text: str) -> list[int]:
    """Lengths in rising order, from numbers with commas between.

    Raises:
        ValueError: if one is not a whole number of at least 1.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise ValueError(f"--lengths must be whole numbers from 1 up with commas between, like 128,512; got '{text}'")
    return sorted({int(word) for word in words})


def measure(entries: list[TimedModel], lengths: list[int], rounds: int, tokens: int) -> None:
    """Fill in the timings of every entry, of steps of so many tokens."""
    console = Console(stderr=True)
    with one_thread(), Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(entries) * len(lengths) * (rounds + 1))
        for length in lengths:
            for entry in entries:
                progress.update(task, advance=1, description=f"warm-up: {entry.name}, L = {length}")
                entry.warm_up(length, tokens)
        for turn in range(rounds):
            for length in lengths:
                for entry in entries:
                    progress.update(task, advance=1, description=f"round {turn + 1}: {entry.name}, L = {length}")
                    if length in entry.timings:
                        timing = entry.timings[length]
                        timing.seconds.append(cpu_seconds(timing.step))
        progress.update(task, description="memory")
        for entry in entries:
            for length in lengths[-2:]:
                if length in entry.timings:
                    entry.timings[length].peak_bytes = peak_bytes(entry.timings[length].step)
