"""Probes: what a model does inside, looked at while it trains; ``--probes`` turns them on, one file each.

A file in this folder is imported by that alone, so a probe of yours needs no line here.
"""

from importlib import import_module
from pkgutil import iter_modules

from benchmark.probes.registry import PROBES, Measured, Probe, register_probe
from benchmark.probes.table import array, look, read

__all__ = ["PROBES", "Measured", "Probe", "array", "look", "read", "register_probe"]

for _module in iter_modules(__path__):
    try:
        import_module(f"{__name__}.{_module.name}")
    except Exception as _error:  # of a file that is being written: one line, in place of a traceback from every command
        _reason = f"{type(_error).__name__}: {' '.join(str(_error).split())}"
        raise ValueError(f"{__path__[0]}/{_module.name}: cannot be imported: {_reason}") from _error
