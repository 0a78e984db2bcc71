"""The configuration of a run: one typed object, wherever it comes from: the command line, YAML, a record or Python."""

import copy
import inspect
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from architectures import SequenceModel
from architectures.weight_parts import WEIGHT_PARTS
from benchmark.config.errors import unknown
from benchmark.config.protocol import OptimizerConfig, Protocol
from benchmark.config.seeds import LARGEST, parse_seeds
from benchmark.metrics.registry import BASIC, METRICS
from benchmark.probes.registry import PROBES
from datamodules import TaskDataModule
from leaderboard.paths import user_path
from leaderboard.records.record import Intervention, RecordedBias, RecordedFirstStage, RecordedFork, Seeds

MOST_BYTES = 200
"""Of the name of a run: it is a folder's, which file systems limit to 255, and other names are made of it."""

SEEDS = ("task_seed", "init_seed", "data_seed")
FROM_TASK = ("vocab_size", "seq_len")
"""Arguments of a model that its task gives it."""

PARTS = ("model", "data", "optimizer", "protocol", "trainer")
DEFAULT_TAKEN = ("attention", "mlp", "norms")
"""Parts that a run takes over from another one where none are named: its blocks."""

PRECISION_NAMES = {"16": "16-mixed", "32": "32-true", "64": "64-true", "bf16": "bf16-mixed"}
"""Lightning's short names of precisions, and what they mean."""

OF_ONE_RUN = ("seed", "seeds", "out", "name", "suite", "cell", "first_stage")
"""Options that a sweep sets for each run."""


