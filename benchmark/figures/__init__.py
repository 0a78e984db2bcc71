"""Figures of arXiv 2606.25010: one folder each, with its cells, its drawing and its claims side by side."""
