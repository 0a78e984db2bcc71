"""Prompts, read by rules of their own: a string and its repetition, numbers that follow, the name that stands once."""

import re

import pytest

from benchmark.language.prompts import (
    CAPABILITIES,
    NAMES,
    SINGLE,
    WORDS,
    Prompt,
    Text,
    digest,
    parse_capabilities,
    prompts_for,
)

TEXTS: tuple[Text, ...] = ("english", "documents")


def words_of(prompt: Prompt) -> list[str]:
    return prompt.text.removeprefix("<|endoftext|>").split()


def is_right(capability: str, prompt: Prompt) -> bool:
    """Whether the target is the only right answer."""
    words, target = words_of(prompt), prompt.target.strip()
    if capability == "repetition":
        half = (len(words) + 1) // 2
        string = [*words[half:], target]
        return words[:half] == string and len(set(string)) == half >= 8
    if capability == "pattern":
        numbers = [int(word.rstrip(".")) for word in words if re.fullmatch(r"\d+\.?", word)]
        return len(numbers) >= 3 and [*numbers, int(target)] == list(range(numbers[0], int(target) + 1))
    named = [word.strip(",") for word in words if word.strip(",") in NAMES]
    return len(named) == 3 and [name for name in set(named) if named.count(name) == 1] == [target]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_prompt_has_one_right_answer(capability: str, text: Text) -> None:
    many = prompts_for(capability, text, n=200)  # type: ignore[arg-type]
    assert len(many) == 200 and all(is_right(capability, prompt) for prompt in many)
    assert len(set(many)) > 150
    assert is_right(capability, SINGLE[text][capability])  # type: ignore[index]


def test_a_wrong_answer_is_told() -> None:
    """The rule above can fail."""
    for capability in CAPABILITIES:
        prompt = SINGLE["english"][capability]
        other = {"repetition": " house", "pattern": "5", "ioi": " John"}[capability]
        assert not is_right(capability, Prompt(prompt.text, other))


def test_prompts_are_the_same_everywhere_and_for_ever() -> None:
    """Records name their SHA-256: a change of the templates would make every record another question."""
    found = {f"{text} {name}": digest(prompts_for(name, text))[:12] for text in TEXTS for name in CAPABILITIES}
    assert found == {
        "english repetition": "cad54e9b1af4",
        "english pattern": "abcd282e0ee3",
        "english ioi": "cbd1ca166aa9",
        "documents repetition": "9dc16aaa27b3",
        "documents pattern": "441f460d8dff",
        "documents ioi": "db10887241a5",
    }
    assert prompts_for("ioi", "english", seed=1) != prompts_for("ioi", "english")
    assert prompts_for("ioi", "english", n=10) == prompts_for("ioi", "english", n=64)[:10]
    assert prompts_for("ioi", "english", "single", n=10, seed=4) == (SINGLE["english"]["ioi"],)


def test_who_gives_is_not_told_by_the_order_in_english() -> None:
    first = [
        next(word.strip(",") for word in words_of(prompt) if word.strip(",") in NAMES) == prompt.target.strip()
        for prompt in prompts_for("ioi", "english", n=400)
    ]
    assert 0.4 < sum(first) / 400 < 0.6


def test_words_are_different_ones() -> None:
    assert len({*WORDS, *NAMES}) == 74


@pytest.mark.parametrize(
    ("text", "said"), [("pattern,repetiton", "did you mean repetition?"), ("ioi,ioi", "named twice"), ("", "unknown")]
)
def test_unknown_capabilities(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_capabilities(text)
    assert parse_capabilities("ioi, pattern") == ("ioi", "pattern")


def test_no_prompts() -> None:
    with pytest.raises(ValueError, match="--n_prompts must be at least 1"):
        prompts_for("ioi", "english", n=0)