@dataclass(frozen=True)
class Choice:
    """A class and its options.

    Args:
        cls: an architecture or the data module of a task.
        options: by name, as parsed; those that are not there have the class's defaults.
    """

    cls: type
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The registered name."""
        return self.cls.__name__

    @property
    def class_path(self) -> str:
        """Import path of the class."""
        return f"{self.cls.__module__}.{self.cls.__qualname__}"

    def build(self, *args: Any, **more: Any) -> Any:
        """An instance, with its own copies of the options.

        Args:
            args: positional arguments before the options.
            more: further options.
        """
        options = copy.deepcopy(dict(self.options))
        if any(isinstance(value, Namespace) for value in options.values()):  # an option that is a class itself
            parser = ArgumentParser(exit_on_error=False)
            skip = {*list(inspect.signature(self.cls).parameters)[: len(args)], *more}
            parser.add_class_arguments(self.cls, "of", skip=skip, instantiate=False, fail_untyped=False)
            options = vars(parser.instantiate(Namespace(of=Namespace(**options))).of)
        return self.cls(*args, **options, **more)


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run, and where it goes.

    Args:
        model: architecture and its options.
        data: task and its options.
        optimizer: AdamW's settings.
        protocol: budget and evaluation grid.
        trainer: Lightning's options, parsed, its callbacks and loggers not built yet.
        seed: Sets the three seeds below at once.
        seeds: Many seeds in one process, like 0-31 or 0-4,7.
        cuda_graph: With seeds on a GPU: launch a whole step at once.
        task_seed: Seed of what the run has to learn.
        init_seed: Seed of the initial weights.
        data_seed: Seed of the stream of sequences.
        out: Folder of all runs.
        name: Name of the run's folder; by default date and time.
        picture: Draw the curves when the run ends.
        checkpoint_interval_s: Least time between checkpoints.
        keep_every: Steps between checkpoints that are kept; a multiple of protocol.eval_every.
        keep_checkpoints: Keep them after every evaluation (or every keep_every steps), or around every hit.
        keep_resumable: Keep whole checkpoints, of which a run can be forked, in place of weights.
        metrics: Names of further metrics for the curves, with commas between or as a list.
        probes: Names of probes that look into the model, likewise; they fill a table and change nothing.
        attention_bias: Intervention: add so many times the task's attention pattern to the logits of every head.
        attention_bias_steps: Steps of it, FIRST:END, the last one not included; by default the whole run.
        forked: Of a run that `fork` made: from what. Not for other runs.
        init_from: Run whose weights to begin with, as FOLDER or FOLDER@STEP; of FOLDER/seedK, each seed takes its own.
        init_parts: Parts of its model to take, with commas between or as a list; by default attention,mlp,norms.
        init_permuted: Permute the entries of every tensor that is taken: a control.
        first_stage: Of a run with init_from: what was taken, as fit writes it. Not for other runs.
        suite: Suite that the record names.
        cell: Cell of a suite that the record names.

    Raises:
        ValueError: if a value is out of range, or two exclude each other.
    """

    model: Choice
    data: Choice
    optimizer: OptimizerConfig = OptimizerConfig()
    protocol: Protocol = Protocol()
    trainer: Namespace = field(default_factory=Namespace)
    seed: int = 0
    seeds: str | None = None
    cuda_graph: bool = True
    task_seed: int | None = None
    init_seed: int | None = None
    data_seed: int | None = None
    out: str = "runs"
    name: str | None = None
    picture: bool = True
    checkpoint_interval_s: float = 10.0
    keep_every: int | None = None
    keep_checkpoints: Literal["every", "around_hits"] | None = None
    keep_resumable: bool = False
    metrics: list[str] | str | None = None
    probes: list[str] | str | None = None
    attention_bias: float | None = None
    attention_bias_steps: str | None = None
    forked: str | None = None
    init_from: str | None = None
    init_parts: list[str] | str | None = None
    init_permuted: bool = False
    first_stage: str | None = None
    suite: str | None = None
    cell: str | None = None

    def __post_init__(self) -> None:
        if not self.checkpoint_interval_s >= 0:
            raise ValueError(f"--checkpoint_interval_s must not be negative, got {self.checkpoint_interval_s}")
        if self.checkpoint_interval_s == math.inf:
            raise ValueError("--checkpoint_interval_s must be finite; to save at the end only, give the run's length")
        for name in ("seed", *SEEDS):
            if (value := getattr(self, name)) is not None and not 0 <= value <= LARGEST:
                raise ValueError(f"--{name} must be in 0..2^63 - 1, got {value}")
        object.__setattr__(self, "out", str(user_path(self.out, "--out")))
        self._check_texts()
        self._check_kept()
        self._take_names("metrics", "metric", METRICS)
        self._take_names("probes", "probe", PROBES)
        self._take_names("init_parts", "part", dict.fromkeys(WEIGHT_PARTS))
        self._check_init()
        if self.seeds is not None and self.seed:
            raise ValueError("--seed and --seeds exclude each other")
        if self.precision in {"16", "16-mixed"} or (self.seeds is not None and self.precision == "16-true"):
            raise ValueError(
                f"--trainer.precision {self.precision} scales the loss before gradients are clipped, and of all seeds"
                " alike: take bf16-mixed or 32-true"
            )
        _ = self.numbers, self.intervention

    def _take_names(self, option: str, kind: str, known: Mapping[str, Any]) -> None:
        """Make a list of registered names from what was given for an option."""
        given = getattr(self, option)
        names = [name.strip() for name in (given.split(",") if isinstance(given, str) else given or [])]
        object.__setattr__(self, option, names or None)
        for name in names:
            if known is METRICS and name in BASIC:
                raise ValueError(f"--{option} {name}: every run has it")
            if name not in known:
                raise ValueError(unknown(kind, name, sorted(known), f" for --{option}"))
            if names.count(name) > 1:
                raise ValueError(f"--{option} names {name} twice")

    def _check_kept(self) -> None:
        every = self.protocol.eval_every
        if self.keep_every is not None and (self.keep_every < 1 or self.keep_every % every):
            raise ValueError(f"--keep_every must be a multiple of protocol.eval_every = {every}, got {self.keep_every}")
        if self.keep_resumable and self.keep_every is None and self.keep_checkpoints is None:
            raise ValueError("--keep_resumable says how to keep checkpoints: add --keep_checkpoints or --keep_every")
        if self.keep_resumable and self.seeds is not None:
            raise ValueError("--keep_resumable is for a run of one seed: give --seed in the place of --seeds")

    def _check_init(self) -> None:
        for name in ("init_parts", "init_permuted"):
            if self.init_from is None and getattr(self, name):
                raise ValueError(f"--{name} is for --init_from, which is not given")
        if self.init_from is not None:
            object.__setattr__(self, "init_from", str(user_path(self.init_from, "--init_from")))

    @property
    def taken(self) -> tuple[str, ...]:
        """The parts of a model that `init_from` takes, in the order of `WEIGHT_PARTS`."""
        return tuple(part for part in WEIGHT_PARTS if part in (self.init_parts or DEFAULT_TAKEN))

    def _check_texts(self) -> None:
        require_names(vars(self))
        if self.name is not None and not re.fullmatch(r"[\w.+=-]*\w[\w.+=-]*", self.name):
            raise ValueError(f"--name must be letters, digits, '.', '_', '-', '+' and '=', got {self.name!r}")
        if self.name is not None and self.name.startswith("."):
            raise ValueError(f"--name must not begin with a dot, as hidden folders do, got {self.name!r}")
        if self.name is not None and len(self.name.encode()) > MOST_BYTES:
            raise ValueError(f"--name has {len(self.name.encode())} bytes, at most {MOST_BYTES} are possible")
        for name in ("suite", "cell"):
            if (text := getattr(self, name)) is not None and not (text and text.isprintable() and text == text.strip()):
                raise ValueError(f"--{name} must be a name of printable characters, got {text!r}")

    @property
    def numbers(self) -> tuple[int, ...]:
        """The seeds, at least one.

        Raises:
            ValueError: one line, if they are not written as numbers and ranges.
        """
        return (self.seed,) if self.seeds is None else parse_seeds(self.seeds)

    @property
    def intervention(self) -> Intervention | None:
        """The changes that an experiment makes to the run, of many seeds those of the first; None for a run as it is.

        Raises:
            ValueError: one line, if it is not written as it should be.
        """
        if self.attention_bias is None and self.attention_bias_steps is not None:
            raise ValueError("--attention_bias_steps is for --attention_bias, which is not given")
        if self.attention_bias is None and self.forked is None and self.first_stage is None:
            return None
        return Intervention(
            attention_bias=None if self.attention_bias is None else self._bias(self.attention_bias),
            fork=None if self.forked is None else parse_fork(self.forked),
            first_stage=None if self.first_stage is None else self.first_stages[0],
        )

    @property
    def first_stages(self) -> list[RecordedFirstStage]:
        """The weights that each seed took from another run; empty where nothing is known of it.

        Raises:
            ValueError: one line, if it is not written as `fit` writes it.
        """
        found = [] if self.first_stage is None else parse_first_stages(self.first_stage)
        if found and len(found) != len(self.numbers):
            raise ValueError(f"--first_stage tells of {len(found)} seeds, the run has {len(self.numbers)}")
        return found

    def _bias(self, strength: float) -> RecordedBias:
        if not math.isfinite(strength):
            raise ValueError(f"--attention_bias must be a finite number, got {strength}")
        if self.attention_bias_steps is None:
            return RecordedBias(strength=strength, first_step=0, end_step=None)
        found = re.fullmatch(r"(\d{1,18})?:(\d{1,18})?", self.attention_bias_steps)
        first, end = (None if text is None else int(text) for text in (found.groups() if found else (None, None)))
        if not found or not (first or 0) < (math.inf if end is None else end):
            got = self.attention_bias_steps
            raise ValueError(f"--attention_bias_steps must be FIRST:END with FIRST below END, like 0:500; got {got!r}")
        if (first or 0) > (last := self.protocol.max_steps):
            raise ValueError(f"--attention_bias_steps {self.attention_bias_steps}: the run ends at step {last}")
        return RecordedBias(strength=strength, first_step=first or 0, end_step=end)

    @property
    def precision(self) -> str:
        """Lightning's full name of the numeric precision, whichever of its names was given."""
        given = str(self.trainer.get("precision") or "32-true")
        return PRECISION_NAMES.get(given, given)

    def three_seeds(self, seed: int) -> Seeds:
        """The three seeds of one of the seeds."""
        return Seeds(**{name: seed if getattr(self, name) is None else getattr(self, name) for name in SEEDS})

    def of_seed(self, seed: int) -> "RunConfig":
        """The configuration of one of the seeds alone."""
        stages = self.first_stages
        own = first_stages_text([stages[self.numbers.index(seed)]]) if stages and self.seeds is not None else None
        return replace(self, seed=seed, seeds=None, first_stage=own or self.first_stage)

    def with_options(self, values: Mapping[str, Any]) -> "RunConfig":
        """Other values for options of the parts, like ``data.n_nonzero``, as they would be parsed.

        Raises:
            ValueError: if one is out of range.
        """
        changes: dict[str, Any] = {}
        for part in dict.fromkeys(key.partition(".")[0] for key in values):
            own = {key.partition(".")[2]: value for key, value in values.items() if key.partition(".")[0] == part}
            before = getattr(self, part)
            is_choice = isinstance(before, Choice)
            changes[part] = replace(before, **({"options": {**before.options, **own}} if is_choice else own))
        return replace(self, **changes)


