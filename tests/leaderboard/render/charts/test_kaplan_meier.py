"""The figure for README: what is drawn is read back from the SVG's own coordinates."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import altair as alt
import numpy as np
import pytest

from leaderboard.board.standings import Board, SuiteBoard
from leaderboard.records.record import Record
from leaderboard.render.charts import kaplan_meier
from leaderboard.render.charts.colours import LIGHT, board_styles
from tests.helpers.leaderboard.boards import CELLS, small_board, suite_of, suite_records
from tests.helpers.leaderboard.records import run_of

pytestmark = pytest.mark.process

SVG = "{http://www.w3.org/2000/svg}"


def render(suite: SuiteBoard) -> str:
    svg = kaplan_meier.render(suite)
    assert svg is not None
    return svg


def lines(svg: str) -> dict[str, list[list[tuple[float, float]]]]:
    """By colour, the corners (share of the panel's width, share of its height) of each line in a panel."""
    found: dict[str, list[list[tuple[float, float]]]] = {}
    for path in ElementTree.fromstring(svg).iter(f"{SVG}path"):
        if path.get("stroke-linecap") != "butt" or "C" in path.get("d", ""):
            continue
        pairs = re.findall(r"([-\d.e]+),([-\d.e]+)", path.get("d", ""))
        corners = [(float(x), float(y)) for x, y in pairs]
        if corners[0] != (0.0, float(kaplan_meier.PANEL_HEIGHT)):  # a sign of the legend
            continue
        shares = [(x / kaplan_meier.PANEL_WIDTH, 1 - y / kaplan_meier.PANEL_HEIGHT) for x, y in corners]
        found.setdefault(path.get("stroke", ""), []).append(shares)
    return found


def words(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def arm(name: str, *ends: tuple[str, int]) -> list[Record]:
    return [run_of(status, seed, step, **{"architecture.name": name}) for seed, (status, step) in enumerate(ends)]


def test_the_chart_holds_to_the_schema(tmp_path: Path) -> None:
    """Which `render`, for its time, does not ask."""
    board = small_board(tmp_path)
    suite = board.suites[0]
    spec = kaplan_meier.chart(suite, board_styles(board))
    alt.ConcatChart.from_dict(spec, validate=True)  # raises where the schema does not hold


def test_curves_by_hand(tmp_path: Path) -> None:
    """Of 1,000 steps. Transformer 200, 200, 600, never: 1/2 from 200, 3/4 from 600 on. Mamba never. Rwkv 100, 400."""
    runs = {
        "transformer": arm("transformer", ("solved", 200), ("solved", 200), ("solved", 600), ("censored", 0)),
        "mamba": arm("mamba", ("censored", 0), ("diverged", 300)),
        "rwkv": arm("rwkv", ("solved", 100), ("solved", 400)),
    }
    drawn = lines(render(suite_of("lite", runs, tmp_path)))
    [reference] = drawn[LIGHT[0]]
    corners = [(0, 0), (0.2, 0), (0.2, 0.5), (0.6, 0.5), (0.6, 0.75), (1, 0.75)]
    assert list(dict.fromkeys((round(x, 6), round(y, 6)) for x, y in reference)) == corners
    [flat] = drawn[LIGHT[1]]
    assert {y for _, y in flat} == {0}
    assert (flat[0][0], flat[-1][0]) == (0.0, 1.0)
    [whole] = drawn[LIGHT[2]]
    assert whole[-1] == (1.0, 1.0)  # solved by all at 0.4, and so it stays up to the budget
    assert min(x for x, y in whole if y == 1) == pytest.approx(0.4)


def test_every_cell_and_entry_is_there(tmp_path: Path) -> None:
    [suite] = small_board(tmp_path).suites
    svg = render(suite)
    assert {cell.label for cell in suite.cells} <= set(words(svg))
    assert {"transformer", "mamba", "rwkv", "0", "500", "1,000", "optimizer step"} <= set(words(svg))
    drawn = lines(svg)
    assert sorted(map(len, drawn.values())) == [3, 4, 4]  # rwkv lacks a cell
    for colour, name in zip(LIGHT[1:], ["mamba", "rwkv"], strict=False):
        [standing] = [s for s in suite.standings if s.name == name]
        ends = [1 - result.curve.survival[-1] for result in standing.results.values() if result and result.curve]
        assert [line[-1][1] for line in drawn[colour]] == pytest.approx(ends, abs=1e-4)


def test_white_ground_size_and_words(tmp_path: Path) -> None:
    [suite] = small_board(tmp_path).suites
    root = ElementTree.fromstring(render(suite))
    title, description, ground = list(root)[:3]
    assert (ground.tag, ground.get("fill"), ground.get("width"), ground.get("height")) == (
        f"{SVG}rect",
        "#ffffff",
        "100%",
        "100%",
    )
    assert float(ground.get("rx") or 0) > 0
    assert float(root.get("width") or 0) <= 820
    assert root.get("role") == "img"
    assert title.text == "Kaplan-Meier curves of the suite lite"
    assert description.text is not None
    solved = sum(result.n_solved for result in suite.standings[0].results.values() if result)
    named = re.findall(rf"{suite.standings[0].name} (\d+)/5", description.text)
    assert sum(map(int, named)) == solved
    assert "rwkv missing" in description.text
    smallest = min(int(size) for size in re.findall(r"font-size=\"(\d+)px\"", render(suite)))
    assert smallest >= 12


def test_asks_nobody_for_anything(tmp_path: Path) -> None:
    svg = render(small_board(tmp_path).suites[0])
    assert "<script" not in svg
    assert {url for url in re.findall(r"https?://[^\s\"'<>]+", svg)} <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_same_bytes_again(tmp_path: Path) -> None:
    [suite] = small_board(tmp_path).suites
    assert render(suite) == render(suite)


def test_only_the_best_are_drawn(tmp_path: Path) -> None:
    """The reference comes tenth, and is drawn all the same; twelve entries have curves, seven lines are drawn."""
    rng = np.random.default_rng(3)
    names = [*(f"model{place}" for place in range(9)), "transformer", "model9", "model10"]
    runs = {name: suite_records(name, CELLS[:1], range(3), rng) for name in names}
    suite = suite_of("lite", runs, tmp_path)
    assert [standing.name for standing in kaplan_meier.drawn(suite)] == [*names[:6], "transformer"]
    svg = render(suite)
    assert sum(map(len, lines(svg).values())) == 7
    assert any("5 more entries in the tables" in text for text in words(svg))
    assert not any("more entries" in text for text in words(render(small_board(tmp_path).suites[0])))


def test_long_names_stay_inside(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    names = ["transformer", *(f"{'long_' * 10}{place}" for place in range(6))]
    suite = suite_of("lite", {name: suite_records(name, CELLS[:3], range(2), rng) for name in names}, tmp_path)
    svg = render(suite)
    assert set(names) <= set(words(svg))
    assert float(ElementTree.fromstring(svg).get("width") or 0) <= 820


def test_colours_are_the_sites(tmp_path: Path) -> None:
    """An entry keeps the colour that it has on the pages; any two lines differ in dash for who sees no colours."""
    rng = np.random.default_rng(3)
    names = ["transformer", "b", "a", "f", "e", "c", "d"]
    small = small_board(tmp_path).suites[0]
    suite = suite_of("other", {name: suite_records(name, CELLS[:1], range(3), rng) for name in names}, tmp_path)
    looks = board_styles(Board((small, suite), ()))
    svg = kaplan_meier.render(suite, looks)
    assert svg is not None
    found = {
        (path.get("stroke"), path.get("stroke-dasharray"))
        for path in ElementTree.fromstring(svg).iter(f"{SVG}path")
        if path.get("stroke-linecap") == "butt"
    }
    assert len(found) == len({dash for _, dash in found}) == 7
    assert {colour for colour, _ in found} == {looks[name].colour for name in names}
    assert lines(svg).keys() == {looks[name].colour for name in names}
    assert svg != render(suite)  # by itself the suite starts the colours over


@pytest.mark.parametrize(
    "text", ["</text><script>alert(1)</script>", "]]>&amp;\"'", "\u202ebidi\x00", "{expr: 1}", "datum.x"]
)
def test_untrusted_text(text: str, tmp_path: Path) -> None:
    """A label is drawn as it stands, but for what cannot be seen."""
    [suite] = small_board(tmp_path).suites
    cells = (replace(suite.cells[0], label=f"lm {text}"), *suite.cells[1:])
    svg = render(replace(suite, cells=cells))
    shown = text.replace("\u202e", "\N{REPLACEMENT CHARACTER}").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    assert f"lm {shown}" in words(svg)
    assert not list(ElementTree.fromstring(svg).iter(f"{SVG}script"))


def test_nothing_to_draw(tmp_path: Path) -> None:
    suite = suite_of("lite", {"transformer": [run_of("error", 0, 50)]}, tmp_path)
    assert kaplan_meier.render(suite) is None
