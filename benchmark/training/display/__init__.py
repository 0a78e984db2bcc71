"""Progress, pictures and summaries of a run, for people."""
