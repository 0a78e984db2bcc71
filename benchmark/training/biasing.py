"""The intervention `attention_bias`: the task's pattern added to the attention logits of every head (arXiv 2606.25010).

    softmax(q . k / sqrt(K) + C pattern),        pattern = 1 on the keys of a scored query, 0 elsewhere

Shape letters: E seeds, B sequences, N = L + 1 tokens.
"""

from torch import Tensor

from architectures import SequenceModel
from datamodules import Task, TaskEnsemble
from leaderboard.records.record import RecordedBias


class Biasing:
    """Makes the bias of the seeds that still train, each from its own task.

    Args:
        bias: how much is added, and when.
        tasks: of all seeds.
    """

    def __init__(self, bias: RecordedBias, tasks: TaskEnsemble) -> None:
        self.bias, self.tasks = bias, tasks

    def __call__(self, tokens_EBN: Tensor, step: int) -> Tensor | None:
        """The bias (E, B, 1, L, L) in float32, B = 1 where the sequences share it; None where nothing is added.

        Args:
            tokens_EBN: sequences of every seed.
            step: optimizer steps that the weights have seen.
        """
        if not self.bias.holds(step):
            return None
        return self.bias.strength * self.tasks.patterns(tokens_EBN).unsqueeze(2).float()


def require_biasable(model: SequenceModel, task: Task) -> None:
    """Raise a ValueError of one line if a model has no attention to add a bias to, or a task no pattern to add."""
    if not model.takes_attention_bias:
        raise ValueError(f"--attention_bias: {type(model).__name__} has no attention to add it to")
    if task.keys_in(task.rows(0, 1)) is None:
        raise ValueError(f"--attention_bias: the attention pattern of task {task.name} is not known")
