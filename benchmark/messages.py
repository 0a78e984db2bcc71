"""One line for a user's mistake: what is wrong, where, and what would be right."""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence

from architectures import ARCHITECTURES
from datamodules import TASKS

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
    text = " ".join(message.split())

    def option_of(key: str) -> str:
        """The option as the user wrote it: on the command line, or (in YAML) the key alone."""
        written = [word.lstrip("-").partition("=")[0] for word in words if word.startswith("-")]
        return next((name for name in written if name == key or name.endswith(f".{key}")), key)

    patterns: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
        (r'^Parser key "(model|data)":.*Given value: (\S+)$', lambda m: _unknown_name(m[1], m[2])),
        (r"[Uu]nrecognized arguments?: --?([^\s=]+)", lambda m: unknown_option(m[1], options)),
        (r"Option '([^']+)' is not accepted", lambda m: unknown_option(option_of(m[1]), options)),
        (r"does not accept option '([^']+)'", lambda m: unknown_option(m[1], options)),
        (r"arguments are required: \w+\.(model|data)$", lambda m: f"--{m[1]} NAME is missing: {_known(m[1])}"),
        (r"^Problems parsing config: (.*)$", lambda m: f"{_config_of(words)}: {m[1]}"),
        (r'^Parser key "([^"]+)": (.*)$', lambda m: f"--{option_of(m[1])}: {_plain(m[2])}"),
    )
    for pattern, explanation in patterns:
        if match := re.search(pattern, text):
            return explanation(match)
    return text


def reason(error: Exception) -> str:
    """What an exception says, on one line and without the parser's account of the types it tried."""
    text = " ".join(str(error).split())
    match = re.search(r"Errors: - (.*) - Expected a <class 'NoneType'>", text)
    return match[1] if match else text


def unknown_command(word: str, commands: Sequence[str]) -> str:
    """One line for a command that does not exist."""
    near = difflib.get_close_matches(word, commands, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown command '{word}': {hint}commands are {', '.join(commands)}"


def unknown_option(name: str, options: Iterable[str]) -> str:
    """One line for an option that does not exist: the one it is called here, or the nearest."""
    if name in OWNED:
        return f"unknown option --{name}: here it is {OWNED[name]}"
    # A bare key comes from YAML, where its parents stand on other lines: there the last parts are compared.
    known = {option if "." in name else option.rpartition(".")[2]: option for option in options}
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join('--' + known[key] for key in near)}?" if near else "see --help"
    return f"unknown option {name if '.' not in name and name not in known else '--' + name}: {hint}"


def _unknown_name(key: str, name: str) -> str:
    kind = {"model": "architecture", "data": "task"}[key]
    near = difflib.get_close_matches(name, _names(key), n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown {kind} '{name}' for --{key}: {hint}{_known(key)}"


def _config_of(words: Sequence[str]) -> str:
    """The configuration files on a command line."""
    pairs = zip(words, [*words[1:], ""], strict=True)
    files = [word.partition("=")[2] or following for word, following in pairs if re.match(r"(--config|-c)(=|$)", word)]
    return ", ".join(files) or "configuration"


def _names(key: str) -> list[str]:
    return sorted(ARCHITECTURES if key == "model" else TASKS)


def _known(key: str) -> str:
    return f"known names are {', '.join(_names(key))}"


def _plain(text: str) -> str:
    """A type complaint without Python's notation."""
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text).replace("typing.Literal", "one of ")
    text = re.sub(r"^Not of type \w+: ", "", text)
    return re.sub(r"^Expected a (.*)\. Got value", r"expected \1, got value", text)
