"""Records that have been accepted already, of which less is asked, and what git knows of the commits of new ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from leaderboard.validation.checkout import Checkout
from leaderboard.validation.entry_folder import RECORD
from leaderboard.validation.report import Problem
from leaderboard.validation.run_rules import CheckedRun

CLOCKS_APART = timedelta(days=1)


def accepted(runs: Iterable[CheckedRun], path: Path, base: str | None, results: Path) -> set[str]:
    """Files of the records that stand, with the same bytes, in the results at a commit, or in those of this checkout.

    Args:
        runs: that are checked.
        path: the folder that is checked.
        base: a commit of the checkout that it lies in; None for this checkout's HEAD and its results.
        results: this checkout's results.
    """
    known = _blobs(path, base) if base is not None else _blobs(results, "HEAD")
    if base is None and known is None:  # no git here: an installed package, say
        known = {_blob(file) for file in results.rglob(RECORD)} if results.is_dir() else set()
    return {run.file for run in runs if _blob(Path(run.file)) in (known or set())}


def _blobs(folder: Path, commit: str) -> set[str] | None:
    """Git's hashes of all records at a commit; None if git cannot say."""
    listed = _git(folder, "ls-tree", "-r", "-z", "--full-tree", commit, "--", "leaderboard/results")
    if listed is None:
        return None
    lines = (os.fsdecode(line).partition("\t") for line in listed.split(b"\0") if line)
    return {about.split(" ")[2] for about, _, name in lines if name.endswith(f"/{RECORD}")}


def _blob(file: Path) -> str:
    """Git's SHA-1 of a small file's content."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0%s" % (len(content), content), usedforsecurity=False).hexdigest()


def commit_problems(runs: Iterable[CheckedRun], path: Path, strict: bool) -> Iterator[Problem | str]:
    """Yield what is wrong with the commits of records: one that the checkout does not have, or younger than its run.

    Args:
        runs: new records.
        path: a folder in the checkout; outside of one nothing is known.
        strict: the checkout is one of this suite, so that a commit that is not in its whole history is a problem;
            otherwise, and in a shallow checkout, it is a note, once.
    """
    if (shallow := _git(path, "rev-parse", "--is-shallow-repository")) is None:
        return
    whole = shallow.strip() == b"false"
    dates: dict[str, datetime | None] = {}
    noted = False
    for run in runs:
        if (commit := run.record.git.commit) is None:
            continue
        if commit not in dates:
            dates[commit] = _date(path, commit)
        if (date := dates[commit]) is not None:
            if run.record.started_at < date - CLOCKS_APART:
                yield Problem(run.file, "started_at", f"is {run.record.started_at}, its commit is of {date}")
        elif strict and whole:
            yield Problem(run.file, "git.commit", f"is {commit}, which is no commit of this repository")
        elif not noted:
            noted = True
            why = "the checkout does not have it" if whole else "the checkout is shallow"
            yield f"{run.file}: commit {commit} was not found: {why}"


def _date(folder: Path, commit: str) -> datetime | None:
    said = _git(folder, "show", "--no-patch", "--format=%ct", f"{commit}^{{commit}}", "--")
    return None if said is None else datetime.fromtimestamp(int(said.split()[0]), UTC)


def _git(folder: Path, *arguments: str) -> bytes | None:
    """The output of git in a folder; None if it fails or is not there."""
    try:
        return Checkout(folder.resolve()).git(*arguments)
    except ValueError:
        return None
