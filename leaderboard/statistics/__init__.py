"""Statistics of hitting times: one cell, comparisons, verdicts, and the verdict's error rates."""
