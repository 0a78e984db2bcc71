"""The site as files: what stands in it, and that it is safe, whole and the same every time."""

import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leaderboard.board.standings import Board
from leaderboard.render.charts import colours, specs
from leaderboard.render.site import write_site
from leaderboard.render.site.site import page_files
from tests.helpers.leaderboard.boards import HOSTILE, hostile_board, small_board

pytestmark = pytest.mark.process

LINKS = ("#", "https://", "index.html", "../", "assets/", "entries/", "figures/", "cell--", "pairs.html", "data/")
VOID = {"meta", "link", "img", "br", "input"}


class Page(HTMLParser):
    """Elements of a page in order, each as (tag, attributes, text of its own)."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(source)
        self.close()
        assert not self._open, f"never closed: {[element[0] for element in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = (tag, {name: value or "" for name, value in attrs}, list[str]())
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element[2].append(data)

    def find(self, tag: str, **attributes: str) -> list[tuple[dict[str, str], str]]:
        return [
            (found, "".join(words).strip())
            for name, found, words in self.elements
            if name == tag and all(found.get(key) == value for key, value in attributes.items())
        ]


@pytest.fixture(scope="module")
def pages(files: dict[str, bytes]) -> dict[str, Page]:
    return {name: Page(content.decode()) for name, content in files.items() if name.endswith(".html")}


def cells_of(page: Page, table_id: str) -> list[list[str]]:
    """Texts of the body's cells of a table."""
    rows: list[list[str]] = []
    inside = False
    for tag, attributes, found in page.elements:
        if tag == "table":
            inside = attributes["id"] == table_id
        elif inside and tag == "tr":
            rows.append([])
        elif inside and tag in {"td", "th"} and attributes.get("scope") != "col":
            rows[-1].append("".join(found).strip())
    return [row for row in rows if row]


def data_of(page: Page) -> dict[str, Any]:
    ((_, content),) = page.find("script", id="page-data")
    found: dict[str, Any] = json.loads(content)
    return found


def test_the_overview_shows_rank_headline_and_gaps(pages: dict[str, Page]) -> None:
    rows = cells_of(pages["index.html"], "overview--lite")
    assert [row[:4] for row in rows] == [
        ["1", "Transformer", "50 % (reference)", "50 %"],
        ["2", "Mamba", "28 % (15–48 %)", "28 %"],
        ["–", "Rwkv", "–", "missing: lm_s8_n4"],
    ]
    assert [row[-1] for row in rows] == ["verified", "self-reported", "self-reported"]
    assert rows[0][4].endswith("/20") and rows[2][4].endswith("/15")


def test_a_cell_says_when_the_median_lies_beyond_the_budget(root: Path, pages: dict[str, Page]) -> None:
    rows = {row[1]: row for row in cells_of(pages["index.html"], "cell--lite--lm_s16_n4")}
    result = small_board(root).suites[0].standings[1].results["lm_s16_n4"]
    assert result is not None and result.median.step is None
    assert rows["Mamba"][3] == f"> 1,000 ({result.median.low:,.0f}+)"
    assert rows["Mamba"][2] == "1/5 (4–62 %)"  # statsmodels: proportion_confint(1, 5, method="wilson")
    missing = {row[1]: row for row in cells_of(pages["index.html"], "cell--lite--lm_s8_n4")}["Rwkv"]
    assert missing[2] == "missing" and set(missing[3:]) == {"–"}


def test_an_entry_page_has_every_run_and_setting(pages: dict[str, Page]) -> None:
    page = pages["entries/lite--mamba.html"]
    runs = cells_of(page, "runs")
    assert len(runs) == 20 and [row[1] for row in runs[:5]] == ["0", "1", "2", "3", "4"]
    assert all(row[3].startswith("> ") == (row[2] == "censored") for row in runs)
    settings = {row[0]: row[1:] for row in cells_of(page, "configuration")}
    assert settings["n_heads"] == ["8"] * 4 and settings["optimizer.lr"] == ["0.001"] * 4
    assert settings["kernel"] == ["[3, 5]"] * 4 and settings["parameters"] == ["202,754"] * 4
    facts = " ".join(text for _, text in page.find("dd"))
    for word in ("Ada Lovelace", "Apache-2.0", "6 trials on seeds 1000-1001", "https://arxiv.org/abs/1706.03762"):
        assert word in facts
    watched = [text for _, text in page.find("code") if "watched" in text]
    assert watched == [
        "python -m benchmark sweep --suite lite --models mamba --cells lm_s16_n2 --seeds 0"
        " --probes dependency --out watched",
        "python -m benchmark report watched/lite/lm_s16_n2/mamba/seed0",
    ]


