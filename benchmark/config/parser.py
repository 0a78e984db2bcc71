"""From YAML's mappings, Python's arguments or the command line's namespace to a `RunConfig`, and back to YAML.

All of them go through the same typed arguments, so that defaults, conversions and mistakes are the same everywhere.
"""

import inspect
import typing
import warnings
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from pydoc import locate
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from architectures import ARCHITECTURES, SequenceModel
from architectures.registry import is_registered
from benchmark.config import errors
from benchmark.config.files.yaml_text import from_text, use_in_parsers
from benchmark.config.loggers import fill_in_folders, with_folder
from benchmark.config.plugins import families_in_parsers, foreign_names
from benchmark.config.protocol import OptimizerConfig, Protocol
from benchmark.config.run_config import (
    FROM_TASK,
    PARTS,
    Choice,
    RunConfig,
    data_options,
    intervention_options,
    model_options,
    require_names,
)
from benchmark.config.trainer_objects import check_objects
from datamodules import TASKS, TaskDataModule
from leaderboard.records.record import Record

use_in_parsers()
families_in_parsers()

HARNESS_OWNS = {
    "max_steps", "min_steps", "max_epochs", "min_epochs", "max_time", "val_check_interval", "check_val_every_n_epoch",
    "num_sanity_val_steps", "gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches",
    "limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches", "overfit_batches",
    "fast_dev_run", "enable_checkpointing", "enable_model_summary", "default_root_dir", "barebones",
    "reload_dataloaders_every_n_epochs", "use_distributed_sampler",
}  # fmt: skip
"""Trainer arguments that the protocol decides: offering them would let two runs of one protocol differ."""

OFFERED = {
    "accelerator", "devices", "num_nodes", "strategy", "plugins", "precision", "logger", "callbacks",
    "log_every_n_steps", "enable_progress_bar", "enable_autolog_hparams", "profiler", "detect_anomaly",
    "deterministic", "benchmark", "inference_mode", "sync_batchnorm", "model_registry",
}  # fmt: skip
"""Trainer arguments that leave training as it is: where it takes place, what is shown of it, and how exactly kernels
repeat themselves. The precision is recorded; `check_objects` looks at those that are objects, or must not be set."""


def _own_or(own: int | None, seed: int) -> int:
    return seed if own is None else own


def add_run_arguments(parser: ArgumentParser) -> None:
    """Everything but the trainer's options: seeds and output, architecture, task, optimizer, protocol."""
    parser.add_class_arguments(RunConfig, None, skip=set(PARTS))
    parser.add_subclass_arguments(SequenceModel, "model", required=True)
    parser.add_subclass_arguments(TaskDataModule, "data", fail_untyped=False, required=True)
    parser.add_class_arguments(OptimizerConfig, "optimizer")
    parser.add_class_arguments(Protocol, "protocol")
    for name in FROM_TASK:
        parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")
    for name in ("task_seed", "data_seed"):
        parser.link_arguments((name, "seed"), f"data.init_args.{name}", compute_fn=_own_or)


def add_trainer_arguments(parser: ArgumentParser) -> None:
    """Lightning's trainer, without what the protocol decides."""
    from lightning import Trainer

    skip = set(inspect.signature(Trainer).parameters) - OFFERED  # also what a later version of Lightning may add
    parser.add_class_arguments(Trainer, "trainer", skip=skip, instantiate=False, fail_untyped=False, sub_configs=True)


def known_options(parser: ArgumentParser) -> list[str]:
    """Every option of a parser without its dashes, those of all architectures and tasks among them."""
    options = [option.lstrip("-") for action in parser._actions for option in action.option_strings]
    options += [f"model.{name}" for cls in ARCHITECTURES.values() for name in model_options(cls)]
    return options + [f"data.{name}" for cls in TASKS.values() for name in data_options(cls)]


