"""Hooks of MkDocs: files of the repository become pages, and links between them and `docs/` are adapted.

README, the changelog and a few others are written once, for whoever browses the repository, and appear here as pages.
Their links, and the links of `docs/` to files outside of it, are relative to the repository; MkDocs wants them relative
to the page.
"""

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs/"
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmark/PERFORMANCE.md": "guide/many-seeds-speed.md",
    "leaderboard/LEADERBOARD.md": "leaderboard.md",
    "leaderboard/SUBMITTING.md": "how-to/submit-results.md",
}
"""Files of the repository, and the pages that show them."""

WIDE = ("index.md", "leaderboard.md")
"""Pages with the leaderboard's table."""

SOURCES = {page: source for source, page in PAGES.items()}
LINK = re.compile(r"(\]\()([^()\s#]+)(?=[#)])")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of files of the repository, and every other file that a page links to."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    linked = set[str]()
    for file in files.documentation_pages():
        linked.update(_repository_files(file.content_string, source_of(file.src_uri)))
    for path in sorted(linked):
        files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make the links of a page relative to it, and leave wide tables the room of the navigation."""
    if page.file.src_uri in WIDE:
        page.meta["hide"] = ["navigation"]
    return adapted(markdown, page.file.src_uri)


def source_of(page: str) -> str:
    """The file of the repository that a page shows."""
    return SOURCES.get(page, DOCS + page)


def adapted(markdown: str, page: str) -> str:
    """The text of a page with links to other pages and to files in place of those between files of the repository."""
    source = source_of(page)

    def link(match: re.Match[str]) -> str:
        target = _target(match[2], source)
        if target is None:
            return match[0]
        place = PAGES.get(target) or (target.removeprefix(DOCS) if target.startswith(DOCS) else f"files/{target}")
        return match[1] + posixpath.relpath(place, posixpath.dirname(page))

    return _outside_fences(markdown, lambda text: LINK.sub(link, text))


def _repository_files(markdown: str, source: str) -> Iterator[str]:
    """The files outside of `docs/` that a text links to and that are no pages."""
    for match in LINK.finditer(FENCE.sub("", markdown)):
        target = _target(match[2], source)
        if target is not None and target not in PAGES and not target.startswith(DOCS):
            yield target


def _target(link: str, source: str) -> str | None:
    """The file of the repository that a link in a source means; None if it means something else, or nothing."""
    if "://" in link or link.startswith(("/", "mailto:")):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return path if (ROOT / path).is_file() else None


def _outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    parts, end = list[str](), 0
    for fence in FENCE.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])
