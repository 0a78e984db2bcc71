"""Rules that a forged record breaks: what agrees with itself, its suite and the other records, and what is possible."""
