"""Interventions on a run: patched and ablated heads, exchanged layers, forks."""