class _Parser(ArgumentParser):
    """Raises a mistake as a ValueError of one line that names the nearest valid choice."""

    words: Sequence[str] = ()

    def validate(self, namespace: Namespace, *args: Any, **kwargs: Any) -> None:
        """Check values, those that follow from the run filled in."""
        fill_in_folders(namespace)
        super().validate(namespace, *args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise ValueError(errors.explain(message, self.words, known_options(self))) from ex


@cache
def _run_parser() -> _Parser:
    parser = _Parser(exit_on_error=False)
    add_run_arguments(parser)
    return parser


@cache
def _trainer_parser() -> _Parser:
    parser = _Parser(exit_on_error=False)
    add_trainer_arguments(parser)
    return parser


def parse(content: Mapping[str, Any], words: Sequence[str] = ()) -> RunConfig:
    """The configuration that a mapping describes, as in a YAML file for `fit`.

    Args:
        content: `model` and `data` as names, or as class_path and init_args; the other parts as mappings of options.
        words: options as written on a command line, for messages.

    Raises:
        ValueError: one line that says what is wrong with it.
    """
    trainer = parse_trainer(content.get("trainer") or {}, words)
    return from_namespace(_parsed(content, words), content, trainer)


def parse_value(content: Mapping[str, Any], key: str, words: Sequence[str] = ()) -> Any:
    """The value of an option like ``data.n_nonzero`` as it is parsed, whether or not it goes together with others.

    Raises:
        ValueError: one line, if it is not of the option's type.
    """
    part, _, option = key.partition(".")
    parsed = _parsed(content, words)[part]
    return parsed.init_args[option] if part in {"model", "data"} else parsed[option]


def _parsed(content: Mapping[str, Any], words: Sequence[str]) -> Namespace:
    """All but the trainer's options."""
    parser = _run_parser()
    _require_known(parser, "", content, also={"ckpt_path", *PARTS})
    for part in ("optimizer", "protocol"):
        _require_known(parser, f"{part}.", content.get(part) or {})
    left_out = {"ckpt_path", "trainer", *(part for part in PARTS if content.get(part) is None)}
    require_names(content)
    parser.words = words
    given = {key: value for key, value in content.items() if key not in left_out}
    return parser.parse_object(given | {key: _by_name(given[key]) for key in ("model", "data") if key in given})


def _by_name(choice: Any) -> Any:
    """A class of a script or a notebook by its registered name: in another one its import path leads nowhere."""
    if isinstance(choice, Mapping) and str(choice.get("class_path")).startswith("__main__."):
        return {**choice, "class_path": choice["class_path"].removeprefix("__main__.")}
    return choice


def _require_known(parser: _Parser, prefix: str, options: Any, also: Collection[str] = ()) -> None:
    """Raise a ValueError that names the first unknown key by its whole name, where the parser would say its last part,
    or, if its value is an empty mapping, nothing."""
    if not isinstance(options, Mapping):
        raise ValueError(f"--{prefix.rstrip('.')}: must be a mapping of options, got {options!r}")
    known = {action.dest for action in parser._actions}
    for key in options:
        if f"{prefix}{key}" not in known and key not in also:
            options = [*known_options(_run_parser()), *known_options(_trainer_parser())]
            raise ValueError(errors.unknown_option(f"--{prefix}{key}", options))


def parse_trainer(options: Mapping[str, Any], words: Sequence[str] = ()) -> Namespace:
    """Lightning's options with all defaults; callbacks and loggers may be objects, or class_path and init_args.

    Raises:
        ValueError: one line that says what is wrong with it.
    """
    parser = _trainer_parser()
    _require_known(parser, "trainer.", options)
    parser.words = words
    return parser.parse_object({"trainer": dict(options)}).trainer


def built_trainer_options(trainer: Namespace) -> dict[str, Any]:
    """Lightning's options, callbacks built, but no loggers; none if nothing was parsed.

    Raises:
        ValueError: if one cannot be built, or would train something else than the protocol says.
    """
    if not vars(trainer):
        return {}
    quiet = trainer.clone()
    quiet["logger"] = False
    options = _built(quiet)
    check_objects(options)
    return options


def built_loggers(trainer: Namespace, folder: Path) -> Any:
    """The loggers of Lightning's options: objects, or whether there are to be some.

    Args:
        trainer: Lightning's options.
        folder: of the run, for loggers that ask for a folder where none is given.

    Raises:
        ValueError: one line, if one cannot be built: a package is not installed, an argument is wrong.
    """
    return _built(Namespace(logger=with_folder(trainer.get("logger"), folder))).get("logger")


def _built(trainer: Namespace) -> dict[str, Any]:
    try:
        return dict(vars(_trainer_parser().instantiate(Namespace(trainer=trainer)).trainer))
    except (ImportError, ValueError) as error:  # most often that the package of a class is not installed
        raise ValueError(errors.of_a_class_that_cannot_be_built(" ".join(str(error).split()))) from error


def config_of(record: Record) -> RunConfig:
    """The configuration of a record's run, from registered names alone: nothing else is imported or executed.

    Raises:
        ValueError: one line, if architecture or task are not registered here, or an option is out of range.
    """
    for kind, name, known in (
        ("architecture", record.architecture.name, ARCHITECTURES), ("task", record.task.name, TASKS)
    ):  # fmt: skip
        if name not in known:
            raise ValueError(f"{kind} {name!r} is not registered here; known names are {', '.join(sorted(known))}")
    model, protocol = ARCHITECTURES[record.architecture.name], record.protocol
    sizes = {"tokens_per_step": protocol.tokens_per_step, "eval_sequences": protocol.eval_sequences}
    # What the architecture excepts follows from it.
    optimizer: dict[str, Any] = {k: v for k, v in record.optimizer.items() if k in OptimizerConfig.__dataclass_fields__}
    optimizer["betas"] = tuple(record.optimizer["betas"])  # type: ignore[arg-type]
    return RunConfig(
        model=Choice(model, _with_tuples(model, record.architecture.config)),
        data=Choice(TASKS[record.task.name], {**record.task.config, **sizes}),
        optimizer=OptimizerConfig(**optimizer),
        protocol=Protocol(**protocol.model_dump(include=set(Protocol.__dataclass_fields__))),
        trainer=parse_trainer({"precision": record.precision}),
        **record.seeds.model_dump(),
        **intervention_options(record.intervention),
        suite=record.suite,
        cell=record.cell,
    )


def _with_tuples(cls: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the command line hands them over: JSON knows lists only, an option may be a tuple."""
    try:
        hints = typing.get_type_hints(cls.__init__)  # type: ignore[misc]
    except Exception:  # annotations of an outside class need not resolve
        hints = {}
    tuples = {name for name, hint in hints.items() if hint is tuple or typing.get_origin(hint) is tuple}
    return {
        name: list(value) if isinstance(value, tuple) and name not in tuples else value
        for name, value in config.items()
    }


def from_namespace(parsed: Namespace, given: Mapping[str, Any], trainer: Namespace) -> RunConfig:
    """The configuration that was parsed, with the model options of the task's paper setting where none were given.

    Args:
        parsed: by a parser with `add_run_arguments`.
        given: what was asked for, without defaults.
        trainer: Lightning's options.

    Raises:
        ValueError: if an option is given that follows from others, or a value is out of range.
    """
    model, data = _choice(parsed.model), _choice(parsed.data)
    for owner, prefix, options in (
        (_class(parsed.model), "model.", model), (_class(parsed.data), "data.", data),
        (OptimizerConfig, "optimizer.", vars(parsed.optimizer)), (Protocol, "protocol.", vars(parsed.protocol)),
        (RunConfig, "", vars(parsed)),
    ):  # fmt: skip
        _require_not_null(owner, prefix, options)
    asked = {key: _options_given(given.get(key)) for key in ("model", "data")}
    for name in FROM_TASK:
        if asked["model"].get(name) is not None:
            raise ValueError(f"model.{name} follows from the task: leave it out")
        model.pop(name, None)
    for name in ("task_seed", "data_seed"):
        if asked["data"].get(name) is not None:
            raise ValueError(errors.unknown_option(f"data.{name}", ()))
        data.pop(name, None)
    data_class = _class(parsed.data)
    for name, value in data_class.model_defaults.items():
        if name in model and name not in asked["model"]:
            model[name] = value
    _warn_of_foreign(parsed, trainer)
    flat = {name: parsed[name] for name in RunConfig.__dataclass_fields__ if name not in PARTS and name in parsed}
    return RunConfig(
        model=Choice(_class(parsed.model), model),
        data=Choice(data_class, data),
        optimizer=OptimizerConfig(**vars(parsed.optimizer)),
        protocol=Protocol(**vars(parsed.protocol)),
        trainer=trainer,
        **flat,
    )


def _require_not_null(owner: type, prefix: str, options: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the first option that is null where its default, or what it must be, is not.

    The parser lets null pass wherever it stands for an option that is not set.
    """
    for name, parameter in inspect.signature(owner).parameters.items():
        has_default = parameter.default is not None and parameter.default is not inspect.Parameter.empty
        takes_null = "None" in str(parameter.annotation) or "Optional" in str(parameter.annotation)
        if name in options and options[name] is None and has_default and not takes_null:
            expected = getattr(parameter.annotation, "__name__", parameter.annotation)
            raise ValueError(f"--{prefix}{name}: expected {expected}, got value: None")


def _warn_of_foreign(parsed: Namespace, trainer: Namespace) -> None:
    """Warn of classes that are neither registered nor torch's or Lightning's: their code runs here."""
    chosen = [_class(parsed[key]) for key in ("model", "data")]
    registered: list[type] = [*ARCHITECTURES.values(), *TASKS.values()]
    outside = [cls for cls in chosen if not (cls in registered or is_registered(cls))]
    paths = [f"{cls.__module__}.{cls.__qualname__}" for cls in outside]
    for path in dict.fromkeys([*paths, *foreign_names(_class_paths(trainer))]):
        warnings.warn(f"the configuration names {path}, from outside of the suite: its code runs here", stacklevel=2)


def _class_paths(value: Any) -> list[str]:
    """Every `class_path` within parsed options."""
    if isinstance(value, Namespace | dict):
        content = vars(value) if isinstance(value, Namespace) else value
        own = [content["class_path"]] if isinstance(content.get("class_path"), str) else []
        return own + _class_paths(list(content.values()))
    return [path for part in value for path in _class_paths(part)] if isinstance(value, list | tuple) else []


def _choice(parsed: Namespace) -> dict[str, Any]:
    return dict(vars(parsed.get("init_args") or Namespace()))


def _class(parsed: Namespace) -> Any:
    return locate(parsed.class_path)


def _options_given(given: Any) -> Mapping[str, Any]:
    """Options that were asked for, from a name alone, a mapping or a namespace."""
    options = given.get("init_args") if isinstance(given, Mapping | Namespace) else None
    return vars(options) if isinstance(options, Namespace) else options or {}


def to_namespace(config: RunConfig) -> Namespace:
    """The configuration as a parser with `add_run_arguments` would have parsed it."""
    flat = {name: getattr(config, name) for name in RunConfig.__dataclass_fields__ if name not in PARTS}
    parts = {
        key: Namespace(class_path=choice.class_path, init_args=Namespace(**choice.options))
        for key, choice in (("model", config.model), ("data", config.data))
    }
    plain = {key: Namespace(**vars(getattr(config, key))) for key in ("optimizer", "protocol")}
    return Namespace(**flat, **parts, **plain)


def to_yaml(config: RunConfig) -> str:
    """YAML from which the run can be repeated, with every default written out.

    Objects among the trainer's options (callbacks made in Python) cannot be written: a comment names them.
    """
    text = _run_parser().dump(to_namespace(config), skip_unset=False, skip_validation=True)
    parser, left_out = _trainer_parser(), []
    trainer = config.trainer.clone()
    for name, value in vars(config.trainer).items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                from_text(parser.dump(Namespace(trainer=Namespace(**{name: value})), skip_validation=True))
                plain = _is_plain(value)
        except Exception:
            plain = False
        if not plain:
            left_out.append(name)
            del trainer[name]
    if vars(trainer):
        text += parser.dump(Namespace(trainer=trainer), skip_unset=False, skip_validation=True)
    return text + "".join(f"# trainer.{name}: given as an object in Python, not repeated\n" for name in left_out)


def _is_plain(value: Any) -> bool:
    """Whether YAML holds all of it."""
    if isinstance(value, Namespace):
        return all(map(_is_plain, vars(value).values()))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple | set):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
