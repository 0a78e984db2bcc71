"""Writes the site: all files are made first, then put into a new folder, and that takes the place of the old one."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from leaderboard.board.standings import Board
from leaderboard.interruption import Stopped, held
from leaderboard.render.charts import vega
from leaderboard.render.charts.colours import board_styles, shown_standings
from leaderboard.writing import beside, writing

MARK = "assets/site.js"  # a folder with this file is a built site, and may be replaced


def write_site(board: Board, folder: Path) -> None:
    """Write index.html, one page per entry, figures and scripts into `folder`; what an older build left there goes.

    The same board gives the same bytes, but for PDF files. An error leaves the folder as it was.

    Raises:
        ValueError: one line, when `folder` holds something that is not a built site, two entries would share a page,
            or the curves of a run that is to be drawn cannot be read.
    """
    folder = Path(folder)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"{folder}: is not a folder; the site needs one of its own")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise ValueError(f"{folder}: holds something else than a built site; name an empty or a new folder")
    files = site_files(board)
    new, old = beside(folder, "new"), beside(folder, "old")
    with held(), writing(folder):
        try:
            for name, content in files.items():
                path = new / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            if folder.exists():
                os.replace(folder, old)
            os.replace(new, folder)
        finally:
            if old.exists() and not folder.exists():
                os.replace(old, folder)
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def site_files(board: Board) -> dict[str, bytes]:
    """Every file of the site by its path within it, sorted.

    Raises:
        ValueError: see `write_site`.
    """
    from leaderboard.render.site.shared import shared_files

    vega.prepare()
    return dict(sorted({**page_files(board), **shared_files()}.items()))


def page_files(board: Board) -> dict[str, bytes]:
    """The pages and their pictures, without the scripts and styles that every site has.

    Raises:
        ValueError: see `write_site`.
    """
    # Jinja takes a moment to import, which other commands of the leaderboard need not wait for.
    from leaderboard.render.site.cell_page import cell_page
    from leaderboard.render.site.downloads import downloads
    from leaderboard.render.site.entry_page import entry_page
    from leaderboard.render.site.index import index_page
    from leaderboard.render.site.pages import cell_path, entry_path
    from leaderboard.render.site.pairs_page import PATH, pairs_page

    files: dict[str, bytes] = {}
    pictures: dict[str, bytes] = {}
    looks = board_styles(board)
    with ThreadPoolExecutor(1) as thread:
        drawn = thread.submit(index_page, board)  # waits for its pictures most of the time
        try:
            for suite in board.suites:
                for cell in suite.cells:
                    page, figures = cell_page(suite, cell, shown_standings(suite), looks)
                    files[cell_path(suite.name, cell.name)] = page.encode()
                    pictures |= figures
                for standing in suite.standings:
                    path = entry_path(suite.name, standing.name)
                    if path in files:
                        raise ValueError(f"suite {suite.name!r} has two entries {standing.name!r} with one page")
                    page, figures = entry_page(suite, standing, board.tuning.get(suite.name, ()))
                    files[path] = page.encode()
                    pictures |= figures
            files[PATH] = pairs_page(board, looks).encode()
            files |= downloads(board)
            index, figures = drawn.result()
        except Stopped:
            vega.stop()  # else the thread would draw on
            raise
    drawn_files = {f"figures/{name}": content for name, content in {**pictures, **figures}.items()}
    return {"index.html": index.encode(), **drawn_files, **files}
