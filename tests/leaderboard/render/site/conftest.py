"""The site of the hostile board, built once for all tests that look at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leaderboard.render.site.site import site_files
from tests.helpers.leaderboard.boards import hostile_board
from tests.helpers.leaderboard.browsing import launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the curves of the board's records lie."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="session")
def files(root: Path) -> dict[str, bytes]:
    """Every file of the site by its path."""
    return site_files(hostile_board(root))


@pytest.fixture(scope="session")
def site(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("built") / "site"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of a module."""
    with launched() as found:
        yield found
