"""Seeds and grids as people write them: what they mean, and one line for what means nothing."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.__main__ import main
from benchmark.config.grid import name_of, parse_grid, points
from benchmark.config.seeds import parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", (3,)),
        ("0-3", (0, 1, 2, 3)),
        ("5-5", (5,)),
        ("0-1,7,10-12", (0, 1, 7, 10, 11, 12)),
        ("7, 2-3", (7, 2, 3)),
        ("007", (7,)),
    ],
)
def test_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.slow
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=20, unique=True))
def test_seeds_one_by_one(seeds: list[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == tuple(seeds)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("5-2", "5-2 runs backwards: write 2-5"),
        ("a", "'a' is neither a number nor a range"),
        ("", "'' is neither a number nor a range"),
        ("-1", "'-1' is neither"),
        ("1-", "'1-' is neither"),
        ("0-4,,7", "'' is neither"),
        ("1.5", "'1.5' is neither"),
        ("٣", "is neither"),
        ("1 2", "'1 2' is neither"),
        ("0-4,3", "seed 3 is named twice"),
        ("4,4", "seed 4 is named twice"),
        ("0-100000000000", "0-100000000000 has more than 100,000 seeds"),
    ],
)
def test_what_are_no_seeds(text: str, line: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_seeds(text)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_grid_is_a_product() -> None:
    axes = parse_grid(["data.n_nonzero=1..3", "optimizer.lr=3e-4,0.01"])
    assert [axis.values for axis in axes] == [(1, 2, 3), (0.0003, 0.01)]
    found = points(axes)
    assert len(found) == 6
    assert found[1] == {"data.n_nonzero": 1, "optimizer.lr": 0.01}
    assert name_of("lm8", found[1]) == "lm8,data.n_nonzero=1,optimizer.lr=0.01"
    assert points(()) == [{}]
    assert name_of("lm8", {}) == "lm8"


def test_the_same_value_has_the_same_name_however_it_is_written() -> None:
    [short], [long] = (points(parse_grid([f"optimizer.lr={text}"])) for text in ("1e-3", "0.0010"))
    assert name_of("a", short) == name_of("a", long) == "a,optimizer.lr=0.001"
    [switches] = parse_grid(["protocol.stop_when_solved=true,false"])
    assert switches.values == (True, False)
    assert name_of("a", {switches.key: False}) == "a,protocol.stop_when_solved=false"
    assert parse_grid(["model.kind=mlp,null,-3..-2"])[0].values == ("mlp", None, -3, -2)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data.n_nonzero"], "write KEY=VALUES"),
        (["data.n_nonzero="], "write KEY=VALUES"),
        (["n_nonzero=1"], "write KEY=VALUES"),
        (["data=1"], "write KEY=VALUES"),
        (["trainer.devices=2"], "write KEY=VALUES"),
        (["data.n_nonzero=4..2"], "4..2 runs backwards: write 2..4"),
        (["data.n_nonzero=1,,2"], "'' is no value"),
        (["data.n_nonzero=a/b"], "'a/b' is no value"),
        (["data.n_nonzero=.."], None),
        (["data.n_nonzero=1,2,1"], "1 is there twice"),
        (["optimizer.lr=1e-3,0.001"], "0.001 is there twice"),
        (["data.n_nonzero=1", "data.n_nonzero=2"], "data.n_nonzero is given twice"),
        (["data.n_nonzero=0..10000000000"], "has more than 10,000 values"),
    ],
)
def test_what_is_no_grid(words: list[str], line: str | None) -> None:
    if line is None:  # a word like another: the parser of `fit` says what is wrong with it
        assert parse_grid(words)[0].values == ("..",)
        return
    with pytest.raises(ValueError) as caught:
        parse_grid(words)
    assert line in str(caught.value)
    assert str(caught.value).startswith("--grid ")
    assert "\n" not in str(caught.value)


def test_a_mistake_in_the_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = defaultdict(str)
    for words in (
        ["--suite=a", "--engine=ray", "--jobs=2"],
        ["--suite=a", "--address=auto"],
        ["--suite=a", "--seeds=5-2"],
        ["--suit=a"],
        ["--suite=a", "--engine=slurm"],
        ["--suite=a", "--jobs=0"],
    ):
        assert main(["sweep", *words]) == 2
        lines[words[-1]] = capsys.readouterr().err
    assert all(line.startswith("error: ") and line.count("\n") == 1 for line in lines.values()), lines
    assert "a cluster says itself how many" in lines["--jobs=2"]
    assert "--address is for --engine ray" in lines["--address=auto"]
    assert "write 2-5" in lines["--seeds=5-2"]
    assert "did you mean --suite" in lines["--suit=a"]
    assert "--engine" in lines["--engine=slurm"]
    assert "--jobs" in lines["--jobs=0"]
