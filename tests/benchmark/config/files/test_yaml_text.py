"""Written values are read as they were: by this reader, by PyYAML's and by the parser's own."""

import math
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.__main__ import main
from benchmark.config.files import yaml_text
from benchmark.config.files.yaml_text import from_text, to_text
from benchmark.config.parser import parse, to_yaml
from benchmark.config.run_config import Choice, RunConfig
from benchmark.training.folder.checkpoint import CHECKPOINT
from benchmark.training.folder.layout import CONFIG, RECORD
from benchmark.training.loading import load
from datamodules import TASKS
from leaderboard.paths import user_path
from tests.helpers.runs import LM, fit, resume

PARSERS_OWN = yaml_text._PARSERS_OWN
"""jsonargparse's reader as it was before it was replaced: an oracle that shares no code with ours."""

AWKWARD = [
    "1e-4", "1e4", "1E5", "+1e5", "1.e3", "12e03", "1_000", "1_0.5", "0x10", "0o17", "017", "0b11", "1:30", "1:30.5",
    ".5", "5.", "1.", "-1", ".inf", "-.inf", ".nan", "nan", "Infinity", "yes", "no", "on", "off", "y", "true", "FALSE",
    "~", "Null", "None", "2024-01-01", "2024-01-01T00:00:00", "2024-13-45", "#x", "a #b", "a: b", "a:", "'a'", '"a"',
    "{a}", "{a: 1}", "[1, 2]", "[]", "{}", "- x", "-", "? a", "=", "<<", "&a", "*a", "!a", "!!str a", "|", ">", "@a",
    "`a", "%a", "---", "...", "é", "😀", "a\\nb", "1,2", "x" * 300, "x y " * 99 + "x", "$HOME", "${HOME}", "..", "a,b",
]  # fmt: skip
UNPRINTABLE = ["", " ", " a", "a ", "\ta", "a\nb", "a\n", "\n", "\x00", "\x07", "\x85", "\u2028", "\ufeff"]


class Colour(Enum):
    """Something with names."""

    red = 1


@pytest.mark.parametrize("text", [*AWKWARD, *UNPRINTABLE, "null"], ids=ascii)
def test_every_reader_reads_a_text_as_the_same_text(text: str) -> None:
    content = {"key": text, "list": [text], text: 1}
    written = to_text(content)
    assert from_text(written) == content
    assert yaml.safe_load(written) == content
    assert PARSERS_OWN(written) == content


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from(AWKWARD)


@given(st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=9))
@settings(max_examples=60)
def test_any_content_comes_back_with_its_types(content: Any) -> None:
    written = to_text({"content": content})
    for read in (from_text, yaml.safe_load):
        assert repr(read(written)["content"]) == repr(content)


def test_numbers_as_people_write_them() -> None:
    read = from_text("[1e-4, 1E5, 1.5e+3, .5, 5., 1.0e-04, -.inf, 1_000.5, 7, 0x10, 2024-01-01]")
    assert read == [1e-4, 1e5, 1500.0, 0.5, 5.0, 1e-4, -math.inf, 1000.5, 7, 16, "2024-01-01"]
    assert [type(value) for value in read] == [float] * 8 + [int, int, str]


def test_bytes_that_are_no_text_are_refused_before_anything_is_written() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        to_text(["\udcff"])
    for out in ("\udcff", "a\0b"):
        with pytest.raises(ValueError, match="--out"):
            parse({"model": "transformer", "data": "lm", "out": out})


def test_python_kinds_are_written_plainly() -> None:
    shared = [1, 2]
    written = to_text({"tuple": (0.9, 0.95), "path": Path("1e-4"), "enum": Colour.red, "a": shared, "b": shared})
    assert "&" not in written and "!" not in written
    assert yaml.safe_load(written) == {"tuple": [0.9, 0.95], "path": "1e-4", "enum": "red", "a": [1, 2], "b": [1, 2]}
    with pytest.raises(yaml.YAMLError):
        to_text({"object": object()})


def is_plain_path(text: str) -> bool:
    """Whether a text is a path that is not written otherwise."""
    try:
        return str(user_path(text)) == text
    except ValueError:
        return False


NAMES = ["1e-4", "1_000", "0x10", "yes", "2024-01-01", ".5", "017", "+1e5", "...a", "été"]
numbers = {"min_value": 0, "max_value": 2**63 - 1}
positive = st.floats(min_value=1e-300, max_value=1e300)
rates = st.floats(0, 0.999)
labels = st.sampled_from([*AWKWARD, "a"]).filter(lambda text: text.strip() == text and len(text) < 300)
contents = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["transformer", "mamba"]).map(lambda name: {"class_path": name}),
        "data": st.fixed_dictionaries(
            {
                "class_path": st.sampled_from(["lm", "ca"]),
                "init_args": st.fixed_dictionaries({}, optional={"batch_size": st.none() | st.integers(1, 99)}),
            }
        ),
    },
    optional={
        "name": st.sampled_from(NAMES) | st.from_regex(r"[\w.+=-]{0,4}[a-z0-9]", fullmatch=True),
        "out": (st.text() | st.sampled_from([*AWKWARD, *UNPRINTABLE])).filter(is_plain_path),
        "suite": labels,
        "cell": labels,
        "seed": st.integers(**numbers),
        "init_seed": st.none() | st.integers(**numbers),
        "checkpoint_interval_s": positive,
        "metrics": st.sampled_from([None, "entropy_nats", ["entropy_nats"]]),
        "optimizer": st.fixed_dictionaries(
            {}, optional={"lr": positive, "weight_decay": positive, "betas": st.lists(rates, min_size=2, max_size=2)}
        ),
        "trainer": st.fixed_dictionaries(
            {},
            optional={
                "precision": st.sampled_from([None, 32, "32-true", "bf16-mixed"]),
                "devices": st.sampled_from([1, "1", "auto", [0]]),
            },
        ),
    },
)  # fmt: skip


