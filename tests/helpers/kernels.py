"""Where the fused kernels can run, and marks of the tests that run them; see tests/kernels/conftest.py."""

import sys
from importlib.util import find_spec

import pytest
import torch

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
INTERPRETER = "tests.helpers.triton_interpreter" in sys.modules

needs_fla = pytest.mark.skipif(
    find_spec("fla") is None or not (CUDA or INTERPRETER),
    reason="needs fla, and a CUDA device or Triton's interpreter: make test-kernels",
)
harmless_warnings = [
    # fla says at every call in float32 that some platforms lack it; on those the test fails by itself.
    pytest.mark.filterwarnings("ignore:ChunkDeltaRuleFunction does not support float32:RuntimeWarning"),
    # Of pairs in the wrong order, which a kernel masks after the exponential: NumPy tells, a GPU does not, and what is
    # not masked is a NaN or an infinity in a result.
    pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered in:RuntimeWarning"),
]
