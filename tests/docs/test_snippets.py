"""Every command and every Python block of every page is run, in order, in a folder of its own."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from architectures import ARCHITECTURES
from benchmark.metrics import METRICS
from benchmark.probes import PROBES
from datamodules import TASKS
from leaderboard.board.columns.column import REGISTERED
from tests.helpers.command_checks import Place
from tests.helpers.page_commands import check_of
from tests.helpers.pages import LANGUAGES, Block, blocks, commands, pages

FILE = re.compile(r"# (\w+\.py)\n")
"""The first line of a Python block that is the content of a file."""

FILES = {"leaderboard/SUBMITTING.md": ("../my_package/lm.yaml", "../my_package/ca.yaml")}
"""Pages whose YAML block is the content of files that later commands read."""

WITH_CODE = [page for page in pages() if any(LANGUAGES.get(b.language) in {"shell", "python"} for b in blocks(page))]


@pytest.fixture(scope="module")
def done() -> set[tuple[str, ...]]:
    """Fits that were run: pages that show the same share it."""
    return set()


@pytest.fixture
def as_before() -> Iterator[None]:
    """Registries, modules and the module path after a test as before it."""
    registries: tuple[dict[str, Any], ...] = (ARCHITECTURES, METRICS, PROBES, TASKS)
    modules, path = set(sys.modules), list(sys.path)
    before, columns = [dict(registry) for registry in registries], list(REGISTERED)
    yield
    REGISTERED[:] = columns
    for registry, content in zip(registries, before, strict=True):
        registry.clear()
        registry.update(content)
    for name in set(sys.modules) - modules:
        if not (getattr(sys.modules[name], "__file__", None) or "").startswith((sys.prefix, sys.base_prefix)):
            first = name.partition(".")[0]
            if first not in {"architectures", "benchmark", "datamodules", "leaderboard", "tests"}:
                del sys.modules[name]
    sys.path[:] = path


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize("page", WITH_CODE)
def test_a_page_works(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    done: set[tuple[str, ...]],
    as_before: None,
) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    place = Place(folder, monkeypatch, done)
    module = ModuleType("page_" + re.sub(r"\W", "_", page))
    sys.modules[module.__name__] = module  # where a class that is registered says that it is defined
    for block in blocks(page):
        try:
            match LANGUAGES[block.language]:
                case "shell":
                    for words in commands(block.text):
                        check_of(words)(words, place)
                case "python":
                    run_python(block, module, place)
                case "yaml":
                    for name in FILES.get(page, ()):
                        (folder / name).write_text(block.text)
        except BaseException as error:
            error.add_note(f"in the block at {block}")
            raise


def run_python(block: Block, module: ModuleType, place: Place) -> None:
    """Write the file that a block is the content of, or run the block after those before it."""
    if match := FILE.match(block.text):
        (place.folder / match[1]).write_text(block.text)
        importlib.invalidate_caches()
        return
    if "leaderboard/results" in block.text:
        place.copy("leaderboard/results")
    code = "\n" * (block.line - 1) + block.text
    exec(compile(code, block.page, "exec"), module.__dict__)
