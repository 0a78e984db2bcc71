"""Vega in a process of its own: vl-convert starts for a second and makes its bundle for three, with Python's lock held.

The process starts when it is first needed, or sooner with `prepare`: it is ready by the time that records are read.
"""

from __future__ import annotations

import atexit
import base64
import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any

from leaderboard.interruption import held

_WORKER = Path(__file__).with_name("vega_worker.py")


def prepare() -> None:
    """Start on the bundle, and return at once."""
    _worker().prepare()


def draw(spec: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> str:
    """The SVG of a Vega-Lite specification.

    Raises:
        ValueError: one line, when it cannot be drawn.
    """
    return _worker().draw(spec, config)


def pdf(svg: str) -> bytes:
    """The PDF of an SVG of `draw`. Its bytes differ from time to time: fonts stand in it in any order.

    Raises:
        ValueError: one line, when it cannot be made.
    """
    return base64.b64decode(_worker().ask({"pdf": svg}))


def png(svg: str) -> bytes:
    """The PNG of an SVG of `draw`, with two pixels for each of its own.

    Raises:
        ValueError: one line, when it cannot be made.
    """
    return base64.b64decode(_worker().ask({"png": svg}))


def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script.

    Raises:
        ValueError: one line, when it cannot be made.
    """
    return _worker().bundle()


@cache
def _worker() -> Worker:
    return Worker()


def stop() -> None:
    """End the process, so that whoever waits for an answer has an error at once."""
    _worker().kill()


class Worker:
    """The process, which is asked one thing after the other. Any thread may call the methods."""

    def __init__(self) -> None:
        # -P: the folder of the worker holds no module that others should import.
        command = [sys.executable, "-P", str(_WORKER)]
        with held():  # a child that nobody knows of yet would stay
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            atexit.register(self.close)
        self._lock = RLock()
        self._is_prepared = False
        self._bundle: str | None = None

    def prepare(self) -> None:
        """See the function `prepare`."""
        with self._lock:
            if not self._is_prepared:
                self._send({"bundle": True})
                self._is_prepared = True

    def bundle(self) -> str:
        """See the function `bundle`."""
        with self._lock:
            self.prepare()
            if self._bundle is None:
                self._bundle = self._receive()
            return self._bundle

    def draw(self, spec: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> str:
        """See the function `draw`."""
        return self.ask({"draw": spec, "config": config})

    def ask(self, request: Mapping[str, Any]) -> str:
        """The answer to a request of `vega_worker`."""
        with self._lock:
            # One answer at a time: two processes that write to each other while neither reads would wait for ever.
            if self._is_prepared:
                self.bundle()
            self._send(request)
            return self._receive()

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()

    def close(self) -> None:
        """End the process, and wait until it is gone."""
        self.kill()
        self._process.communicate()

    def _send(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended, and there is no answer to receive
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def _receive(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise ValueError(f"vl-convert: its process ended with exit code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ValueError(f"vl-convert: {' '.join(answer['error'].split())}")
        done: str = answer["done"]
        return done
