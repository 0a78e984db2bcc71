"""Every figure by its name. None is imported before it is asked for."""

from importlib import import_module
from typing import TYPE_CHECKING

from benchmark.config.errors import unknown

if TYPE_CHECKING:
    from benchmark.figures.figure import Figure

TITLES = {
    "4": "lm learns one output bit after another: a staircase",
    "5a": "lm of medium sparsity is the hardest",
    "5b": "the plateau of ca grows with the state",
    "5c": "the plateau of ca does not grow where attention has the task's pattern",
    "6": "more heads help more than wider ones",
    "7": "an MLP-Mixer is faster than a transformer on lm, slower on ca",
    "8": "each step of the staircase is a head that finds its pattern",
    "9": "with the task's pattern in the attention there is no plateau",
    "10": "which of the knobs of ca the plateau's length goes with",
    "11": "depth hinders on lm and helps on ca",
    "12": "all architectures on both tasks",
    "dependency": "what the predictions of every architecture depend on",
    "seeds": "where the randomness comes from: task, initial weights or order of the data",
}
"""The result that each figure shows. The folder of figure ID is `figure_ID`."""


def figure_of(name: str) -> "Figure":
    """The figure of a name.

    Raises:
        ValueError: one line, if there is none.
    """
    if name not in TITLES:
        raise ValueError(unknown("figure", name, TITLES))
    figure: Figure = import_module(f"{__package__}.figure_{name}").FIGURE
    return figure


def listing() -> str:
    """A line for each."""
    return "\n".join(f"  {name:12}{title}" for name, title in TITLES.items())
