"""Prompts that ask for a capability: many from templates, drawn by a seed, or a single one.

Three capabilities are asked for, as in arXiv 2606.25010 (figures 1 and 2): **repetition**, a string of words and its
repetition but the last word; **pattern**, a numbered list but the next number; **ioi**, the indirect object of a
sentence with two names (Wang et al., arXiv 2211.00593). The paper's own prompts are not published; these are ours.

Two kinds of text ask for them: `english`, for models of natural language, and `documents`, for models trained on the
stream of `document_stream`. Both use the same words and names.
"""

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from benchmark.config.errors import BenchmarkError, unknown

Capability = Literal["repetition", "pattern", "ioi"]
Text = Literal["english", "documents"]
Amount = Literal["many", "single"]
CAPABILITIES: tuple[Capability, ...] = get_args(Capability)

# One token each, with a blank before them, in the vocabulary of GPT-NeoX (20B), which Pythia shares.
WORDS = (
    "house", "table", "image", "surface", "company", "money", "country", "source", "blood", "signal", "job",
    "land", "site", "food", "market", "heart", "weight", "city", "history", "paper", "season", "network",
    "story", "news", "gas", "map", "bed", "style", "box", "cover", "town", "office", "road",
    "engine", "band", "ball", "brain", "rule", "oil", "star", "row", "bank", "morning", "graph",
    "birth", "speed", "stage", "message", "software", "theory", "nature", "watch", "string", "block", "length",
    "parent", "drug", "tax", "face", "text", "range", "risk", "death", "author",
)  # fmt: skip
NAMES = ("Mary", "John", "David", "James", "Michael", "Paul", "Peter", "Robert", "William", "George")
END_OF_TEXT, NEWLINE = "<|endoftext|>", "<newline>"
MOST_NUMBER = 43
"""Largest number in a document's list."""

_PLACES = ("house", "market", "city", "town", "office", "bank", "site", "company")
_THINGS = ("ball", "box", "map", "paper", "watch", "table", "message", "story")
_SENTENCES = (
    "When {first} and {second} went to the {place}, {giver} gave a {thing} to",
    "Then {first} and {second} were at the {place}, and {giver} gave a {thing} to",
    "After {first} and {second} came to the {place}, {giver} wanted to give a {thing} to",
    "While {first} and {second} were working at the {place}, {giver} gave a {thing} to",
)


@dataclass(frozen=True)
class Prompt:
    """A text, and what a model with the capability goes on with: one token."""

    text: str
    target: str


def prompts_for(
    capability: Capability, text: Text, amount: Amount = "many", n: int = 64, seed: int = 0
) -> tuple[Prompt, ...]:
    """The prompts of a capability, the same for the same arguments everywhere.

    Args:
        capability: what they ask for.
        text: kind of text.
        amount: `single` is the one prompt in `SINGLE`, whatever n and seed are.
        n: number of prompts, at least 1.
        seed: draws them.

    Raises:
        ValueError: one line, if n is less than 1.
    """
    if amount == "single":
        return (SINGLE[text][capability],)
    if n < 1:
        raise BenchmarkError(f"--n_prompts must be at least 1, got {n}")
    draw = random.Random(f"{capability} {text} {seed}")
    return tuple(_TEMPLATES[text][capability](draw) for _ in range(n))


def parse_capabilities(text: str) -> tuple[Capability, ...]:
    """The capabilities in a list with commas.

    Raises:
        ValueError: one line, for an unknown one or one that is named twice.
    """
    found: list[Capability] = []
    for word in text.split(","):
        match = [name for name in CAPABILITIES if name == word.strip()]
        if not match:
            raise BenchmarkError(unknown("capability", word.strip(), CAPABILITIES, " for --capabilities"))
        if match[0] in found:
            raise BenchmarkError(f"--capabilities {text}: {match[0]} is named twice")
        found += match
    return tuple(found)


def digest(prompts: Sequence[Prompt]) -> str:
    """SHA-256 (hex) of prompts and targets."""
    content = [[prompt.text, prompt.target] for prompt in prompts]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _spaced(words: Sequence[str | int]) -> str:
    return "".join(f" {word}" for word in words)


def _repeated(symbols: Sequence[str], start: str) -> Callable[[random.Random], Prompt]:
    """A string of 8 to 12 different symbols and its repetition but the last."""

    def prompt(draw: random.Random) -> Prompt:
        string = draw.sample(symbols, draw.randint(8, 12))
        return Prompt(start + _spaced([*string, *string[:-1]]), f" {string[-1]}")

    return prompt


def _list_in_english(draw: random.Random) -> Prompt:
    """Three to six numbered lines of two words; the next number stands at the beginning of a line."""
    first, n = draw.randint(1, 9), draw.randint(3, 6)
    lines = [f"{k}.{_spaced(draw.sample(WORDS, 2))}\n" for k in range(first, first + n)]
    return Prompt("".join(lines), str(first + n))


def _list_in_documents(draw: random.Random) -> Prompt:
    n = draw.randint(3, 6)
    first = draw.randint(1, MOST_NUMBER - n)
    items = [_spaced([k, ".", *draw.sample(WORDS, 2), NEWLINE]) for k in range(first, first + n)]
    return Prompt(END_OF_TEXT + "".join(items), f" {first + n}")


def _gift_in_english(draw: random.Random) -> Prompt:
    """The one who is named once gets the gift; who of the two is named first is drawn."""
    receiver, giver = draw.sample(NAMES, 2)
    first, second = draw.sample([receiver, giver], 2)
    place, thing = draw.choice(_PLACES), draw.choice(_THINGS)
    text = draw.choice(_SENTENCES).format(first=first, second=second, giver=giver, place=place, thing=thing)
    return Prompt(text, f" {receiver}")


def _gift_in_documents(draw: random.Random) -> Prompt:
    receiver, giver = draw.sample(NAMES, 2)
    one, two, thing = draw.sample(WORDS, 3)
    words = [receiver, "and", giver, one, two, ",", giver, "gave", thing, "to"]
    return Prompt(END_OF_TEXT + _spaced(words), f" {receiver}")


_TEMPLATES: dict[Text, dict[Capability, Callable[[random.Random], Prompt]]] = {
    "english": {"repetition": _repeated(WORDS, ""), "pattern": _list_in_english, "ioi": _gift_in_english},
    "documents": {
        "repetition": _repeated((*WORDS, *NAMES), END_OF_TEXT),
        "pattern": _list_in_documents,
        "ioi": _gift_in_documents,
    },
}

SINGLE: dict[Text, dict[Capability, Prompt]] = {
    "english": {
        "repetition": Prompt(
            " house road star paper ball city bed map house road star paper ball city bed", " map"
        ),
        "pattern": Prompt("1. house road\n2. star paper\n3. ball city\n", "4"),
        "ioi": Prompt("When Mary and John went to the market, John gave a ball to", " Mary"),
    },
    "documents": {
        "repetition": Prompt(
            f"{END_OF_TEXT} house road star paper ball city bed map house road star paper ball city bed", " map"
        ),
        "pattern": Prompt(
            f"{END_OF_TEXT} 1 . house road {NEWLINE} 2 . star paper {NEWLINE} 3 . ball city {NEWLINE}", " 4"
        ),
        "ioi": Prompt(f"{END_OF_TEXT} Mary and John house road , John gave ball to", " Mary"),
    },
}  # fmt: skip
"""The single prompt of each capability, by the kind of text."""
