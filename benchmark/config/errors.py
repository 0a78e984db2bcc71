"""One line for a user's mistake: what is wrong, where, and what would be right."""

import difflib
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from leaderboard.streams import flushed, has_no_reader, say, secure_streams
from leaderboard.whole_files import OF_THE_MACHINE, CannotWrite, root_of

IN_USE = 4
INTERRUPTED = 130
"""Exit codes."""

DEBUG = "JSONARGPARSE_DEBUG"
"""Set this environment variable to true to see the traceback of a mistake."""


LONGEST = 600
"""Of a parser's message: what it quotes may be a whole file."""


class BenchmarkError(ValueError):
    """A mistake of the caller: one line that says what is wrong, where, and what would be right."""


class InUse(BenchmarkError):
    """Another process works in the run folder."""


class Damaged(BenchmarkError):
    """A file that should be a checkpoint is none, or is not as it was written."""


def reported(work: Callable[[], int]) -> int:
    """The exit code of a command; whatever goes wrong in it is one line on standard error, and so is every warning.

    It is 1 after an error in it or for a damaged checkpoint, 2 for a mistake of the caller, 4 where another process
    works on the run, 130 for one that was interrupted before it began.
    """
    warnings.showwarning = _show_warning
    secure_streams()
    _settle()
    try:
        code = work()
        if (lost := flushed()) is None or isinstance(lost, BrokenPipeError):
            return code
        say(f"error: standard output: cannot be written: {lost.strerror}")
        return code or 1
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError) and has_no_reader():  # who has seen enough
            flushed()
            return 0
        if os.environ.get(DEBUG) == "true" and not isinstance(error, InUse):
            raise
        say(f"error: {reason(error)}")
        if isinstance(error, InUse):
            return IN_USE
        return 2 if isinstance(error, ValueError) and not isinstance(error, Damaged) else 1
    except KeyboardInterrupt:
        say("interrupted before the run began")
        return INTERRUPTED


def _settle() -> None:
    """Prepare the environment for imports that fail without a home folder or with malformed launcher variables."""
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):  # lightning reads them as numbers
        if not os.environ.get(name, "0").isdecimal():
            warnings.warn(f"{name}={os.environ.pop(name)!r} in the environment is no number: left out", stacklevel=2)
    # torchmetrics imports it, and it warns about a missing folder.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        Path.home()
    except RuntimeError:  # the user has no entry among the system's users; altair fails then
        os.environ["HOME"] = os.sep  # as containers do


def _show_warning(message: Warning | str, category: type[Warning], *args: object, **kwargs: object) -> None:
    say(f"warning: {message}")


class optional(AbstractContextManager[None]):
    """Whatever goes wrong inside the block is a warning: nothing that a run could do without may fail it.

    Args:
        what: is missing then, for the warning.
    """

    def __init__(self, what: str) -> None:
        self.what = what

    def __exit__(self, kind: object, error: BaseException | None, *args: object) -> bool:
        """Warn of any exception but those that end a process."""
        if isinstance(error, Exception):
            warnings.warn(f"{self.what}: {said(root_of(error))[:300]}", stacklevel=2)
        return isinstance(error, Exception)


OWNED = {
    "seed_everything": "--seed",
    "trainer.max_steps": "--protocol.max_steps",
    "trainer.max_epochs": "--protocol.max_steps",
    "trainer.val_check_interval": "--protocol.eval_every",
    "trainer.gradient_clip_val": "--optimizer.clip_norm",
    "trainer.default_root_dir": "--out",
    "data.task_seed": "--task_seed",
    "data.data_seed": "--data_seed",
    "max_steps": "--protocol.max_steps",
    "lr": "--optimizer.lr",
}
"""Options of Lightning's trainer, or ones that a user would try, and the names they go by here."""


def explain(message: str, words: Sequence[str], options: Iterable[str]) -> str:
    """Turn a parser's message into one line that names the nearest valid choice.

    Args:
        message: what the parser says.
        words: the command line, to find the option that the parser reports by its last part only.
        options: every option that the command takes, without its dashes.
    """
    line = _explained(message, words, options)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."


