"""The numbers of the site against those that `recomputed.py` works out from the committed records by itself.

Left out are pictures, runs of no entry, configurations with the costs of a token, and who made and verified an entry.
"""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, permutations
from math import inf
from pathlib import Path

import pandas as pd
import pytest

from leaderboard.board.aggregate import build_board
from leaderboard.entries.reading import read_results
from leaderboard.render.site.site import page_files
from tests.helpers.leaderboard import both_ends
from tests.helpers.leaderboard.both_ends import REFERENCE, Facts, Ledger, Run, Shown, Suite, ended, hit, percent, plain
from tests.helpers.leaderboard.recomputed import compared, curve, finish, results, solved, tried

pytestmark = pytest.mark.slow

OFF_CHART = 1.25  # times the loss of chance: above it the loss is not drawn
POINTS = 48  # of a run that is drawn from its learning curve
NOT_RECOMPUTED = {"title", "records", "task"}  # columns of results.csv: what people say, and the label of a cell


def overview(shown: Shown, ledger: Ledger) -> None:
    """Compare the first screen: sizes, answers, and the table of entries."""
    suite, index = shown.suite, shown.pages["index.html"]
    (part,) = re.findall(rf'<section class="suite" id="suite--{suite.name}".*?At a glance', index.source, re.S)
    size = re.sub("entries|entry|cells?|runs?", "", re.findall(r'<p class="muted">([^.]*)', part)[0])
    ledger.number("size", size, len(suite.entries), len(suite.cells), len(suite.runs), form="# , # , #")
    rows, tasks = index.tables[f"overview--{suite.name}"], [run["task"]["name"] for run in suite.cells.values()]
    ledger.value("order of entries", [row[""] for row in rows] == shown.order, True)
    for row in rows:
        entry, ran = row[""], shown.ran(row[""])
        ledger.text(f"{entry}, rank", row["Rank"], both_ends.rank_texts(ran[0]["suite_rank"]))
        for task in tasks:
            ledger.rate(f"{entry} on {task}", row[f"Win rate on {task}"], shown.on(task, entry), "task_win_rate")
        if ran[0]["mean_win_rate"] is not None:
            ledger.number(f"{entry}, mean", row["Mean of the tasks"], percent(ran[0]["mean_win_rate"]), form="# %")
        counts = [sum(facts[name] for facts in ran) for name in ("n_solved", "n")]
        ledger.number(f"{entry}, solved", row["Solved"], *counts, form="#/#")
        ledger.text(f"{entry}, parameters", row["Parameters"], both_ends.span([facts["parameters"] for facts in ran]))
        ledger.text(f"{entry}, tokens/s", row["Tokens/s"], both_ends.speed(ran))
        ledger.text(f"{entry}, seeds", row["Seeds"], both_ends.span([facts["n"] for facts in ran]))
        ledger.text(f"{entry}, date", row["Date"], max(facts["last_date"] for facts in ran))
    fewest = both_ends.span([min(facts["n"] for facts in shown.of(entry) if facts.get("n")) for entry in shown.order])
    answers = both_ends.answers_of(part)
    ledger.value("tasks with answers", set(answers) == set(tasks), True)
    for task, (size, told) in answers.items():
        ledger.text(f"size of {task}", size.replace("cells", "cell"), f"{tasks.count(task)} cell, {fewest} seeds")
        for entry in shown.order:
            facts, (rate, word) = shown.on(task, entry), told.pop(entry, ("-", ""))
            if "task_win_rate" in facts or rate != "-":
                ledger.rate(f"answer on {task}: {entry}", rate, facts, "task_win_rate", word)
        ledger.value(f"answers on {task} that are nobody's", len(told), 0)