def intervention_options(intervention: Intervention | None) -> dict[str, Any]:
    """The options of `RunConfig` that say what an experiment changed of a run, from its record."""
    if intervention is None:
        return {}
    bias, fork, stage = intervention.attention_bias, intervention.fork, intervention.first_stage
    return {
        **({} if bias is None else {"attention_bias": bias.strength, "attention_bias_steps": bias.steps}),
        **({} if fork is None else {"forked": fork_text(fork)}),
        **({} if stage is None else {"first_stage": first_stages_text([stage])}),
    }


def fork_text(fork: RecordedFork) -> str:
    """A fork as `parse_fork` reads it: PARENT@STEP and what was changed, with blanks between."""
    return " ".join([f"{fork.parent}@{fork.step}", *fork.changes])


def parse_fork(text: str) -> RecordedFork:
    """The fork that `fork_text` wrote.

    Raises:
        ValueError: one line, if it did not.
    """
    found = re.fullmatch(r"([0-9a-f]{64})@(\d{1,18})((?: [\w:.=-]+)*)", text)
    if found is None:
        raise ValueError(f"--forked is written by python -m benchmark fork, not by hand; got {text!r}")
    return RecordedFork(parent=found[1], step=int(found[2]), changes=tuple(found[3].split()))


def first_stages_text(stages: Iterable[RecordedFirstStage]) -> str:
    """The first stage of each seed, as `parse_first_stages` reads it: SOURCE@STEP TOKENS PARTS, with "; " between."""
    words = ([f"{x.source}@{x.step}", str(x.tokens), ",".join(x.parts), *(["permuted"] * x.permuted)] for x in stages)
    return "; ".join(" ".join(each) for each in words)


