"""``python -m benchmark check NAME``: does an architecture keep the contract, and what does it cost?"""

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from architectures import SequenceModel
from benchmark.commands import CommandParser, architecture, architectures_of_file, said, source_file
from benchmark.contract import CHECKS, TRAINING_CHECKS, Check, NotOffered, small, variants
from benchmark.ensemble import Ensemble
from benchmark.measure import VOCAB_SIZE, TrainingStep, cpu_seconds, one_thread

BATCH_SIZE, LENGTH, STEPS = 8, 512, 3
"""What speed is measured on, and of how many steps the fastest counts."""

Outcome = Literal["passed", "failed", "not offered", "measured"]
STYLES: dict[Outcome, str] = {"passed": "green", "failed": "bold red", "not offered": "yellow", "measured": "cyan"}


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    outcome: Outcome
    detail: str


def check_command(words: list[str]) -> int:
    """Check and print; the exit code is 1 if anything failed, otherwise 0.

    Args:
        words: the command line after ``check``: NAME first, then options.

    Raises:
        ValueError: a mistake in the command, in one line.
    """
    if words[:1] in (["-h"], ["--help"]):
        _parser(None).parse(words)
    if not words or words[0].startswith("-"):
        raise ValueError("NAME must come first: python -m benchmark check NAME [--fast] [--model.OPTION VALUE ...]")
    classes = architectures_of_file(Path(words[0])) if words[0].endswith(".py") else [architecture(words[0])]
    configs = [_parser(cls).parse(words, defaults=False) for cls in classes]
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console.width = 120
    with one_thread():
        return max(_check(cls, config, console) for cls, config in zip(classes, configs, strict=True))


def _parser(cls: type[SequenceModel] | None) -> CommandParser:
    parser = CommandParser("check", description="Run the contract on a tiny instance of an architecture; measure it.")
    what = "a registered architecture, or a Python file that registers one; check NAME --help lists its options"
    parser.add_argument("name", metavar="NAME", help=what)
    parser.add_argument("--fast", action="store_true", help="leave out the checks that train")
    if cls is not None:
        parser.add_class_arguments(cls, "model", skip={"vocab_size", "seq_len"}, instantiate=False)
    return parser


def _check(cls: type[SequenceModel], config: Namespace, console: Console) -> int:
    options = vars(config.get("model", Namespace()))
    if options:  # a value that does not fit is a mistake of the command, not a fault of the architecture
        small(cls, 5, 9, **options)
    # What the user fixed stays fixed; the other options vary.
    cases = [options | variant for variant in variants(cls) if not variant.keys() & options.keys()]
    failures = 0
    _print(console, Text(f"{cls.__name__} ({source_file(cls)}) with {', '.join(_typed(case) for case in cases)}"))
    for name, work in _work(cls, cases, not config.get("fast", False)):
        with console.status(f"{cls.__name__}: {name}"):
            line = work()
        table = Table.grid(Column(width=25), Column(width=11), Column(), padding=(0, 2, 0, 0))
        table.add_row(Text(name), Text(line.outcome, STYLES[line.outcome]), Text(line.detail))
        console.print(table)
        failures += line.outcome == "failed"
    verdict = Text(f"{failures} failed", STYLES["failed"]) if failures else Text("nothing failed", STYLES["passed"])
    _print(console, Text(f"{cls.__name__}: ") + verdict)
    return 1 if failures else 0


def _print(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)


def _work(
    cls: type[SequenceModel], cases: list[dict[str, Any]], training: bool
) -> Iterator[tuple[str, Callable[[], Line]]]:
    """Name and work of every line."""
    for check in CHECKS:
        yield title(check), partial(run_check, check, cls, cases)
    for check in TRAINING_CHECKS if training else ():
        yield title(check), partial(run_check, check, cls, cases[:1])
    for fact in FACTS:
        yield title(fact), partial(run_fact, fact, cls, cases[0])


def title(function: Callable[..., Any]) -> str:
    """The name of a check or a fact for people."""
    return function.__name__.removeprefix("check_").replace("_", " ")


def run_check(check: Check, cls: type[SequenceModel], cases: list[dict[str, Any]]) -> Line:
    """Run a check on every case (constructor options); the first failure is told."""
    failures, passed, not_offered = list[str](), 0, ""
    for case in cases:
        try:
            check(cls, **case)
            passed += 1
        except NotOffered as reason:
            not_offered = str(reason)
        except Exception as error:  # whatever a stranger's model raises is a finding
            failures.append(said(error) + (f" (with {_typed(case)})" if case else ""))
    if failures:
        more = f"; {len(failures)} of {len(cases)} variants fail" if failures[1:] else ""
        return Line("failed", failures[0] + more)
    if not passed:
        return Line("not offered", not_offered)
    return Line("passed", inspect.cleandoc(check.__doc__ or "").partition("\n")[0])


def _typed(case: dict[str, Any]) -> str:
    """Constructor options as they are typed."""
    return " ".join(f"--model.{name} {value}" for name, value in case.items()) or "default options"


def run_fact(fact: Callable[[SequenceModel], str], cls: type[SequenceModel], options: dict[str, Any]) -> Line:
    """Measure a model of the default size (but for `options`)."""
    try:
        return Line("measured", fact(cls(VOCAB_SIZE, LENGTH, **options)))
    except NotOffered as reason:
        return Line("not offered", str(reason))
    except Exception as error:
        return Line("failed", said(error))


def parameters(model: SequenceModel) -> str:
    """How many."""
    count = sum(parameter.numel() for parameter in model.parameters())
    width = f"width {model.d_model}, {len(model.blocks)} block(s), {VOCAB_SIZE} token values, {LENGTH} positions"
    return f"{count:,} ({width})"


def state(model: SequenceModel) -> str:
    """How many bytes."""
    if model.state_bytes is None:
        raise NotOffered("no state of fixed size to stream with")
    return f"{model.state_bytes:,} bytes a sequence"


def backend(model: SequenceModel) -> str:
    """Its name."""
    return model.backend


def many_seeds(model: SequenceModel) -> str:
    """Whether seeds can be computed together."""
    ensemble = Ensemble([model, copy.deepcopy(model)])
    return "computed at once" if ensemble.mapped else f"computed one at a time: {ensemble.reason}"


def speed(model: SequenceModel) -> str:
    """Tokens a second of training."""
    step = TrainingStep(model, BATCH_SIZE, LENGTH)
    step()  # warms up and compiles
    best = min(cpu_seconds(step) for _ in range(STEPS))
    return (
        f"{step.n_tokens / best:,.0f} tokens a CPU-second, forward + backward + AdamW"
        f" (one thread, {BATCH_SIZE} x {LENGTH} tokens a step, best of {STEPS})"
    )


FACTS: tuple[Callable[[SequenceModel], str], ...] = (parameters, state, backend, many_seeds, speed)
