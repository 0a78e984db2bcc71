"""A checkout: the links on the way to a folder in it, and what git has stored, whatever the file system makes of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from leaderboard.interruption import run_child

KINDS = {"120000": "is a symbolic link", "160000": "is a submodule", "100755": "is executable"}
"""Kinds of files beside ordinary ones, by the modes that git stores."""

_RESULTS = ("leaderboard", "results")
_CHANGING = {"text", "crlf", "eol", "filter", "ident", "working-tree-encoding"}  # attributes: a file is not its blob

# Nothing in the checkout's own configuration is run, and nothing around the process points git elsewhere.
_SETTINGS = ("--no-replace-objects", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_KEPT = ("GIT_CEILING_DIRECTORIES", "GIT_CONFIG_")


def links_to(path: Path) -> tuple[list[Path], Path]:
    """The links by which a folder is reached that must not be: the folder itself, and those in a checkout above it.

    A link outside of any checkout is the user's own, such as one from a home to another disk.

    Returns:
        the links, and the folder to ask git about: that of the first link, or where the path leads.
    """
    links: list[Path] = []
    place, parts = Path(_here() if not path.is_absolute() else path.anchor), path.parts[path.is_absolute() :]
    steps = [*_steps(Path(place.anchor), place.parts[1:]), *_steps(place.resolve(), parts)]
    names = [here.name for here, _ in steps]
    for number, (here, is_link) in enumerate(steps):
        asked = number == len(steps) - 1 and parts[-1:] not in ((), ("..",))
        if is_link and (asked or _in_results(names, number) or any(map(_has_git, here.parents))):
            links.append(here)
    return links, links[0].parent if links else path.resolve()


def _here() -> str:
    """The working folder by the way that the user went, where the shell tells it: the kernel has resolved its links."""
    told = os.environ.get("PWD", "")
    return told if os.path.isabs(told) and os.path.exists(told) and os.path.samefile(told, ".") else os.getcwd()


def _steps(place: Path, parts: Iterable[str]) -> Iterator[tuple[Path, bool]]:
    """Each named part of a path at its real place, and whether it is a link."""
    for part in parts:
        if part == "..":
            place = place.parent
            continue
        place /= part
        yield place, place.is_symlink()
        place = place.resolve()


def _in_results(names: list[str], number: int) -> bool:
    """Whether a part of a path is `leaderboard`, its `results` or below: without git that is all that is known."""
    ends = [end for end in range(len(names)) if tuple(names[end : end + 2]) == _RESULTS]
    return bool(ends) and number >= ends[0]


def _has_git(folder: Path) -> bool:
    return os.path.lexists(folder / ".git")


@dataclass(frozen=True)
class Stored:
    """A file as git has it: `mode` such as "100644", the hash of its content; `hidden` where git looks away from it."""

    mode: str
    blob: str
    hidden: str | None = None


class Checkout:
    """The git checkout around a folder.

    Raises:
        ValueError: one line: the folder is in no checkout, or git cannot be run.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.root = Path(os.fsdecode(self.git("rev-parse", "--show-toplevel").rstrip(b"\n")))

    def commit(self, name: str) -> str:
        """The hash of a commit.

        Raises:
            ValueError: there is none of that name.
        """
        return self.git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()

    def tree(self, commit: str) -> dict[str, Stored]:
        """Every file of a commit by its path from the root on."""
        found = {}
        for line in filter(None, self.git("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0")):
            about, _, name = line.partition(b"\t")
            mode, _, blob = about.decode().split(" ")
            found[os.fsdecode(name)] = Stored(mode, blob)
        return found

    def index(self) -> dict[str, Stored]:
        """Every file of the index by its path from the root on."""
        found = {}
        for line in filter(None, self.git("ls-files", "-s", "-v", "-z").split(b"\0")):
            about, _, name = line.partition(b"\t")
            tag, mode, blob, stage = about.decode().split(" ")
            hidden = "assume-unchanged" if tag.islower() else "skip-worktree" if tag == "S" else None
            found[os.fsdecode(name)] = Stored(mode, blob if stage == "0" else "of a merge that goes on", hidden)
        return found

    def untracked(self, folder: str) -> list[str]:
        """Files below a folder that are not in the index, the ignored ones too."""
        return [os.fsdecode(name) for name in self.git("ls-files", "-o", "-z", "--", folder).split(b"\0") if name]

    def changing_attributes(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield (path, attribute) where git writes another content into the checkout than it stores."""
        asked = b"\0".join(map(os.fsencode, names))
        said = self.git("check-attr", "-z", "--stdin", "--all", content=asked).split(b"\0")[:-1]
        for name, attribute, value in zip(said[::3], said[1::3], said[2::3], strict=True):
            if attribute.decode(errors="replace") in _CHANGING and value != b"unset":
                yield os.fsdecode(name), os.fsdecode(attribute)

    def git(self, *arguments: str, content: bytes = b"") -> bytes:
        """The output of a git command.

        Raises:
            ValueError: one line, when it fails or cannot be run.
        """
        environment = {
            name: value for name, value in os.environ.items() if name[:4] != "GIT_" or name.startswith(_KEPT)
        }
        command = ["git", "-C", str(self.root), *_SETTINGS, *arguments]
        try:
            done = run_child(command, content, stderr=subprocess.PIPE, env=environment)
        except OSError as error:
            raise ValueError(f"--base needs git, which cannot be run: {error.strerror}") from error
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().splitlines() or ["failed"]
            raise ValueError(f"{self.root}: git {arguments[0]}: {reason[0]}")
        return done.stdout


def keeps_executable_bits(folder: Path) -> bool:
    """Whether the executable bits of files mean something: some file systems show the same for all, and git knows."""
    try:
        return Checkout(folder).git("config", "--type=bool", "--default=true", "core.fileMode").strip() != b"false"
    except ValueError:
        return True
