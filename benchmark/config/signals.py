"""Answers of a command to Ctrl-C and SIGTERM while no run listens to them: before it begins, and after it has ended."""

import os
import signal
import threading
from collections.abc import Collection
from types import FrameType
from typing import Protocol

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_began: list[str] = []
"""Deeds that are done once something has begun: what is to be said of them."""

_goes_on: list[str] = []
"""How work goes on that a signal has cut short, where every part of it is kept whole as soon as it is done."""


class _Process(Protocol):
    """A process of another one."""

    def terminate(self) -> None:
        """End it."""


_children: Collection[_Process] = ()


def listen() -> None:
    """Let a signal end this process at once, with one line, until `begin` is called.

    At once, because an exception in the middle of an import or a build may be swallowed, or printed by whoever cannot
    pass it on; and there is nothing yet that would have to be put in order.
    """
    _began.clear()
    go_on("")
    if threading.current_thread() is threading.main_thread():  # Python allows it nowhere else
        for signum in SIGNALS:
            signal.signal(signum, _answer)


def begin(deed: str) -> None:
    """From here on a signal that nobody else listens to comes too late to change anything, and is told so.

    Args:
        deed: that is done when it comes, like "the run has ended".
    """
    _began[:] = [deed]


def go_on(how: str, processes: Collection[_Process] = ()) -> None:
    """From here on a signal still ends this process at once, but says how its work goes on.

    Args:
        how: like "the same command goes on"; if empty, a signal says that nothing has begun.
        processes: that are ended with this one.
    """
    global _children
    _goes_on[:], _children = [how] if how else [], processes


def too_late(signum: int) -> None:
    """Say that a signal has changed nothing."""
    _say(f"{signal.Signals(signum).name} came too late: {_began[0] if _began else 'the work has ended'}")


def _answer(signum: int, frame: FrameType | None) -> None:
    if _began:
        too_late(signum)
        return
    for process in list(_children):
        process.terminate()
    show_cursor = "\x1b[?25h" if os.isatty(2) else ""  # a display may have hidden it
    what = f": {_goes_on[0]}" if _goes_on else " before anything began"
    _say(f"{show_cursor}interrupted by {signal.Signals(signum).name}{what}")
    os._exit(128 + signum)


def _say(line: str) -> None:
    try:  # not by print, which may be what was interrupted
        os.write(2, f"{line}\n".encode())
    except OSError:
        return
