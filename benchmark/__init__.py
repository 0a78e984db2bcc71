"""The harness: one LightningModule for every architecture and task, a command line, and a record of every run.

From Python::

    import benchmark

    run = benchmark.fit(model="mamba", data="ca", data_options={"state_size": 8}, protocol={"max_steps": 500})
    run.record.hits, run.curves(), run.evaluate("test")
    run = benchmark.load(run.folder)
    result = benchmark.sweep(suite="lite", models=["transformer", "mamba"], seeds=range(5))
    result.frame()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.api import (
        BenchmarkError,
        RunConfig,
        SweepResult,
        build,
        configure,
        fit,
        load,
        records_frame,
        resume,
        sweep,
    )
    from benchmark.training.run import Run

__all__ = [
    "BenchmarkError",
    "Run",
    "RunConfig",
    "SweepResult",
    "build",
    "configure",
    "fit",
    "load",
    "records_frame",
    "resume",
    "sweep",
]


def __getattr__(name: str) -> Any:
    """Import the API when it is first used: the command line answers ``--help`` without PyTorch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("benchmark.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
