"""Metrics on held-out sequences: those that every run has, and those that ``--metrics`` turns on, one file each.

A file in this folder is imported by that alone, so a metric of yours needs no line here.
"""

from importlib import import_module
from pkgutil import iter_modules

from benchmark.metrics.held_out import Evaluation, HeldOutMetrics, next_token_loss
from benchmark.metrics.registry import METRICS, register_metric

__all__ = ["METRICS", "Evaluation", "HeldOutMetrics", "next_token_loss", "register_metric"]

for _module in iter_modules(__path__):
    try:
        import_module(f"{__name__}.{_module.name}")
    except Exception as _error:  # of a file that is being written: one line, in place of a traceback from every command
        _reason = f"{type(_error).__name__}: {' '.join(str(_error).split())}"
        raise ValueError(f"{__path__[0]}/{_module.name}: cannot be imported: {_reason}") from _error
