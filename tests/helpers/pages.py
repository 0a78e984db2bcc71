"""The pages of README and `docs/`: their fenced blocks, the commands in them, their links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^()\s]+)\)")
ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")
LANGUAGES = {"": "shell", "bash": "shell", "python": "python", "toml": "toml", "yaml": "yaml"}
"""Languages of fenced blocks, and how they are read; a block in any other is a mistake."""


def pages() -> list[str]:
    """The Markdown files that people read, relative to the repository."""
    whole = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmark/PERFORMANCE.md", "leaderboard/SUBMITTING.md"]
    return whole + sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: the file, relative to the repository.
        line: of the first line of its text.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read(page: str) -> str:
    """The text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order.

    Raises:
        ValueError: if a fence is not understood, so that no block is overlooked.
    """
    text = read(page)
    found = [
        Block(page, text[: match.start("text")].count("\n") + 1, match["language"], match["text"])
        for match in FENCE.finditer(text)
    ]
    if 2 * len(found) != len(re.findall(r"^\s*(?:```|~~~)", text, re.MULTILINE)):
        raise ValueError(f"{page}: has a fence that is not of the form ```language ... ``` at the start of a line")
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell block: continued lines joined, comments, `srun` and assignments left out."""
    for line in text.replace("\\\n", " ").splitlines():
        words = list[str]()
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word != "&&":
                words.append(word)
                continue
            while words and (words[0] == "srun" or ASSIGNMENT.fullmatch(words[0])):
                del words[0]
            if words:
                yield words
            words = []


def links(page: str) -> Iterator[tuple[str, str]]:
    """File and anchor of each relative link of a page, fenced blocks left out."""
    for link in LINK.findall(FENCE.sub("", read(page))):
        if "://" not in link:
            file, _, anchor = link.partition("#")
            yield file, anchor


def anchors(page: str) -> set[str]:
    """The anchors of the headings of a page, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", read(page)), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
