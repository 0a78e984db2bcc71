"""How sure a model is of a target, against probabilities known beforehand and against prompts one by one."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.language.language_model import load_model, load_tokenizer, sureness, target_probabilities, tokenized
from benchmark.language.prompts import SINGLE, Prompt, prompts_for
from benchmark.language.small_series.series_training import document_tokenizer, initial_model, load_recipe
from tests.helpers.planted_models import LOGIT, SURE, Plant


def test_a_planted_model_is_as_sure_as_it_must_be(tmp_path: Path, plant: Plant) -> None:
    plant.write(tmp_path / "planted", "4")
    plant.write(tmp_path / "ten", "10")
    model, tokenizer = load_model(tmp_path / "planted"), load_tokenizer(tmp_path / "planted")
    right = sureness(model, tokenized(tokenizer, [SINGLE["documents"]["pattern"]]), "")
    assert right.probability == pytest.approx(SURE, rel=1e-6) and right.accuracy == 1.0
    wrong = sureness(model, tokenized(tokenizer, [SINGLE["documents"]["ioi"]]), "")
    assert wrong.probability == pytest.approx(SURE / torch.tensor(LOGIT).exp().item(), rel=1e-5)
    assert wrong.accuracy == 0.0
    prompts = prompts_for("pattern", "documents", n=100)
    share = sum(prompt.target == " 10" for prompt in prompts) / 100
    assert 0 < share < 1
    ten = sureness(load_model(tmp_path / "ten"), tokenized(tokenizer, prompts), "")
    assert ten.accuracy == pytest.approx(share)
    assert ten.probability == pytest.approx(SURE * (share + (1 - share) / torch.tensor(LOGIT).exp().item()), rel=1e-5)


def test_padding_changes_nothing() -> None:
    """Prompts of different lengths together, and each alone with the library's own attention and no padding."""
    model = initial_model(load_recipe("mini"), 0).eval()
    prompts = prompts_for("repetition", "documents", n=6)
    tokens = tokenized(document_tokenizer(), prompts)
    assert len(set(tokens.lengths_B.tolist())) > 1
    p_B, correct_B = target_probabilities(model, tokens)
    words = document_tokenizer().get_vocab()
    for i, prompt in enumerate(prompts):
        ids = torch.tensor([[words[word] for word in prompt.text.replace("|>", "|> ").split()]])
        with torch.no_grad():
            alone = model(ids).logits[0, -1].softmax(-1)
        assert alone[words[prompt.target.strip()]].item() == pytest.approx(p_B[i].item(), abs=1e-6)
        assert bool(correct_B[i]) == (alone.argmax() == words[prompt.target.strip()])


class Splitting:
    """A tokenizer of single characters but for the word "red", with or without a token that begins every text."""

    unk_token_id = None

    def __init__(self, bos_token_id: int | None = None) -> None:
        self.bos_token_id = bos_token_id

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        ids = [ord(character) for character in text.replace("red", "\x01")]
        begin = [self.bos_token_id] if add_special_tokens and self.bos_token_id is not None else []
        return {"input_ids": begin + ids}

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return ["red" if number == 1 else chr(number) for number in ids]


def test_a_target_of_two_tokens_is_one_line() -> None:
    with pytest.raises(ValueError) as error:
        tokenized(Splitting(), [Prompt("a", "b"), Prompt("one", "xy")])
    assert "prompt 'one': the target 'xy'" in str(error.value) and "makes 2" in str(error.value)
    assert "'x' 'y'" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ValueError, match="prompt 're'"):  # the target melts into what stands before it
        tokenized(Splitting(), [Prompt("re", "d")])
    assert tokenized(Splitting(), [Prompt("a", "red")]).targets_B.tolist() == [1]


def test_a_token_that_begins_every_text() -> None:
    tokens = tokenized(Splitting(5), [Prompt("ab", "c"), Prompt("a", "b")])
    assert tokens.ids_BL.tolist() == [[5, 97, 98], [5, 97, 0]]
    assert (tokens.lengths_B.tolist(), tokens.targets_B.tolist()) == ([3, 2], [99, 98])


def test_prompts_of_the_wrong_kind_are_one_line() -> None:
    """Words of English that the documents lack."""
    with pytest.raises(ValueError, match="unknown to the tokenizer: the series says by `text`"):
        tokenized(document_tokenizer(), [SINGLE["english"]["ioi"]])


def test_a_tokenizer_of_another_model_is_one_line(tmp_path: Path, plant: Plant) -> None:
    plant.write(tmp_path / "planted", None)
    model: Any = load_model(tmp_path / "planted")
    tokens = tokenized(Splitting(), [Prompt("a", "\u0400")])
    with pytest.raises(ValueError, match="step 3: the tokenizer has a token 1024, and the model 124"):
        sureness(model, tokens, "step 3")


def test_weights_that_are_not_finite(tmp_path: Path, plant: Plant) -> None:
    plant.write(tmp_path / "planted", None)
    model: Any = load_model(tmp_path / "planted")
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        sureness(model, tokenized(document_tokenizer(), [SINGLE["documents"]["ioi"]]), "step 3")


def test_a_checkpoint_that_cannot_be_loaded(tmp_path: Path, plant: Plant) -> None:
    plant.write(tmp_path / "planted", None)
    (tmp_path / "planted" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="planted: cannot be loaded") as error:
        load_model(tmp_path / "planted")
    assert "\n" not in str(error.value)
