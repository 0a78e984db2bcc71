"""The page of one or several runs: what was learned when, by which head, and what the maps looked like."""