def test_untrusted_text_stays_text(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        for tag, attributes, _ in page.elements:
            assert not any(key.startswith("on") for key in attributes), (name, tag, attributes)
            assert tag not in {"svg", "iframe", "object", "base", "style"}, (name, tag)
            assert attributes.get("src", "assets").removeprefix("../").startswith(("assets", "figures/")), attributes
            link = attributes.get("href", "#")
            assert link.startswith(LINKS), link
    bad = [page for name, page in pages.items() if name.startswith("entries/bad")]
    assert len(bad) == 5
    for page in bad:
        text = "".join("".join(words) for tag, _, words in page.elements if tag == "main")
        for hostile in HOSTILE[:-1]:
            assert hostile in text
        assert "\u202e" not in text and "\u2028" not in text
    entries = {row["entry"] for row in data_of(pages["index.html"])["charts"]["bad--difficulty"]["datasets"]["cells"]}
    assert set(HOSTILE[:2]) < entries  # in charts too, unchanged, since JSON is read as data


def test_pages_run_no_script_of_their_own_and_ask_nobody(files: dict[str, bytes], pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        ((policy, _),) = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
        rules = dict(rule.split(" ", 1) for rule in policy["content"].split("; "))
        assert rules["default-src"] == rules["connect-src"] == "'none'"
        assert "unsafe-inline" not in rules["script-src"]
        place = Path(name).parent
        for attributes, content in page.find("script"):
            if attributes.get("type") == "application/json":
                assert not set(content) & set("<>&")
            else:
                assert not content and (place / attributes["src"]).as_posix().replace("entries/../", "") in files
    for name in ("assets/site.js", "assets/theme.js", "assets/site.css"):
        assert not re.search(rb"https?://", files[name])


def test_every_link_within_the_site_leads_somewhere(files: dict[str, bytes], pages: dict[str, Page]) -> None:
    seen = 0
    for name, page in pages.items():
        for tag, attributes, _ in page.elements:
            link = attributes.get("src", attributes.get("href", "")) if tag != "script" or "src" in attributes else ""
            if not link or link.startswith("https://"):
                continue
            path, _, fragment = link.partition("#")
            target = (Path(name).parent / path).as_posix().replace("entries/../", "") if path else name
            assert target in files, (name, link)
            if fragment and target != "pairs.html":  # there it names a pair, which `test_pairs.py` opens
                assert [1 for _, found, _ in pages[target].elements if found.get("id") == fragment], (name, link)
            seen += 1
    assert seen > 50


def test_pages_are_accessible_by_structure(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids)), name
        levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), (name, levels)
        assert page.find("html", lang="en") and page.find("title")[0][1] and page.find("a", href="#main")
        assert len(page.find("caption")) == len(page.find("table"))
        if name == "pairs.html":  # its table is made where it is opened
            continue
        assert all(text for _, text in page.find("caption"))
        assert all(len(attributes["alt"]) > 40 for attributes, _ in page.find("img"))
        assert page.find("th", scope="row") and page.find("th", scope="col")


