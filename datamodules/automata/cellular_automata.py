"""Task `ca`: random cellular automata, whose rule the model must infer in context (arXiv 2606.25010).

A rule is a uniform random table from the C^W patterns of a window of W cells, periodic at the border, to the C
colours. x_0 is uniform, x_{t+1} is the rule applied k times to x_t, and a sequence is x_0 .. x_{T-1} flattened. A pool
of N rules is drawn once for a run and each sequence follows one of them; with N = 0 each has a fresh rule of its own.

A table is indexed by the window read as a number in base C, the leftmost cell the most significant digit.
"""

import math
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from datamodules.automata.floor import enumerable_rules, fresh_rule_loss, pool_loss
from datamodules.automata.rules import apply_rules, ring_cells
from datamodules.automata.shortcuts import shortcut_accuracies
from datamodules.registry import register_task
from datamodules.states import States
from datamodules.stream import Split, digit_words, scale
from datamodules.task import Target, require_at_least

PLATEAU_FRACTION = 0.94
MAX_TABLE_ENTRIES = 1 << 27
FLOOR_TOKENS = 1 << 20
FEWEST_SHORTCUT_TOKENS, MOST_SHORTCUT_TOKENS = 1 << 20, 1 << 23
FLOOR_SEQUENCES = (16, 4096)


