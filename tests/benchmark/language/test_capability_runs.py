"""Searches in series of planted models: what is looked at, recorded, missing, refused; and the command."""

import json
import warnings
from pathlib import Path

import pytest

from benchmark.__main__ import main
from benchmark.language.capability_record import CapabilityRecord, read_capability_record, record_path
from benchmark.language.capability_runs import CapabilityQuestion, FaultySeries, ModelScan
from benchmark.language.checkpoint_series import CheckpointSeries, load_series
from tests.helpers.planted_models import SURE, Plant

QUESTION = CapabilityQuestion(("pattern",), "documents", "single")
"""Whose right answer is 4."""


def planted(folder: Path, plant: Plant, first: int | None, n: int = 16, seed: int = 0) -> CheckpointSeries:
    """A series of one seed whose checkpoints predict 4 from a step on; the steps are multiples of ten."""
    there = {10 * i: "4" if first is not None and 10 * i >= first else None for i in range(n)}
    return load_series(str(plant.series(folder / "mine", {seed: dict(there)})))


def scan(series: CheckpointSeries, out: Path, question: CapabilityQuestion = QUESTION) -> ModelScan:
    return ModelScan(series, series.members[0], question, out)


def test_emergence_is_found_and_recorded(tmp_path: Path, plant: Plant, loads: list[Path]) -> None:
    series = planted(tmp_path, plant, 70)
    (record,) = scan(series, tmp_path / "out").run()
    assert (record.status, record.previous_step, record.emergence_step, record.holds_next) == ("emerged", 60, 70, True)
    assert record.observation == (70, True)
    assert record == read_capability_record(record_path(tmp_path / "out", "mine", 0, "pattern"))
    assert {look.step: look.accuracy for look in record.looks} == {
        step: float(step >= 70) for step in (0, 150, 70, 30, 50, 60, 80)
    }
    found = record.look(70)
    assert found is not None and found.probability == pytest.approx(SURE, rel=1e-6)
    assert [folder.name for folder in loads] == [f"step{step}" for step in (0, 150, 70, 30, 50, 60, 80)]
    assert (record.model_type, record.repository, record.n_steps) == ("gpt_neox", "seed0", 16)


