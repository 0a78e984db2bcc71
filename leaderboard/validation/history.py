"""Checks that whatever stands in the results at a commit stands there still, byte for byte."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from leaderboard.validation.report import Problem

RESULTS = "leaderboard/results"
VERIFIED = "leaderboard/verified.yaml"


def history_problems(path: Path, base: str) -> Iterator[Problem]:
    """Yield a problem for every file of the results at a commit that is gone or has changed in the working tree.

    Args:
        path: a folder in a git checkout; its whole `leaderboard/results` is looked at, and `verified.yaml`.
        base: the commit, e.g. "origin/main".

    Raises:
        ValueError: the folder is in no checkout, there is no such commit, or git cannot be run.
    """
    # Symbolic links are resolved: git would otherwise look for the folder's name where the link stands.
    root = Path(os.fsdecode(_git(path.resolve(), "rev-parse", "--show-toplevel").rstrip(b"\n")))
    try:
        commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}").decode()
    except ValueError as error:
        raise ValueError(f"--base {base}: no such commit in {root}; fetch it first") from error
    listed = _git(root, "ls-tree", "-r", "-z", "--full-tree", commit.strip(), "--", RESULTS, VERIFIED)
    at_base = set()
    for line in filter(None, listed.split(b"\0")):
        about, _, name = line.partition(b"\t")
        at_base.add(os.fsdecode(name))
        mode, _, blob = about.decode().split(" ")
        if reason := _changed(root / os.fsdecode(name), mode, blob):
            yield Problem(str(_as_given(path, root, os.fsdecode(name))), "file", f"{reason} {base}: {_RULE}")
    if VERIFIED not in at_base and os.path.lexists(root / VERIFIED):
        yield Problem(str(_as_given(path, root, VERIFIED)), "file", f"is new since {base}: only maintainers write it")


_RULE = "what has been accepted is never altered, seeds are only added"


def _changed(path: Path, mode: str, blob: str) -> str | None:
    """Difference of a file from the one that git stored, by raw bytes: no filter or line-end setting counts."""
    try:
        status = path.lstat()
    except OSError:
        return "is gone since"
    if mode == "120000" or not stat.S_ISREG(status.st_mode):
        return "is no ordinary file, as it was or should have been at"
    digest = hashlib.sha1(usedforsecurity=False) if len(blob) == 40 else hashlib.sha256()
    digest.update(f"blob {status.st_size}\0".encode())
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return None if digest.hexdigest() == blob else "has changed since"


def _as_given(path: Path, root: Path, name: str) -> Path:
    """The file as the user would name it: below the folder that was asked for, where it is below it."""
    place = root / name
    return path / place.relative_to(path.resolve()) if place.is_relative_to(path.resolve()) else place


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)
    except OSError as error:
        raise ValueError(f"--base needs git, which cannot be run: {error.strerror}") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or ["failed"]
        raise ValueError(f"{folder}: git {arguments[0]}: {reason[0]}")
    return done.stdout
