"""Ways to carry out the units of a sweep: processes, ensembles on GPUs, a Ray cluster."""