def cells(shown: Shown, ledger: Ledger) -> None:
    """Compare the tables of the cells, on the first page and on their own."""
    for cell in shown.suite.cells:
        name = f"cell--{shown.suite.name}--{cell}"
        for page in (shown.pages["index.html"], shown.pages[f"{name}.html"]):
            keys = []
            for row in page.tables[name]:
                facts = shown.facts[row[""], cell]
                ledger.cell(f"{row['']} in {cell}", row, facts)
                rank = float(row["Rank"].replace("–", "inf"))  # it has just been compared
                keys.append(("n" not in facts, rank, facts.get("restricted_mean_step", inf), row[""]))
            ledger.value(f"order in {cell}", keys == sorted(keys) and len(keys) == len(shown.order), True)


def entries(shown: Shown, ledger: Ledger) -> None:
    """Compare the pages of the entries: what they say first, results, runs, and the rates that were tried."""
    for entry in shown.order:
        page = shown.pages[f"entries/{shown.suite.name}--{entry}.html"]
        ledger.value(f"cells of {entry}", {row["Cell"] for row in page.tables["results"]} == set(shown.cells), True)
        for row in page.tables["results"]:
            cell = shown.cells[row["Cell"]]
            ledger.cell(f"page of {entry}, {cell}", row, shown.facts[entry, cell])
        ran = shown.ran(entry)
        said = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page.source))
        ledger.text(f"{entry}, parameters", said["Parameters"], both_ends.span([facts["parameters"] for facts in ran]))
        ledger.text(f"{entry}, tokens/s", said["Tokens/s"], both_ends.speed(ran))
        dates = dict.fromkeys((min(facts["first_date"] for facts in ran), max(facts["last_date"] for facts in ran)))
        ledger.text(f"{entry}, dates", said["Run"], " to ".join(dates))
        (summary,) = re.findall(r'<div class="lead">.*?</span> (.*?)</p>', page.source)
        for task, rate in re.findall(both_ends.RATE, summary):
            facts = {**shown.on(task, entry), "task_win_rate_verdict": "none"}
            ledger.rate(f"summary of {entry} on {task}", rate, facts, "task_win_rate", "none")
        rank = re.sub(r"^(Rank \d+).*?( of \d+)\..*|.*", r"\1\2", summary)
        ranks = {f"Rank {place} of {len(shown.order)}" for place in ran[0]["suite_rank"] or []} or {""}
        ledger.text(f"summary of {entry}", rank, ranks)
        for cell, label in shown.labels.items():
            rows = [row for row in page.tables["runs"] if row["Cell"] == label]
            ledger.value(f"{entry}, runs in {cell}", len(rows), len(shown.runs(entry, cell)))
            for row, run in zip(rows, shown.runs(entry, cell), strict=False):
                ledger.run(f"{entry}, a run in {cell}", row, run)
        rates = page.tables.get("rates", []), tried(shown.suite, entry)
        ledger.value(f"{entry}, rates tried", *map(len, rates))
        for row, tuned in zip(*rates, strict=False):
            where = f"{entry}, tuning on {tuned['task']} at {tuned['rate']}"
            texts = row["Task"], row["Learning rate"], row["Best"]
            ledger.value(where, texts == (tuned["task"], f"{tuned['rate']:g}", tuned["best"]), True)
            ledger.number(where, row["Solved"], tuned["n_solved"], tuned["n"], form="#/#")
            ledger.number(where, row["Time in budgets"], tuned["time"])


def charts(shown: Shown, ledger: Ledger) -> None:
    """Compare the data of the charts of every page."""
    seen = set()
    for path, page in shown.pages.items():
        own = re.findall(rf"entries/{shown.suite.name}--(.*)\.html", path)
        charted = list(dict.fromkeys([*own, REFERENCE])) if own else shown.charted
        for name, spec in page.data["charts"].items():
            suite, *parts = name.split("--")
            if suite == shown.suite.name:
                kind, what = parts[:-3:-1] if parts[1:] and parts[-1] in CHARTS else (parts[0], parts[-1])
                CHARTS[kind](shown, ledger, name, spec, charted, what)
                seen.add(kind)
    ledger.value("kinds of charts", seen >= {"win-rate", "difficulty", "solved", "runs", "loss", "pair"}, True)


