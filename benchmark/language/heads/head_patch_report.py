"""The result of patching heads between two checkpoints of a model: its file, and its picture."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from benchmark.config.errors import BenchmarkError
from benchmark.interventions.patching import Ablation
from benchmark.language.capability_record import PromptChoice
from benchmark.language.heads.head_patching import HeadChoice, PatchResult
from benchmark.language.prompts import Capability
from leaderboard.records.bounded import read_bytes
from leaderboard.records.fields import Amount, Count, Fraction, Model, Name, Number, Positive, Sha256
from leaderboard.records.record import first_problem

_MAX_BYTES = 20_000_000
_SIDE = 260


class MeasuredChoice(Model):
    """A choice of heads: probability and accuracy with it, and the shares of what is gained that it brings."""

    heads: tuple[Name, ...]
    probability: Fraction
    accuracy: Fraction
    recovered_probability: Number | None
    recovered_accuracy: Number | None


class HeadPatchRecord(Model):
    """Heads of the checkpoint `from_step` in the one of `into_step`, and the former without them; see `PatchResult`."""

    schema_version: Literal[1] = 1
    kind: Literal["head_patch"] = "head_patch"
    series: Name
    size: Name
    seed: Count
    repository: Name
    capability: Capability
    prompts: PromptChoice
    from_step: Count
    into_step: Count
    from_weights: dict[Name, Sha256]
    into_weights: dict[Name, Sha256]
    top: Positive
    draws: Count
    ablation: Ablation
    probability_before: Fraction
    probability_after: Fraction
    accuracy_before: Fraction
    accuracy_after: Fraction
    own_pattern_change: Amount
    entropies_nats: dict[Name, Amount]
    alone: tuple[MeasuredChoice, ...]
    best: tuple[MeasuredChoice, ...] = Field(min_length=1)
    random: tuple[MeasuredChoice, ...]
    matched: MeasuredChoice
    layers: tuple[MeasuredChoice, ...]
    all_heads: MeasuredChoice
    ablated_alone: tuple[MeasuredChoice, ...]
    ablated_best: MeasuredChoice
    ablated_random: tuple[MeasuredChoice, ...]


def record_of(result: PatchResult, about: dict[str, Any]) -> HeadPatchRecord:
    """The record of a result; `about` has the fields up to `ablation`."""

    def measured(choice: HeadChoice) -> MeasuredChoice:
        shares = {f"recovered_{what}": result.recovered(choice, what) for what in ("probability", "accuracy")}
        return MeasuredChoice.model_validate({**asdict(choice), **shares})

    one = ("matched", "all_heads", "ablated_best")
    many = ("alone", "best", "random", "layers", "ablated_alone", "ablated_random")
    ends = {
        "probability_before": result.before.probability,
        "probability_after": result.after.probability,
        "accuracy_before": result.before.accuracy,
        "accuracy_after": result.after.accuracy,
        "own_pattern_change": result.own_pattern_change,
        "entropies_nats": result.entropies,
    }
    choices = {name: measured(getattr(result, name)) for name in one}
    series = {name: tuple(map(measured, getattr(result, name))) for name in many}
    return HeadPatchRecord.model_validate({**about, **ends, **choices, **series})


def read_head_patch_record(path: Path) -> HeadPatchRecord:
    """The record in a file.

    Raises:
        ValueError: one line with the file and the reason, if it holds none.
    """
    try:
        return HeadPatchRecord.model_validate_json(read_bytes(path, _MAX_BYTES))
    except ValidationError as error:
        raise BenchmarkError(f"{path}: {first_problem(error)}") from error


def summary_of(records: list[HeadPatchRecord]) -> str:
    """Medians over the models as JSON: shares recovered by the best heads and by the controls."""
    return json.dumps(medians(records), indent=2, allow_nan=False)


def random_shares(record: HeadPatchRecord) -> dict[str, dict[str, float | None]]:
    """The shares of probability and accuracy that the random choices recover: the most of any, and the medians."""
    found: dict[str, dict[str, float | None]] = {"most of random": {}, "median of random": {}}
    for what in ("probability", "accuracy"):
        shares = [getattr(choice, f"recovered_{what}") for choice in record.random]
        found["most of random"][what] = max((share for share in shares if share is not None), default=None)
        found["median of random"][what] = _median(shares)
    return found


def medians(records: list[HeadPatchRecord]) -> dict[str, dict[str, float | None]]:
    """For each choice the medians over the models of the shares of probability and of accuracy that it recovers."""
    shares: dict[str, list[dict[str, float | None]]] = {}
    for record in records:
        choices = {"best": record.best[-1], "matched entropy": record.matched, "all heads": record.all_heads}
        own = {
            name: {"probability": choice.recovered_probability, "accuracy": choice.recovered_accuracy}
            for name, choice in choices.items()
        }
        for name, found in (own | random_shares(record)).items():
            shares.setdefault(name, []).append(found)
    return {
        name: {what: _median([each[what] for each in found]) for what in ("probability", "accuracy")}
        for name, found in shares.items()
    }


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def picture_of(record: HeadPatchRecord, result: PatchResult, tokens: list[str]) -> alt.TopLevelMixin:
    """The change by each head, the choices side by side, and maps of the best heads beside a prompt's tokens."""
    title = alt.Title(
        f"{record.capability}, {record.size} seed {record.seed}: patterns of step {record.from_step:,} in the model of"
        f" step {record.into_step:,}",
        subtitle=f"series {record.series}; maps: rows are queries, columns the tokens they attend to, dark is 1",
        anchor="start",
    )
    maps = [
        alt.hconcat(
            *(
                _map(f"head {head}, {when} emergence", map_LL.numpy(), tokens)
                for when, map_LL in zip(("before", "after"), pair, strict=True)
            )
        )
        for head, pair in result.maps.items()
    ]
    top = alt.hconcat(_heads(record), _choices(record))
    chart = alt.vconcat(top, *maps, title=title).resolve_scale(color="independent")
    return chart.configure_view(stroke=None).configure_axis(grid=False)


