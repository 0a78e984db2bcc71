"""The lines that `check` prints of an architecture: whether it keeps each part of the contract, and what it costs."""

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from architectures import SequenceModel
from benchmark.config.errors import said
from benchmark.contract.checks import CHECKS, TRAINING_CHECKS, Check, NotOffered, small, variants
from benchmark.training.ensemble import Ensemble
from benchmark.training.measure import VOCAB_SIZE, TrainingStep, cpu_seconds

BATCH_SIZE, LENGTH, STEPS = 8, 512, 3
"""Batch on which speed is measured, and the number of steps of which the fastest counts."""

Outcome = Literal["passed", "failed", "not offered", "measured"]


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    outcome: Outcome
    detail: str


def cases_of(cls: type[SequenceModel], options: dict[str, Any]) -> list[dict[str, Any]]:
    """Constructor options of every case to check: those that the user fixed, and each variant of the others.

    Raises:
        ValueError: if a value does not fit, which is a mistake of the user's and no fault of the architecture.
    """
    if options:
        small(cls, 5, 9, **options)
    return [options | variant for variant in variants(cls) if not variant.keys() & options.keys()]


def lines_of(
    cls: type[SequenceModel], cases: list[dict[str, Any]], training: bool
) -> Iterator[tuple[str, Callable[[], Line]]]:
    """Title and work of every line.

    Args:
        cls: the architecture.
        cases: constructor options; training and costs take the first ones only.
        training: the checks that train too.
    """
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
        except Exception as error:  # whatever an outside model raises is a finding
            failures.append(said(error) + (f" (with {typed(case)})" if case else ""))
    if failures:
        more = f"; {len(failures)} of {len(cases)} variants fail" if failures[1:] else ""
        return Line("failed", failures[0] + more)
    if not passed:
        return Line("not offered", not_offered)
    return Line("passed", inspect.cleandoc(check.__doc__ or "").partition("\n")[0])


def typed(case: dict[str, Any]) -> str:
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
    """Their number, at the default size."""
    count = sum(parameter.numel() for parameter in model.parameters())
    width = f"width {model.d_model}, {len(model.blocks)} block(s), {VOCAB_SIZE} token values, {LENGTH} positions"
    return f"{count:,} ({width})"


def state(model: SequenceModel) -> str:
    """Bytes per sequence that streaming keeps."""
    if model.state_bytes is None:
        raise NotOffered("no state of fixed size to stream with")
    return f"{model.state_bytes:,} bytes per sequence"


def backend(model: SequenceModel) -> str:
    """Its name."""
    return model.backend


def many_seeds(model: SequenceModel) -> str:
    """Whether seeds can be computed together."""
    ensemble = Ensemble([model, copy.deepcopy(model)])
    return "computed at once" if ensemble.mapped else f"computed one at a time: {ensemble.reason}"


def speed(model: SequenceModel) -> str:
    """Tokens per second of training."""
    step = TrainingStep(model, BATCH_SIZE, LENGTH)
    step()  # warms up and compiles
    best = min(cpu_seconds(step) for _ in range(STEPS))
    return (
        f"{step.n_tokens / best:,.0f} tokens per CPU-second, forward + backward + AdamW"
        f" (one thread, {BATCH_SIZE} x {LENGTH} tokens per step, best of {STEPS})"
    )


FACTS: tuple[Callable[[SequenceModel], str], ...] = (parameters, state, backend, many_seeds, speed)