def test_numbers_stand_out_from_the_colours_of_the_difficulty_map() -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 at every win rate, on the colours that Vega interpolates in sRGB."""
    spec = specs.difficulty([], ["a"], ["b"])
    scale = spec["layer"][1]["encoding"]["color"]["scale"]
    assert scale["interpolate"] == "rgb" and scale["domain"] == [0, 0.5, 1]
    ends = np.array([[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in scale["range"]]) / 255
    text = spec["layer"][2]["encoding"]["color"]
    low, high = (float(bound) for bound in re.findall(r"datum\.rate [<>] ([\d.]+)", text["condition"][1]["test"]))
    for rate in np.linspace(0, 1, 501):
        colour = np.array([np.interp(rate, scale["domain"], channel) for channel in ends.T])
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        behind = linear @ [0.2126, 0.7152, 0.0722]
        white = rate < low or rate > high
        contrast = 1.05 / (behind + 0.05) if white else (behind + 0.05) / 0.05
        assert contrast >= 4.5, rate
    assert (text["condition"][1]["value"], text["value"]) == ("#ffffff", "#000000")


def test_the_answers_stand_first(pages: dict[str, Page]) -> None:
    """Before any table: on each task who is faster, who slower, and who is not told apart."""
    page = pages["index.html"]
    words = ["".join(found).strip() for tag, _, found in page.elements if tag in {"li", "table"}]
    assert words[0] == "Not told apart from the transformer: mamba 28 % (15–48 %)"


def test_a_chart_says_its_numbers(pages: dict[str, Page]) -> None:
    page = pages["index.html"]
    ((attributes, _),) = page.find("img", src="figures/lite--lm_s16_n4--solved.svg")
    rows = {row[1]: row for row in cells_of(page, "cell--lite--lm_s16_n4")}
    assert f"mamba: 1 of 5 solved, median {rows['Mamba'][3]}" in attributes["alt"]
    assert data_of(page)["charts"]["lite--lm_s16_n4--solved"]["description"] == attributes["alt"]


def test_the_charts_are_vega_lite(pages: dict[str, Page]) -> None:
    import altair

    found = data_of(pages["index.html"])["charts"]
    names = (
        "win-rate--lm",
        "difficulty",
        "success--0",
        "lm_s16_n4--solved",
        "lm_s16_n4--loss",
    )  # one of each kind: it takes a second
    for spec in (found[f"lite--{name}"] for name in names):
        kind = altair.FacetChart if "facet" in spec else altair.LayerChart
        kind.from_dict(spec, validate=True)  # raises where the schema does not hold


def test_pictures_are_whole_and_have_a_line_an_entry(files: dict[str, bytes]) -> None:
    from xml.etree import ElementTree

    pictures = {name: content for name, content in files.items() if name.endswith(".svg")}
    printed = {name.removesuffix(".pdf"): content for name, content in files.items() if name.endswith(".pdf")}
    assert printed.keys() == {name.removesuffix(".svg") for name in pictures}
    assert all(content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF") for content in printed.values())
    for content in pictures.values():
        assert b"<script" not in content and b"://" not in content.replace(b"http://www.w3.org/", b"")
        ElementTree.fromstring(content)
    drawn = pictures["figures/lite--lm_s8_n2--solved.svg"].decode()
    for look in colours.styles(["transformer", "mamba", "rwkv"]).values():
        assert f'stroke="{look.colour}"' in drawn


@pytest.mark.parametrize("content", [None, b"no parquet", b""])
def test_unreadable_curves_stop_the_build_and_leave_the_old_site(tmp_path: Path, content: bytes | None) -> None:
    board = small_board(tmp_path / "results")
    site = tmp_path / "site"
    (site / "assets").mkdir(parents=True)
    (site / "assets" / "site.js").write_text("old")
    for curves in (tmp_path / "results").rglob("curves.parquet"):
        curves.unlink() if content is None else curves.write_bytes(content)
    with pytest.raises(ValueError, match=r"^[^\n]*curves\.parquet: [^\n]+$"):
        write_site(board, site)
    assert [path.name for path in tmp_path.iterdir() if path.name != "results"] == ["site"]
    assert (site / "assets" / "site.js").read_text() == "old"


def test_a_build_replaces_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    board = Board((), ())
    write_site(board, tmp_path / "site")
    (tmp_path / "site" / "entries").mkdir()
    (tmp_path / "site" / "entries" / "gone.html").write_text("of an older build")
    write_site(board, tmp_path / "site")
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == ["assets", "data", "index.html", "pairs.html"]
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert "No entry has been handed in yet." in (tmp_path / "site" / "index.html").read_text()
    other = tmp_path / "home"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="holds something else than a built site"):
        write_site(board, other)
    with pytest.raises(ValueError, match="is not a folder"):
        write_site(board, other / "thesis.tex")
    (tmp_path / "link").symlink_to(tmp_path / "site")
    with pytest.raises(ValueError, match="is not a folder"):
        write_site(board, tmp_path / "link")
    assert (other / "thesis.tex").read_text() == "years of work"


def test_the_same_board_gives_the_same_bytes_elsewhere(root: Path, files: dict[str, bytes], repository: Path) -> None:
    script = (
        "import hashlib, sys; from pathlib import Path; from leaderboard.board.standings import Board;"
        "from tests.helpers.leaderboard.boards import hostile_board;"
        "from leaderboard.render.site.site import page_files;"
        "found = page_files(Board(hostile_board(Path(sys.argv[1])).suites[1:], ()));"
        "print(*(hashlib.sha256(found[name]).hexdigest() for name in sorted(found) if not name.endswith('.pdf')))"
    )
    found = page_files(Board(hostile_board(root).suites[1:], ()))
    here = {name: content for name, content in found.items() if not name.endswith(".pdf")}
    run = subprocess.run(
        [sys.executable, "-c", script, str(root)],
        cwd=repository,
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": str(repository), "TZ": "Asia/Tokyo", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [hashlib.sha256(here[name]).hexdigest() for name in sorted(here)]
    own = {name for name in here if name.startswith("entries/")}
    assert {name: here[name] for name in own} == {name: files[name] for name in own}
    assert str(root) not in b"".join(files.values()).decode("utf-8", "replace")
