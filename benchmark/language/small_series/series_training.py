"""Small GPT-NeoX models trained on the stream of documents, with checkpoints in Hugging Face's format.

    FOLDER/series.yaml            the kind of prompts that the models understand
    FOLDER/seed0/step50/          config.json, model.safetensors, tokenizer.json, ...
    FOLDER/seed0/recipe.yaml      what the seed was trained with
    FOLDER/seed0/training.ckpt    weights, moments of AdamW and the step, from which training goes on

A seed is trained in one process, and a kill at any moment leaves whole checkpoints, from the last of which it goes on
with the same weights as if nothing had been.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch.nn import functional as F

from architectures.families.adapter import one_line, quiet
from benchmark.config.errors import BenchmarkError, reported, unknown
from benchmark.config.files.packaged import CONFIGS, YAML, config_file
from benchmark.config.files.yaml_text import read_yaml, to_text
from benchmark.config.signals import go_on
from benchmark.language.checkpoint_series import OF_A_FOLDER
from benchmark.language.language_model import without_bars
from benchmark.language.prompts import END_OF_TEXT
from benchmark.language.small_series.document_stream import VOCABULARY, Document, DocumentStream
from benchmark.language.yaml_problems import problem_of
from benchmark.training.folder.lock import training_in
from benchmark.training.folder.sealed import read_sealed, write_sealed
from leaderboard.paths import user_path
from leaderboard.streams import say
from leaderboard.whole_files import write_whole, writing

RECIPE, STATE = "recipe.yaml", "training.ckpt"
_REPORT_S = 30.0
"""Seconds between two lines of progress."""

_UNKNOWN = "<unknown>"
_HOW = "checkpoints so far are kept, and the same command goes on"
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSizes(_Section):
    """Sizes of a GPT-NeoX: width, layers, heads, width of the MLP, and the most positions."""

    hidden_size: int = Field(ge=1, le=4096)
    num_hidden_layers: int = Field(ge=1, le=64)
    num_attention_heads: int = Field(ge=1, le=64)
    intermediate_size: int = Field(ge=1, le=16384)
    max_position_embeddings: int = Field(ge=2, le=4096)


class AdamWOptions(_Section):
    """AdamW with a linear warm-up, a constant rate after it, and gradients clipped by their norm."""

    lr: PositiveFloat
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(ge=0, allow_inf_nan=False)
    clip_norm: PositiveFloat
    warmup_steps: int = Field(ge=0)


class SeriesRecipe(_Section):
    """How the models of a series are trained.

    Attributes:
        model: sizes.
        optimizer: of the training.
        mixture: percentage of each kind of document.
        n_tokens: of a sequence.
        batch_size: sequences per step.
        max_steps: steps of the training.
        keep_every: steps between two checkpoints; step 0 is one, and the last step.
    """

    model: ModelSizes
    optimizer: AdamWOptions
    mixture: dict[Document, Annotated[int, Field(ge=0, le=100)]]
    n_tokens: int
    batch_size: int = Field(ge=1)
    max_steps: int = Field(ge=1)
    keep_every: int = Field(ge=1)

    @model_validator(mode="after")
    def _check(self) -> "SeriesRecipe":
        DocumentStream(0, self.n_tokens, self.mixture)
        if self.model.hidden_size % self.model.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.model.hidden_size} is no multiple of num_attention_heads"
                f" {self.model.num_attention_heads}"
            )
        if self.n_tokens - 1 > self.model.max_position_embeddings:
            raise ValueError(
                f"n_tokens {self.n_tokens} are more than max_position_embeddings {self.model.max_position_embeddings}"
            )
        return self

    @property
    def kept(self) -> list[int]:
        """Steps after which a checkpoint is kept."""
        return sorted({*range(0, self.max_steps + 1, self.keep_every), self.max_steps})


def load_recipe(text: str) -> SeriesRecipe:
    """The recipe in a YAML file, or of the name of one in `configs/language`.

    Raises:
        ValueError: one line, if there is none, or it is not as described above.
    """
    path = config_file(user_path(text, "CONFIG"))
    if path.suffix not in YAML:
        path = CONFIGS / "language" / f"{text}.yaml"
        if not path.is_file():
            names = sorted(f.stem for f in path.parent.glob("*.yaml") if "max_steps:" in f.read_text("utf-8"))
            raise BenchmarkError(unknown("configuration of a series", text, names))
    content = read_yaml(path)
    if "repository" in content:
        raise BenchmarkError(f"{path}: is a series that others have trained: give it to capability")
    try:
        return SeriesRecipe.model_validate(content)
    except ValidationError as error:
        raise BenchmarkError(f"{path}: {problem_of(error, SeriesRecipe)}") from error


def document_tokenizer() -> Any:
    """A tokenizer of whole words for the documents, as `AutoTokenizer` loads it again."""
    with quiet():
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel
        from tokenizers.pre_tokenizers import WhitespaceSplit
        from transformers import PreTrainedTokenizerFast

        vocabulary = {word: number for number, word in enumerate(VOCABULARY)}
        # What is unknown has a number beyond those of the model, so that no prompt passes with it by accident.
        words = Tokenizer(WordLevel({**vocabulary, _UNKNOWN: len(VOCABULARY)}, unk_token=_UNKNOWN))
        words.pre_tokenizer = WhitespaceSplit()
        return PreTrainedTokenizerFast(tokenizer_object=words, eos_token=END_OF_TEXT, unk_token=_UNKNOWN)


def train_seed(recipe: SeriesRecipe, seed: int, out: Path, told: Callable[[str], None] = say) -> int:
    """Train one model and keep its checkpoints, from where it was left; the number of steps that were trained.

    Args:
        recipe: how.
        seed: of the initial weights and of the documents.
        out: folder of the series.
        told: is called with a line now and then.

    Raises:
        ValueError: one line, if the folder is of another recipe, in use, or training diverged.
        CannotWrite: if a file cannot be written.
    """
    folder = out / f"seed{seed}"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with training_in(folder):
        _keep_text(out / OF_A_FOLDER, to_text({"text": "documents"}), "is of another series")
        _keep_text(folder / RECIPE, to_text(recipe.model_dump(mode="json")), "was trained with another recipe")
        _clear(folder)
        if all((folder / f"step{step}").is_dir() for step in recipe.kept):
            return 0
        return _train(recipe, seed, folder, told)


def _keep_text(path: Path, text: str, otherwise: str) -> None:
    if not path.is_file():
        write_whole(path, text.encode())
    elif path.read_text(encoding="utf-8") != text:
        raise BenchmarkError(f"{path.parent}: {otherwise} ({path.name}): choose another --out")


def _clear(folder: Path) -> None:
    """Remove the unfinished checkpoints of killed processes."""
    for left in folder.glob(".step*.tmp"):
        shutil.rmtree(left, ignore_errors=True)


def initial_model(recipe: SeriesRecipe, seed: int) -> Any:
    """The model of a seed before training.

    Raises:
        ValueError: one line, if the library cannot build it.
    """
    with one_line("the model cannot be built"), quiet(), torch.random.fork_rng(devices=[]):
        from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

        end = VOCABULARY.index(END_OF_TEXT)
        config = GPTNeoXConfig(
            vocab_size=len(VOCABULARY), use_cache=False, bos_token_id=end, eos_token_id=end, **recipe.model.model_dump()
        )
        # On a CPU and with so few positions the plain form is the faster one.
        config._attn_implementation = "eager"
        torch.manual_seed(seed)
        return GPTNeoXForCausalLM(config)


def _train(recipe: SeriesRecipe, seed: int, folder: Path, told: Callable[[str], None]) -> int:
    model, tokenizer = initial_model(recipe, seed), document_tokenizer()
    options = recipe.optimizer
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.lr, betas=options.betas, weight_decay=options.weight_decay
    )
    stream = DocumentStream(seed, recipe.n_tokens, recipe.mixture)
    first = _resumed(folder / STATE, model, optimizer)
    model.train()
    kept, last_told, loss = set(recipe.kept), time.monotonic(), torch.tensor(float("nan"))
    for step in range(first, recipe.max_steps + 1):
        if step in kept:
            _save_checkpoint(folder / f"step{step}", model, tokenizer)
            state = {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            write_sealed(folder / STATE, state)
        if step == recipe.max_steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = options.lr * min(1.0, (step + 1) / max(options.warmup_steps, 1))
        tokens_BN = stream.batch(step, recipe.batch_size)
        logits_BLV = model(input_ids=tokens_BN[:, :-1]).logits
        loss = F.cross_entropy(logits_BLV.flatten(0, 1), tokens_BN[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
        if not torch.isfinite(norm):
            raise BenchmarkError(f"{folder}: training diverged at step {step}: lower optimizer.lr")
        optimizer.step()
        if time.monotonic() - last_told > _REPORT_S:
            told(f"seed {seed}: step {step + 1:,} of {recipe.max_steps:,}, loss {loss.item():.3f}")
            last_told = time.monotonic()
    told(f"seed {seed}: {recipe.max_steps:,} steps, last loss {loss.item():.3f}: {folder}")
    return recipe.max_steps - first


def _resumed(path: Path, model: Any, optimizer: torch.optim.Optimizer) -> int:
    """Take up weights and moments of an earlier process; the step that comes next."""
    if not path.is_file():
        return 0
    state = read_sealed(path)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _save_checkpoint(folder: Path, model: Any, tokenizer: Any) -> None:
    """Write a checkpoint as a whole: a rename puts it into its place."""
    if folder.is_dir():
        return
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        with writing(folder), quiet():
            without_bars()
            model.save_pretrained(fresh)
            tokenizer.save_pretrained(fresh)
            os.replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def train_series(recipe: SeriesRecipe, seeds: Sequence[int], out: Path, jobs: int) -> list[int]:
    """Train several seeds, each in a process of its own where there are several jobs, and return those that failed.

    Args:
        recipe: how.
        seeds: which.
        out: folder of the series.
        jobs: processes at once, of one thread each.

    Raises:
        ValueError: as `train_seed`, where there is one job.
    """
    if jobs == 1 or len(seeds) == 1:
        go_on(_HOW)
        for seed in seeds:
            train_seed(recipe, seed, out)
        return []
    waiting, failed = list(seeds), list[int]()
    running: dict[int, SpawnProcess] = {}
    go_on(_HOW, running.values())
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                process = get_context("spawn").Process(target=_in_a_process, args=(recipe, waiting[0], out))
                running[waiting[0]] = process
                process.start()
                del waiting[0]
            wait([process.sentinel for process in running.values()])
            for seed, process in list(running.items()):
                if not process.is_alive():
                    failed += [seed] if process.exitcode else []
                    del running[seed]
    finally:
        for process in running.values():
            process.terminate()
    return failed


def _in_a_process(recipe: SeriesRecipe, seed: int, out: Path) -> None:
    """Train a seed in this process, which the one that started it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    sys.exit(reported(lambda: train_seed(recipe, seed, out) * 0))
