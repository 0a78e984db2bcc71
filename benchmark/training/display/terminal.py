"""Live displays: where they can be shown, and a bar over items."""

from collections.abc import Collection, Iterable
from importlib.util import find_spec
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def is_live(console: Console) -> bool:
    """Whether a console can draw over what it has drawn; rich needs ipywidgets to do so in a notebook."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


def tracked(items: Collection[Item], what: str) -> Iterable[Item]:
    """The items, with a bar in the terminal while they are gone through."""
    console = Console(stderr=True)
    if not is_live(console):
        return items
    return track(items, what, console=console, transient=True)
