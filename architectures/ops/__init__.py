"""Sequence operators of the recurrent architectures: linear recurrences over time and the short convolution.

Each file is one operator: its equation, a PyTorch form that runs anywhere, and a form compiled for the CPU whose loops
stand in `cpu/`. The fused CUDA kernels of other libraries are adapted in `cuda/`.
"""
