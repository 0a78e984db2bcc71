"""Every registered architecture keeps the contract, in every mode."""

from typing import Any, Literal

import pytest
from torch import nn

from architectures import ARCHITECTURES, SequenceModel
from benchmark.contract import CHECKS, SMALL, TRAINING_CHECKS, Check, NotOffered, check_no_leak, small, variants

CASES = [
    pytest.param(cls, options, id="-".join([name, *options.values()]))
    for name, cls in ARCHITECTURES.items()
    for options in variants(cls)
]


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("cls", "options"), CASES)
def test_contract(cls: type[SequenceModel], options: dict[str, Any], check: Check) -> None:
    try:
        check(cls, **options)
    except NotOffered as reason:
        pytest.skip(str(reason))


@pytest.mark.train
@pytest.mark.parametrize("check", TRAINING_CHECKS)
@pytest.mark.parametrize("cls", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_training_contract(cls: type[SequenceModel], check: Check) -> None:
    """After 100 steps the leaks of test_contract_faults.py already take at least 0.3 nats off the loss."""
    check(cls, **({"steps": 100} if check is check_no_leak else {}))


class Options(SequenceModel):
    """Has arguments of every kind."""

    def __init__(
        self,
        vocab_size: int,
        seq_len: int,
        *,
        n_heads: int = 1,
        gate: bool = True,
        kind: Literal["a", "b", "c"] = "b",
    ) -> None:
        super().__init__(vocab_size, seq_len, d_model=n_heads, blocks=[nn.Identity()])


def test_variants_and_sizes() -> None:
    assert variants(Options) == [{}, {"gate": False}, {"kind": "a"}, {"kind": "c"}]
    assert small(Options, 2, 3).d_model == SMALL["n_heads"]
    assert small(Options, 2, 3, n_heads=7).d_model == 7