def win_rates(shown: Shown, ledger: Ledger, name: str, spec: Facts, charted: Sequence[str], task: str) -> None:
    """Compare the win rates on a task."""
    found = {entry: shown.on(task, entry) for entry in charted if shown.on(task, entry)["mean_win_rate"] is not None}
    ends = {"rate": "task_win_rate", "low": "task_win_rate_low_95", "high": "task_win_rate_high_95"}
    expected = [{"entry": e, **{end: facts.get(key, 0.5) for end, key in ends.items()}} for e, facts in found.items()]
    ledger.rows(name, spec["datasets"]["rates"], expected, 1e-5)
    for row in spec["datasets"]["rates"]:
        text = "50 % (reference)" if row["text"] == "reference" else row["text"]
        ledger.rate(f"{name}, {row['entry']}", text, shown.on(task, row["entry"]), "task_win_rate")


def difficulty(shown: Shown, ledger: Ledger, name: str, spec: Facts, charted: Sequence[str], _: str) -> None:
    """Compare the map of entries and cells."""
    drawn = {(row["entry"], row["cell"]): row for row in spec["datasets"]["cells"]}
    ledger.value(name, drawn.keys() == {(entry, cell) for entry in charted for cell in shown.labels}, True)
    for key, row in drawn.items():
        facts = shown.facts[key]
        rate = facts.get("win_rate", 0.5 if key[0] == REFERENCE else None) if facts.get("n") else None
        ledger.value(f"{name}, {key}", row["rate"], rate, 1e-5)
        ledger.text(f"{name}, {key}", row["text"], f"{facts['n_solved']}/{facts['n']}" if facts.get("n") else "-")
        if "win_rate" in facts:
            ledger.rate(f"{name}, {key}", row["win_rate"], {**facts, "win_rate_verdict": "none"}, word="none")


def success(shown: Shown, ledger: Ledger, name: str, spec: Facts, charted: Sequence[str], _: str) -> None:
    """Compare the runs solved by the two knobs of linear maps."""
    for row in spec["datasets"]["cells"]:
        knobs = {"state_size": row["S"], "n_nonzero": row["s"]}.items()
        fitting = [cell for cell, run in shown.suite.cells.items() if run["task"]["config"].items() >= knobs]
        found = [shown.facts[row["entry"], cell] for cell in fitting]
        ledger.text(name, row["text"], {f"{f['n_solved']}/{f['n']}" if f.get("n") else "-" for f in found})


def solved_by_step(shown: Shown, ledger: Ledger, name: str, spec: Facts, charted: Sequence[str], cell: str) -> None:
    """Compare the curves of Kaplan and Meier."""
    curves: list[Facts] = []
    ticks: list[Facts] = []
    for entry in charted:
        if runs := list(filter(ended, shown.runs(entry, cell))):
            curves.append({"entry": entry, "step": 0, "share": 0.0, "low": 0.0, "high": 0.0})
            for step, share, low, high, left in curve(runs):
                ends = {"low": None if high is None else 1 - high, "high": None if low is None else 1 - low}
                curves.append({"entry": entry, "step": step, "share": 1 - float(share), **ends})
                ticks += [{"entry": entry, "step": step, "share": 1 - float(share), "n": left}] * (left > 0)
            if curves[-1]["step"] < runs[0]["protocol"]["max_steps"]:
                curves.append({**curves[-1], "step": runs[0]["protocol"]["max_steps"]})
    ledger.rows(name, spec["datasets"]["curves"], curves, 6e-5)
    if not name.endswith("pair"):
        ledger.rows(f"{name}, ticks", spec["datasets"].get("ticks", []), ticks, 6e-5)
        found = {entry: shown.facts[entry, cell] for entry in charted if shown.facts[entry, cell].get("n")}
        said = [f"{e}: {f['n_solved']} of {f['n']} solved, median {both_ends.median_text(f)}" for e, f in found.items()]
        ledger.value(name, plain(spec["description"]).endswith("; ".join(said) + "."), True)


