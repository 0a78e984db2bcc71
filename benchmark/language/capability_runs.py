"""The search for capabilities in the models of a series: looks at checkpoints, and keeps a record of each capability.

A checkpoint that is looked at is loaded once and asked for all capabilities. What cannot be used is said once, and the
search goes on with its neighbours: steps without a checkpoint, and steps whose weights are equal to those of another
(public series have both: EleutherAI/pythia issues 202, 205 and 206).
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config.errors import BenchmarkError
from benchmark.language.capability_record import (
    CapabilityRecord,
    Look,
    PromptChoice,
    Refused,
    read_capability_record,
    record_path,
    write_capability_record,
)
from benchmark.language.checkpoint_series import CheckpointSeries, SeriesMember
from benchmark.language.emergence_search import Method, emergence, next_look
from benchmark.language.hub_files import Missing, equal_files, weight_hashes
from benchmark.language.prompts import Amount, Capability, Prompt, Text, digest, prompts_for

MOST_REFUSED = 8
"""Checkpoints with equal weights after which a model is given up: each may cost a download."""


class FaultySeries(BenchmarkError):
    """Too few checkpoints of a model can be used."""


@dataclass(frozen=True)
class CapabilityQuestion:
    """The question that is asked of every checkpoint.

    Attributes:
        capabilities: which.
        text: kind of text of the prompts.
        amount: many prompts, or the single one.
        n: number of prompts, where there are many.
        seed: draws them.
        threshold: accuracy from which on a capability counts as there, above 0 and at most 1.
        method: of the search.
    """

    capabilities: tuple[Capability, ...]
    text: Text
    amount: Amount = "many"
    n: int = 64
    seed: int = 0
    threshold: float = 0.5
    method: Method = "bisection"

    def prompts(self, capability: Capability) -> tuple[Prompt, ...]:
        """The prompts of a capability."""
        return prompts_for(capability, self.text, self.amount, self.n, self.seed)

    def choice(self, capability: Capability) -> PromptChoice:
        """The prompts as a record names them."""
        prompts = self.prompts(capability)
        seed = 0 if self.amount == "single" else self.seed
        return PromptChoice(text=self.text, amount=self.amount, n=len(prompts), seed=seed, sha256=digest(prompts))


class ModelScan:
    """The search in one model of a series; what its records hold already is not looked at again.

    Args:
        series: of checkpoints.
        member: the model.
        question: what is asked.
        out: folder of the results of the series.

    Raises:
        ValueError: one line, if a record there is of another question, or damaged.
    """

    def __init__(self, series: CheckpointSeries, member: SeriesMember, question: CapabilityQuestion, out: Path) -> None:
        self.series, self.member, self.question, self.out = series, member, question, out
        self.looks: dict[Capability, dict[int, Look]] = {name: {} for name in question.capabilities}
        self.missing: set[int] = set()
        self.refused: dict[int, Refused] = {}
        self.methods: dict[Capability, Method] = dict.fromkeys(question.capabilities, question.method)
        self._tokenizer: Any = None
        self.about: dict[str, Any] = {"model_type": None, "parameters": None, "versions": {}}
        for capability in question.capabilities:
            if (path := self._path(capability)).is_file():
                self._take_up(capability, path)
        for looks in self.looks.values():
            for step in self.refused:
                looks.pop(step, None)

    def _take_up(self, capability: Capability, path: Path) -> None:
        old = read_capability_record(path)
        asked = (self.series.name, self.member.name, self.question.choice(capability), self.question.threshold)
        if (old.series, old.repository, old.prompts, old.threshold) != asked:
            raise BenchmarkError(
                f"{path}: answers another question (series, prompts or threshold), and is never replaced:"
                " choose another --out"
            )
        self._check_weights(old, path)
        there = self.series.steps[self.member]
        self.looks[capability] = {look.step: look for look in old.looks if look.step in there}
        self.missing |= set(old.missing) & set(there)
        self.refused |= {each.step: each for each in old.refused}
        if old.method == "every":
            self.methods[capability] = "every"
        self.about = {name: getattr(old, name) or self.about[name] for name in self.about}

    def _check_weights(self, old: CapabilityRecord, path: Path) -> None:
        """Refuse the record of another folder of the same name: the first checkpoint of it that is there tells."""
        for look in old.looks if self.member.is_local else ():
            with suppress(Missing):
                if weight_hashes(self.series.folder(self.member, look.step)) != look.weights:
                    raise BenchmarkError(
                        f"{path}: was measured with other weights of step {look.step}, and is never replaced: choose"
                        " another --out"
                    )
                return

    @property
    def usable(self) -> list[int]:
        """Steps of the checkpoints that are not known to be missing or refused."""
        return [
            step for step in self.series.steps[self.member] if step not in self.missing and step not in self.refused
        ]

    def next_step(self) -> int | None:
        """The checkpoint to look at next; None if every search has ended."""
        for capability in self.question.capabilities:
            step = next_look(self.usable, self._known(capability), self.methods[capability])
            if step is not None:
                return step
        return None

    def run(self) -> list[CapabilityRecord]:
        """Look at checkpoints until every search has ended, and return the records, which have been written.

        Raises:
            FaultySeries: one line, if too few checkpoints can be used.
            ValueError: one line, if a checkpoint cannot be fetched or loaded.
            CannotWrite: if a record cannot be written.
        """
        while True:
            if len(self.usable) < 2:
                raise FaultySeries(
                    f"{self.member.label}: of {len(self.series.steps[self.member])} checkpoints fewer than two can be"
                    f" used: {len(self.missing)} are missing, {len(self.refused)} have the weights of others"
                )
            if (step := self.next_step()) is None:
                return self.save()
            self._look(step)
            self.save()

    def save(self) -> list[CapabilityRecord]:
        """Write the record of each capability, unless it is there as it is."""
        records = []
        for capability in self.question.capabilities:
            record, path = self.record(capability), self._path(capability)
            if not (path.is_file() and read_capability_record(path) == record):
                write_capability_record(path, record)
            records.append(record)
        return records

    def record(self, capability: Capability) -> CapabilityRecord:
        """The record of a capability as things stand."""
        steps, looks = self.usable, self.looks[capability]
        found = emergence(steps, self._known(capability), self.methods[capability])
        return CapabilityRecord(
            series=self.series.name,
            size=self.member.size,
            seed=self.member.seed,
            repository=self.member.name,
            capability=capability,
            prompts=self.question.choice(capability),
            threshold=self.question.threshold,
            method=self.methods[capability],
            n_steps=len(self.series.steps[self.member]),
            looks=tuple(looks[step] for step in sorted(looks)),
            missing=tuple(sorted(self.missing)),
            refused=tuple(self.refused[step] for step in sorted(self.refused)),
            status=found.status,
            first_step=steps[0] if steps else 0,
            last_step=steps[-1] if steps else 0,
            emergence_step=found.step,
            previous_step=found.previous,
            holds_next=found.holds_next,
            **self.about,
        )

    def _path(self, capability: Capability) -> Path:
        return record_path(self.out, self.member.size, self.member.seed, capability)

    def _known(self, capability: Capability) -> dict[int, bool]:
        return {step: look.accuracy >= self.question.threshold for step, look in self.looks[capability].items()}

    def _look(self, step: int) -> None:
        """Look at a checkpoint, or note why it cannot be used."""
        try:
            folder = self.series.folder(self.member, step)
        except Missing as error:
            self.missing.add(step)
            warnings.warn(f"{self.member.label}: step {step} is missing ({error}): its neighbours count", stacklevel=2)
            return
        weights = weight_hashes(folder)
        if twins := self._twins(step, weights):
            self._refuse(step, weights, twins)
            return
        from benchmark.language.language_model import load_model, load_tokenizer, sureness, tokenized

        if self._tokenizer is None or self.series.tokenizer is None:
            self._tokenizer = load_tokenizer(self.series.tokenizer_folder(self.member, folder))
        model = load_model(folder)
        for capability in self.question.capabilities:
            tokens = tokenized(self._tokenizer, self.question.prompts(capability))
            found = sureness(model, tokens, f"{self.member.label}, step {step}")
            self.looks[capability][step] = Look(
                step=step, probability=found.probability, accuracy=found.accuracy, weights=weights
            )
        self.about = _about(model)

    def _twins(self, step: int, weights: Mapping[str, str]) -> dict[int, dict[str, str]]:
        """Hashes of the other checkpoints with a file of these weights, by their steps."""
        seen = {each.step: each.weights for each in self.refused.values()}
        seen |= {look.step: look.weights for looks in self.looks.values() for look in looks.values()}
        return {other: theirs for other, theirs in seen.items() if other != step and equal_files(weights, theirs)}

    def _refuse(self, step: int, weights: dict[str, str], twins: Mapping[int, dict[str, str]]) -> None:
        """Refuse checkpoints with equal weights, all of them: which step the weights belong to is unknown."""
        group = {step: weights, **twins}
        for other, hashes in group.items():
            equal_to = {*group} - {other}
            if (before := self.refused.get(other)) is not None:
                equal_to |= set(before.equal_to)
            self.refused[other] = Refused(step=other, equal_to=tuple(sorted(equal_to)), weights=hashes)
            for looks in self.looks.values():
                looks.pop(other, None)
        files = sorted({name for theirs in twins.values() for name in equal_files(weights, theirs)})
        warnings.warn(
            f"{self.member.label}: the weights of steps {' and '.join(map(str, sorted(group)))} are equal"
            f" ({', '.join(files)}), so that nobody knows whose they are: none of these steps counts",
            stacklevel=3,
        )
        if len(self.refused) > MOST_REFUSED:
            self.save()
            raise FaultySeries(
                f"{self.member.label}: {len(self.refused)} checkpoints have the weights of others (steps"
                f" {', '.join(map(str, sorted(self.refused)))}): there is no telling when anything emerged"
            )


def _about(model: Any) -> dict[str, Any]:
    import torch
    import transformers

    return {
        "model_type": model.config.model_type,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "versions": {"torch": str(torch.__version__), "transformers": transformers.__version__},
    }


def plan(scans: Sequence[ModelScan]) -> list[dict[str, Any]]:
    """For each model what is recorded and how many checkpoints at most will be looked at; nothing is loaded."""
    rows = []
    for scan in scans:
        seen = {step for looks in scan.looks.values() for step in looks}
        steps, every = scan.usable, "every" in scan.methods.values()
        halvings = math.ceil(math.log2(max(len(steps) - 1, 1)))
        each = len(scan.question.capabilities) * (halvings + 1) + 2
        most = len(steps) if every else min(len(steps), each)
        left = 0 if scan.next_step() is None else max(1, most - len(seen))
        rows.append(
            {
                "size": scan.member.size,
                "seed": scan.member.seed,
                "checkpoints": f"steps {steps[0]} to {steps[-1]} of {scan.member.name}" if steps else "none",
                "looked_at": len(seen),
                "to_look_at": left,
            }
        )
    return rows