@given(contents)
@settings(max_examples=25)
def test_a_configuration_is_parsed_to_itself_again(content: dict[str, Any]) -> None:
    content = {key: value for key, value in content.items() if value != "null"}
    config = parse(content)
    for key in ("name", "out", "suite", "cell"):
        assert getattr(config, key) == content.get(key, getattr(config, key))
    again = parse(from_text(to_yaml(config)))
    assert again == config
    assert to_yaml(again) == to_yaml(config)


def test_options_of_type_str_of_an_outside_task_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any kind: a text, one of several texts or none, a list of them, a dictionary."""
    from jsonargparse import ArgumentParser, Namespace

    def of(a: str, b: str | None, c: list[str], d: dict[str, str], e: str | int) -> None: ...

    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(of, "of")
    for text in [*AWKWARD, *UNPRINTABLE]:
        options = Namespace(a=text, b=text, c=[text], d={text: text}, e=f"x{text}")
        assert parser.parse_object(from_text(parser.dump(Namespace(of=options)))).of == options, text


@pytest.mark.slow
@pytest.mark.parametrize("option", ["name", "out"])
def test_the_command_line_reads_what_it_prints(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "again.yaml"
    for text in ["1e-4", "+1e5"] if option == "name" else ["1.e3", "a #b", "- b", "é: 1"]:
        with pytest.raises(SystemExit) as end:
            main(["fit", *LM, f"--{option}={text}", "--print_config"])
        printed = capsys.readouterr().out
        assert (end.value.code, yaml.safe_load(printed)[option]) == (0, text)
        file.write_text(printed, encoding="utf-8")
        with pytest.raises(SystemExit):
            main(["fit", "--config", str(file), "--print_config"])
        assert capsys.readouterr().out == printed


@pytest.mark.train
@pytest.mark.parametrize("name", ["1e-4", "0x10", "on"])
def test_a_run_of_an_awkward_name_is_trained_resumed_and_loaded(name: str, tmp_path: Path) -> None:
    code, folder = fit(LM, tmp_path / "1e3", name, 2, 1, "--suite=#1", "--cell=~", "--checkpoint_interval_s=0")
    assert (code, folder.name) == (0, name)
    for go_on in (
        lambda: resume(folder),
        lambda: main(["fit", f"--config={folder / CONFIG}", f"--name={name}-2", f"--ckpt_path={folder / CHECKPOINT}"]),
    ):
        (folder / RECORD).unlink(missing_ok=True)
        assert go_on() == 0
    run = load(folder.with_name(f"{name}-2"))
    assert run.config.name == f"{name}-2"
    assert run.record is not None and (run.record.suite, run.record.cell) == ("#1", "~")


def test_a_name_that_stands_for_none_is_refused() -> None:
    whole = {"model": "transformer", "data": "lm"}
    for key in ("name", "suite", "cell"):
        assert getattr(parse(whole | {key: None}), key) is None
        with pytest.raises(ValueError, match=f"--{key} cannot be null"):
            parse(whole | {key: "null"})
        with pytest.raises(ValueError, match=f"--{key} cannot be null"):
            RunConfig(Choice(object), Choice(TASKS["lm"]), **{key: "null"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seed: 1\nseed: 2", "'seed' stands there twice"),
        ("data: {class_path: lm, class_path: ca}", "'class_path' stands there twice"),
        ("a: &a [*a]", "*a"),
        ("&a [*a]", "*a"),
        ("\n".join(["a: &a0 [x, x]", *(f"b{i}: &a{i + 1} [*a{i}, *a{i}]" for i in range(60))]), "100,000 values"),
        ("[" * 5000 + "]" * 5000, "deeper than 100"),
        ("a: " + "{b: " * 300 + "1" + "}" * 300, "deeper than 100"),
        ("x: !!python/object/apply:os.system [id]", "python/object"),
        ("a: " + "1" * 5000, "digit"),
        ("a: !!int x", "int"),
        ("a: 1\n--- \nb: 2", "document"),
    ],
)  # fmt: skip
def test_a_text_that_eats_time_or_means_two_things_is_refused(text: str, named: str) -> None:
    with pytest.raises(yaml.YAMLError) as error:
        from_text(text)
    assert named in str(error.value)


def test_merged_keys_may_be_given_again() -> None:
    assert from_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}")["b"] == {"x": 1, "y": 3}