@pytest.mark.slow
def test_nothing_is_looked_at_twice(tmp_path: Path, plant: Plant, loads: list[Path]) -> None:
    series = planted(tmp_path, plant, 70)
    first = scan(series, tmp_path / "out").run()
    path = record_path(tmp_path / "out", "mine", 0, "pattern")
    before = (path.read_bytes(), path.stat().st_mtime_ns, len(loads))
    assert scan(series, tmp_path / "out").run() == first
    assert (path.read_bytes(), path.stat().st_mtime_ns, len(loads)) == before
    every = CapabilityQuestion(("pattern",), "documents", "single", method="every")
    (record,) = scan(series, tmp_path / "out", every).run()
    assert len(loads) == len(set(loads)) == 16
    assert (record.method, record.emergence_step, len(record.looks)) == ("every", 70, 16)
    assert scan(series, tmp_path / "out").run() == [record]  # which says more than a bisection


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on(
    tmp_path: Path, plant: Plant, loads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each number of checkpoints: the record is there, unfinished, and the end is the same."""
    series = planted(tmp_path, plant, 40)
    whole = scan(series, tmp_path / "whole").run()
    n = len(loads)
    for killed_after in range(1, n):
        loads.clear()
        out = tmp_path / f"out{killed_after}"
        search = scan(series, out)
        for _ in range(killed_after):
            step = search.next_step()
            assert step is not None
            search._look(step)
            search.save()
        record = read_capability_record(record_path(out, "mine", 0, "pattern"))
        assert (record.status, record.emergence_step) == ("unfinished", None)
        assert scan(series, out).run() == whole
        assert len(loads) == n


@pytest.mark.parametrize(
    ("first", "status", "observation"), [(None, "right_censored", (150, False)), (0, "left_censored", (0, True))]
)
def test_censoring(
    first: int | None, status: str, observation: tuple[int, bool], tmp_path: Path, plant: Plant, loads: list[Path]
) -> None:
    (record,) = scan(planted(tmp_path, plant, first), tmp_path / "out").run()
    assert (record.status, record.observation, record.emergence_step) == (status, observation, None)
    assert len(loads) == 2


def test_a_missing_step_is_said_once_and_its_neighbours_count(tmp_path: Path, plant: Plant) -> None:
    series = planted(tmp_path, plant, 70)
    for step in (70, 150):
        (tmp_path / "mine" / "seed0" / f"step{step}" / "model.safetensors").unlink()
    with pytest.warns(UserWarning, match="is missing") as said:
        (record,) = scan(series, tmp_path / "out").run()
    assert ["step 150 is missing" in str(w.message) for w in said] == [True, False]
    assert "step 70 is missing" in str(said[1].message) and "holds no weights" in str(said[1].message)
    assert (record.previous_step, record.emergence_step, record.last_step) == (60, 80, 140)
    assert record.missing == (70, 150)
    assert scan(series, tmp_path / "out").run() == [record]  # and nothing is said: warnings are errors


@pytest.mark.slow
def test_equal_weights_are_refused_by_name(tmp_path: Path, plant: Plant) -> None:
    """Steps 60 and 70 hold the weights of one of them: nobody knows whose."""
    series = planted(tmp_path, plant, 70)
    for step in (60, 70):
        path = tmp_path / "mine" / "seed0" / f"step{step}" / "model.safetensors"
        path.write_bytes((tmp_path / "mine" / "seed0" / "step90" / "model.safetensors").read_bytes())
    every = CapabilityQuestion(("pattern",), "documents", "single", method="every")
    with pytest.warns(UserWarning, match="are equal") as said:
        (record,) = scan(series, tmp_path / "out", every).run()
    assert ["steps 60 and 70 are equal (model.safetensors)" in str(w.message) for w in said] == [True, False]
    assert "steps 60 and 70 and 90 are equal" in str(said[1].message)
    assert [(each.step, each.equal_to) for each in record.refused] == [(60, (70, 90)), (70, (60, 90)), (90, (60, 70))]
    assert (record.previous_step, record.emergence_step) == (50, 80)
    assert [look.step for look in record.looks] == [0, 10, 20, 30, 40, 50, 80, *range(100, 160, 10)]
    assert scan(series, tmp_path / "out", every).run() == [record]


def test_a_model_with_many_equal_checkpoints_is_given_up(tmp_path: Path, plant: Plant, loads: list[Path]) -> None:
    """As in EleutherAI/pythia issue 205, where 76 of 154 revisions hold the last weights."""
    series = planted(tmp_path, plant, 70, n=30)
    for path in (tmp_path / "mine" / "seed0").glob("*/model.safetensors"):
        if path.parent.name < "step2":
            path.write_bytes((tmp_path / "mine" / "seed0" / "step290" / "model.safetensors").read_bytes())
    with (
        pytest.warns(UserWarning, match="are equal"),
        pytest.raises(FaultySeries, match="mine seed 0: 9 checkpoints have the weights of others"),
    ):
        scan(series, tmp_path / "out").run()
    assert len(loads) <= 3


def test_a_model_without_checkpoints(tmp_path: Path, plant: Plant) -> None:
    series = planted(tmp_path, plant, 70, n=2)
    (tmp_path / "mine" / "seed0" / "step0" / "config.json").unlink()
    with (
        pytest.warns(UserWarning, match="missing"),
        pytest.raises(FaultySeries, match="of 2 checkpoints fewer than two"),
    ):
        scan(series, tmp_path / "out").run()


def test_another_question_is_refused(tmp_path: Path, plant: Plant) -> None:
    series = planted(tmp_path, plant, 70, n=3)
    scan(series, tmp_path / "out").run()
    for other in (
        CapabilityQuestion(("pattern",), "documents", "many", n=48),
        CapabilityQuestion(("pattern",), "documents", "single", threshold=0.7),
    ):
        with pytest.raises(ValueError, match=r"pattern\.json: answers another question"):
            scan(series, tmp_path / "out", other)
    path = record_path(tmp_path / "out", "mine", 0, "pattern")
    path.write_text(path.read_text().replace('"emergence_step": null', '"emergence_step": 5'))
    with pytest.raises(ValueError, match=r"pattern\.json: .*contradict each other"):
        scan(series, tmp_path / "out")


def test_another_folder_of_the_same_name_is_refused(tmp_path: Path, plant: Plant) -> None:
    scan(planted(tmp_path / "one", plant, 10, n=3), tmp_path / "out").run()
    with pytest.raises(ValueError, match="was measured with other weights of step 0"):
        scan(planted(tmp_path / "two", plant, 10, n=3), tmp_path / "out")


def test_a_target_that_the_tokenizer_splits(tmp_path: Path, plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers digit by digit, as some tokenizers have them."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    planted(tmp_path, plant, None, n=2)
    for folder in (tmp_path / "mine" / "seed0").iterdir():
        old = Tokenizer.from_file(str(folder / "tokenizer.json"))
        split = Tokenizer(models.WordLevel({**old.get_vocab(), "0": 3}, unk_token="<unknown>"))
        split.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(individual_digits=True)]
        )
        split.save(str(folder / "tokenizer.json"))
    words = ["capability", str(tmp_path / "mine"), "--capabilities", "pattern", "--out", str(tmp_path / "out")]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "makes 2 of the text's end" in err and "prompt '<|endoftext|>" in err, err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_all_capabilities_share_a_look(tmp_path: Path, plant: Plant, loads: list[Path]) -> None:
    """The words predicted change over the steps: 4 is right for pattern, Mary for ioi, map for repetition."""
    words = ["image"] * 3 + ["Mary"] * 6 + ["4"] * 7
    folder = plant.series(tmp_path / "mine", {0: {10 * i: word for i, word in enumerate(words)}})
    series = load_series(str(folder))
    question = CapabilityQuestion(("repetition", "pattern", "ioi"), "documents", "single", method="every")
    records = {record.capability: record for record in scan(series, tmp_path / "out", question).run()}
    assert records["pattern"].emergence_step == 90
    assert records["ioi"].emergence_step == 30
    assert records["repetition"].status == "right_censored"
    assert len(loads) == 16
    bisected = CapabilityQuestion(("ioi",), "documents", "single")  # where ioi is gone at the end: it is not found
    assert scan(series, tmp_path / "other", bisected).run()[0].status == "right_censored"


def polypythia(folder: Path, plant: Plant) -> Path:
    """A folder with the names of the PolyPythias' repositories and all of their steps, with tiny models."""
    text = (Path(__file__).parents[3] / "configs" / "language" / "polypythia.yaml").read_text()
    for size, first in (("14m", 5000), ("31m", 512)):
        for step in load_series("polypythia").steps[load_series("polypythia").members[0]]:
            place = folder / "EleutherAI" / f"pythia-{size}-seed1" / f"step{step}"
            plant.write(place, "4" if step >= first else None)
    lines = [line for line in text.splitlines() if not line.startswith(("also:", "tokenizer:", "text:"))]
    file = folder / "local.yaml"
    local = "\n".join(lines).replace("repository: ", "repository: ./").replace("14m, 31m, 70m, 160m, 410m", "14m, 31m")
    file.write_text(local.replace("seeds: 1-9", "seeds: 1-1") + "\ntext: documents\n")
    return file


@pytest.mark.slow
def test_a_folder_with_names_and_shapes_of_the_polypythias(
    tmp_path: Path, plant: Plant, loads: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = polypythia(tmp_path, plant)
    words = [
        "capability",
        str(file),
        "--capabilities",
        "pattern",
        "--prompts",
        "single",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*words, "--dry_run"]) == 0
    assert loads == [] and not (tmp_path / "out").exists()
    assert capsys.readouterr().out.count("steps 0 to 143000") == 2
    assert main([*words, "--no_pictures", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    steps = {(seed["size"], seed["seed"]): (seed["previous_step"], seed["emergence_step"]) for seed in found["seeds"]}
    assert steps == {("14m", 1): (4000, 5000), ("31m", 1): (256, 512)}
    assert len(loads) <= 2 * 11
    assert [summary["median_step"] for summary in found["summaries"]] == [5000, 512]


@pytest.mark.slow
def test_the_command(tmp_path: Path, plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    planted(tmp_path, plant, 70)
    words = [
        "capability",
        str(tmp_path / "mine"),
        "--prompts",
        "single",
        "--out",
        str(tmp_path / "out"),
        "--no_pictures",
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "60 to 70" in out and "not by 150" in out and "steps are those of a bisection" in out
    assert main([*words, "--every", "--capabilities", "pattern"]) == 0
    assert "bisection" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mine", "--seeds", "4"], "no seed 4: it has 0"),
        (["mine", "--capabilities", "patern"], "did you mean pattern?"),
        (["mine", "--sizes", "mime"], "did you mean mine?"),
        (["mine", "--threshold", "0"], "--threshold must be above 0"),
        (["mine", "--threshold", "2"], "--threshold"),
        (["min"], "known names are polypythia"),
        ([], "SERIES is missing"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    said: str,
    tmp_path: Path,
    plant: Plant,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    planted(tmp_path, plant, None, n=2)
    monkeypatch.chdir(tmp_path)
    assert main(["capability", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and said in err, err
    assert not (tmp_path / "capabilities").exists()


def test_a_faulty_model_does_not_stop_the_others(
    tmp_path: Path, plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    plant.series(tmp_path / "mine", {0: {0: None, 10: "4"}, 1: {0: None, 10: "4"}})
    (tmp_path / "mine" / "seed0" / "step0" / "config.json").unlink()
    words = ["--prompts", "single", "--out", str(tmp_path / "out"), "--no_pictures", "--format", "json"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # the command prints them
        assert main(["capability", str(tmp_path / "mine"), *words]) == 1
    out, err = capsys.readouterr()
    assert "warning: mine seed 0: step 0 is missing" in err
    assert {seed["seed"] for seed in json.loads(out)["seeds"]} == {1}
    assert "mine seed 0" in err


def test_without_transformers(
    tmp_path: Path, plant: Plant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmark.language import hub_files

    planted(tmp_path, plant, 70, n=2)
    monkeypatch.setattr(hub_files, "find_spec", lambda name: None)
    mine = str(tmp_path / "mine")
    for command in (
        ["capability", mine],
        ["head_patch", mine],
        ["language_series", "mini", "--out", f"{tmp_path}/new"],
    ):
        assert main(command) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and f"{command[0]} needs the transformers library" in err and "[hf]" in err
    assert not (tmp_path / "new").exists()


def test_a_record_checks_itself() -> None:
    with pytest.raises(ValueError):
        CapabilityRecord.model_validate({"series": "x", "extra": 1})
