"""Sequence operators of the recurrent architectures: recurrences, the short convolution and elementwise parts.

Each operator has a file with its equation, a PyTorch form that runs anywhere, and the two passes of a form compiled for
the CPU, whose loops are in `cpu/`. The fused CUDA kernels of other libraries are adapted in `cuda/`.
"""
