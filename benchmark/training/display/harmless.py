"""Loggers that cannot fail a run: the first error is a warning, and the run goes on without the logger."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from benchmark.config.errors import said
from leaderboard.whole_files import root_of

_CALLS = ("log_metrics", "log_hyperparams", "log_graph", "save", "finalize", "after_save_checkpoint")


class _Nobody:
    """An experiment that takes whatever it is told, in the place of one that has failed."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def harmless(logger: Logger, folder: Path | None) -> None:
    """Let errors of a logger be one warning; from then on, or once the run folder is gone, it is not called again.

    Args:
        logger: any of Lightning's.
        folder: of the run; a logger must not bring it back half.
    """
    if getattr(logger, "is_harmless", False):
        return
    cls, has_failed = type(logger), False

    def guarded(call: Callable[..., Any], otherwise: Any = None) -> Callable[..., Any]:
        @wraps(call)
        def called(*args: Any, **kwargs: Any) -> Any:
            nonlocal has_failed
            if has_failed or (folder is not None and not folder.is_dir()):
                return otherwise
            try:
                return call(*args, **kwargs)
            except Exception as error:
                if not has_failed:  # one of these calls may have been inside another
                    reason = said(root_of(error))
                    # Not of the caller: what Lightning warns of is not shown.
                    warnings.warn(f"{cls.__name__} has failed, and the run goes on without it: {reason}", stacklevel=1)
                has_failed = True
                return otherwise

        return called

    # A class of its own, since the experiment is a property; it is still one of the logger's.
    members: dict[str, Any] = {name: guarded(getattr(cls, name)) for name in _CALLS} | {
        "is_harmless": True,
        "has_failed": property(lambda logger: has_failed),
    }
    if isinstance(experiment := getattr(cls, "experiment", None), property) and experiment.fget is not None:
        members["experiment"] = property(guarded(experiment.fget, _Nobody()))
    # Not by the name of the class: the parser would then find two of that name.
    logger.__class__ = type(f"Harmless{cls.__name__}", (cls,), members)


@contextmanager
def quiet_writers() -> Iterator[None]:
    """Without the traceback of TensorBoard's background thread: it fails with what is logged next, too."""
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not type(args.thread).__module__.startswith("tensorboard."):
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