def single_runs(shown: Shown, ledger: Ledger, name: str, spec: Facts, charted: Sequence[str], cell: str) -> None:
    """Compare the lines of the runs: stairs of hitting steps where a record has them, else points of its curve."""
    lines = groupby(spec["datasets"]["runs"], lambda row: (row["entry"], row["seed"]))
    drawn = {key: [(row["step"], row["value"]) for row in rows] for key, rows in lines}
    drawable = [(entry, run) for entry in charted for run in shown.runs(entry, cell) if ended(run) and run["curves"]]
    runs = {(entry, run["seeds"]["init_seed"]): run for entry, run in drawable}
    ledger.value(f"{name}: lines", list(drawn) == list(runs), True)
    for key, run in runs.items():
        metrics = {target["name"]: target["metric"] for target in run["protocol"]["targets"]}
        line, metric = drawn.get(key, []), metrics[run["protocol"]["primary"]]
        if metric == "rows_solved" and (parts := run.get("part_hits")):
            stairs = sorted(part["step"] for part in parts if part["step"] is not None)
            points = [(0, 0.0), *((step, place / len(parts)) for place, step in enumerate(stairs, start=1))]
            points.append((run["steps"], len(stairs) / len(parts)))
        else:
            known = dict(both_ends.points_of(run, metric))
            points = [(step, known.get(step, inf)) for step, _ in line]
            ledger.value(f"{name}, number of points of {key}", len({*points}), min(len(known), POINTS))
            ledger.value(f"{name}, ends of {key}", {min(known), max(known)} <= {step for step, _ in line}, True)
        ledger.value(f"{name}, points of {key}", len(line), len(points))
        for point, wanted in zip(line, points, strict=False):
            ledger.value(f"{name}, {key} at {point}", point[0], wanted[0])
            ledger.value(f"{name}, {key} at {point}", point[1], wanted[1], 0.005 * abs(point[1]))
    for entry in dict.fromkeys(entry for entry, _ in drawable):
        steps = sorted(hit(run)["step"] for run in shown.runs(entry, cell) if ended(run) and solved(run))
        said = f" {entry}: {', '.join(map(str, steps)) or 'none'}"
        ledger.value(f"{name}:{said}", bool(re.search(rf"{said}[;.]", plain(spec["description"]))), True)


