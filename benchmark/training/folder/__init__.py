"""A run's folder: its layout, lock, checkpoints, curves and record."""
