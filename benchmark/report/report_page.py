"""HTML of a report: one file that needs no network, whose tables and sentences are there without its script.

Style, theme and escaping are those of the leaderboard's site. The Content-Security-Policy allows the page's own scripts
and styles alone, by their hashes.
"""

import base64
import hashlib
import math
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from markupsafe import Markup

from benchmark.report.learned_rows import in_words
from benchmark.report.page_data import RunPart, run_data
from leaderboard.render.charts.colours import DARK, LIGHT
from leaderboard.render.site.pages import environment
from leaderboard.render.site.shared import OWN

MOST_SHOWN = 2
"""Runs whose panels are shown at first; the others are chosen on the page."""

PROBE_HINT = (
    "This run had no probes: fit --probes attention,dependency (or dependency alone, for models without attention) adds"
    " entropy, alignment and maps over time."
)
NAMED_HEADS = 3
"""Heads that a row of the table names."""


def report_html(parts: Sequence[RunPart]) -> str:
    """The page of these runs."""
    styles = [_shared("site.css"), _heads_style(), _own("report.css")]
    scripts = [_shared("theme.js"), _own("charts.js"), _own("report.js")]
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hashes(scripts)}",
            f"style-src {_hashes(styles)}",
            "img-src data: blob:",
            "connect-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    summaries = [_summary(part) for part in parts]
    title = parts[0].run.label if len(parts) == 1 else f"{len(parts)} runs"
    template = environment("benchmark.report").get_template("report.html")
    return template.render(
        policy=policy,
        title=f"{title} on {_common([part.run.record.task.name for part in parts])}",
        styles=[Markup(text) for text in styles],
        theme=Markup(scripts[0]),
        scripts=[Markup(text) for text in scripts[1:]],
        runs=[_run_values(part) for part in parts],
        summary_rows=summaries,
        shown=MOST_SHOWN,
        data={
            "runs": [run_data(part, len(parts)) for part in parts],
            "summary": [list(summaries[0]), *(list(summary.values()) for summary in summaries)],
        },
    )


