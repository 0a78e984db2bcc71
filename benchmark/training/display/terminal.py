"""Where something that moves can be shown: a terminal, or a notebook."""

from importlib.util import find_spec

from rich.console import Console


def is_live(console: Console) -> bool:
    """Whether a console can draw over what it has drawn; rich needs ipywidgets to do so in a notebook."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
