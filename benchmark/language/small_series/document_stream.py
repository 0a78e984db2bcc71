"""A stream of documents in which copying is a skill: strings that repeat, chains of words, numbered lists, sentences.

A sequence is an end-of-text token and one document:

    repetition  a string of 6 to 20 different symbols (a word or a name), repeated to the end
    chain       words that follow one another as in a fixed table, in which each word has four successors
    list        "k . w w <newline> k+1 . w w <newline> ...", from a random k on
    sentence    "A and B w w , B gave w to A ." with two different names, again and again

Sequence i is a function of the data seed and i alone, with the counter-based random numbers that the tasks use. It is
no task of `datamodules`: what it teaches is measured by prompts, not by positions of its own sequences.

Shape letters: B sequences, N tokens, W random words of a sequence.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from benchmark.config.errors import BenchmarkError
from benchmark.language.prompts import END_OF_TEXT, MOST_NUMBER, NAMES, NEWLINE, WORDS
from datamodules.stream import Stream, scale

Document = Literal["repetition", "chain", "list", "sentence"]
DOCUMENTS: tuple[Document, ...] = get_args(Document)

MARKS = (END_OF_TEXT, ".", ",", NEWLINE, "and", "gave", "to")
VOCABULARY = (*MARKS, *WORDS, *NAMES, *map(str, range(1, MOST_NUMBER + 1)))
"""Every token by its number."""

_WORD, _NAME = len(MARKS), len(MARKS) + len(WORDS)
_NUMBER = _NAME + len(NAMES) - 1
"""Numbers of the first word and the first name, and that of the number 0, which is none."""

_SHORTEST, _LONGEST = 6, 20
_SUCCESSORS = 4
_ITEM, _SENTENCE = 5, 12
"""Tokens of an item of a list, and of a sentence."""

_VERSION = 1
_END, _STOP, _COMMA, _NEWLINE, _AND, _GAVE, _TO = range(len(MARKS))
_SPARE = 8
"""Random words beyond those of the longest document, which may end within an item."""


class DocumentStream:
    """The documents of a data seed.

    Args:
        data_seed: draws the documents; the table of chains is the same for all.
        n_tokens: tokens of a sequence, the end-of-text token among them.
        mixture: percentage of each kind of document, 100 together.

    Raises:
        ValueError: one line, if a sequence is too short or too long, or the percentages are not 100 together.
    """

    def __init__(self, data_seed: int, n_tokens: int, mixture: Mapping[Document, int]) -> None:
        most = 1 + _ITEM * (MOST_NUMBER - 1)
        if not 2 * _LONGEST < n_tokens <= most:
            raise BenchmarkError(f"n_tokens must lie between {2 * _LONGEST + 1} and {most}, got {n_tokens}")
        if sum(mixture.values()) != 100 or min(mixture.values()) < 0:
            given = ", ".join(f"{name} {share}" for name, share in mixture.items())
            raise BenchmarkError(f"mixture: must be percentages that are 100 together, got {given}")
        self.n_tokens = n_tokens
        self._stream = Stream("language documents", _VERSION, data_seed)
        self._n_words = _SPARE + max(len(WORDS) + len(NAMES), n_tokens)
        shares = torch.tensor([mixture.get(kind, 0) for kind in DOCUMENTS])
        self._ends = shares.cumsum(0)
        index = torch.arange(len(WORDS))
        self._successors = Stream("language chain", _VERSION).digits(index, _SUCCESSORS, len(WORDS))

    def batch(self, step: int, batch_size: int) -> Tensor:
        """The sequences of a training step, (B, N) int64."""
        return self.sequences(torch.arange(step * batch_size, (step + 1) * batch_size))

    def sequences(self, index_B: Tensor) -> Tensor:
        """The sequences of these indices, (B, N) int64."""
        words_BW = self._stream.sequence_words(index_B, self._n_words)
        kind_B = torch.searchsorted(self._ends, scale(_low(words_BW[:, 0]), 100), right=True)
        tokens_BN = torch.full((len(index_B), self.n_tokens), _END)
        for kind, name in enumerate(DOCUMENTS):
            chosen = kind_B == kind
            if chosen.any():
                tokens_BN[chosen, 1:] = getattr(self, f"_{name}")(words_BW[chosen, 1:])[:, : self.n_tokens - 1]
        return tokens_BN

    def _repetition(self, words_BW: Tensor) -> Tensor:
        period_B1 = _SHORTEST + scale(_low(words_BW[:, :1]), _LONGEST - _SHORTEST + 1)
        # the order of random words is a uniform permutation
        symbols_BP = words_BW[:, 1 : 1 + len(WORDS) + len(NAMES)].argsort(-1)[:, :_LONGEST]
        return _WORD + symbols_BP.gather(1, torch.arange(self.n_tokens - 1) % period_B1)

    def _chain(self, words_BW: Tensor) -> Tensor:
        word_B = scale(_low(words_BW[:, 0]), len(WORDS))
        found = [word_B]
        for choice_B in scale(_low(words_BW[:, 1 : self.n_tokens - 1]), _SUCCESSORS).unbind(1):
            word_B = self._successors[word_B, choice_B]
            found.append(word_B)
        return _WORD + torch.stack(found, 1)

    def _list(self, words_BW: Tensor) -> Tensor:
        n_items = -(-(self.n_tokens - 1) // _ITEM)
        first_B1 = 1 + scale(_low(words_BW[:, :1]), MOST_NUMBER - n_items + 1)
        items_BIT = self._words(words_BW[:, 1:], n_items, _ITEM)
        items_BIT[:, :, 0] = _NUMBER + first_B1 + torch.arange(n_items)
        items_BIT[:, :, 1], items_BIT[:, :, 4] = _STOP, _NEWLINE
        return items_BIT.flatten(1)

    def _sentence(self, words_BW: Tensor) -> Tensor:
        n_sentences = -(-(self.n_tokens - 1) // _SENTENCE)
        drawn_BST = self._words(words_BW[:, 1 + 2 * n_sentences :], n_sentences, 3)
        names_BS2 = _low(words_BW[:, 1 : 1 + 2 * n_sentences]).unflatten(1, (n_sentences, 2))
        a_BS = scale(names_BS2[..., 0], len(NAMES))
        b_BS = (a_BS + 1 + scale(names_BS2[..., 1], len(NAMES) - 1)) % len(NAMES)
        one, two, thing = drawn_BST.unbind(-1)
        a, b = _NAME + a_BS, _NAME + b_BS
        parts = (a, _AND, b, one, two, _COMMA, b, _GAVE, thing, _TO, a, _STOP)
        filled = [torch.full_like(a, part) if isinstance(part, int) else part for part in parts]
        return torch.stack(filled, -1).flatten(1)

    @staticmethod
    def _words(words_BW: Tensor, n: int, size: int) -> Tensor:
        """Words drawn alike, (B, n, size)."""
        return _WORD + scale(_low(words_BW[:, : n * size]), len(WORDS)).unflatten(1, (n, size))


def _low(words: Tensor) -> Tensor:
    """Uniform integers below 2^32."""
    return words & 0xFFFF_FFFF
