"""README, CONTRIBUTING and `docs/`, read without running anything: fences, links, YAML, TOML, the table of commands."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from benchmark.config.plugins import GROUPS
from tests.helpers.page_commands import KINDS, begin_of, check_of
from tests.helpers.pages import LANGUAGES, Block, anchors, blocks, commands, links, pages, read

ACCEPTANCE = "python -m benchmark fit --model mamba --data ca --data.state_size 256\n"


def of_language(language: str) -> list[Block]:
    return [block for page in pages() for block in blocks(page) if LANGUAGES.get(block.language) == language]


def test_every_block_has_a_language_that_is_checked() -> None:
    unknown = [str(block) for page in pages() for block in blocks(page) if block.language not in LANGUAGES]
    assert unknown == []


def test_every_command_has_a_row_in_the_table_and_every_row_a_command() -> None:
    used = set[str]()
    for block in of_language("shell"):
        for words in commands(block.text):
            check_of(words)  # raises for a command that is not in the table
            used.add(begin_of(words))
    assert used == set(KINDS)


def test_an_unknown_command_fails() -> None:
    with pytest.raises(ValueError, match="no check for the command 'python -m benchmark frobnicate'"):
        check_of(["python", "-m", "benchmark", "frobnicate"])


def test_how_commands_are_read() -> None:
    text = "#SBATCH --x\nA=1 srun python -m x \\\n  --y 'a b'  # why\ngit clone x && cd y\n"
    assert list(commands(text)) == [["python", "-m", "x", "--y", "a b"], ["git", "clone", "x"], ["cd", "y"]]


def test_readme_is_short_and_has_the_first_command() -> None:
    text = read("README.md")
    assert ACCEPTANCE in text
    assert len(text.splitlines()) <= 130


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page: str, repository: Path) -> None:
    for file, anchor in links(page):
        target = (repository / page).parent / file if file else repository / page
        assert target.exists(), f"{page} links to {file}"
        name = str(target.resolve().relative_to(repository))
        if anchor and not name.startswith("docs/reference/"):  # those are made from docstrings; the build checks them
            assert anchor in anchors(name), f"{page} links to {file}#{anchor}"


@pytest.mark.parametrize("page", pages())
def test_files_that_are_named_are_there(page: str, repository: Path) -> None:
    names = re.findall(r"\b(?:configs|tests|docs|\.github)/[\w./-]+\.(?:yaml|yml|py|md)\b", read(page))
    assert [name for name in names if not list(repository.glob(name))] == []


@pytest.mark.parametrize("block", of_language("yaml"), ids=str)
def test_yaml_can_be_read(block: Block, tmp_path: Path) -> None:
    """A suite as a suite, a series as a series, anything else as the configuration of a run."""
    from benchmark.config.files.suite import load_suite
    from benchmark.config.parser import parse
    from benchmark.language.checkpoint_series import load_series

    content = yaml.safe_load(block.text)
    if "cells" in content:
        (tmp_path / "mine.yaml").write_text(block.text)
        assert load_suite(str(tmp_path / "mine.yaml"))[1].cells
        return
    if "repository" in content:
        (tmp_path / "mine.yaml").write_text(block.text)
        assert load_series(str(tmp_path / "mine.yaml")).members
        return
    if content.get("model") == "my_model":  # of the package that the page has the reader write
        content["model"] = "transformer"
    assert parse({"data": "lm", **content}).model.name


@pytest.mark.parametrize("block", of_language("toml"), ids=str)
def test_toml_declares_entry_points_that_are_read(block: Block) -> None:
    assert set(tomllib.loads(block.text)["project"]["entry-points"]) <= set(GROUPS)


def test_wording() -> None:
    """Rates are written as in "tokens per second"."""
    rate = re.compile(r"\b(?:tokens|steps|seeds|records|one|seconds|minutes|FLOPs|bytes|MiB|KiB) an? (?:CPU-)?"
                      r"(?:second|seed|step|token|run|cell|core|row|sequence|entry|line|file|paper)\b")  # fmt: skip
    texts = {page: read(page) for page in pages() if page.startswith("docs/") or page in {"README.md", "CHANGELOG.md"}}
    assert [(page, found) for page, text in texts.items() for found in rate.findall(text)] == []
