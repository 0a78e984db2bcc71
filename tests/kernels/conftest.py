"""Where there is no CUDA device, the fused kernels run in Triton's interpreter, which has to start before Triton."""

import sys
import warnings
from importlib.util import find_spec

import torch

if find_spec("fla") and find_spec("triton"):
    if not torch.cuda.is_available() and "triton" not in sys.modules:
        import tests.helpers.triton_interpreter  # noqa: F401
    # Warnings are errors in a test, and this import brings several of fla's and PyTorch's that are not ours to mend.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import fla.ops  # noqa: F401