def losses(shown: Shown, ledger: Ledger, name: str, spec: Facts, charted: Sequence[str], cell: str) -> None:
    """Compare the loss of the run of each entry that is the middle one by its hitting step."""
    lines = {entry: list(rows) for entry, rows in groupby(spec["datasets"]["curves"], lambda row: row["entry"])}
    for entry in charted:
        runs = [run for run in shown.runs(entry, cell) if ended(run) and run["curves"]]
        runs.sort(key=lambda run: (hit(run)["step"] if solved(run) else inf, both_ends.seeds(run)))
        for run in runs[(len(runs) - 1) // 2 :][:1]:
            known, where = dict(both_ends.points_of(run, "loss_nats")), f"{name}, {entry}"
            line = {row["step"]: row["seed"] for row in lines[entry]}
            shown_steps = [step for step, loss in known.items() if loss <= OFF_CHART * run["chance_loss_nats"]]
            ledger.value(f"{where}, ends", {shown_steps[0], shown_steps[-1]} <= line.keys(), True)
            ledger.value(f"{where}, seed", set(line.values()) == {run["seeds"]["init_seed"]}, True)
            for row in lines[entry]:
                ledger.value(f"{where}: {row}", row["loss"], known.get(row["step"]), 0.0005 * abs(row["loss"]))


def rates(shown: Shown, ledger: Ledger, name: str, spec: Facts, charted: Sequence[str], _: str) -> None:
    """Compare the learning rates that were tried."""
    expected = [
        {"task": tuned["task"], "rate": tuned["rate"], "what": what, "value": value, "best": bool(tuned["best"])}
        for tuned in tried(shown.suite, charted[0])
        for what, value in (("share solved", tuned["n_solved"] / tuned["n"]), ("time in budgets", tuned["time"]))
    ]
    ledger.rows(name, spec["datasets"]["rates"], expected, 1e-5)


CHARTS: Mapping[str, Callable[[Shown, Ledger, str, Facts, Sequence[str], str], None]] = {
    "win-rate": win_rates,
    "difficulty": difficulty,
    "success": success,
    "solved": solved_by_step,
    "pair": solved_by_step,
    "runs": single_runs,
    "loss": losses,
    "tuning": rates,
}


def pairs(shown: Shown, ledger: Ledger) -> None:
    """Compare the page of pairs, for every two entries in either order."""
    found = dict(shown.pages["pairs.html"].data["pairs"])[shown.suite.name]
    names, arms = [each["name"] for each in found["entries"]], shown.suite.arms
    ledger.value("entries of pairs", names == shown.charted, True)
    for (i, first), (j, second) in permutations(enumerate(names), 2):
        tasks, by_cell = compared(arms[first], arms[second])
        pair, versus = found["found"].get(f"{i} {j}", {"tasks": [], "rows": []}), f"{first} against {second}"
        ledger.value(f"{versus}: tasks", [each["task"] for each in pair["tasks"]] == list(tasks), True)
        rows = {cell: task for task, cell, *_ in pair["rows"]}
        ledger.value(f"{versus}: cells", rows == {cell: facts["task"] for cell, facts in by_cell.items()}, True)
        for each in pair["tasks"]:
            where, facts = f"{versus} on {each['task']}", tasks[each["task"]]
            ledger.rate(where, each["rate"], facts, "task_win_rate", each["verdict"])
            for p in re.findall(r"p = ([\d.e-]+)", each["reason"]):
                ledger.value(f"{where}, p", float(p), facts["task_win_rate_p"], 0.0501 * float(p))
            for end, wanted in zip(re.findall(r"\d\.\d\d\b(?= to|$)", each["reason"]), facts["narrow"], strict=False):
                ledger.number(f"{where}, 90 %", end, wanted)
        for _, cell, rate, p, ratio, *counts, verdict in pair["rows"]:
            where, facts = f"{versus} in {cell}", by_cell[cell]
            ledger.rate(where, rate, facts, word=verdict)
            ledger.p(f"{where}, p", p, facts["p_holm"])
            ledger.ratio(f"{where}, ratio", ratio, facts)
            for arm, text in zip((arms[first], arms[second]), counts, strict=True):
                ledger.text(f"{where}, solved", text, f"{sum(map(solved, arm[cell]))}/{len(arm[cell])}")


def downloads(shown: Shown, ledger: Ledger) -> None:
    """Compare the files of data, both kinds of each."""
    for kind, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        rows = {}
        for name in ("results", "runs"):
            table = read(io.BytesIO(shown.files[f"data/{name}.{kind}"]))
            table = (
                table[table["suite"] == shown.suite.name].sort_values(["entry", "cell"], kind="stable").astype(object)
            )
            rows[name] = table.where(table.notna(), None).to_dict("records")
        ledger.rows(f"runs.{kind}", rows["runs"], [run_row(*run) for run in shown.suite.runs], 1e-12)
        keys = [(row["entry"], row["cell"]) for row in rows["results"]]
        ledger.value(f"results.{kind}", keys == sorted(shown.facts), True)
        for key, row in zip(keys, rows["results"], strict=True):
            for name in row.keys() - NOT_RECOMPUTED:
                value = str(row[name]) if name.endswith("_date") and row[name] else row[name]
                ledger.value(f"results.{kind}: {name} of {key}", value, shown.facts[key].get(name))


def run_row(entry: str, cell: str, run: Run) -> Facts:
    """The row of a run in the data to download."""
    _, time, progress = finish(run) if ended(run) else (None, None, None)
    parts, names = run.get("part_hits"), ("status", "steps", "parameters", "tokens_per_s", "protocol_hash")
    return {
        **{name: run[name] for name in names},
        **{"entry": entry, "cell": cell, "task": run["task"]["name"], "seed": run["seeds"]["init_seed"]},
        "hitting_step": hit(run)["step"],
        "finish_step": None if time == inf else time,
        "progress": None if progress is None else -progress,
        "parts_solved": None if parts is None else sum(part["step"] is not None for part in parts),
        "final_loss_nats": (run["final"] or {}).get("loss_nats"),
        "learning_rate": run["optimizer"].get("lr"),
        "commit": run["git"]["commit"],
    }


Check = Callable[[Shown, Ledger], None]
CHECKS: tuple[Check, ...] = (overview, cells, entries, charts, pairs, downloads)


@pytest.fixture(scope="module")
def files(repository: Path) -> dict[str, bytes]:
    """The site of the committed records, without its pictures: they are drawn from the data of the charts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leaderboard.render.site.figures.picture", lambda *_: '<svg width="1" height="1"></svg>')
        patch.setattr("leaderboard.render.charts.vega.pdf", lambda _: b"")
        return page_files(build_board(read_results(repository / "leaderboard" / "results")))


@pytest.fixture(scope="module")
def suites(repository: Path) -> list[Suite]:
    found = list(both_ends.read_suites(repository / "leaderboard" / "results").values())
    assert found
    return found


@pytest.fixture(scope="module")
def whole(files: dict[str, bytes], suites: Sequence[Suite]) -> list[Shown]:
    """The site beside what was found of each suite."""
    return [Shown(files, suite, results(suite)) for suite in suites]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_is_shown_was_found(whole: Sequence[Shown], check: Check) -> None:
    for shown in whole:
        ledger = Ledger()
        check(shown, ledger)
        assert ledger.wrong == []
        assert ledger.seen >= 10 * len(shown.order)


def test_most_verdicts_and_ranks_hang_on_no_random_number(suites: Sequence[Suite], whole: Sequence[Shown]) -> None:
    """One that hangs on Monte Carlo errors is compared with a set of several, which says less."""
    for suite, shown in zip(suites, whole, strict=True):
        sets = [facts["rank"] for facts in shown.facts.values() if facts["rank"]]
        for first, second in permutations(suite.arms.values(), 2):
            tasks, by_cell = compared(first, second)
            sets += [facts["task_win_rate_verdict"] for facts in tasks.values()]
            sets += [facts["win_rate_verdict"] for facts in by_cell.values()]
        assert sum(len(each) == 1 for each in sets) >= 0.8 * len(sets)


def with_other_curves(run: Run) -> None:
    run["folder"] = next(folder for folder in sorted(run["folder"].parent.iterdir()) if folder != run["folder"])


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        (lambda run: hit(run).update(step=run["protocol"]["eval_every"]), (cells, entries, charts, downloads)),
        (lambda run: run.update(status="error"), CHECKS),
        (lambda run: run["final"].update(loss_nats=0.1234), (entries, downloads)),
        (lambda run: run["optimizer"].update(lr=0.1234), (downloads,)),
        (with_other_curves, (charts,)),
    ],
)
def test_a_changed_record_is_noticed(
    change: Callable[[Run], object], checks: Sequence[Check], suites: Sequence[Suite], files: dict[str, bytes]
) -> None:
    """The record is that of the run that took longest; one of which the chart shows the learning curve, if there is."""
    suite = suites[0]
    runs = [run for entry, _, run in suite.runs if entry != REFERENCE and solved(run)]
    run = max(runs, key=lambda run: (run.get("part_hits") is None, hit(run)["step"]))
    changed = copy.deepcopy(run)
    change(changed)
    spoiled = suite.with_run(run, changed)
    shown = Shown(files, spoiled, results(spoiled))
    for check in checks:
        ledger = Ledger()
        check(shown, ledger)
        assert ledger.wrong, check.__name__


def test_changed_records_of_the_tuning_are_noticed(whole: Sequence[Shown], files: dict[str, bytes]) -> None:
    for shown in whole:
        spoiled = replace(shown.suite, tuning=[{**run, "status": "diverged"} for run in shown.suite.tuning])
        for check in (entries, charts):
            ledger = Ledger()
            check(Shown(files, spoiled, shown.facts), ledger)
            assert ledger.wrong or not spoiled.tuning
