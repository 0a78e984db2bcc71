"""``python -m benchmark list``: what there is to choose from."""

from jsonargparse import ArgumentParser, Namespace

from benchmark.config.files.catalogue import catalogue


def add_arguments(parser: ArgumentParser) -> None:
    """Add nothing: there is nothing to choose."""


def run(args: Namespace) -> int:
    """Print architectures, metrics, probes, tasks and suites, a line each."""
    choices = catalogue()
    width = max(len(choice.name) for choice in choices)
    for choice in choices:
        origin = f" [{choice.origin}]" if choice.origin else ""
        print(f"{choice.kind:12}  {choice.name:{width}}  {choice.summary}{origin}")
    return 0
