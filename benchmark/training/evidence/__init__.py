"""Evidence that a record is of the run that it says: hashes, costs, trajectories."""
