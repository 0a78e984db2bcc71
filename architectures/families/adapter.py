"""Classes of architectures whose code is a library's, made when they are asked for."""

import inspect
import json
import re
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from torch import nn

from architectures.registry import documented

MOST = 65_536
"""Largest whole number in `config`: it may count modules, and a stranger's record may ask for millions."""

CONFIG = """further arguments of the library's own, like "attention_bias=true hidden_act=relu"; numbers, true, false,
        null and lists as in JSON."""


def adapter_class(base: Any, name: str, summary: str, defaults: Mapping[str, Any], **members: Any) -> Any:
    """A subclass that passes its options to `_build` of its base.

    Args:
        base: a subclass of `SequenceModel` whose `_build` takes vocab_size, seq_len, the options and `config`.
        name: of the class, as the command line, records and import paths have it.
        summary: first line of its documentation.
        defaults: options and their defaults, from whose types those of the options follow.
        members: attributes of the class.
    """

    def build(self: Any, vocab_size: int, seq_len: int, **options: Any) -> None:
        if unknown := options.keys() - defaults.keys() - {"config"}:
            raise TypeError(f"{name}() got an unexpected keyword argument {min(unknown)!r}")
        self._build(vocab_size, seq_len, **{**defaults, **options})

    # The parser and the checks read name and signature: every class has the options that its library's code has.
    build.__name__ = "__init__"
    P = inspect.Parameter
    options = [P(each, P.KEYWORD_ONLY, default=v, annotation=type(v)) for each, v in {**defaults, "config": ""}.items()]
    sizes = [P(each, P.POSITIONAL_OR_KEYWORD, annotation=int) for each in ("vocab_size", "seq_len")]
    signature = [P("self", P.POSITIONAL_OR_KEYWORD), *sizes, *options]
    build.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    build.__annotations__ = {parameter.name: parameter.annotation for parameter in [*sizes, *options]}
    raises = "Raises:\n    ValueError: if a size is smaller than 1, or the library cannot build the model with it."
    documentation = f"{summary}\n\nArgs:\n    n_heads: number of heads.\n    config: {CONFIG}\n\n{raises}"
    place = {"__init__": build, "__module__": base.__module__, "__qualname__": name, "__doc__": documentation}
    return documented(type(name, (base,), {**place, **members}))


def parsed_arguments(config: str, known: Collection[str], options: Mapping[str, str]) -> dict[str, Any]:
    """The library's arguments in the option `config`.

    Args:
        config: words like ``hidden_act=relu``, with blanks between.
        known: names of arguments.
        options: those that are options here, with the name that they go by.

    Raises:
        ValueError: one line, if it cannot be read, or names an argument that does not exist or has an option.
    """
    found = dict[str, Any]()
    for word in config.split():
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"model.config: must be words like attention_bias=true hidden_act=relu, got {word!r}")
        if name in options:
            raise ValueError(f"model.config: {name} is model.{options[name]} here")
        if name not in known:
            free = sorted(set(known) - options.keys())
            near = get_close_matches(name, free, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"model.config: unknown argument {name!r}: {hint}there are {', '.join(free)}")
        try:
            found[name] = json.loads(value)
        except (ValueError, RecursionError):
            found[name] = value
        numbers = found[name] if isinstance(found[name], list) else [found[name]]
        if too_large := [number for number in numbers if isinstance(number, int) and abs(number) > MOST]:
            raise ValueError(f"model.config: {name} = {too_large[0]} is too large: at most {MOST:,}")
    return found


def exempt_from_decay(model: nn.Module) -> None:
    """Name the parameters of a library's modules that their authors keep from weight decay: those that it marks, and
    decay rates of state-space models, which transformers does not mark."""
    for module in model.modules():
        names = {
            name
            for name, parameter in module.named_parameters(recurse=False)
            if name == "A_log" or getattr(parameter, "_no_weight_decay", False)
        }
        if names:
            module.no_weight_decay = names  # type: ignore[assignment]


def identifier(name: str) -> str:
    """A name with underscores for all that a name of Python's cannot have."""
    return re.sub(r"\W", "_", name)


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Turn whatever a library raises into a ValueError of one line."""
    try:
        yield
    except Exception as error:
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        raise ValueError(f"{what}: {kind}{' '.join(str(error).split())[:300]}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without a library's advice on missing kernels and on options that do not matter here."""
    logging = getattr(sys.modules.get("transformers.utils"), "logging", None)
    before = logging and logging.get_verbosity()
    if logging:
        logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if logging:
            logging.set_verbosity(before)
