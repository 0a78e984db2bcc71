"""Documents, told apart and read by a grammar of their own."""

import hashlib
import re
from collections import Counter, defaultdict

import pytest
import torch

from benchmark.language.prompts import NAMES, WORDS
from benchmark.language.small_series.document_stream import VOCABULARY, Document, DocumentStream

MIXTURE: dict[Document, int] = {"repetition": 40, "chain": 20, "list": 20, "sentence": 20}
NAME, WORD = "|".join(NAMES), "|".join(WORDS)
SENTENCE = re.compile(
    rf"(?P<a>{NAME}) and (?!(?P=a) )(?P<b>{NAME}) ({WORD}) ({WORD}) , (?P=b) gave ({WORD}) to (?P=a) \. "
)
ITEM = re.compile(rf"(\d+) \. ({WORD}) ({WORD}) <newline> ")


def read(tokens: list[str]) -> str:
    """Kind of the document; an assertion fails if it is none of the four."""
    assert tokens[0] == "<|endoftext|>"
    words = tokens[1:]
    text = " ".join(words) + " "
    if "<newline>" in words:
        items = ITEM.findall(text)
        numbers = [int(number) for number, *_ in items]
        assert numbers == list(range(numbers[0], numbers[0] + len(items))) and len(items) == len(words) // 5
        assert int(words[5 * len(items)]) == numbers[-1] + 1 if len(words) % 5 else True
        return "list"
    if "gave" in words:
        assert len(SENTENCE.findall(text)) == len(words) // 12
        return "sentence"
    period = next((p for p in range(6, 21) if words[p:] == words[:-p]), None)
    if period is not None and len(set(words[:period])) == period:
        assert {*words} <= {*WORDS, *NAMES}
        return "repetition"
    assert {*words} <= {*WORDS}
    return "chain"


def test_documents_are_of_four_kinds_in_their_shares() -> None:
    sequences = DocumentStream(3, 65, MIXTURE).sequences(torch.arange(2000))
    documents = [[VOCABULARY[token] for token in row] for row in sequences.tolist()]
    kinds = [read(document) for document in documents]
    for kind, share in MIXTURE.items():  # five standard deviations of a binomial
        spread = (2000 * share / 100 * (1 - share / 100)) ** 0.5
        assert abs(Counter(kinds)[kind] - 20 * share) < 5 * spread
    followers: dict[str, Counter[str]] = defaultdict(Counter)
    for document, found in zip(documents, kinds, strict=True):
        if found == "chain":
            for word, following in zip(document[1:], document[2:], strict=False):
                followers[word][following] += 1
    assert len(followers) == 64 and max(map(len, followers.values())) <= 4
    periods = Counter(
        next(p for p in range(6, 21) if document[1 + p :] == document[1:-p])
        for document, found in zip(documents, kinds, strict=True)
        if found == "repetition"
    )
    assert sorted(periods) == list(range(6, 21)) and min(periods.values()) > 25
    assert {word for document in documents for word in document} == set(VOCABULARY)


def test_a_sequence_depends_on_seed_and_number_alone() -> None:
    stream = DocumentStream(0, 65, MIXTURE)
    assert torch.equal(stream.batch(3, 8), stream.sequences(torch.arange(24, 32)))
    assert torch.equal(stream.batch(3, 8)[5:6], stream.sequences(torch.tensor([29])))
    assert not torch.equal(stream.batch(0, 8), DocumentStream(1, 65, MIXTURE).batch(0, 8))
    assert not torch.equal(stream.batch(0, 8), stream.batch(1, 8))


def test_golden_batch() -> None:
    """Series that were trained before are those of this stream."""
    batch = DocumentStream(0, 65, MIXTURE).batch(0, 32)
    assert hashlib.sha256(batch.numpy().tobytes()).hexdigest()[:16] == "bfa80e2a84455fa5"
    assert len(VOCABULARY) == len(set(VOCABULARY)) == 124


@pytest.mark.parametrize("n_tokens", [41, 64, 66, 211])
def test_any_length(n_tokens: int) -> None:
    found = DocumentStream(0, n_tokens, MIXTURE).batch(0, 40)
    assert found.shape == (40, n_tokens)
    assert len({read([VOCABULARY[token] for token in row]) for row in found.tolist()}) == 4


@pytest.mark.parametrize(
    ("n_tokens", "mixture", "said"),
    [
        (40, MIXTURE, "n_tokens must lie between 41 and 211, got 40"),
        (212, MIXTURE, "got 212"),
        (65, {"repetition": 40, "chain": 40}, "100 together, got repetition 40, chain 40"),
    ],
)
def test_what_is_refused(n_tokens: int, mixture: dict[Document, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DocumentStream(0, n_tokens, mixture)


def test_one_kind_alone() -> None:
    found = DocumentStream(0, 65, {"sentence": 100}).batch(0, 20)
    assert {read([VOCABULARY[token] for token in row]) for row in found.tolist()} == {"sentence"}
