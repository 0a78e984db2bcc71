"""What training costs: a token by length, many seeds, the harness, the tasks' tokens."""
