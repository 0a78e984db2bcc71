"""Adapters to the fused CUDA kernels of other libraries."""
