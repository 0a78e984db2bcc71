"""Valid records to start from: `make_record(**changes)`."""

from datetime import UTC, datetime, timedelta
from typing import Any

from leaderboard.records.record import Record, RecordedProtocol, RecordedTask, protocol_hash

START = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)


def record_fields(**changes: Any) -> dict[str, Any]:
    """Fields of a solved `lm` record, plain values, with `changes` laid over it.

    A key with dots changes one value inside (`{"task.config.state_size": 8}`); any other replaces the whole field.
    Tokens and protocol_hash follow steps, task and protocol unless they are given.
    """
    fields: dict[str, Any] = {
        "schema_version": 1,
        "status": "solved",
        "error": None,
        "suite": "lite",
        "cell": "lm-easy",
        "architecture": {
            "name": "transformer",
            "version": 1,
            "backend": "sdpa",
            "config": {"d_model": 128, "n_layers": 1, "n_heads": 8, "bias": True, "dropout": 0.0, "kernel": [3, 5]},
        },
        "task": {"name": "lm", "version": 1, "config": {"state_size": 16, "n_nonzero": 3, "n_states": 2}},
        "protocol": {
            "max_steps": 1000,
            "eval_every": 50,
            "tokens_per_step": 8192,
            "eval_sequences": 512,
            "stop_when_solved": True,
            "primary": "rows_100",
            "targets": [
                {"name": "rows_50", "metric": "rows_solved", "op": ">=", "value": 0.5},
                {"name": "rows_100", "metric": "rows_solved", "op": ">=", "value": 1.0},
            ],
        },
        "optimizer": {"name": "AdamW", "lr": 1e-3, "weight_decay": 0.0, "warmup_steps": 100},
        "seeds": {"task_seed": 0, "init_seed": 0, "data_seed": 0},
        "hits": {
            "rows_50": {"step": 300, "previous_step": 250},
            "rows_100": {"step": 600, "previous_step": 550},
        },
        "first_loss_nats": 0.71,
        "final": {
            "step": 650,
            "loss_nats": 0.3354,
            "loss_scored_nats": 0.0001,
            "accuracy": 1.0,
            "exact_match": 1.0,
            "task_metrics": {"rows_solved": 1.0},
        },
        "chance_loss_nats": 0.6931471805599453,
        "floor_loss_nats": 0.33539379704512576,
        "steps": 650,
        "parameters": 202754,
        "state_bytes": None,
        "flops_per_token": 1.2e6,
        "precision": "float32",
        "first_batch_hash": "ab" * 32,
        "first_losses_nats": [0.7, 0.69, 0.6899999999999999],
        "wall_train_s": 81.5,
        "wall_eval_s": 3.25,
        "wall_compile_s": 0.0,
        "tokens_per_s": 65000.0,
        "peak_memory_bytes": 400_000_000,
        "hardware": {"device": "cpu", "name": "Some CPU", "cores": 2, "threads": 1, "memory_bytes": 8_000_000_000},
        "versions": {"python": "3.11.9", "torch": "2.13.0"},
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "started_at": START,
        "ended_at": START + timedelta(seconds=90),
        "curves": {"file": "curves.parquet", "sha256": "cd" * 32},
    }
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = fields
        for parent in parents:
            place = place[parent]
        place[last] = value
    if "tokens" not in changes:
        fields["tokens"] = fields["steps"] * fields["protocol"]["tokens_per_step"]
    if "protocol_hash" not in changes:
        fields["protocol_hash"] = protocol_hash(RecordedTask(**fields["task"]), RecordedProtocol(**fields["protocol"]))
    return fields


def make_record(**changes: Any) -> Record:
    """A solved `lm` record with `changes` laid over it (see `record_fields`)."""
    return Record(**record_fields(**changes))


def run_of(status: str, seed: int = 0, step: int = 600, /, **changes: Any) -> Record:
    """A record that ended as `status` at `step` (a multiple of 50, budget 1,000); all three seeds are `seed`."""
    solved = status == "solved"
    hit = {"step": step, "previous_step": step - 50} if solved else {"step": None, "previous_step": None}
    defaults: dict[str, Any] = {
        "status": status,
        "error": "loss is not finite" if status in {"diverged", "error"} else None,
        "steps": 1000 if status == "censored" else min(step + 50 * solved, 1000),
        "seeds": {"task_seed": seed, "init_seed": seed, "data_seed": seed},
        "hits": {"rows_50": hit, "rows_100": hit},
        "final": None,
    }
    return make_record(**{**defaults, **changes})
