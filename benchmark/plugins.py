"""Architectures and tasks from other installed packages."""

import warnings
from importlib.metadata import entry_points

GROUPS = ("emergence_benchmark.architectures", "emergence_benchmark.tasks")


def load_plugins() -> None:
    """Import what installed packages declare under the entry-point groups, so that it registers itself.

    A plugin that fails to load warns with its reason and leaves the others as they are.
    """
    for group in GROUPS:
        for entry in entry_points(group=group):
            try:
                entry.load()
            except Exception as error:  # whatever a stranger's package raises must not stop the suite
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                warnings.warn(f"plugin {entry.name} ({entry.value}) did not load: {reason}", stacklevel=2)
