"""The columns: a new one is one definition, which every format shows, and a speed is the same in all of them."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest

from leaderboard.board.aggregate import build_board
from leaderboard.board.columns import Column, Table, column, columns_of, explanations
from leaderboard.board.columns.column import add
from leaderboard.board.others import summarise
from leaderboard.board.standings import Board, CellRow
from leaderboard.entries.reading import Entry, Results, RunRecord
from leaderboard.render import csv_file, markdown, text
from leaderboard.render.site.site import page_files
from tests.helpers.leaderboard.boards import result_of, suite_of
from tests.helpers.leaderboard.records import run_of
from tests.helpers.leaderboard.rendered import Page

EVERYWHERE = (Table.HEADLINE, Table.CELL, Table.RESULTS, Table.CSV, Table.OTHERS)


@pytest.fixture
def open_register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns that the test adds are gone after it."""
    monkeypatch.setattr(column, "REGISTERED", list(column.REGISTERED))


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """An entry that solved one of two runs, without curves; its records are other records, too."""
    records = [run_of("solved", 0, 300, cell="a", curves=None), run_of("censored", 1, cell="a", curves=None)]
    suite = suite_of("lite", {"transformer": records}, tmp_path)
    return Board((suite,), tuple(summarise(records)))


def unsolved(row: Any) -> int:
    return sum(runs.n - runs.n_solved for runs in row.measured)


@pytest.mark.process
@pytest.mark.usefixtures("open_register")
def test_one_definition_is_a_column_of_every_format(board: Board) -> None:
    add(
        Column(
            "left over",
            lambda row: f"{unsolved(row)}x (1-2)",
            dict.fromkeys(EVERYWHERE, 99),
            number=unsolved,
            values={"n_left_over": unsolved},
            explanation="Runs that `never` solved it.",
        )
    )
    header, *lines = text.summaries(board.others).splitlines()
    assert header.endswith("left over") and [line.split()[-2:] for line in lines] == [["1x", "(1-2)"]]

    page = markdown.render(board)
    assert "- **Left over**: Runs that `never` solved it.\n" in page
    tables = Page(page).tables
    assert [table[0][-1] for table in tables] == ["left over"] * 3  # the headline, the cell and the other records
    assert [table[1][-1] for table in tables] == ["1x (1-2)"] * 3

    [row] = csv.DictReader(io.StringIO(csv_file.render(board)))
    assert row["n_left_over"] == "1"

    pages = page_files(board)
    for name, count in (("index.html", 3), ("entries/lite--transformer.html", 1)):
        site = pages[name].decode()
        assert site.count('<th scope="col" class="n">Left over</th>') == count
        assert site.count('<td class="n" data-order="1">1× (1–2)</td>') == count
    assert "<dt>Left over</dt><dd>Runs that <code>never</code> solved it.</dd>" in pages["index.html"].decode()


def test_every_column_has_a_table_and_every_table_columns() -> None:
    for each in column.REGISTERED:
        assert each.title and each.tables
        assert each.values or Table.CSV not in each.tables
    for table in Table:
        assert columns_of(table), table
        titles = [each.title for each in columns_of(table)]
        assert table is Table.CSV or len(set(titles)) == len(titles), table
    headings = [heading for heading, _ in explanations()]
    assert len(set(headings)) == len(headings)


def test_show_and_build_say_the_same_speed() -> None:
    """The median over the runs that were trained alone, by device; an ensemble's is that of all its seeds at once."""
    changes: list[dict[str, Any]] = [
        {"tokens_per_s": 9000.0},
        {"tokens_per_s": 11000.0},
        {"tokens_per_s": 400_000.0, "ensemble_size": 20},
        {"tokens_per_s": 80_000.0, "hardware.device": "cuda"},
        {"tokens_per_s": None},
    ]
    records = [run_of("solved", seed, 300, cell="a", **change) for seed, change in enumerate(changes)]
    runs = tuple(RunRecord(record, Path("x")) for record in records)
    entry = Entry("lite", "transformer", None, False, {"a": runs})
    board = build_board(Results((entry,), (), ()))
    [row] = summarise(records)
    [result] = board.suites[0].standings[0].measured
    assert row.tokens_per_s == result.tokens_per_s == {"cpu": 10_000.0, "cuda": 80_000.0}
    said = "10,000 cpu, 80,000 cuda"
    assert said in text.summaries([row]) and said in markdown.headline(board.suites[0])
    only = summarise([run_of("solved", 0, 300, ensemble_size=2)])
    assert only[0].tokens_per_s == {} and re.search(r" -$", text.summaries(only))


def test_a_cell_that_is_missing_and_one_without_an_outcome(tmp_path: Path) -> None:
    runs = {
        "transformer": [run_of("solved", 0, 200, cell=cell) for cell in "ab"],
        "mamba": [run_of("error", 0, 100, cell="a")],
    }
    suite = suite_of("lite", runs, tmp_path)
    mamba = next(standing for standing in suite.standings if standing.name == "mamba")
    nothing, missing = (
        {each.title: each.plain(CellRow(mamba, cell)) for each in columns_of(Table.CELL)} for cell in suite.cells
    )
    assert result_of(runs["mamba"], tmp_path).n == 0
    assert (nothing["solved"], nothing["median step"], nothing["mean step"], nothing["seeds"]) == ("-", "-", "-", "0")
    assert missing["solved"] == "missing"
    assert {text for title, text in missing.items() if title not in {"solved", "entry"}} == {"-"}
    for each in columns_of(Table.CELL):
        if each.number is not None:
            assert each.number(CellRow(mamba, suite.cells[1])) is None, each.title


@pytest.mark.usefixtures("open_register")
@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"title": ""}, "title"),
        ({"tables": {}}, "planted"),
        ({"tables": {"CELL": 1}}, "Table.CELL"),
        ({"tables": {Table.CSV: 1}, "values": {"n_solved": len}}, "n_solved"),
    ],
)
def test_a_column_that_cannot_be_is_refused(attributes: dict[str, Any], named: str) -> None:
    before = len(column.REGISTERED)
    planted: dict[str, Any] = {"title": "planted", "text": str, "tables": {Table.OTHERS: 1}}
    with pytest.raises(ValueError, match=named):
        add(Column(**planted | attributes))
    assert len(column.REGISTERED) == before


@pytest.mark.parametrize("text", [lambda row: None, lambda row: 3, lambda row: "two\nlines", lambda row: 1 / 0])
def test_a_column_whose_text_is_none_is_named(text: Any) -> None:
    with pytest.raises(ValueError, match="column 'planted': its text"):
        Column("planted", text, {Table.OTHERS: 1}).plain(None)
