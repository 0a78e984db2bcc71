"""The board: every number that is shown, computed and put into words once."""