def _common(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


@cache
def _shared(name: str) -> str:
    return (OWN / name).read_text(encoding="utf-8")


@cache
def _own(name: str) -> str:
    return files("benchmark.report").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _heads_style() -> str:
    """Colours of lines, as the charts of the leaderboard have them, under names that follow the theme."""

    def variables(colours: Sequence[str]) -> str:
        return " ".join(f"--line{i}: {colour};" for i, colour in enumerate(colours[1:]))

    return (
        f":root {{ {variables(LIGHT)} }}\n"
        f':root[data-theme="dark"] {{ {variables(DARK)} }}\n'
        f"@media (prefers-color-scheme: dark) {{ :root:not([data-theme]) {{ {variables(DARK)} }} }}\n"
    )


def _hashes(texts: Sequence[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def _summary(part: RunPart) -> dict[str, Any]:
    """The numbers of a run, by column of the summary."""
    record, last = part.run.record, part.run.curves.iloc[-1]
    solved = None if record.part_hits is None else sum(hit.step is not None for hit in record.part_hits)
    return {
        "run": part.run.label,
        "status": record.status,
        "emergence_step": record.primary_step,
        "jump_step": part.moments.get("after"),
        "parts_solved": solved,
        "parts": None if record.part_hits is None else len(record.part_hits),
        "steps": record.steps,
        "loss_nats": float(last["loss_nats"]),
        "accuracy": float(last["accuracy"]),
        "parameters": record.parameters,
        "tokens": record.tokens,
        "wall_train_s": record.wall_train_s,
    }


def _run_values(part: RunPart) -> dict[str, Any]:
    """A run for the template."""
    run, record = part.run, part.run.record
    settings = {
        "architecture": {"name": record.architecture.name, **record.architecture.config},
        "task": {"name": record.task.name, **record.task.config},
        "optimizer": record.optimizer,
        "protocol": record.protocol.model_dump(mode="json", exclude={"targets"}),
        "seeds": record.seeds.model_dump(),
    }
    return {
        "label": run.label,
        "name": run.name,
        "headline": _headline(part),
        "settings": {name: _plain(values) for name, values in settings.items()},
        "facts": _facts(part),
        "hits": [
            (f"{target.name}: {target.metric} {target.op} {target.value:g}", record.hits[target.name])
            for target in record.protocol.targets
        ],
        "moments": part.moments,
        "part_hits": any(hit.step is not None for hit in record.part_hits or ()),
        "noun": part.grid.noun,
        "names": part.grid.names,
        "attention": _attention_values(part),
        "dependency": _dependency_values(part),
        "decay": part.weights is not None and bool(part.weights.decays),
        "maps": any(probe is not None and probe.maps for probe in (part.attention, part.dependency, part.weights)),
        "hint": "" if part.run.probes is not None else PROBE_HINT,
        "truth": part.grid.truth_RC is not None,
        "unknown_task": run.task is None,
    }


def _plain(values: dict[str, Any]) -> dict[str, str]:
    """Values as YAML writes them."""
    return {
        name: yaml.safe_dump(list(value) if isinstance(value, tuple) else value, default_flow_style=True)
        .removesuffix("\n").removesuffix("\n...")
        for name, value in values.items()
    }  # fmt: skip


def _headline(part: RunPart) -> str:
    """One sentence: how the run ended, and its largest jump."""
    record, moments = part.run.record, part.moments
    if record.primary_step is not None:
        end = f"Solved: {record.protocol.primary} was reached at step {record.primary_step:,}."
    else:
        end = f"{record.status.capitalize()} after {record.steps:,} steps: {record.protocol.primary} was not reached."
    if part.jump is None:
        return f"{end} The loss has no jump."
    scored = part.run.curves["loss_scored_nats"]
    fall = f"{scored.iloc[part.jump - 1]:.3f} to {scored.iloc[part.jump]:.3f} nats"
    return (
        f"{end} The largest jump of the loss over predictable tokens lies between steps {moments['before']:,} and"
        f" {moments['after']:,}, from {fall}."
    )


def _facts(part: RunPart) -> dict[str, str]:
    """Numbers of the record."""
    record, last = part.run.record, part.run.curves.iloc[-1]
    floor = "" if record.floor_loss_nats is None else f", floor {record.floor_loss_nats:.4f}"
    facts = {
        "Status": record.status,
        "Steps": f"{record.steps:,} of {record.protocol.max_steps:,}",
        "Loss at the end": f"{last['loss_nats']:.4f} nats (chance {record.chance_loss_nats:.4f}{floor})",
        "Accuracy at the end": f"{last['accuracy']:.3f}, whole units {last['exact_match']:.3f}",
        "Parameters": f"{record.parameters:,}",
        "Tokens": f"{record.tokens:,}",
        "Training": f"{record.wall_train_s:,.1f} s on {record.hardware.device}",
    }
    if record.part_hits is not None:
        solved = sum(hit.step is not None for hit in record.part_hits)
        facts["Parts solved"] = f"{solved} of {len(record.part_hits)}"
    if record.error:
        facts["Error"] = record.error
    return facts


def _attention_values(part: RunPart) -> dict[str, Any] | None:
    """Sentences and table of the attention probe."""
    if (attention := part.attention) is None:
        return None
    order = attention.order
    lines = []
    for r, (name, row) in enumerate(zip(part.grid.names, attention.rows, strict=True)):
        if row.best is None:  # it is never scored
            continue
        heads = [
            (
                attention.heads[head],
                order.index(head) if head in order else None,
                float(attention.masses_NHR[-1, head, r]),
            )
            for head in row.heads[:NAMED_HEADS]
        ]
        more = max(len(row.heads) - NAMED_HEADS, 0)
        lines.append({"place": r, "name": name, "row": row, "heads": heads, "more": more})
    return {
        "said": in_words(attention.rows, part.grid.noun, part.grid.names),
        "lines": lines,
        "known": any(row.best is not None for row in attention.rows),
        "best": [None if row.best is None else attention.heads[row.best] for row in attention.rows],
    }


def _dependency_values(part: RunPart) -> dict[str, Any] | None:
    """Sentence and table of the dependency probe."""
    if (dependency := part.dependency) is None:
        return None
    named = zip(part.grid.names, dependency.rows, strict=False)
    lines = [(name, row) for name, row in named if math.isfinite(row.average_precision)]
    jumped = [row for _, row in lines if row.loss_step is not None]
    said = "What each query needs is not known for this task, or differs between sequences."
    if lines:
        said = f"The loss jumped in {len(jumped)} of {len(lines)} {part.grid.noun}s"
        exact = sum(row.exact_step is not None for row in jumped)
        more = f"; in {exact} of these every needed token matters more than any other at the end" if jumped else ""
        said += f"{more}."
    if others := sum(row.explanation.startswith("another valid") for row in jumped):
        said += f" {others} of the {len(jumped)} rest on another combination of tokens that gives the same bit."
    return {
        "said": said,
        "lines": [{"name": name, "row": row} for name, row in lines],
        "explained": any(row.explanation for _, row in lines),
    }
