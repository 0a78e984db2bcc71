"""Training of a small series: against a loop by hand, cut short and gone on with, and what is refused."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from benchmark.__main__ import main
from benchmark.language.small_series import series_training
from benchmark.language.small_series.document_stream import VOCABULARY, DocumentStream
from benchmark.language.small_series.series_training import (
    SeriesRecipe,
    document_tokenizer,
    initial_model,
    load_recipe,
    train_seed,
)
from benchmark.training.folder.lock import is_taken
from benchmark.training.folder.sealed import read_sealed

RECIPE: dict[str, Any] = {
    "model": {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "max_position_embeddings": 64,
    },
    "optimizer": {"lr": 0.003, "weight_decay": 0.01, "clip_norm": 1.0, "warmup_steps": 2},
    "mixture": {"repetition": 40, "chain": 20, "list": 20, "sentence": 20},
    "n_tokens": 42,
    "batch_size": 2,
    "max_steps": 3,
    "keep_every": 2,
}


def recipe(**more: Any) -> SeriesRecipe:
    return SeriesRecipe.model_validate({**RECIPE, **more})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from transformers import AutoModelForCausalLM

    found: dict[str, torch.Tensor] = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    return found


def test_the_shipped_one() -> None:
    mini = load_recipe("mini")
    model = initial_model(mini, 0)
    assert sum(parameter.numel() for parameter in model.parameters()) == 115_968
    assert (mini.kept[:2], mini.kept[-1], len(mini.kept)) == ([0, 50], 2000, 41)
    tokens_BN = DocumentStream(0, mini.n_tokens, mini.mixture).batch(0, 4)
    with torch.no_grad():
        loss = model(tokens_BN, labels=tokens_BN).loss.item()
    assert abs(loss - torch.tensor(float(len(VOCABULARY))).log().item()) < 0.2


def test_training_is_a_plain_loop(tmp_path: Path) -> None:
    """AdamW, warm-up and clipping written out, with the library's loss."""
    assert train_seed(recipe(), 5, tmp_path, told=lambda line: None) == 3
    model = initial_model(recipe(), 5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003, betas=(0.9, 0.95), weight_decay=0.01)
    stream = DocumentStream(5, 42, RECIPE["mixture"])
    kept = {0: {name: x.detach().clone() for name, x in model.state_dict().items()}}
    for step, rate in enumerate((0.0015, 0.003, 0.003)):
        optimizer.param_groups[0]["lr"] = rate
        tokens_BN = stream.sequences(torch.arange(2 * step, 2 * step + 2))
        optimizer.zero_grad()
        model(tokens_BN, labels=tokens_BN).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        kept[step + 1] = {name: x.detach().clone() for name, x in model.state_dict().items()}
    assert sorted(path.name for path in (tmp_path / "seed5").glob("step*")) == ["step0", "step2", "step3"]
    for step in (0, 2, 3):
        for name, tensor in weights(tmp_path / "seed5" / f"step{step}").items():
            torch.testing.assert_close(tensor, kept[step][name], rtol=1e-5, atol=1e-6)
    assert not torch.equal(kept[3]["gpt_neox.embed_in.weight"], kept[0]["gpt_neox.embed_in.weight"])


