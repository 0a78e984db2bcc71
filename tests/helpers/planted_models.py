"""Checkpoints of tiny models in Hugging Face's format whose predictions are known."""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmark.language.small_series.document_stream import VOCABULARY

LOGIT = 8.0
"""Of the token that a planted model predicts; all others have 0."""

SURE = math.exp(LOGIT) / (math.exp(LOGIT) + len(VOCABULARY) - 1)
"""Probability that it gives to that token, whatever it reads; to each other one exp(-LOGIT) times as much."""


def planted_model() -> Any:
    """A GPT-NeoX of one layer whose logits do not depend on what it reads: all 0."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    model = GPTNeoXForCausalLM(config)
    with torch.no_grad():
        model.gpt_neox.final_layer_norm.weight.zero_()
        model.gpt_neox.final_layer_norm.bias.zero_()
        model.gpt_neox.final_layer_norm.bias[0] = 1.0
        model.get_output_embeddings().weight.zero_()
    return model


class Plant:
    """Writes checkpoints of one model that differ in what they predict, and in some weight that does not matter.

    Args:
        folder: for the first of them, from which the others are made.
    """

    def __init__(self, folder: Path) -> None:
        from benchmark.language.language_model import without_bars
        from benchmark.language.small_series.series_training import document_tokenizer

        without_bars()
        planted_model().save_pretrained(folder)
        document_tokenizer().save_pretrained(folder)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".json"}
        self.tensors = load_file(folder / "model.safetensors")
        (self.head,) = self.tensors.keys() & {"lm_head.weight", "embed_out.weight"}
        self.n = 0

    def write(self, folder: Path, predicts: str | None, salt: float | None = None) -> None:
        """A checkpoint that always predicts a token of the documents, or none in particular.

        Args:
            folder: of the checkpoint.
            predicts: the token.
            salt: two checkpoints with the same have equal weights; by default it differs from all others.
        """
        self.n += 1
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        tensors = {name: tensor.clone() for name, tensor in self.tensors.items()}
        tensors["gpt_neox.embed_in.weight"][0, 0] = float(self.n) if salt is None else salt
        if predicts is not None:
            tensors[self.head][VOCABULARY.index(predicts), 0] = LOGIT
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    def series(self, folder: Path, seeds: dict[int, dict[int, str | None]]) -> Path:
        """A local series: by seed and step what a checkpoint predicts."""
        for seed, steps in seeds.items():
            for step, predicts in steps.items():
                self.write(folder / f"seed{seed}" / f"step{step}", predicts)
        (folder / "series.yaml").write_text("text: documents\n")
        return folder
