"""Standard output and error that cannot fail a command: closed, full, without a reader, or of a narrow encoding."""

from __future__ import annotations

import io
import os
import select
import sys
from contextlib import suppress
from typing import TextIO

_SIZES = {"COLUMNS": range(20, 10_000), "LINES": range(5, 10_000)}
"""Sizes of a terminal in which tables can be drawn."""


class _Nowhere(io.TextIOBase):
    """A stream that nobody reads."""

    def write(self, text: str) -> int:
        """Take the text."""
        return len(text)


def secure_streams() -> None:
    """Let nothing that is printed from here on fail for the sake of the terminal or the shell that it goes to."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed by the shell: the next file that is opened would get the number, and what is printed
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - as long as the process lives
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, _Nowhere())
        stream: TextIO = getattr(sys, name)
        if (stream.encoding or "").lower().replace("-", "") != "utf8" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    for name, sensible in _SIZES.items():
        if name in os.environ and not (os.environ[name].isdecimal() and int(os.environ[name][:9]) in sensible):
            del os.environ[name]


def say(line: str) -> None:
    """Print a line to standard error, if anybody can hear it."""
    with suppress(ValueError):
        try:
            print(line, file=sys.stderr, flush=True)
        except OSError:
            _drop("stderr")


def flushed() -> OSError | None:
    """The error that keeps standard output from being written, None if there is none; unwritable output is dropped."""
    trouble = {}
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except OSError as error:
            trouble[name] = error
            _drop(name)
    return trouble.get("stdout")


def has_no_reader() -> bool:
    """Whether standard output is a pipe that nobody reads any more, as after `| head`."""
    with suppress(OSError, ValueError, AttributeError):
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return False


def _drop(name: str) -> None:
    """Forget what a stream holds, and will hold: Python would complain at exit, and change the exit code."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), getattr(sys, name).fileno())
    setattr(sys, name, _Nowhere())