@register_task("ca")
class CellularAutomata(States):
    """Cellular automata: each sequence follows a random local rule, to be inferred in context.

    Args:
        state_size: cells in a state (S), a ring.
        n_states: states in a sequence (T), at least 2.
        n_rules: rules in the pool that sequences draw from (N); 0 gives every sequence a fresh rule.
        rule_steps: applications of the rule between two states (k).
        n_colors: colours of a cell (C), at least 2.
        window: cells that decide a cell's next colour (W, odd), at most S.
        target_accuracy: accuracy over the second half of the states at which the task counts as solved, in whole
            hundredths between 0.5 and 1. It shows that the pattern was learned where it is above what predictors reach
            that do without the pattern (`shortcut_accuracies`): at C = 4 they stay below 0.8, but with two or three
            colours or as few as four cells they reach 0.9.
        task_seed: draws the pool of rules.
        data_seed: draws the first states, the choice of rules and the fresh rules.

    Raises:
        ValueError: if one is out of range, or the rule tables would have more than 2^27 entries.
    """

    version: ClassVar[int] = 1
    model_defaults: ClassVar[dict[str, Any]] = {"n_layers": 4}
    vectorised: ClassVar[bool] = True

    def __init__(
        self,
        state_size: int = 16,
        n_states: int = 16,
        n_rules: int = 256,
        rule_steps: int = 1,
        n_colors: int = 4,
        window: int = 3,
        target_accuracy: float = 0.85,
        *,
        task_seed: int = 0,
        data_seed: int = 0,
    ) -> None:
        super().__init__(
            state_size=state_size, n_states=n_states, vocab_size=n_colors, task_seed=task_seed, data_seed=data_seed
        )
        require_at_least(0, n_rules=n_rules)
        require_at_least(1, rule_steps=rule_steps, window=window)
        require_at_least(2, n_colors=n_colors)
        if window % 2 == 0:
            raise ValueError(f"window must be odd, to centre on a cell, got {window}")
        if window > state_size:
            raise ValueError(f"window={window} is wider than state_size={state_size}")
        if window > math.log(MAX_TABLE_ENTRIES / max(n_rules, 1), n_colors):
            raise ValueError(
                f"rule tables of n_colors={n_colors} ^ window={window} entries for n_rules={n_rules} are too large"
                f" (limit {MAX_TABLE_ENTRIES} entries in all)"
            )
        self.n_rules = n_rules
        self.rule_steps = rule_steps
        self.n_colors = n_colors
        self.window = window
        self.n_entries = n_colors**window
        percent = round(100 * target_accuracy) if 0.5 < target_accuracy < 1 else 0
        if not abs(target_accuracy - percent / 100) <= 1e-9:  # in this form it catches NaN
            raise ValueError(f"target_accuracy must be in whole hundredths between 0.5 and 1, got {target_accuracy}")
        self.target_accuracy = percent / 100
        self.primary = f"accuracy_{percent}"
        self.targets = (
            Target("plateau", "loss_nats", "<", PLATEAU_FRACTION * math.log(n_colors)),
            Target("accuracy_50", "accuracy_second_half", ">=", 0.5),
            Target(self.primary, "accuracy_second_half", ">=", self.target_accuracy),
        )

    @property
    def _digits_per_sequence(self) -> int:
        # x_0, then the number of the rule in the pool or the entries of the fresh rule
        return self.state_size + (1 if self.n_rules else self.n_entries)

    @property
    def words_per_sequence(self) -> int:
        return digit_words(self._digits_per_sequence)

    @property
    def shared_bytes(self) -> int:
        """Of the rules."""
        return 8 * self.n_rules * self.n_entries

    @cached_property
    def rules(self) -> Tensor:
        """The pool, (N, C^W) int64 colours; (0, C^W) with fresh rules."""
        return self.task_stream.digits(torch.arange(self.n_rules), self.n_entries, self.n_colors)

    @cached_property
    def key_cells(self) -> Tensor:
        """(S, min(2kh + 1, S)) int64 with h = (W - 1) / 2: the cells that reach each cell in k steps, ascending."""
        reach = self.rule_steps * (self.window // 2)
        if 2 * reach + 1 >= self.state_size:
            return torch.arange(self.state_size).repeat(self.state_size, 1)
        cells = torch.arange(self.state_size)[:, None] + torch.arange(-reach, reach + 1)
        return (cells % self.state_size).sort().values

    def _make_constant(self) -> Tensor:
        return self.rules

    def _generate(self, index_B: Tensor, split: Split, constant: Tensor) -> Tensor:
        draws = self.data_stream.uniform_32(index_B, self._digits_per_sequence, split)
        state_BS = scale(draws[..., : self.state_size], self.n_colors)
        if self.n_rules:
            tables, rule_B1 = constant, scale(draws[..., self.state_size :], self.n_rules)
            if len(seeds := constant.shape[:-2]):  # the pools of all seeds are read as one, laid end to end
                rule_B1 += self.n_rules * torch.arange(seeds.numel(), device=index_B.device).view(*seeds, 1, 1)
        else:
            tables = scale(draws[..., self.state_size :], self.n_colors).contiguous()
            n_tables = tables.shape[:-1]
            rule_B1 = torch.arange(n_tables.numel(), device=index_B.device).view(*n_tables, 1)
        ring = ring_cells(self.state_size, self.window, index_B.device)
        states = [state_BS]
        for _ in range(1, self.n_states):
            state_BS = apply_rules(tables, rule_B1, state_BS, ring, self.n_colors, self.rule_steps)
            states.append(state_BS)
        return torch.cat(states, dim=-1)

    def bayes_loss(self, tokens_BL: Tensor) -> Tensor | None:
        """The loss in nats of the exact Bayes predictor on sequences (B, S*T) of this task: (B, L) float64.

        It knows the pool (n_rules > 0) or that the tables are uniform (n_rules = 0), and updates its posterior after
        each token. With fresh rules and rule_steps > 1 it enumerates all tables if they are at most 4,096; None beyond.

        Raises:
            ValueError: if a sequence follows no rule of the pool.
        """
        states_BTS = tokens_BL.view(len(tokens_BL), self.n_states, self.state_size)
        if not self.n_rules and self.rule_steps == 1:
            return fresh_rule_loss(states_BTS, self.n_colors, self.window)
        rules = self.rules if self.n_rules else enumerable_rules(self.n_colors, self.n_entries)
        if rules is None:
            return None
        return pool_loss(states_BTS, rules, self.n_colors, self.window, self.rule_steps)

    @cached_property
    def floor_by_position_nats(self) -> Tensor | None:
        """(L,) float64: the mean Bayes loss over up to 4,096 sequences of the "floor" split; None where that is None.

        There are as many sequences as make 2^20 tokens, but at least 16 and at most 4,096. The mean over positions is
        then good to about 0.002 nats with a fresh rule a sequence, and far better with a pool.
        """
        fewest, most = FLOOR_SEQUENCES
        n_sequences = min(max(FLOOR_TOKENS // self.n_tokens, fewest), most)
        losses_BL = self.bayes_loss(self.rows(0, n_sequences, "floor"))
        return None if losses_BL is None else losses_BL.mean(0)

    @cached_property
    def shortcut_accuracies(self) -> dict[str, float] | None:
        """Best `accuracy_second_half` (0..1) of predictors that do without the pattern, by kind, in this very pool.

        The kinds are those of `datamodules.automata.shortcuts`, measured on sequences of the "floor" split.

        None with fresh rules, and where more than 2^23 tokens would be needed for 20 in each entry of the tables.
        """
        n_entries = self.n_rules * self.n_colors ** (self.key_cells.shape[1] - 1) * (self.n_colors + 1) ** 2
        n_tokens = max(FEWEST_SHORTCUT_TOKENS, 40 * n_entries)
        if not self.n_rules or n_tokens > MOST_SHORTCUT_TOKENS:
            return None
        n_sequences = -(-n_tokens // self.n_tokens)
        index_B = torch.arange(n_sequences)
        draws = self.data_stream.uniform_32(index_B, self._digits_per_sequence, "floor")
        rule_B = scale(draws[:, self.state_size], self.n_rules)
        states_BTS = self.rows(0, n_sequences, "floor").view(n_sequences, self.n_states, self.state_size)
        reach = self.rule_steps * (self.window // 2)
        return shortcut_accuracies(states_BTS, rule_B, reach, self.n_rules, self.n_colors)

    def metrics(self, loss_L: Tensor, accuracy_L: Tensor) -> dict[str, float]:
        """`accuracy_second_half`: mean accuracy over the states t >= T / 2."""
        first_state = -(-self.n_states // 2)
        return {"accuracy_second_half": accuracy_L[first_state * self.state_size - 1 :].double().mean().item()}
