"""The board: every number is computed and put into words once."""
