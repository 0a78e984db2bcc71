"""Ctrl-C and SIGTERM in a command: whatever it is doing, it ends in order, without a traceback and without children.

The first signal raises `Stopped` wherever the command is, or at the end of the `held` block that it is in; later
ones are ignored, so that nothing disturbs the tidying up.
"""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager

# The rest takes a moment to import, and Ctrl-C is heard from the moment on that a command calls `guarded`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal that asks for the end; no `except Exception` on the way takes it for an error."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class _State:
    """State of the handler: in how many `held` blocks the command is, and the signal that came."""

    def __init__(self) -> None:
        self.held = 0
        self.signum: int | None = None


_STATE = _State()


def guarded(work: Callable[[], int]) -> int:
    """The exit code of a command's work, or 128 + the signal that ended it: 130 after Ctrl-C, 143 after SIGTERM."""
    try:
        sys.unraisablehook = _not_lost
        signal.signal(signal.SIGALRM, _handle)
        for signum in _SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:  # as nohup and the shell's & leave it
                signal.signal(signum, _handle)
        return work()
    except Stopped as error:
        return 128 + error.signum
    finally:
        _ignore()


@contextmanager
def held() -> Iterator[None]:
    """A block that a signal does not cut short: it counts when the block has ended."""
    _STATE.held += 1
    try:
        yield
    finally:
        _STATE.held -= 1
        if _STATE.signum is not None and not _STATE.held:
            _ignore()
            raise Stopped(_STATE.signum)


def run_child(
    command: Sequence[str], content: bytes = b"", *, timeout: float | None = None, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """The end of a process that is given a content on standard input, with what it wrote; gone whatever happens here.

    Args:
        command: program and arguments.
        content: of its standard input.
        timeout: seconds until it is ended.
        options: of `subprocess.Popen`.

    Raises:
        subprocess.TimeoutExpired: it took longer; `stdout` holds what it wrote.
        OSError: it cannot be started.
    """
    import subprocess

    process = None
    try:
        with held():  # a signal during the start is raised at the end of this block, when the child is known
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
        output, errors = process.communicate(content, timeout)
    except subprocess.TimeoutExpired as error:
        assert process is not None
        process.kill()
        error.stdout, _ = process.communicate()
        raise
    finally:
        if process is not None:
            process.kill()  # nothing happens to one that has ended
            with process:
                pass
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _handle(signum: int, frame: object) -> None:
    _STATE.signum = _STATE.signum or signum
    if not _STATE.held:
        _ignore()
        raise Stopped(_STATE.signum)


def _ignore() -> None:
    for signum in _SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


def _not_lost(unraisable: Any) -> None:
    """Raise again, a moment later, what came up in a callback that nothing can be raised from."""
    if isinstance(unraisable.exc_value, Stopped):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
    else:
        sys.__unraisablehook__(unraisable)