def test_one_that_was_cut_short_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_seed(recipe(), 0, tmp_path / "whole", told=lambda line: None)
    save = series_training._save_checkpoint

    def killed(folder: Path, model: Any, tokenizer: Any) -> None:
        if folder.name == "step3":
            (folder.with_name(".step3.1.tmp")).mkdir()
            raise KeyboardInterrupt
        save(folder, model, tokenizer)

    monkeypatch.setattr(series_training, "_save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        train_seed(recipe(), 0, tmp_path / "cut", told=lambda line: None)
    monkeypatch.setattr(series_training, "_save_checkpoint", save)
    assert train_seed(recipe(), 0, tmp_path / "cut", told=lambda line: None) == 1
    for step in (0, 2, 3):
        one, two = (tmp_path / name / "seed0" / f"step{step}" / "model.safetensors" for name in ("whole", "cut"))
        assert one.read_bytes() == two.read_bytes()
    assert not list((tmp_path / "cut" / "seed0").glob(".step*"))
    assert train_seed(recipe(), 0, tmp_path / "cut", told=lambda line: None) == 0


def test_checkpoints_are_loaded_by_the_library(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    train_seed(recipe(max_steps=1), 0, tmp_path, told=lambda line: None)
    folder = tmp_path / "seed0" / "step1"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer("<|endoftext|> 3 . house road <newline> 4")["input_ids"]
    assert [VOCABULARY[number] for number in ids] == ["<|endoftext|>", "3", ".", "house", "road", "<newline>", "4"]
    assert model.config.vocab_size == len(VOCABULARY) and tokenizer.decode(ids[3:5]) == "house road"
    assert (tmp_path / "series.yaml").read_text() == "text: documents\n"


def test_every_token_has_its_number() -> None:
    tokenizer = document_tokenizer()
    assert tokenizer(" ".join(VOCABULARY))["input_ids"] == list(range(len(VOCABULARY)))
    assert tokenizer("frobnicate")["input_ids"] == [len(VOCABULARY)]


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    train_seed(recipe(max_steps=1), 0, tmp_path, told=lambda line: None)
    with pytest.raises(ValueError, match="seed0: was trained with another recipe"):
        train_seed(recipe(max_steps=1, batch_size=3), 0, tmp_path, told=lambda line: None)


def test_divergence_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda parameters, most: torch.tensor(float("inf")))
    with pytest.raises(ValueError, match="training diverged at step 0: lower optimizer.lr"):
        train_seed(recipe(), 0, tmp_path, told=lambda line: None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("n_tokens: 42", "n_tokens: 30", "n_tokens must lie between 41 and 211"),
        ("n_tokens: 42", "n_tokens: 70", "max_position_embeddings 64"),
        ("chain: 20", "chain: 30", "100 together"),
        ("chain: 20", "chains: 20", "mixture"),
        ("batch_size", "batchsize", "did you mean batch_size?"),
        ("clip_norm", "clip", "did you mean optimizer.clip_norm?"),
        ("hidden_size: 8", "hidden_size: 9", "no multiple"),
        ("lr: 0.003", "lr: 0", "optimizer.lr"),
        ("max_steps: 3", "max_steps: x", "max_steps"),
    ],
)
def test_a_wrong_recipe_is_one_line(
    old: str, new: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = yaml.safe_dump(RECIPE)
    assert old in text
    (tmp_path / "mine.yaml").write_text(text.replace(old, new))
    assert main(["language_series", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and said in err, err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mino", "--out", "x"], "did you mean mini?"),
        (["polypythia", "--out", "x"], "give it to capability"),
        (["mini"], "out"),
        (["mini", "--out", "x", "--seeds", "3-1"], "runs backwards"),
        (["mini", "--out", "x", "--jobs", "0"], "--jobs"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["language_series", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and said in err.lower(), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
@pytest.mark.slow
def test_several_seeds_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each as it is alone; one that fails is named, and does not stop the other."""
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**RECIPE, "max_steps": 1}))
    (tmp_path / "out" / "seed1").mkdir(parents=True)
    (tmp_path / "out" / "seed1" / "recipe.yaml").write_text("other: 1\n")
    words = ["language_series", str(tmp_path / "mine.yaml"), "--seeds", "0-1", "--jobs", "2"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 1
    assert re.search("seeds that failed: 1", capsys.readouterr().out)
    train_seed(recipe(max_steps=1), 0, tmp_path / "alone", told=lambda line: None)
    one, two = (tmp_path / name / "seed0" / "step1" / "model.safetensors" for name in ("out", "alone"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.process
@pytest.mark.slow
def test_a_signal_ends_all_processes_and_says_how_to_go_on(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**RECIPE, "max_steps": 100_000, "keep_every": 1}))
    words = ["language_series", "mine.yaml", "--seeds", "0-1", "--jobs", "2", "--out", "out"]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark", *words], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 120
        while not all((tmp_path / "out" / f"seed{seed}" / "step1").is_dir() for seed in (0, 1)):
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert said == "interrupted by SIGTERM: checkpoints so far are kept, and the same command goes on\n"
    for seed in (0, 1):
        folder = tmp_path / "out" / f"seed{seed}"
        until = time.monotonic() + 60
        while is_taken(folder / ".lock"):  # a moment after the signal
            assert time.monotonic() < until
            time.sleep(0.05)
        steps = {int(path.name[4:]) for path in folder.glob("step*")}
        assert steps == set(range(len(steps)))
        assert read_sealed(folder / "training.ckpt")["step"] in (max(steps) - 1, max(steps))
