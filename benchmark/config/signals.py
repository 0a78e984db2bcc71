"""Answers of a command to Ctrl-C and SIGTERM while no run listens to them: before it begins, and after it has ended."""

import os
import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_began: list[str] = []
"""Deeds that are done once something has begun: what is to be said of them."""


def listen() -> None:
    """Let a signal end this process at once, with one line, until `begin` is called.

    At once, because an exception in the middle of an import or a build may be swallowed, or printed by whoever cannot
    pass it on; and there is nothing yet that would have to be put in order.
    """
    _began.clear()
    if threading.current_thread() is threading.main_thread():  # Python allows it nowhere else
        for signum in SIGNALS:
            signal.signal(signum, _answer)


def begin(deed: str) -> None:
    """From here on a signal that nobody else listens to comes too late to change anything, and is told so.

    Args:
        deed: that is done when it comes, like "the run has ended".
    """
    _began[:] = [deed]


def too_late(signum: int) -> None:
    """Say that a signal has changed nothing."""
    _say(f"{signal.Signals(signum).name} came too late: {_began[0] if _began else 'the work has ended'}")


def _answer(signum: int, frame: FrameType | None) -> None:
    if _began:
        too_late(signum)
        return
    show_cursor = "\x1b[?25h" if os.isatty(2) else ""  # a display may have hidden it
    _say(f"{show_cursor}interrupted by {signal.Signals(signum).name} before anything began")
    os._exit(128 + signum)


def _say(line: str) -> None:
    try:  # not by print, which may be what was interrupted
        os.write(2, f"{line}\n".encode())
    except OSError:
        return