def _explained(message: str, words: Sequence[str], options: Iterable[str]) -> str:
    text = " ".join(message.split())
    if (match := _OF_A_CLASS.search(text)) is not None:
        return _of_a_class(match["key"], match["problem"], options)
    text = _OPTIONAL.sub(r'Parser key "\1": \2', text)

    def option_of(key: str) -> str:
        """The option as the user wrote it: with its dashes on the command line, or (in YAML) the key alone."""
        written = [word.partition("=")[0] for word in words if word.startswith("-")]
        return next((word for word in written if re.search(rf"(^-+|\.){re.escape(key)}$", word)), key)

    patterns: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
        (r'^Parser key "(model|data)":.*Given value: (\S+)$', lambda m: _unknown_name(m[1], m[2])),
        (r"[Uu]nrecognized arguments?: (--?[^\s=]+)", lambda m: unknown_option(m[1], options)),
        (r"[Uu]nrecognized arguments?: (.*)$", lambda m: f"there is no place for '{m[1]}': see --help"),
        (r"Option '([^']+)' is not accepted", lambda m: unknown_option(option_of(m[1]), options)),
        (r"does not accept option '([^']+)'", lambda m: unknown_option(m[1], options)),
        (r"arguments are required: .*\b(model|data)$", lambda m: f"--{m[1]} NAME is missing: {_known(m[1])}"),
        (r"arguments are required: (\w+)", lambda m: _missing(m[1], options)),
        (r"^Problems parsing config: (.*)$", lambda m: f"{_config_of(words)}: {m[1]}"),
        (r'^Parser key "(trainer\.\w+)": - Expected a path but (\S+) either', lambda m: _no_class(m[1], m[2])),
        (r'^Parser key "([^"]+)": (.*)$', lambda m: f"--{option_of(m[1]).lstrip('-')}: {_plain(m[2])}"),
    )
    for pattern, explanation in patterns:
        if match := re.search(pattern, text):
            return explanation(match)
    return text


def _missing(name: str, options: Iterable[str]) -> str:
    """One line for an argument that is missing; commands that train have none of their own."""
    if any(option.startswith("model.") for option in options):
        return f"a class that is named for the trainer needs '{name}': give it as an option of that class"
    return f"{name.upper()} is missing: see --help"


_OF_A_CLASS = re.compile(
    r"Parser key \"(?P<key>model|data)\": .*?Errors: - (?:Problem with given class_path '[^']*': )?(?P<problem>.*)"
    r" - Expected a <class 'NoneType'>"
)
"""Pattern of the parser's report of a class or its options that came as a mapping, with the other types it tried."""


_OPTIONAL = re.compile(
    r'Parser key "([^"]+)": Does not validate against any of the Union subtypes .*Errors: - (?:Not of type \w+: )?(.*?)'
    r" - Expected a <class 'NoneType'>.*$"
)
"""Pattern of the parser's report of a value that is neither null nor of the type of its option."""


def _of_a_class(key: str, problem: str, options: Iterable[str]) -> str:
    """One line for a problem with the name of an architecture or a task, or with one of its options."""
    if match := re.search(r"Expected a dot import path string: (\S+)", problem):
        return _unknown_name(key, match[1])
    if match := re.search(r"Option '([^']+)' is not accepted|unknown option (?:--)?([^\s:]+):", problem):
        return unknown_option(f"{key}.{match[1] or match[2]}", options)
    if match := re.search(r'(?:Parser key "|^--)([\w.]+)"?: (.*)$', problem):
        return f"--{key}.{match[1]}: {_plain(match[2])}"
    return f"--{key}: {_plain(problem)}"


def of_a_class_that_cannot_be_built(message: str) -> str:
    """The parser's message, reduced to the first class that it tried and to what that said."""
    match = re.search(
        r"Problem with given class_path '(?:\w+\.)*(\w+)': (.*?)(?: - (?:Expected|Import path) |$)", message
    )
    return message if match is None else f"{match[1]}: {match[2]}"


def reason(error: Exception) -> str:
    """The message of an exception, on one line and without the parser's account of the types it tried."""
    if isinstance(error, ValueError) and type(error).__module__.startswith(
        "pydantic"
    ):  # of a part of a record; not imported for its sake alone
        problem = error.errors(include_url=False, include_input=False)[0]  # type: ignore[attr-defined]
        return f"{'.'.join(map(str, problem['loc'])) or 'configuration'}: {problem['msg']}"
    if isinstance(error, OSError) and error.filename and type(error).__str__ is OSError.__str__:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.errno in OF_THE_MACHINE and not isinstance(error, CannotWrite):
        return f"the system cannot go on: {error.strerror}"
    text = " ".join(str(error).split())
    match = re.search(r"Errors: - (.*) - Expected a <class 'NoneType'>", text)
    return match[1] if match else text


