"""The identity of a run: everything that decides its numbers, in the words of a record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from architectures import SequenceModel
from architectures.model import parameter_rules
from benchmark.config.protocol import OptimizerConfig, Protocol
from benchmark.config.run_config import SEEDS, intervention_options
from datamodules import TaskDataModule
from leaderboard.records import record


@dataclass(frozen=True)
class RunIdentity:
    """Two runs with the same identity on the same code and machine are the same run.

    Args:
        architecture: name, version, backend and configuration.
        task: name, version and configuration.
        protocol: budget, evaluation grid, tokens per step, targets.
        optimizer: AdamW's settings.
        seeds: task_seed (matrix, rules), init_seed (weights), data_seed (sequences); of many seeds, those of the first.
        precision: Lightning's name of the numeric precision.
        many: of a run of many seeds, which differ in nothing else, the three of each by its number.
        intervention: what an experiment changes of the run; None for most.
    """

    architecture: record.Architecture
    task: record.RecordedTask
    protocol: record.RecordedProtocol
    optimizer: dict[str, Any]
    seeds: record.Seeds
    precision: str
    many: Mapping[int, record.Seeds] | None = None
    intervention: record.Intervention | None = None

    @classmethod
    def of(cls, of: record.Record) -> "RunIdentity":
        """The identity of the run of a record."""
        return cls(
            of.architecture, of.task, of.protocol, of.optimizer, of.seeds, of.precision, intervention=of.intervention
        )

    def flat(self) -> dict[str, Any]:
        """Every decided value under the name by which the command line knows it, as plain types."""
        protocol = self.protocol.model_dump(mode="json")
        return {
            "model": self.architecture.name,
            "model version": self.architecture.version,
            **({"model library": self.architecture.library} if self.architecture.library else {}),
            **_prefixed("model", self.architecture.model_dump(mode="json")["config"]),
            "data": self.task.name,
            "data version": self.task.version,
            **_prefixed("data", self.task.model_dump(mode="json")["config"]),
            "data.tokens_per_step": protocol.pop("tokens_per_step"),
            "data.eval_sequences": protocol.pop("eval_sequences"),
            **_prefixed("protocol", protocol),
            **_prefixed("optimizer", self.optimizer),
            **self._seeds(),
            "trainer.precision": self.precision,
            **intervention_options(self.intervention),  # of most runs nothing, as in checkpoints of older versions
        }

    def _seeds(self) -> dict[str, Any]:
        """The three seeds; of many seeds, three lists and their numbers."""
        if self.many is None:
            return self.seeds.model_dump()
        lists = {name: [getattr(seeds, name) for seeds in self.many.values()] for name in SEEDS}
        return {**lists, "seeds": list(self.many)}


def _exceptions(model: SequenceModel, optimizer: OptimizerConfig) -> dict[str, list[str]]:
    """The architecture's rules where they decide something: parameters without weight decay, and "FACTOR NAME" of those
    with a learning rate of their own."""
    rules = parameter_rules(model)
    undecayed = [name for name, rule in rules.items() if not rule.decays and optimizer.weight_decay]
    factors = [f"{rule.lr_factor:g} {name}" for name, rule in rules.items() if rule.lr_factor != 1]
    return {key: names for key, names in (("no_weight_decay", undecayed), ("lr_factors", factors)) if names}


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first name whose values differ, and both values; None if there is none. Tuples count as lists."""
    for name in [*here, *there]:
        values = [list(v) if isinstance(v, tuple) else v for v in (there.get(name), here.get(name))]
        if values[0] != values[1]:
            return name, values[0], values[1]
    return None


def _prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{name}": value for name, value in values.items()}


def identify(
    model: SequenceModel,
    model_config: Mapping[str, Any],
    data: TaskDataModule,
    protocol: Protocol,
    optimizer: OptimizerConfig,
    init_seed: int,
    precision: str,
    intervention: record.Intervention | None = None,
) -> RunIdentity:
    """The identity of a run.

    Args:
        model: the architecture, built.
        model_config: the arguments it was built from, vocabulary and length aside.
        data: the data module, built.
        protocol: budget and evaluation grid.
        optimizer: AdamW's settings.
        init_seed: seed of the initial weights.
        precision: Lightning's name of the numeric precision.
        intervention: what an experiment changes of the run.
    """
    task = data.task
    return RunIdentity(
        architecture=record.Architecture(
            name=type(model).__name__,
            version=model.version,
            backend=model.backend,
            config=dict(model_config),
            library=model.library or None,
        ),
        task=record.RecordedTask(name=task.name, version=task.version, config=dict(task.config)),
        protocol=record.RecordedProtocol(
            **asdict(protocol),
            tokens_per_step=data.tokens_per_step,
            eval_sequences=data.eval_sequences,
            primary=task.primary,
            targets=tuple(record.RecordedTarget(**asdict(target)) for target in task.targets),
        ),
        optimizer={**asdict(optimizer), "betas": list(optimizer.betas), **_exceptions(model, optimizer)},
        seeds=record.Seeds(task_seed=task.task_seed, init_seed=init_seed, data_seed=task.data_seed),
        precision=precision,
        intervention=intervention,
    )
