"""Attention patterns of heads of language models: taken out, put into another checkpoint, ablated."""