def parse_first_stages(text: str) -> list[RecordedFirstStage]:
    """The first stages that `first_stages_text` wrote.

    Raises:
        ValueError: one line, if it did not.
    """
    found = []
    for part in text.split("; "):
        words = re.fullmatch(r"([0-9a-f]{64})@(\d{1,18}) (\d{1,18}) ([a-z,]+)( permuted)?", part)
        if words is None or not {*words[4].split(",")} <= {*WEIGHT_PARTS}:
            raise ValueError(f"--first_stage is written by fit with --init_from, not by hand; got {text!r}")
        source, step, tokens, parts, permuted = words.groups()
        found.append(
            RecordedFirstStage(
                source=source,
                step=int(step),
                tokens=int(tokens),
                parts=tuple(parts.split(",")),
                permuted=bool(permuted),
            )
        )
    return found


def require_names(options: Mapping[str, Any]) -> None:
    """Raise a ValueError for a name that the parser takes for none."""
    for name in ("name", "suite", "cell"):
        if options.get(name) == "null":
            raise ValueError(f"--{name} cannot be null: on the command line and in YAML, that is no {name}")


def seeds_text(seeds: str | int | Iterable[int]) -> str:
    """Seeds as they are written on the command line, from a range, a list or the text itself."""
    if isinstance(seeds, str):
        return seeds
    numbers = [seeds] if isinstance(seeds, Integral) else list(seeds) if isinstance(seeds, Iterable) else []
    if not numbers or not all(isinstance(seed, Integral) and not isinstance(seed, bool) for seed in numbers):
        raise ValueError(f"seeds must be whole numbers, at least one, like range(5) or '0-4,7'; got {seeds!r}")
    return ",".join(str(int(seed)) for seed in numbers)


def model_options(cls: type[SequenceModel]) -> list[str]:
    """Names of the options of an architecture that a user may set."""
    return [name for name in inspect.signature(cls).parameters if name not in FROM_TASK]


def data_options(cls: type[TaskDataModule]) -> list[str]:
    """Names of the options of a task that a user may set."""
    return [name for name in inspect.signature(cls).parameters if name not in SEEDS]