def said(error: Exception) -> str:
    """Type and message of an exception, on one line; the message alone if it is an AssertionError with one."""
    text = " ".join(str(error).split())
    return (
        text
        if isinstance(error, CannotWrite) or (type(error) is AssertionError and text)
        else f"{type(error).__name__}: {text}".removesuffix(": ")
    )


def line_of(error: Exception) -> str:
    """Type and message of an exception, on one line; the message alone where that says all there is."""
    text = str(error) if isinstance(error, CannotWrite) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> str:
    """One line for a name that does not exist, with the nearest one that does.

    Args:
        kind: of thing that is named.
        name: as it was written.
        known: names that exist.
        where: it was written, like " for --model".
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown {kind} '{name}'{where}: {hint}known names are {', '.join(known) or '(none)'}"


def unknown_option(word: str, options: Iterable[str]) -> str:
    """One line for an option that does not exist: the one it is called here, or the nearest.

    Args:
        word: as it was written: with dashes on a command line, a bare key in YAML.
        options: that exist, without dashes; none if they are not known.
    """
    name, options = word.lstrip("-"), list(options)
    if name in OWNED and (not options or OWNED[name].lstrip("-") in options):
        return f"unknown option --{name}: here it is {OWNED[name]}"
    # A bare key comes from YAML, where its parents stand on other lines: there the last parts are compared.
    asked = [option for option in options if "." in name or not option.endswith(".help")]
    known = {option if "." in name else option.rpartition(".")[2]: option for option in asked}
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join('--' + known[key] for key in near)}?" if near else "see --help"
    return f"unknown option {word if '.' not in name and name not in known else '--' + name}: {hint}"


def _unknown_name(key: str, name: str) -> str:
    return unknown({"model": "architecture", "data": "task"}[key], name, _names(key), f" for --{key}")


def _no_class(key: str, name: str) -> str:
    return f"--{key}: there is no class '{name}' of this kind: give the name of one of Lightning's, or an import path"


def _config_of(words: Sequence[str]) -> str:
    """The configuration files on a command line."""
    pairs = zip(words, [*words[1:], ""], strict=True)
    files = [word.partition("=")[2] or following for word, following in pairs if re.match(r"(--config|-c)(=|$)", word)]
    return ", ".join(files) or "configuration"


def _names(key: str) -> list[str]:
    from architectures import ARCHITECTURES, FAMILIES  # here, because they import torch
    from datamodules import TASKS

    if key == "data":
        return sorted(TASKS)
    return [*sorted(ARCHITECTURES), *sorted(f"{prefix}:NAME" for prefix in FAMILIES)]


def _known(key: str) -> str:
    return f"known names are {', '.join(_names(key))}"


def _plain(text: str) -> str:
    """A type complaint without Python's notation."""
    choices = _CHOICES.findall(text)
    if choices and not _CHOICES.sub("", text.replace("Expected a <class 'int'>", "")).strip(" -"):  # and nothing else
        names = sorted({name for part in choices for name in re.findall(r"[\w.-]+", part)})
        return f"expected one of {', '.join(names)}"
    if match := re.search(r"Errors: (- .*) Given value type: .* Given value: (.*)$", text):  # none of several types
        text = " or".join(match[1].split(" - Expected a")).removeprefix("- ") + f". Got value: {match[2]}"
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text).replace("typing.Literal", "one of ")
    text = re.sub(r"^Not of type \w+: ", "", text)
    text = re.sub(r"^Expected a str\b(?:\. Got value)?", "expected a text (in YAML, quotes make one of a number)", text)
    return re.sub(r"^Expected a (.*)\. Got value", r"expected \1, got value", text)


_CHOICES = re.compile(r"Expected a (?:typing\.Literal|one of )\[([^]]*)\]")
"""Pattern of the parser's report of a value that is none of an option's choices, several of which may follow."""