def _heads(record: HeadPatchRecord) -> alt.Chart:
    rows = []
    for choice in record.alone:
        layer, _, head = choice.heads[0].partition(":")
        rows.append({"layer": int(layer), "head": int(head), "change": choice.probability - record.probability_before})
    most = max(*(abs(row["change"]) for row in rows), 1e-9)
    return (
        alt.Chart(pd.DataFrame(rows), title="change of the probability by each head alone")
        .mark_rect()
        .encode(
            x=alt.X("head:O", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("layer:O"),
            color=alt.Color("change:Q", scale=alt.Scale(scheme="blueorange", domain=[-most, most]), title=None),
        )
        .properties(width=_SIDE, height=_SIDE // 2)
    )


def _choices(record: HeadPatchRecord) -> alt.LayerChart:
    size = len(record.best[-1].heads)
    rows = [("as it is", record.probability_before)]
    rows += [(f"best {len(choice.heads)}", choice.probability) for choice in record.best]
    rows += [(f"random {size}", choice.probability) for choice in record.random]
    rows += [(f"matched entropy {len(record.matched.heads)}", record.matched.probability)]
    rows += [(f"layer {choice.heads[0].partition(':')[0]}", choice.probability) for choice in record.layers]
    rows += [("all heads", record.all_heads.probability), ("the later model", record.probability_after)]
    rows += [(f"later, best {size} ablated", record.ablated_best.probability)]
    rows += [(f"later, random {size} ablated", choice.probability) for choice in record.ablated_random]
    frame = pd.DataFrame(rows, columns=["choice", "probability"])
    order = list(dict.fromkeys(frame["choice"]))
    points = (
        alt.Chart(frame, title="probability of the target")
        .mark_point(filled=True, size=45, opacity=0.6)
        .encode(
            x=alt.X("probability:Q", scale=alt.Scale(domain=[0, 1]), title=None),
            y=alt.Y("choice:N", sort=order, title=None),
        )
    )
    ends = pd.DataFrame({"probability": [record.probability_before, record.probability_after]})
    rules = alt.Chart(ends).mark_rule(strokeDash=[3, 3], color="#888").encode(x="probability:Q")
    return (rules + points).properties(width=_SIDE, height=16 * len(order))


def _map(title: str, map_LL: np.ndarray, tokens: list[str]) -> alt.Chart:
    labels = [f"{i} {token}" for i, token in enumerate(tokens)]
    query, key = np.tril_indices(len(map_LL))
    frame = pd.DataFrame(
        {
            "query": [labels[i] for i in query.tolist()],
            "key": [labels[i] for i in key.tolist()],
            "attention": map_LL[query, key],
        }
    )
    side = max(_SIDE, 11 * len(labels))
    return (
        alt.Chart(frame, title=title)
        .mark_rect()
        .encode(
            x=alt.X("key:O", sort=labels, title=None, axis=alt.Axis(labelAngle=-90, labelFontSize=8)),
            y=alt.Y("query:O", sort=labels, title=None, axis=alt.Axis(labelFontSize=8)),
            color=alt.Color("attention:Q", scale=alt.Scale(domain=[0, 1], scheme="blues"), legend=None),
        )
        .properties(width=side, height=side)
    )
