"""Checks that whatever stands in the results at a commit stands there still: in HEAD, in the index and among the files.

A pull request is what git has of it, so what git says of a file counts (its mode, its content, that it is gone) and not
what the file system resolves: a link in the place of a folder shows every file that it leads to.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from leaderboard.records.bounded import read_bytes
from leaderboard.records.file_names import folded, name_problem
from leaderboard.records.plain_text import is_plain
from leaderboard.validation.checkout import KINDS, Checkout, Stored, links_to
from leaderboard.validation.entry_folder import LINK, MAX_SIZES
from leaderboard.validation.report import Problem

ROOM, RESULTS, VERIFIED = "leaderboard", "leaderboard/results", "leaderboard/verified.yaml"

_RULE = "what has been accepted is never altered, seeds are only added"
_MAX_BYTES = max(MAX_SIZES.values())


def history_problems(path: Path, base: str) -> Iterator[Problem | str]:
    """Yield a problem for every file of the results at a commit that is gone or has changed, and for whatever git has
    there that is no plain file or bears a name that not every file system can hold; a note for what is not committed.

    Args:
        path: a folder in a git checkout; its whole `leaderboard/results` is looked at, and `verified.yaml`.
        base: the commit, e.g. "origin/main".

    Raises:
        ValueError: the folder is in no checkout, there is no such commit, or git cannot be run.
    """
    history = _History(path, base)
    yield from history.kinds()
    yield from history.names()
    yield from history.losses()
    yield from history.hidden()
    yield from history.uncommitted()


class _History:
    """The results at the base, in HEAD, in the index and among the files, by path from the root on."""

    def __init__(self, path: Path, base: str) -> None:
        self._path, self._base = path, base
        self._checkout = Checkout(links_to(path)[1])
        try:
            commit = self._checkout.commit(base)
        except ValueError as error:
            raise ValueError(f"--base {base}: no such commit in {self._checkout.root}; fetch it first") from error
        self._at_base = _ours(self._checkout.tree(commit))
        self._now = {"HEAD": _ours(self._checkout.tree("HEAD")), "the index": _ours(self._checkout.index())}
        self._names = {name for files in self._now.values() for name in files}
        self._links: dict[PurePosixPath, bool] = {}
        self._digests: dict[str, str] = {}

    def kinds(self) -> Iterator[Problem]:
        """Links, submodules and executable files in git, and links among the files on the way to one of the base."""
        for name in sorted(self._names):
            for where, files in self._now.items():
                if (stored := files.get(name)) and stored.mode in KINDS and self._at_base.get(name) != stored:
                    yield self._problem(name, "file", f"{KINDS[stored.mode]} in {where}: only plain files are allowed")
                    break
        for folder in sorted({folder for name in self._at_base for folder in _way(name)[:-1]}):
            if self._is_linked(folder) and not self._is_linked(folder.parent) and str(folder) not in self._names:
                yield self._problem(str(folder), "file", LINK)

    def names(self) -> Iterator[Problem]:
        """Names that some file system cannot hold, or would take for another one's."""
        known = {str(part) for name in self._at_base for part in _way(name)}
        spelt = {folded(part): part for part in sorted(known)}
        for name in sorted(self._names - known):
            for part in map(str, _way(name)):
                if (first := spelt.setdefault(folded(part), part)) != part and part not in known:
                    known.add(part)  # it is said once
                    yield self._problem(part, "name", f"is {first} to some file systems, which see no difference")
            for word in PurePosixPath(name).parts:
                if reason := name_problem(word) if is_plain(word) else "holds a control character":
                    yield self._problem(name, "name", reason)
                    break

    def losses(self) -> Iterator[Problem]:
        """Files of the base that are gone or have changed, among the files or in git."""
        links = {PurePosixPath(name) for files in self._now.values() for name, at in files.items() if at.mode in KINDS}
        for name, stored in self._at_base.items():
            if self._is_linked(PurePosixPath(name).parent) or not links.isdisjoint(_way(name)[:-1]):
                continue  # said of the link
            reason = self._changed(name, stored)
            for where, files in self._now.items():
                found = files.get(name)
                if reason is None and found != stored and not (found and found.mode in KINDS):
                    reason = f"{'is gone' if found is None else 'has changed'} in {where} since"
            if reason:
                yield self._problem(name, "file", f"{reason} {self._base}: {_RULE}")
        if VERIFIED not in self._at_base and (
            VERIFIED in self._names or os.path.lexists(self._checkout.root / VERIFIED)
        ):
            yield self._problem(VERIFIED, "file", f"is new since {self._base}: only maintainers write it")

    def hidden(self) -> Iterator[Problem]:
        """Files that need not be here what they are in git."""
        for name, stored in self._now["the index"].items():
            if stored.hidden:
                yield self._problem(name, "file", f"is marked {stored.hidden}: what git has of it cannot be seen here")
        for name, attribute in self._checkout.changing_attributes(sorted(self._names)):
            reason = f"has the attribute {attribute} in .gitattributes: results are stored as they are"
            yield self._problem(name, "file", reason)

    def uncommitted(self) -> Iterator[str]:
        """A note, if the files are not those of HEAD."""
        head = {name: stored for name, stored in self._now["HEAD"].items() if stored.mode not in KINDS}
        files = {*head, *_ours(dict.fromkeys(self._checkout.untracked(RESULTS), Stored("", "")))}
        apart = sorted(name for name in files if name not in head or self._digest(name, head[name]) != head[name].blob)
        if apart:
            some = f"{len(apart):,} files differ from HEAD, e.g. {apart[0]}"
            yield f"{some}: commit them, for a pull request holds what is committed"

    def _problem(self, name: str, field: str, reason: str) -> Problem:
        return Problem(str(self._as_given(name)), field, reason)

    def _as_given(self, name: str) -> Path:
        """The file as the user would name it: below the folder that was asked for, where it is below it."""
        place, folder = self._checkout.root / name, self._path.resolve()
        return self._path / place.relative_to(folder) if place.is_relative_to(folder) else place

    def _is_linked(self, folder: PurePosixPath) -> bool:
        """Whether a folder, or one above it within the checkout, is a link among the files."""
        if folder not in self._links:
            above = folder.parent
            self._links[folder] = folder != above and (
                self._is_linked(above) or (self._checkout.root / folder).is_symlink()
            )
        return self._links[folder]

    def _changed(self, name: str, stored: Stored) -> str | None:
        """Difference of a file from the one that git stored, by raw bytes: no filter or line-end setting counts."""
        path = self._checkout.root / name
        if not path.is_symlink() and not path.exists():
            return "is gone since"
        digest = self._digest(name, stored)
        if stored.mode not in {"100644", "100755"} or path.is_symlink() or not path.is_file():
            return "is no ordinary file, as it was or should have been at"
        return None if digest == stored.blob else "has changed since"

    def _digest(self, name: str, stored: Stored) -> str | None:
        """Hash of a file as git computes it; None for what is not there, is no plain file or is larger than any."""
        if name not in self._digests:
            try:
                content = read_bytes(self._checkout.root / name, _MAX_BYTES, links=False)
            except ValueError:
                return None
            digest = hashlib.sha1(usedforsecurity=False) if len(stored.blob) == 40 else hashlib.sha256()
            digest.update(f"blob {len(content)}\0".encode() + content)
            self._digests[name] = digest.hexdigest()
        return self._digests[name]


def _ours(files: Mapping[str, Stored]) -> dict[str, Stored]:
    """The results and the list of verified entries, and what some file system would take for a part of their way."""
    return {name: stored for name, stored in files.items() if _is_ours(name)}


def _is_ours(name: str) -> bool:
    words = PurePosixPath(name).parts
    keys = tuple(map(folded, words[:2]))
    return keys[:1] == (ROOM,) and (len(words) == 1 or words[0] != ROOM or "/".join(keys) in (RESULTS, VERIFIED))


def _way(name: str) -> list[PurePosixPath]:
    """The folders above a path from the top down, and the path."""
    path = PurePosixPath(name)
    return [*list(path.parents)[-2::-1], path]
