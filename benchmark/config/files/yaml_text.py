"""YAML, with one reader and one writer for everything that is configured, so that what is written is read as it was.

PyYAML reads YAML 1.1, in which 1e-4 is a text, and writes that text without quotes; jsonargparse reads 1e-4 as a
number. Here the parser of the command line, `configure`, suites, sweeps and run folders share one reader, and the
writer quotes every text that this reader, or one of YAML 1.1, would take for something else.
"""

import re
import sys
from collections import Counter
from enum import Enum
from functools import cache
from pathlib import Path, PurePath
from typing import Any, TextIO

import jsonargparse
import yaml
from jsonargparse import _loaders_dumpers, get_loader, set_dumper, set_loader, set_parsing_settings

from leaderboard.paths import user_path
from leaderboard.records.bounded import MAX_DEPTH, check_yaml, read_bytes

MOST_BYTES = 100_000
"""Of a file; the largest that comes with the suite has 4,000."""

_PARSERS_OWN = get_loader("yaml")
FLOAT, TIMESTAMP = "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"
_FLOAT = re.compile(
    r"""[-+]?([0-9][0-9_]*)\.[0-9_]*([eE][-+]?[0-9]+)?$ | [-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$
      | [-+]?\.[0-9][0-9_]*([eE][-+]?[0-9]+)?$ | [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*$
      | [-+]?\.(inf|Inf|INF)$ | \.(nan|NaN|NAN)$""",
    re.VERBOSE,
)


class _Reader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.1 of plain values, but numbers like 1e-4 are numbers, dates are texts, and no key stands there twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """The mapping of a node."""
        if isinstance(node, yaml.MappingNode):
            plain = [
                key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and not key.tag.endswith(":merge")
            ]
            for key, count in Counter(map(self.construct_object, plain)).items():
                if count > 1:
                    raise yaml.YAMLError(f"key {str(key)[:80]!r} stands there twice")
        return super().construct_mapping(node, deep)


class _Writer(yaml.SafeDumper):
    """Plain values, every one written out where it stands."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always: an alias is hard to read."""
        return True


def _text(writer: _Writer, text: str) -> yaml.ScalarNode:
    """Double quotes escape what a reader would fold or drop, like line breaks and control characters.

    Raises:
        ValueError: for bytes that are no UTF-8, which Python holds in a text but no reader takes.
    """
    text.encode()
    return writer.represent_scalar("tag:yaml.org,2002:str", str(text), style=None if text.isprintable() else '"')


_Reader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in {FLOAT, TIMESTAMP}]
    for first, resolvers in _Reader.yaml_implicit_resolvers.items()
}
for _kind in (_Reader, _Writer):
    _kind.add_implicit_resolver(FLOAT, _FLOAT, list("-+.0123456789"))
_Writer.add_representer(str, _text)
_Writer.add_multi_representer(str, _text)
_Writer.add_multi_representer(Enum, lambda writer, member: _text(writer, member.name))
_Writer.add_multi_representer(PurePath, lambda writer, path: _text(writer, str(path)))


def to_text(content: Any) -> str:
    """YAML of plain values, tuples as lists, paths as texts, members of enumerations by name.

    Raises:
        yaml.YAMLError: if something in it is of another kind.
        ValueError: if a text holds bytes that are no UTF-8.
    """
    return yaml.dump(
        content, Dumper=_Writer, default_flow_style=False, allow_unicode=True, sort_keys=False, width=sys.maxsize
    )


def from_text(text: str) -> Any:
    """The value in a YAML text of one document.

    Raises:
        yaml.YAMLError: if it is no YAML, has a key twice, or is past the limits of `check_yaml`.
    """
    try:
        _check(text)
        return yaml.load(text, Loader=_Reader)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise yaml.YAMLError(str(error)) from error  # a value that its tag does not fit


def _check(text: str) -> None:
    if len(text) > MAX_DEPTH or "*" in text:  # a shorter one without aliases cannot be deep or large
        try:
            check_yaml(text)
        except ValueError as error:
            raise yaml.YAMLError(str(error)) from error


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ValueError: one line, if it cannot be read, is no ordinary file, too large, no YAML or something else than a
            mapping.
    """
    path = user_path(path, "--config")
    try:
        content = from_text(text_of(path))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path}: must be a mapping of names")
    return content


def text_of(path: str | Path) -> str:
    """The text of a YAML file; raises a ValueError of one line as `read_yaml`."""
    content = read_bytes(path, MOST_BYTES)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no YAML: {error}") from error


def use_in_parsers() -> None:
    """Let every parser of jsonargparse read and write as this module does, and fetch nothing from elsewhere.

    To be called again after an import of Lightning's command line, which switches the reading of remote files on.
    """
    set_loader("yaml", _value, (yaml.YAMLError,))
    _loaders_dumpers.yaml_load = _within_limits  # which it calls by this name for texts that may be numbers
    set_dumper("yaml", to_text)
    set_parsing_settings(config_read_mode_urls_enabled=False, config_read_mode_fsspec_enabled=False)
    set_parsing_settings(import_path_allowlist=[])  # an error in place of a warning for os.system and its like
    jsonargparse.Path.read_text = _read_text  # type: ignore[assignment, attr-defined, method-assign]


def _value(text: str) -> Any:
    """The value of a text to a parser. Only `null` stands for nothing; to jsonargparse, `#x` and `&x` do too."""
    value = from_text(text)
    if value is None:
        return None if text.strip() == "null" else text
    if isinstance(value, dict) and all(part is None for part in value.values()):
        return _PARSERS_OWN(text)  # {a, b} and a: are texts to it
    return value


def _within_limits(text: str) -> Any:
    """The parser's own reading of a text within the limits of `check_yaml`."""
    _check(text)
    return _PARSERS_OWN(text)


def _read_text(path: Any) -> str:
    """The text of a configuration file that a parser has found; `-` is standard input."""
    return _standard_input(sys.stdin) if str(path) == "-" else text_of(path.absolute)


@cache
def _standard_input(stream: TextIO) -> str:
    """Read once: parsers ask for it again and again."""
    text = stream.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise ValueError(f"standard input: is longer than {MOST_BYTES:,} characters")
    return text
